"""The checks of lesson 12 accept right answers and name each planted fault."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image, ImageOps

from course_utils.exercises import product as check
from course_utils.exercises.answers import ExerciseError


def gradient_with(each=True, summed=True, factor=True, own=True, keep_short=True, safe=True):
    """Return a `private_gradient` that has the faults asked for."""

    def private_gradient(gradients, clip, noise, draw):
        draw = draw if own else np.random.default_rng(0)
        if not each:
            mean = gradients.mean(axis=0)
            clipped = np.tile(mean * min(1, clip / max(np.linalg.norm(mean), 1e-12)), (len(gradients), 1))
        else:
            length = np.linalg.norm(gradients, axis=1, keepdims=True)
            unit = gradients / (np.maximum(length, 1e-12) if safe else length)
            clipped = unit * (np.minimum(length, clip) if keep_short else clip)
        total = clipped.sum(axis=0) if summed else clipped.mean(axis=0)
        return total + draw.normal(0, noise * (clip if factor else 1), gradients.shape[1])

    return private_gradient


def test_a_right_private_gradient_is_accepted(capsys):
    check.check_private_gradient(gradient_with())
    assert "private_gradient is right" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (gradient_with(each=False), "shorten each image's gradient by itself"),
        (gradient_with(summed=False), "return their sum"),
        (gradient_with(factor=False), "3.0 instead of 6"),
        (gradient_with(own=False), "use draw"),
        (gradient_with(keep_short=False), "must be summed as they are"),
        (gradient_with(safe=False), "length 0 gives NaN"),
        (lambda gradients, clip, *_: np.clip(gradients, -clip, clip).sum(axis=0), "keep its direction"),
        (lambda gradients, *_: gradients, "instead of"),
        (lambda *_: None, "instead of"),
    ],
)
def test_each_fault_of_private_gradient_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_private_gradient(answer)


def read_with(upright=True, on_white=True, divide=1, colours=slice(None)):
    """Return a `read` that has the faults asked for."""

    def read(file, size):
        image = Image.open(file)
        image = ImageOps.exif_transpose(image) if upright else image
        if on_white:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB").resize((size, size)), "float32")[..., colours] / divide

    return read


def test_a_right_read_is_accepted(capsys):
    check.check_read(read_with())
    assert "read is mended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (read_with(divide=255), "between 0 and 1"),
        (read_with(colours=slice(None, None, -1)), "was read as"),
        (read_with(on_white=False), "instead of white"),
        (read_with(upright=False), "exif_transpose"),
        (lambda file, size: np.zeros((1, size, size, 3)), "instead of \\(16, 16, 3\\)"),
    ],
)
def test_each_fault_of_read_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_read(answer)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(images):
    keras.utils.set_random_seed(0)
    body = [layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(8, 3, activation="relu")]
    model = keras.Sequential([keras.Input((16, 16, 3)), *body, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.layers[-1].bias.assign(-model.predict(images, verbose=0).mean(axis=0))  # each class for some images
    model.layers[-1].kernel.assign(50 * model.layers[-1].kernel)
    model.layers[-1].bias.assign(-(model.predict(images, verbose=0) - model.layers[-1].bias.numpy()).mean(axis=0))
    return model


@pytest.fixture(scope="module")
def convert(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved_model")
    model.export(folder, verbose=False)

    def converted(calibration=None):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if calibration is not None:
            converter.representative_dataset = lambda: ([one[None]] for one in calibration)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()

    return converted


def test_a_full_int8_file_is_accepted(model, images, convert, capsys):
    agreement = check.check_file(model, convert(images), images)
    assert 0.8 <= agreement <= 1 and "in int8. Same class as Keras" in capsys.readouterr().out


def test_a_file_without_calibration_is_refused(model, images, convert):
    with pytest.raises(ExerciseError, match="needs a representative_dataset"):
        check.check_file(model, convert(), images)


def test_a_file_calibrated_with_another_scale_is_refused(model, images, convert):
    with pytest.raises(ExerciseError, match="calibrate with images like these"):
        check.check_file(model, convert(images / 255), images)


@pytest.mark.parametrize(
    ("file", "chosen", "sentence"),
    [
        (None, slice(None), "hand over the bytes"),
        (b"no model", slice(None), "no LiteRT file"),
        (b"", slice(0, 0), "no held-out images"),
    ],
)
def test_what_is_no_file_is_refused(model, images, file, chosen, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_file(model, file, images[chosen])


def test_images_of_another_size_are_refused(model, images, convert):
    with pytest.raises(ExerciseError, match="takes images of the shape"):
        check.check_file(model, convert(images), images[:, :8])
