import matplotlib
import numpy as np
import pandas
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import to_hex

from course_utils.errors import CourseError
from course_utils.evaluation.curves import plot_history, plot_learning_curves
from course_utils.evaluation.images import plot_images
from course_utils.evaluation.metrics import mean_and_interval
from course_utils.evaluation.style import MARKERS, PALETTE, ROLE_COLOURS, use_course_style

LABELS = np.array([0, 0, 0, 1, 1, 1])


@pytest.fixture(autouse=True)
def style():
    use_course_style()
    yield
    plt.close("all")


def rules(ax):
    """Return whether the lines behind a figure are drawn along x and along y."""
    return [any(line.get_visible() for line in axis.get_gridlines()) for axis in (ax.xaxis, ax.yaxis)]


def runs(seeds=3):
    rows = [
        {"per_class": size, "accuracy": np.log10(size) / 2 + 0.1 * transfer + 0.01 * seed, "method": method}
        for size in (5, 10, 20)
        for method, transfer in (("scratch", 0), ("transfer", 1))
        for seed in range(seeds)
    ]
    return pandas.DataFrame(rows)


def test_style_is_legible_at_lecture_width():
    assert plt.rcParams["figure.figsize"][0] <= 8
    for key in ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"):
        assert plt.rcParams[key] >= 12
    assert plt.rcParams["figure.constrained_layout.use"]
    assert len(set(PALETTE)) == len(set(MARKERS)) == len(MARKERS) == 10


def test_style_has_the_palette_no_box_and_a_font_that_comes_with_matplotlib():
    assert [to_hex(colour) for colour in plt.rcParams["axes.prop_cycle"].by_key()["color"]] == list(PALETTE)
    assert plt.rcParams["font.family"] == ["DejaVu Sans"] and plt.rcParams["xtick.bottom"]
    assert not (plt.rcParams["axes.spines.top"] or plt.rcParams["axes.spines.right"])
    assert plt.rcParams["axes.titlelocation"] == "left" and not plt.rcParams["legend.frameon"]


def test_each_role_has_a_colour_of_its_own():
    assert set(ROLE_COLOURS) == {"transfer", "scratch", "upper bound", "wrong way", "reference"}
    assert len(set(ROLE_COLOURS.values())) == 5 and len(set(PALETTE) - set(ROLE_COLOURS.values())) == 6


def test_learning_curves_draw_mean_interval_and_measured_sizes():
    frame = runs()
    ax = plot_learning_curves(frame, "per_class", "accuracy", "method")
    assert list(ax.get_xticks()) == [5, 10, 20]
    of_transfer = frame.query("method == 'transfer' and per_class == 10")["accuracy"]
    mean, half_width = mean_and_interval(of_transfer)
    line = next(
        line for line in ax.lines if line.get_color() == ROLE_COLOURS["transfer"] and len(line.get_xdata()) == 3
    )
    assert line.get_ydata()[1] == pytest.approx(mean)
    # A band of standard errors or bootstrap draws would be narrower than Student's.
    heights = np.concatenate([band.get_paths()[0].vertices for band in ax.collections])
    at_ten = heights[np.isclose(heights[:, 0], 10), 1]
    assert np.isclose(at_ten, mean + half_width).any()
    assert np.isclose(at_ten, mean - half_width).any()
    assert "3 runs" in ax.get_title("left")


def test_learning_curves_take_the_given_axes_and_name_their_columns():
    given, _ = plt.subplots(1, 2)[1]  # beside the current ones
    ax = plot_learning_curves(runs().rename(columns={"accuracy": "top_5"}), "per_class", "top_5", "method", given)
    assert ax is given and len(ax.lines) >= 2 and ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("per class", "top 5")
    assert [text.get_text() for text in ax.get_legend().texts] == ["scratch", "transfer"]
    assert ax.get_legend().get_title().get_text() == ""


