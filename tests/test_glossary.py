"""The first use of a term in a lesson leads to the glossary; titles, code and folded cells have no links."""

from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="`make site` installs Sphinx")
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document

from course_tools.publish import glossary

MEANINGS = {
    "domain": "Where data come from.",
    "domain adaptation": "Learning for another domain.",
    "freezing": "Weights that stay.",
    "fine-tuning": "Weights that go on learning.",
    "optimizer": "What changes weights.",
    "pretraining": "Learning before.",
    "training, validation and test set": "Three parts of the data.",
}


@pytest.fixture
def app():
    """Stands for Sphinx: the page of the glossary, and addresses from one page to another."""
    page = new_document("glossary", get_default_settings())
    entries = nodes.definition_list()
    for number, (term, meaning) in enumerate(MEANINGS.items()):
        title = nodes.term("", term.capitalize(), ids=[f"term-{number}"])
        entries += nodes.definition_list_item("", title, nodes.definition("", nodes.paragraph("", meaning)))
    page += entries
    listeners = {}
    return SimpleNamespace(
        env=SimpleNamespace(get_doctree={"docs/glossary": page}.get),
        builder=SimpleNamespace(get_relative_uri=lambda here, there: f"../{there}.html"),
        connect=listeners.__setitem__,
        listeners=listeners,
    )


def linked(app, *parts, name="notebooks/02_a"):
    """Return the text of a page, with the links in brackets, and its links."""
    page = new_document("page", get_default_settings())
    page += list(parts)
    glossary.setup(app)
    app.listeners["doctree-resolved"](app, page, name)
    links = list(page.findall(nodes.reference))
    texts = [f"[{text}]" if text.parent in links else str(text) for text in page.findall(nodes.Text)]
    return "".join(texts), links


def prose(text):
    return nodes.paragraph("", text)


def test_the_first_use_alone_is_a_link_that_shows_the_meaning(app):
    text, (link,) = linked(app, prose("A domain, domains and the domain."), prose("A domain."))
    assert text == "A [domain], domains and the domain.A domain."
    assert link["refuri"] == "../docs/glossary.html#term-0" and link["reftitle"] == "Where data come from."
    assert link["internal"] and link["classes"] == ["first-use"] and link.astext() == "domain"


def test_the_longest_term_is_taken_whole_words_only_in_small_and_large_letters(app):
    text, links = linked(app, prose("Domain adaptation: subdomain, domain-wise, domains, optimizers; Freezes."))
    assert text == "[Domain adaptation]: subdomain, domain-wise, [domains], [optimizers]; [Freezes]."
    assert [link["refuri"].partition("#")[2] for link in links] == ["term-1", "term-0", "term-4", "term-2"]


def test_another_form_of_a_word_is_a_use_of_the_term(app):
    words = "freeze Frozen fine-tuned optimiser pretrained validation"
    text, links = linked(app, prose(words))
    assert text == "[freeze] Frozen [fine-tuned] [optimiser] [pretrained] [validation]"
    assert [link["reftitle"] for link in links] == list(MEANINGS.values())[2:]


def test_what_is_no_prose_has_no_links(app):
    kinds = (nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.raw, nodes.reference)
    parts = [nodes.paragraph("", "", kind("", "domain")) for kind in kinds]
    parts.append(nodes.table("", nodes.entry("", prose("domain"))))
    parts.append(nodes.section("", prose("domain"), names=["references"]))
    text, links = linked(app, *parts, nodes.section("", prose("domain"), names=["next"]))
    assert text.count("domain") == 9 and text.endswith("domain[domain]") and len(links) == 2


def test_folded_cells_are_passed_over_until_they_end(app):
    begin, end = nodes.raw("", "<details><details>", format="html"), nodes.raw("", "</details>", format="html")
    text, links = linked(app, begin, prose("domain"), end, prose("domain"), end.deepcopy(), prose("domain"))
    assert text.endswith("domain</details>[domain]") and len(links) == 1


@pytest.mark.parametrize("name", ["docs/glossary", "notebooks/experiments/02_a", "notebooks/02_a/b", "slides/02"])
def test_pages_that_are_no_lesson_are_left_alone(app, name):
    assert linked(app, prose("A domain."), name=name) == ("A domain.", [])
