"""Checks of the exercises of lesson 12: each tests the reader's answer and says in one sentence what is wrong."""

import io
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from scipy.stats import kurtosis

from course_utils.exercises.answers import require

FLOATS_ALLOWED = 2  # arrays of images or feature maps: a full int8 file has them at its ends only
AGREEMENT_EXPECTED = 0.8


def check_private_gradient(private_gradient: Callable) -> None:
    """Check ``private_gradient(gradients, clip, noise, draw)``, one step of differentially private SGD.

    Parameters
    ----------
    private_gradient : callable
        Takes gradients (n, d) of n images, the longest length allowed, the noise multiplier and a NumPy generator;
        returns the sum (d,) of the clipped gradients plus normal noise of standard deviation ``noise * clip``.

    Raises
    ------
    ExerciseError
        With what is wrong.

    References
    ----------
    Abadi et al. (2016), https://arxiv.org/abs/1607.00133
    """

    def noisy_sum(gradients: np.ndarray, clip: float, noise: float, seed: int = 0) -> np.ndarray:
        answer = np.asarray(private_gradient(gradients.copy(), clip, noise, np.random.default_rng(seed)))
        shape = gradients.shape[1:]
        require(answer.shape == shape, f"private_gradient returned the shape {answer.shape} instead of {shape}.")
        return answer

    short = np.array([[0.3, 0.4, 0.0], [0.0, 0.0, 0.2]])
    said = noisy_sum(short, 1, 0)
    require(not np.allclose(said, short.mean(axis=0)), "The answer is the mean of the gradients: return their sum.")
    require(
        np.allclose(said, short.sum(axis=0)), "Gradients shorter than clip, without noise, must be summed as they are."
    )
    large = np.array([[30.0, 40.0, 0.0], [0.0, 0.0, 0.2]])
    said = noisy_sum(large, 2, 0)
    require(
        np.allclose(said, [1.2, 1.6, 0.2]),
        f"Clipped to length 2, [30, 40, 0] and [0, 0, 0.2] must sum to [1.2, 1.6, 0.2], not {said.round(2).tolist()}: "
        "shorten each image's gradient by itself, and keep its direction.",
    )
    require(bool(np.isfinite(noisy_sum(np.zeros((2, 3)), 1, 0)).all()), "A gradient of length 0 gives NaN.")
    ones = np.ones((5, 20_000)) / 1000  # shorter than clip: with noise, a sum of 0.005 in each place
    drawn = noisy_sum(ones, 2, 3) - 0.005
    require(np.ptp(drawn) > 0, "Every place of the sum has the same noise, or none: draw one number for each place.")
    require(
        abs(drawn.std() - 6) < 0.2,
        f"With noise 3 and clip 2 the noise has a standard deviation of {drawn.std():.1f} instead of 6: noise * clip, "
        "once for the sum.",
    )
    require(abs(drawn.mean()) < 0.3, f"The noise has a mean of {drawn.mean():.1f} instead of 0.")
    require(abs(kurtosis(drawn)) < 0.5, "The noise is not normal: the accountant's ε holds for draw.normal.")
    one, same, other = (noisy_sum(ones[:, :20], 2, 3, seed) for seed in (1, 1, 2))
    require(not np.allclose(one, other), "Two generators give the same noise: use draw.")
    require(np.allclose(one, same), "The same generator gives other noise each time: use draw, and nothing else.")
    print("private_gradient is right.")


