"""The figure of measured means takes them from the bands, and refuses what was not measured."""

import pytest

from course_utils.errors import CourseError
from course_utils.evaluation import measured, plot_measured
from course_utils.evaluation.expectations import Band


@pytest.fixture(autouse=True)
def bands(monkeypatch):
    figures = {
        name: Band(low=0, high=1, mean=mean, std=0.1, seeds=(0, 1, 2, 3, 4))
        for name, mean in [("a_1", 0.2), ("a_2", 0.4), ("b_1", 0.1), ("b_2", 0.3)]
    }
    monkeypatch.setattr(measured, "read_bands", lambda: {"experiments/x": {"default": {"bands": figures}}})


def test_means_and_intervals_are_those_of_the_bands():
    ax = plot_measured("experiments/x", {"A": ["a_1", "a_2"], "B": ["b_1", "b_2"]}, ["1", "2"])
    first, second = (container.lines[0] for container in ax.containers)
    assert first.get_ydata().tolist() == [0.2, 0.4] and second.get_ydata().tolist() == [0.1, 0.3]
    assert (first.get_xdata() < second.get_xdata()).all()  # intervals stand beside each other, on both sides of a tick
    assert (first.get_xdata() + second.get_xdata()) / 2 == pytest.approx([0, 1])
    assert (second.get_xdata() - first.get_xdata() < 0.2).all()  # and near it
    assert first.get_marker() != second.get_marker()
    assert [(tick.get_position()[0], tick.get_text()) for tick in ax.get_xticklabels()] == [(0, "1"), (1, "2")]
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(2.776 * 0.1 / 5**0.5, rel=1e-3)  # t with 4 degrees of freedom
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B"]
    assert ax.get_title(loc="left") + ax.get_title() == "Mean of 5 runs and its 95% interval"


def test_one_series_stands_on_its_ticks():
    ax = plot_measured("experiments/x", {"A": ["a_1", "a_2"]}, ["1", "2"])
    assert ax.containers[0].lines[0].get_xdata().tolist() == [0, 1]


def test_intervals_end_in_caps_heights_can_be_read_and_the_legend_hides_nothing():
    ax = plot_measured("experiments/x", {"A": ["a_1", "a_2"]}, ["1", "2"])
    ax.figure.canvas.draw()
    assert len(ax.containers[0].lines[1]) == 2
    grids = [{line.get_visible() for line in axis.get_gridlines()} for axis in (ax.xaxis, ax.yaxis)]
    assert grids == [{False}, {True}] and ax.yaxis.get_gridlines()[0].get_alpha() < 1
    legend, panel = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= panel.x1 and (legend.y0 + legend.y1) == pytest.approx(panel.y0 + panel.y1, abs=2)


def test_refusals():
    with pytest.raises(CourseError, match="no measured figure 'c_1'"):
        plot_measured("experiments/x", {"C": ["c_1"]}, ["1"])
    with pytest.raises(CourseError, match="no measured figure 'a_1'"):
        plot_measured("experiments/y", {"A": ["a_1"]}, ["1"])
    with pytest.raises(CourseError, match="'A' has 2 figures; 1 ticks"):
        plot_measured("experiments/x", {"A": ["a_1", "a_2"]}, ["1"])
