import functools
import inspect

import pytest

from course_utils import settings
from course_utils.errors import CourseError
from course_utils.evaluation import source
from course_utils.evaluation.source import show_source


class Example:
    def fenced(self):
        """Holds a fence:

        ```python
        ```
        """
        return """
    indented text"""


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(source, "display", lambda output: outputs.append(output.data))
    return outputs


def test_real_source_with_its_file(shown):
    show_source(settings.cache_dir, CourseError)
    body = inspect.getsource(settings.cache_dir).rstrip()
    assert shown[0] == f"`course_utils/settings.py`\n\n```python\n{body}\n```"
    assert "class CourseError(ValueError)" in shown[1]


def test_method_is_dedented_and_fences_nest(shown):
    show_source(Example.fenced)
    assert shown[0].startswith('````python\ndef fenced(self):\n    """Holds')
    assert shown[0].endswith('indented text"""\n````')
    compile(shown[0].removeprefix("````python\n").removesuffix("\n````"), "shown", "exec")


def test_decorated_function_shows_what_was_written(shown):
    @functools.wraps(settings.cache_dir)
    def wrapper():
        return settings.cache_dir()

    show_source(wrapper)
    assert "COURSE_CACHE" in shown[0]
    assert shown[0].startswith("`course_utils/settings.py`")


@pytest.mark.parametrize("thing", [len, 3, functools.partial(print), "text", None])
def test_refused_without_source(shown, thing):
    with pytest.raises(CourseError, match="has no Python source"):
        show_source(settings.cache_dir, thing)
    assert shown == []


def test_refused_without_anything():
    with pytest.raises(CourseError, match="given nothing"):
        show_source()
