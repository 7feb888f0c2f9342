"""The site and the slides: links lead somewhere, nothing comes from another host, pages fit a phone."""

import re
import shutil
import threading
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from test_notebooks import LESSONS

from course_tools.notebooks import all_notebooks
from course_tools.publish.site import build_site

pytestmark = pytest.mark.slow
pytest.importorskip("sphinx", reason="`make site` installs Sphinx")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
CUT_OFF = "[...document.querySelectorAll('.cell_input pre')].filter(code => code.scrollWidth > code.clientWidth).length"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp("site") / "site").parent


@pytest.fixture(scope="module")
def slides(site):
    return site / "slides" / "slides"


@cache
def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def pages(folder):
    return [path for path in folder.rglob("*.html") if "_static" not in path.parts]


def leads_nowhere(page, link):
    """Tell whether a link inside the folder has no file, or no place of that name in it."""
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    return target.suffix == ".html" and bool(parts.fragment) and not soup(target).find(id=unquote(parts.fragment))


def faults_of(folder):
    found = set()
    for page in pages(folder):
        for tag in soup(page).find_all(["a", "link", "script", "img", "iframe", "source"]):
            link = tag.get("src") or tag.get("href") or ""
            if tag.name == "img" and not tag.get("alt"):
                found.add(f"{page.name} has an image without alt text: {link[:60]}")
            if not link or link.startswith(("data:", "mailto:")):
                continue
            if urlsplit(link).netloc:
                found |= {f"{page.name} loads {link}"} if tag.name != "a" else set()
            elif leads_nowhere(page, link):
                found.add(f"{page.name} links to {link}")
            elif urlsplit(link).path.endswith(".css"):
                style = (page.parent / urlsplit(link).path).read_text(encoding="utf-8")
                found |= set(re.findall(r"""url\(["']?(?:https?:)?//[^)]*\)""", style))
    return found


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert faults_of(site) == set()


def test_every_notebook_has_a_page_and_a_download(site):
    for notebook in all_notebooks():
        assert (site / "notebooks" / f"{notebook.key}.html").exists()
        assert (site / "_sources" / "notebooks" / f"{notebook.key}.ipynb").read_bytes() == notebook.path.read_bytes()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_solutions_and_machinery_are_folded(site, lesson):
    page = soup(site / "notebooks" / f"{lesson.key}.html")
    for text in ("_solution(", "import begin"):
        cells = [cell for cell in page.select("div.highlight") if text in cell.get_text()]
        assert cells and all(cell.find_parent("details") for cell in cells)
    solutions = [fold for fold in page.find_all("details") if fold.summary.get_text() == "Solution"]
    assert len(solutions) == len([heading for heading in page.find_all("h3") if "Exercise" in heading.get_text()])


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_the_first_use_of_a_term_leads_to_the_glossary(site, lesson):
    links = soup(site / "notebooks" / f"{lesson.key}.html").select("a.first-use")
    assert len({link["href"] for link in links}) == len(links) >= 10 and all(link["title"] for link in links)
    assert {link["href"].split("#")[0] for link in links} == {"../docs/glossary.html"}
    assert not [link for link in links if link.find_parent(["h1", "h2", "h3", "details", "pre", "code", "table"])]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_the_page_of_a_lesson_leads_to_its_slides(site, lesson):
    page = site / "notebooks" / f"{lesson.name}.html"
    assert soup(page).find("a", href=f"../slides/slides/{lesson.number}.html")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_lesson_has_ten_to_fourteen_slides(slides, lesson):
    deck = soup(slides / f"{lesson.number}.html")
    assert 10 <= len(deck.select(".slides section:not(:has(section))")) <= 14
    assert len(deck.select(".slides img")) >= 4


@pytest.fixture(scope="module")
def address(site):
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (1500, "dark"), (390, "light")])
def test_pages_in_a_browser(address, width, scheme):
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    found = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.set_default_timeout(120_000)
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda request: found.append(request.url) if "//127.0.0.1" not in request.url else None)
        documents = [f"docs/{name}" for name in ("index", "measured", "faq", "reading")]
        for name in (*documents, *(f"notebooks/{lesson.key}" for lesson in LESSONS)):
            page.goto(f"{address}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{name} is too wide"
            assert width < 1300 or page.evaluate(CUT_OFF) == 0, f"{name} has lines of code that are cut off"
        page.goto(f"{address}/search.html?q=BatchNorm")
        page.wait_for_selector("#search-results li a:has-text('Fine-tuning')")
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert [line for line in found if not line.startswith("data:")] == []
