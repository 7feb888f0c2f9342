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


def noisy(draws):
    """Return a `private_gradient` whose noise is what `draws(draw, scale, d)` gives."""

    def private_gradient(gradients, clip, noise, draw):
        return gradient_with()(gradients, clip, 0, draw) + draws(draw, noise * clip, gradients.shape[1])

    return private_gradient


def test_a_right_private_gradient_is_accepted(capsys):
    check.check_private_gradient(gradient_with())
    assert capsys.readouterr().out == "private_gradient is right.\n"


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
        (noisy(lambda draw, scale, d: draw.normal(0, scale)), "draw one number for each place"),
        (noisy(lambda draw, scale, d: 0), "the same noise, or none"),
        (noisy(lambda draw, scale, d: draw.normal(scale / 12, scale, d)), "has a mean of 0.5 instead of 0"),
        (noisy(lambda draw, scale, d: draw.normal(0, 0.95 * scale, d)), "5.7 instead of 6"),
        (noisy(lambda draw, scale, d: draw.uniform(-1, 1, d) * scale * 3**0.5), "not normal"),
        (noisy(lambda draw, scale, d: draw.laplace(0, scale / 2**0.5, d)), "not normal"),
        (noisy(lambda draw, scale, d: np.random.normal(0, scale, d)), "and nothing else"),
    ],
)
def test_each_fault_of_private_gradient_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_private_gradient(answer)


def read_with(
    upright=True, on_white=("RGBA", "P"), divide=1, colours=slice(None), dtype="float32", shape=None, fixed=None
):
    """Return a `read` that has the faults asked for."""

    def read(file, size):
        image = Image.open(file)
        mode = image.mode
        image = ImageOps.exif_transpose(image) if upright is True else image
        image = image.rotate(-90) if upright == "always a quarter" and image.getexif() else image
        size = fixed or size
        image = shape(image, (size, size)) if shape else image
        if mode in on_white:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB").resize((size, size)), dtype)[..., colours] / np.array(divide, dtype)

    return read


def test_a_right_read_is_accepted(capsys):
    check.check_read(read_with())
    assert capsys.readouterr().out == "read is mended.\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (read_with(divide=255), "between 0 and 1"),
        (read_with(colours=slice(None, None, -1)), "BGR"),
        (read_with(colours=[0, 0, 0]), "was read as"),
        (read_with(on_white=()), "A transparent image was read as"),
        (read_with(on_white=("RGBA",)), "with a palette"),
        (read_with(upright=False), "exif_transpose"),
        (read_with(upright="always a quarter"), "not turned as it says"),
        (read_with(dtype="uint8"), "takes float32"),
        (read_with(shape=ImageOps.fit), "cut or padded"),
        (read_with(shape=ImageOps.pad), "cut or padded"),
        (read_with(fixed=16), "instead of \\(32, 32, 3\\)"),
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
def labels(model, images):
    right = model.predict(images, verbose=0).argmax(axis=1)
    right[:4] = (right[:4] + 1) % 3  # the model errs, too
    return right


@pytest.fixture(scope="module")
def convert(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")

    def converted(name, calibration=None):
        settings = {"optimizations": [tf.lite.Optimize.DEFAULT]}
        if calibration is not None:
            settings["representative_dataset"] = lambda: ([one[None]] for one in calibration)
        model.export(folder / f"{name}.tflite", format="litert", verbose=False, **settings)
        return folder / f"{name}.tflite"

    return converted


@pytest.fixture(scope="module")
def right_file(convert, images):
    return convert("right", images)


def test_a_full_int8_file_is_accepted(model, images, labels, right_file, capsys):
    agreement = check.check_file(model, right_file, images, labels)
    size, accuracy = capsys.readouterr().out.splitlines()
    assert 0.8 <= agreement <= 1 and f"in int8. Same class as Keras for {agreement:.0%} of" in size
    assert accuracy.startswith("Accuracy: Keras 0.90")


def test_a_file_without_calibration_is_refused(model, images, labels, convert):
    with pytest.raises(ExerciseError, match="needs a representative_dataset"):
        check.check_file(model, convert("weights"), images, labels)


def test_a_file_calibrated_with_another_scale_is_refused(model, images, labels, convert):
    with pytest.raises(ExerciseError, match="calibrate with images like these"):
        check.check_file(model, convert("scaled", images / 255), images, labels)


def test_a_model_that_has_not_learnt_is_refused(model, images, right_file):
    with pytest.raises(ExerciseError, match="Train the head first"):
        check.check_file(model, right_file, images, np.zeros(len(images), int))


@pytest.mark.parametrize(
    ("file", "chosen", "sentence"),
    [
        (b"the bytes", slice(None), "hand over the path"),
        ("nowhere.tflite", slice(None), "There is no file nowhere"),
        (__file__, slice(None), "no LiteRT file"),
        (__file__, slice(0, 0), "no held-out images"),
    ],
)
def test_what_is_no_file_is_refused(model, images, labels, file, chosen, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_file(model, file, images[chosen], labels[chosen])


def test_images_without_as_many_labels_are_refused(model, images, labels):
    with pytest.raises(ExerciseError, match="40 images and 39 labels"):
        check.check_file(model, __file__, images, labels[1:])


def test_a_file_of_several_inputs_or_outputs_is_refused(model, images, labels, tmp_path):
    one, other = keras.Input((16, 16, 3), name="one"), keras.Input((16, 16, 3), name="other")
    for number, (inputs, outputs) in enumerate([([one, other], one + other), (one, [one + 1, one - 1])]):
        keras.Model(inputs, outputs).export(tmp_path / f"{number}.tflite", format="litert", verbose=False)
        with pytest.raises(ExerciseError, match="several inputs or outputs"):
            check.check_file(model, tmp_path / f"{number}.tflite", images, labels)


def test_images_of_another_size_are_refused(model, images, labels, right_file):
    with pytest.raises(ExerciseError, match="takes images of the shape"):
        check.check_file(model, right_file, images[:, :8], labels)
