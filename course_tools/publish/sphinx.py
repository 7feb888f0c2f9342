"""One call of Sphinx, for pages and for slides: nothing is executed, nothing is loaded from another host."""

import shutil
from collections.abc import Callable
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.settings import ROOT

STATIC = Path(__file__).with_name("static")
COMMON = {
    "project": "Transfer learning with TensorFlow and Keras",
    "author": "the authors of the course",
    "exclude_patterns": [".*", "build", "data", "**/.ipynb_checkpoints"],
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "show_warning_types": True,
    "html_static_path": [str(STATIC)],
    "html_favicon": str(STATIC / "icon.svg"),
    "html_show_copyright": False,
}


def build(target: Path, builder: str, config: dict, prepare: Callable[[str, str], str]) -> None:
    """Let a builder of Sphinx read the course's folder and write into ``target``, which it replaces.

    Parameters
    ----------
    target
        Where the pages go.
    builder
        Such as ``"html"``.
    config
        What `COMMON` does not say.
    prepare
        Gets the name and the text of each document and returns the text that Sphinx shall read.

    Raises
    ------
    CourseError
        When Sphinx is not installed.
    sphinx.errors.SphinxWarning
        For what Sphinx would only warn of, such as a link that leads nowhere.
    """
    try:
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace, patch_docutils
    except ImportError:
        raise CourseError("Pages and slides need Sphinx: `make site` and `make slides` install it.") from None

    def on_read(app, name: str, text: list[str]) -> None:
        text[0] = prepare(name, text[0])

    shutil.rmtree(target, ignore_errors=True)
    doctrees = target / ".doctrees"
    with patch_docutils(), docutils_namespace():
        app = Sphinx(ROOT, None, target, doctrees, builder, COMMON | config, status=None, exception_on_warning=True)
        app.connect("source-read", on_read)
        app.build()
    shutil.rmtree(doctrees)