def test_ten_methods_have_ten_colours_and_markers():
    names = ["transfer", *(f"method {number}" for number in range(9))]
    frame = pandas.concat([runs(2).assign(method=name) for name in names])
    ax = plot_learning_curves(frame, "per_class", "accuracy", "method")
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == len(lines) == 10


def test_learning_curves_are_whole_lines_over_faint_bands_and_rules():
    ax = plot_learning_curves(runs(seeds=2), "per_class", "accuracy", "method")
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert {line.get_linestyle() for line in lines} == {"-"} and "2 runs" in ax.get_title("left")
    assert {band.get_alpha() < 0.5 for band in ax.collections} == {True}
    assert {band.get_linewidth()[0] for band in ax.collections} == {0}
    assert rules(ax) == [False, True] and ax.yaxis.get_gridlines()[0].get_alpha() < 1
    ax.figure.canvas.draw()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["5", "10", "20"]  # and no power of ten
    assert len(ax.xaxis.get_minorticklocs()) == 0


def test_a_method_without_a_role_has_none_of_the_roles_drawn():
    names = {"new": 0, "wrong way": 1, "transfer": 2, "newer": 3}
    frame = pandas.concat([runs(2).assign(method=name) for name in names])
    ax = plot_learning_curves(frame, "per_class", "accuracy", "method")
    legend = ax.get_legend()
    colours = {text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)}
    free = [colour for colour in PALETTE if colour not in (ROLE_COLOURS["transfer"], ROLE_COLOURS["wrong way"])]
    roles = {name: ROLE_COLOURS[name] for name in ("transfer", "wrong way")}
    assert colours == roles | {"new": free[0], "newer": free[1]}


def test_learning_curves_of_one_seed_have_no_band(recwarn):
    ax = plot_learning_curves(runs(seeds=1), "per_class", "accuracy", "method")
    assert ax.get_title("left") == "One run at each size"
    ax.figure.canvas.draw()
    assert not recwarn.list


def test_learning_curves_refuse():
    frame = runs()
    with pytest.raises(CourseError, match="no column 'size'"):
        plot_learning_curves(frame, "size", "accuracy", "method")
    assert (
        1 in plot_learning_curves(frame.replace({"per_class": {5: 1}}), "per_class", "accuracy", "method").get_xticks()
    )
    plot_learning_curves(
        frame.assign(note=np.nan), "per_class", "accuracy", "method"
    )  # what is not drawn may be missing
    gaps = [frame.assign(**{name: frame[name].where(frame.index != 4)}) for name in frame]
    for broken in (frame.assign(per_class=0), frame.assign(per_class=[-1, *frame["per_class"][1:]]), frame[:0], *gaps):
        with pytest.raises(CourseError, match="accepted are results"):
            plot_learning_curves(broken, "per_class", "accuracy", "method")
    with pytest.raises(CourseError, match="18 methods; accepted are at most 10"):
        plot_learning_curves(frame.assign(method=range(18)), "per_class", "accuracy", "method")


def test_history_has_a_panel_for_loss_first_and_none_for_the_learning_rate():
    records = {
        "accuracy": [0.5, 0.7],
        "loss": [1.0, 0.5],
        "val_accuracy": [0.4, 0.6],
        "val_loss": [1.1, 0.7],
        "learning_rate": [1, 1],
    }
    axes = plot_history(records)
    assert [ax.get_title("left") for ax in axes] == ["Loss", "Accuracy"]
    assert [line.get_label() for line in axes[1].lines] == ["training", "validation"]
    assert list(axes[1].lines[1].get_ydata()) == [0.4, 0.6]
    assert list(axes[0].lines[0].get_xdata()) == [1, 2]
    training, validation = axes[1].lines
    assert training.get_color() != validation.get_color() and training.get_linestyle() != validation.get_linestyle()
    assert training.get_marker() == validation.get_marker() == "o"
    assert all(tick == int(tick) for tick in axes[0].get_xticks())  # there is no epoch 1.5
    assert len(plot_history({"loss": [1.0]})[0].lines) == 1