def check_read(read: Callable) -> None:
    """Check ``read(file, size)``, from an image file to the pixels that the model was trained on.

    Parameters
    ----------
    read : callable
        Takes an open image file and a size; returns RGB pixels (size, size, 3), 0 to 255, upright, on white.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    _check_colours(read)
    _check_white(read)
    _check_upright(read)
    _check_stretched(read)
    print("read is mended.")


def _pixels(read: Callable, image: Image.Image, size: int = 16, **saved: object) -> np.ndarray:
    """Return what `read` makes of an image that was saved so, float32 of shape (size, size, 3)."""
    file = io.BytesIO()
    image.save(file, "PNG", **saved)
    file.seek(0)
    answer = np.asarray(read(file, size))
    require(answer.shape == (size, size, 3), f"read returned the shape {answer.shape} instead of {(size, size, 3)}.")
    require(answer.dtype == np.float32, f"The pixels are {answer.dtype}; the interpreter takes float32.")
    return answer


def _check_colours(read: Callable) -> None:
    colour = (200, 100, 50)
    said = _pixels(read, Image.new("RGB", (40, 40), colour))
    require(said.max() > 1, "The pixels lie between 0 and 1; the model was trained on 0 to 255.")
    require(
        not np.allclose(said, colour[::-1], atol=1), "Red and blue have changed places: BGR, where RGB was trained on."
    )
    require(
        np.allclose(said, colour, atol=1), f"An image of the colour {colour} was read as {said[8, 8].round().tolist()}."
    )


def _check_white(read: Callable) -> None:
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    clear, half = Image.new("RGBA", (40, 40), (0, 0, 0, 0)), Image.new("RGBA", (40, 40), (0, 0, 0, 128))
    for kind, image, saved, right in (
        ("A transparent image", clear, {}, 255),
        ("A transparent image with a palette", palette, {"transparency": 0}, 255),
        ("A black image that is half transparent", half, {}, 127),
    ):
        said = _pixels(read, image, **saved)
        require(np.allclose(said, right, atol=1), f"{kind} was read as {said[8, 8].tolist()}: lay it on white.")


def _check_upright(read: Callable) -> None:
    lying = Image.new("RGB", (40, 40), "white")
    lying.paste((0, 0, 0), (0, 0, 20, 40))  # dark on the left
    for orientation, dark, light in ((6, (2, 8), (13, 8)), (3, (8, 13), (8, 2))):  # turned by a quarter, by a half
        exif = Image.Exif()
        exif[0x0112] = orientation
        said = _pixels(read, lying, exif=exif)
        require(
            bool(said[dark].max() < 50 and said[light].min() > 200),
            "An image that EXIF says to turn was not turned as it says: use ImageOps.exif_transpose.",
        )


def _check_stretched(read: Callable) -> None:
    wide = Image.new("RGB", (80, 40), "white")
    wide.paste((0, 0, 0), (0, 0, 20, 40))  # the left quarter
    said = _pixels(read, wide, 32)
    require(
        bool(said[2, 4].max() < 50 and said[2, 12].min() > 200),
        "An image that is no square was cut or padded; the service stretches it to a square.",
    )


def check_file(model: keras.Model, file: str | Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Compare a full int8 LiteRT file with the Keras model it was made of.

    Parameters
    ----------
    model : keras.Model
        Takes images (n, height, width, 3), returns probabilities (n, classes), alone.
    file : str or Path
        What `model.export` wrote; input and output may be float32, the layers between must be int8.
    images : array of shape (n, height, width, 3)
        Held-out images, 0 to 255.
    labels : array of shape (n,)
        Their class numbers.

    Returns
    -------
    float
        The share of images with the same class, 0 to 1.

    Raises
    ------
    ExerciseError
        When the model has not learnt, the file is not int8, does not belong to the model, or says something else.
    """
    require(
        isinstance(file, (str, Path)), f"The file is {type(file).__name__}; hand over the path of the .tflite file."
    )
    require(Path(file).is_file(), f"There is no file {file}.")
    require(len(images) > 0, "There are no held-out images.")
    require(len(images) == len(labels), f"There are {len(images)} images and {len(labels)} labels.")
    try:
        interpreter = Interpreter(str(file), num_threads=1)
    except ValueError as error:
        require(False, f"This is no LiteRT file: {error}")
    run = interpreter.get_signature_runner()
    inputs, outputs = run.get_input_details(), run.get_output_details()
    require(len(inputs) == len(outputs) == 1, "The file has several inputs or outputs; hand over one of each.")
    ((name, entry),) = inputs.items()
    shape = tuple(np.shape(images)[1:])
    wanted = tuple(entry["shape"][1:])
    require(wanted == shape, f"The file takes images of the shape {wanted}; these have {shape}.")
    maps = [tensor["dtype"] for tensor in interpreter.get_tensor_details() if len(tensor["shape"]) == 4]
    floats = sum(kind == np.float32 for kind in maps)
    require(
        floats <= FLOATS_ALLOWED,
        f"{floats} of {len(maps)} arrays between the layers are float32: full int8 needs a representative_dataset.",
    )
    by_keras = np.asarray(model.predict(images, verbose=0)).argmax(axis=-1)
    right, largest = np.mean(by_keras == labels), np.unique(labels, return_counts=True)[1].max() / len(labels)
    require(
        right > largest,
        f"The Keras model is right for {right:.0%}; to name the largest class always is right for {largest:.0%}. "
        "Train the head first.",
    )
    answers = [run(**{name: np.asarray(one, entry["dtype"])[None]}) for one in images]
    by_file = np.array([next(iter(answer.values()))[0].argmax() for answer in answers])
    agreement = float(np.mean(by_file == by_keras))
    require(
        agreement >= AGREEMENT_EXPECTED,
        f"File and model agree on {agreement:.0%} of {len(images)} images only: calibrate with images like these, "
        "0 to 255.",
    )
    size = Path(file).stat().st_size / 1e6
    print(f"{size:.1f} MB in int8. Same class as Keras for {agreement:.0%} of {len(images)} images.")
    print(f"Accuracy: Keras {right:.2f}, file {np.mean(by_file == labels):.2f}.")
    return agreement
