"""An extension of Sphinx: in each lesson the first use of a term leads to the glossary, and shows its meaning."""

import re

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "docs/glossary"
LESSON = re.compile(r"notebooks/\d\d_\w+")
NOT_PROSE = (nodes.title, nodes.table, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.raw)
OTHER_FORMS = {"freeze": "freezing", "frozen": "freezing", "fine-tuned": "fine-tuning", "optimiser": "optimizer"}
OTHER_FORMS |= {"pretrained": "pretraining", "validation": "training, validation and test set"}


def setup(app: Sphinx) -> None:
    """Let Sphinx call this extension for each page, when its references are resolved."""
    app.connect("doctree-resolved", _link_first_uses)


def _link_first_uses(app: Sphinx, page: nodes.document, name: str) -> None:
    if not LESSON.fullmatch(name):
        return
    terms = _terms(app)
    glossary = app.builder.get_relative_uri(name, GLOSSARY)
    words = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))  # "domain adaptation" before "domain"
    use = re.compile(rf"(?<![\w-])({words})(?:e?s)?(?![\w-])", re.IGNORECASE)
    linked, folded = set(), 0
    for text in list(page.findall(nodes.Text)):
        if isinstance(text.parent, nodes.raw):
            folded += text.count("<details") - text.count("</details")
        if folded or not _is_prose(text):
            continue
        parts, end = [], 0
        for match in use.finditer(text):
            place, meaning = terms[match[1].lower()]
            if place in linked:
                continue
            linked.add(place)
            look = {"internal": True, "classes": ["first-use"], "reftitle": meaning}
            link = nodes.reference("", match[0], refuri=f"{glossary}#{place}", **look)
            parts += [nodes.Text(text[end : match.start()]), link]
            end = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def _terms(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Return for each term and its other forms, in small letters, its place on the glossary's page and its meaning."""
    terms = {}
    for entry in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        term, meaning = entry.next_node(nodes.term), entry.next_node(nodes.definition)
        terms[term.astext().lower()] = term["ids"][0], meaning.astext()
    return terms | {form: terms[term] for form, term in OTHER_FORMS.items()}


def _is_prose(node: nodes.Node) -> bool:
    while node := node.parent:
        if isinstance(node, NOT_PROSE) or "references" in node.get("names", []):
            return False
    return True
