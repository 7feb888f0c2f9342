"""Twenty labelled ImageNet photos, for checking that a pretrained network sees what it should."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from course_utils.data.assets import fetch
from course_utils.data.dataset import Samples
from course_utils.errors import CourseError, whole_number


def load_imagenet_photos(size: int = 224) -> Samples:
    """Load twenty photos of the ImageNet validation set.

    The shorter side is resized to ``size`` (bicubic) and the middle square is cut out.

    Parameters
    ----------
    size : int
        Side of the squares in pixels.

    Returns
    -------
    Samples
        ``x`` uint8 RGB, 0-255, shape (20, size, size, 3); ``y`` the ImageNet class numbers 0-999
        in the order of ``keras.applications``. One photo is 0.05 of accuracy.

    References
    ----------
    Rauber, Zimmermann, Bethge & Brendel (2020), https://doi.org/10.21105/joss.02607
    """
    size = whole_number("size", size)
    files = sorted(fetch("imagenet_photos").glob("*.jpg"))
    labels = [int(file.stem.split("_")[-1]) for file in files]  # imagenet_NN_LABEL.jpg
    images = np.stack([middle_square(file, size) for file in files])
    return Samples(images, np.array(labels, dtype=np.int64))


def middle_square(file: Path, size: int) -> np.ndarray:
    """Read an image file, resize its shorter side to ``size`` and cut out the middle square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        RGB, 0-255.

    Raises
    ------
    CourseError
        If :func:`read_upright` refuses the file.
    """
    return np.asarray(ImageOps.fit(read_upright(file), (size, size), Image.Resampling.BICUBIC))


def read_upright(file: Path) -> Image.Image:
    """Read an image file as RGB; the orientation that a camera noted is applied, transparent parts become white.

    Raises
    ------
    CourseError
        If the file cannot be read as an image, or has more than 16 bits a channel.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:  # of damaged notes by the camera
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode.startswith(("I", "F")):
                raise CourseError(f"The image {file} has more than 16 bits a channel; convert it.")
            rgba = image.convert("RGBA")
    except CourseError:
        raise
    except Exception as error:  # damaged bytes fail in many ways, which all mean the same
        raise CourseError(f"The image {file} cannot be read ({error}); replace or remove it.") from error
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
