"""Slides quote figures that were measured, and show figures that the notebooks have: no Sphinx is needed to see it."""

import pytest

from course_tools.publish.slides import _prepared
from course_utils.errors import CourseError
from course_utils.settings import ROOT


@pytest.mark.parametrize("path", sorted(ROOT.glob("slides/[0-9]*.md")), ids=lambda path: path.stem)
def test_slides_find_what_they_quote(path):
    text = _prepared(f"slides/{path.stem}", path.read_text(encoding="utf-8"))
    assert "{{" not in text and text.count("](data:image/png;base64,") >= 4
    assert 10 <= text.count("\n## ") + 1 <= 14


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(CourseError, match="02_feature_extraction has no figure whose alt text begins with 'No such'"):
        _prepared("slides/02", "{{figure No such}}")
