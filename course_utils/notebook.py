"""What every notebook begins with: seeds, the house style, quiet, alt text of figures, its bands."""

import logging
import warnings

from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from course_utils.evaluation.expectations import Expectations
from course_utils.evaluation.style import use_course_style
from course_utils.quiet import stderr_to

# Keras says the first two of every `tf.data` pipeline that a reader would write; the others are of converters.
HARMLESS = (
    ".*shuffle=True.*will be ignored",
    "Your input ran out of data",
    r"\s*Warning: tf.lite.Interpreter is depr",
    "In the future `np.object`",
)


def begin(notebook: str, profile: str, seed: int) -> Expectations:
    """Set the seeds of Python, NumPy and Keras and the style of figures; return the notebook's `expect`.

    A figure with a label, ``figure.set_label("Accuracy rises …")``, carries it as alt text into the stored notebook.

    Parameters
    ----------
    notebook, profile : str
        Whose bands `expect` compares with, see `course_utils.evaluation.Expectations`.
    seed : int
        A whole number from 0 to 2**32 - 1.
    """
    with stderr_to():  # TensorFlow greets on the error stream
        import keras

        keras.utils.set_random_seed(seed)
    # The same last digits on any number of cores, and two notebooks at once do not wait for each other.
    threadpool_limits(1, user_api="blas")
    logging.getLogger("tensorflow").setLevel("ERROR")  # it takes several models in one notebook for a mistake
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    use_course_style()
    if shell := get_ipython():
        shell.run_line_magic("matplotlib", "inline")  # before the formatter, which it would replace
        shell.display_formatter.formatters["image/png"].for_type(Figure, _png_with_alt_text)
    return Expectations(notebook, profile)


def _png_with_alt_text(figure: Figure) -> tuple[bytes, dict[str, str]]:
    return print_figure(figure, "png", bbox_inches="tight"), {"alt": str(figure.get_label())}
