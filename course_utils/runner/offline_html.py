"""Notebooks as HTML pages that need no network: formulas are MathML, nothing is loaded from elsewhere."""

from pathlib import Path

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TEMPLATES = Path(__file__).parent / "templates"


class FormulaRenderer(IPythonRenderer):
    """nbconvert's Markdown renderer, with formulas in the markup that browsers understand by themselves."""

    def inline_math(self, body: str) -> str:
        return convert(body)

    def block_math(self, body: str) -> str:
        return convert(body, display="block")


class OfflineExporter(HTMLExporter):
    """nbconvert's HTML exporter with the course's template, which folds set-up and solutions."""

    def __init__(self):
        super().__init__(template_name="course", extra_template_basedirs=[str(TEMPLATES)])

    @pass_context
    def markdown2html(self, context, source):
        renderer = FormulaRenderer(escape=False, anchor_link_text=self.anchor_link_text)
        return MarkdownWithMath(renderer=renderer).render(source)