def test_panels_are_named_in_plain_words_and_long_ones_have_no_markers():
    axes = plot_history({"AUC": [0.5] * 20, "top_5": [0.5] * 21, "loss": [1.0] * 21})
    assert [ax.get_title("left") for ax in axes] == ["Loss", "AUC", "Top 5"]
    assert [ax.lines[0].get_marker() for ax in axes] == ["None", "o", "None"]
    assert {ax.get_xlabel() for ax in axes} == {"epoch"} and axes[1].get_xlim() == (0.5, 20.5)
    assert [text.get_text() for text in axes[0].get_legend().texts] == ["training"]


def test_panels_of_a_history_are_alike():
    records = {name: [0.5] * 100 for name in ("loss", "val_loss", "accuracy", "val_accuracy")}
    axes, alone = plot_history(records), plot_history({"loss": [1.0]})
    for ax in axes:
        assert [line.get_color() for line in ax.lines] == list(PALETTE[:2])
        assert rules(ax) == [False, True] and ax.yaxis.get_gridlines()[0].get_alpha() < 1
        assert 4 <= len(ax.get_xticks()) <= 9
    assert axes[0].figure.axes == list(axes) and axes[0].figure.get_figwidth() == 2 * alone[0].figure.get_figwidth()
    assert [tick for tick in alone[0].get_xticks() if 0.5 <= tick <= 1.5] == [1]


@pytest.mark.parametrize("history", [None, {}, [1, 2]])
def test_history_refuses(history):
    with pytest.raises(CourseError, match="what fit"):
        plot_history(history)


def test_images_of_every_kind():
    images = [np.zeros((4, 4, 3), np.uint8), np.full((5, 4), 255, np.uint8), np.full((3, 3, 1), 0.5, np.float32)]
    axes = plot_images(images, titles=["a", "b", 3], columns=2)
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes.flat] == ["a", "b", "3", ""]
    # A grey image keeps its own scale: all white stays white.
    assert axes[0, 1].images[0].get_clim() == (0, 255)
    assert axes[1, 0].images[0].get_clim() == (0, 1)
    assert not any(ax.axison for ax in axes.flat)
    assert plot_images(images[:1]).shape == (1, 1) and plot_images(images[:1] * 8).shape == (1, 8)
    assert plot_images(images[:1] * 9).shape == (2, 8) and plot_images(np.zeros((5, 4, 4))).shape == (1, 5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"images": []}, "0 images"),
        ({"images": np.zeros((20, 24, 3), np.uint8)}, r"shape \(20, 24, 3\), that of a single one"),
        ({"images": np.zeros((20, 24, 1), np.uint8)}, r"shape \(20, 24, 1\), that of a single one"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "titles": ["a"]}, "1 titles for 2 images"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8)}, r"shape \(4, 4, 2\)"),
        ({"images": np.full((1, 4, 4), 1.01)}, "from 1.01 to 1.01; accepted are floats from 0"),
        ({"images": np.full((1, 4, 4), -0.01)}, "from -0.01 to -0.01; accepted are floats from 0"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "columns": 0}, "^columns=0 is impossible"),
        ({"images": np.zeros((4, 4), np.uint8)}, r"shape \(4,\)"),
        ({"images": np.zeros((1, 4, 4, 4), np.uint8)}, r"shape \(4, 4, 4\)"),
        ({"images": np.full((1, 4, 4), 200.0)}, "astype"),
        ({"images": np.full((1, 4, 4), np.nan)}, "nan"),
        ({"images": np.zeros((1, 4, 4), np.int64)}, "int64"),
        ({"images": np.zeros((1, 4, 4), bool)}, "bool"),
        ({"images": np.zeros((1, 0, 4), np.uint8)}, r"shape \(0, 4\)"),
    ],
)
def test_images_refused(arguments, sentence):
    with pytest.raises(CourseError, match=sentence):
        plot_images(**arguments)
