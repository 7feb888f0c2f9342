"""Notebooks as HTML pages that need no network: formulas are MathML, nothing is loaded from elsewhere."""

import re
import unicodedata
from pathlib import Path

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TEMPLATES = Path(__file__).parent / "templates"
STYLED_LETTER = re.compile(r'<mi mathvariant="(script|double-struck)">([A-Z])</mi>')
FUNCTION_NAME = re.compile(r"<m[io]>([a-z]{2,})</m[io]>((?:<mrow>)?<mo[^>]*>&#x00028;)?")  # with a bracket behind it


def to_mathml(formula: str, display: str) -> str:
    """Return a formula as MathML that browsers show as TeX sets it: a script X stays one, "log p" has a space."""
    markup = STYLED_LETTER.sub(_plain_letter, convert(formula, display=display))
    return FUNCTION_NAME.sub(_spaced_name, markup).replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # ~, as in w ~ N


def _plain_letter(match: re.Match) -> str:
    # Browsers ignore `mathvariant`; Unicode has the letters themselves, the oldest, such as ℝ, under short names.
    name = f"{match[1].upper()} CAPITAL {match[2]}"
    try:
        letter = unicodedata.lookup(f"MATHEMATICAL {name}")
    except KeyError:
        letter = unicodedata.lookup(name)
    return f"<mi>{letter}</mi>"


def _spaced_name(match: re.Match) -> str:
    name, bracket = match[1], match[2] or ""
    return f'<mo lspace="0.167em" rspace="{0 if bracket else 0.167}em">{name}</mo>{bracket}'


class FormulaRenderer(IPythonRenderer):
    """nbconvert's Markdown renderer, with formulas in the markup that browsers understand by themselves."""

    def inline_math(self, body: str) -> str:
        return to_mathml(body, display="inline")

    def block_math(self, body: str) -> str:
        return to_mathml(body, display="block")


class OfflineExporter(HTMLExporter):
    """nbconvert's HTML exporter with the course's template, which folds set-up and solutions."""

    def __init__(self):
        super().__init__(template_name="course", extra_template_basedirs=[str(TEMPLATES)])

    @pass_context
    def markdown2html(self, context, source):
        renderer = FormulaRenderer(escape=False, anchor_link_text=self.anchor_link_text)
        return MarkdownWithMath(renderer=renderer).render(source)
