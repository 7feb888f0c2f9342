"""What every notebook begins with: the seed decides each draw, harmless messages are silent, figures carry alt text."""

import io
import logging
import random
import warnings
from types import SimpleNamespace

import keras
import matplotlib
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from course_utils import notebook


@pytest.fixture(autouse=True)
def as_before():
    """Settings of the whole process, which `begin` changes, come back after a test."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    with warnings.catch_warnings(), matplotlib.rc_context(), threadpool_limits(2):
        yield
    logger.setLevel(level)


def draws(seed):
    notebook.begin("02_feature_extraction", "smoke", seed)
    return random.random(), np.random.random(), float(keras.random.normal(()))


def test_the_seed_decides_what_python_numpy_and_keras_draw():
    first, again, other = draws(3), draws(3), draws(4)
    assert first == again and not set(first) & set(other)


def test_figures_are_compared_with_the_bands_of_the_notebook_and_its_profile():
    expect = notebook.begin("02_feature_extraction", "smoke", 0)
    assert (expect.notebook, expect.profile) == ("02_feature_extraction", "smoke")


def test_sums_of_matrices_are_those_of_one_core_and_other_loops_keep_theirs():
    before = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
    notebook.begin("02_feature_extraction", "smoke", 0)
    after = {library["filepath"]: (library["user_api"], library["num_threads"]) for library in threadpool_info()}
    kinds = {kind for kind, _ in after.values()}
    assert "blas" in kinds and {threads for kind, threads in after.values() if kind == "blas"} == {1}
    assert all(threads == before[path] for path, (kind, threads) in after.items() if kind != "blas" and path in before)


@pytest.mark.parametrize(
    "message, told",
    [
        ("Your input ran out of data; interrupting training.", False),
        ("`shuffle=True` was passed, but will be ignored since the data is a Dataset.", False),
        ("    Warning: tf.lite.Interpreter is deprecated", False),
        ("In the future `np.object` will be defined as the corresponding NumPy scalar.", False),
        ("The loss is not finite.", True),
    ],
)
def test_only_messages_that_a_reader_cannot_help_are_silent(message, told):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        notebook.begin("02_feature_extraction", "smoke", 0)
        warnings.warn(message, stacklevel=1)
    assert bool(heard) == told
    assert not logging.getLogger("tensorflow").isEnabledFor(logging.WARNING)
    assert logging.getLogger("tensorflow").isEnabledFor(logging.ERROR)


def test_in_a_kernel_a_figure_is_shown_whole_with_its_label_as_alt_text(monkeypatch):
    formatter = DisplayFormatter()

    def inline(name, line):  # as IPython does, it brings a formatter of its own
        assert (name, line) == ("matplotlib", "inline")
        formatter.formatters["image/png"].for_type(Figure, lambda figure: b"")

    shell = SimpleNamespace(run_line_magic=inline, display_formatter=formatter)
    monkeypatch.setattr(notebook, "get_ipython", lambda: shell)
    notebook.begin("02_feature_extraction", "smoke", 0)
    figure = Figure(figsize=(2, 1), dpi=100)
    figure.subplots().text(1.4, 0.5, "beside it")
    figure.set_label("Accuracy rises")
    data, more = formatter.format(figure, include={"image/png"})
    assert more["image/png"] == {"alt": "Accuracy rises"}
    assert Image.open(io.BytesIO(data["image/png"])).format == "PNG"
    assert Image.open(io.BytesIO(data["image/png"])).width > 220  # what stands beside the axes is not cut off
