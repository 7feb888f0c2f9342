"""Checks of the exercises of lesson 02: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from course_utils.data.image_folders import class_folders, visible_files
from course_utils.exercises.answers import require
from course_utils.exercises.guessing import limit_of_guessing


def check_extract(extract: Callable) -> None:
    """Check ``extract(backbone, dataset)``: features and labels of the same images, each computed once.

    Parameters
    ----------
    extract : callable
        Takes a frozen model and a batched dataset of (images, labels) that is shuffled anew at every pass;
        returns two arrays of shape (n, d) and (n,).

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    backbone, dataset, passes = _small_backbone(), *_counted_dataset(n=10)
    answer = extract(backbone, dataset)
    require(isinstance(answer, tuple) and len(answer) == 2, "extract must return two things: features and labels.")
    require(
        not any(isinstance(part, (list, tuple)) for part in answer),
        "extract returns a list: join its batches into one array with np.concatenate.",
    )
    features, labels = (np.asarray(part) for part in answer)
    require(
        not (features.ndim == 1 and labels.ndim == 2),
        "The two things are swapped: return the features first, then the labels.",
    )
    require(
        features.shape == (10, 2),
        f"The features of 10 images have the shape {features.shape} instead of (10, 2): "
        "are all batches there, the smaller last one too, joined along the first axis?",
    )
    require(labels.shape == (10,), f"The labels of 10 images have the shape {labels.shape} instead of (10,).")
    require(
        np.allclose(np.sort(features[:, 0]), np.arange(1, 11)),
        "The features are not those of the images in the dataset: give the backbone each batch once and unchanged; it "
        "has its own preprocessing.",
    )
    require(
        np.allclose(features[:, 0], labels),
        "Features and labels are of different images: the dataset is shuffled at every pass; take both from one.",
    )
    require(
        np.allclose(features[:, 1], labels),
        "The backbone ran as if it were in training (its Dropout was at work): call it with training=False.",
    )
    require(passes() == 1, f"The dataset was read {passes()} times; once is enough.")
    print("extract is right.")


def _small_backbone() -> keras.Model:
    """Return a model from an image of one grey value to twice that value, the second time behind Dropout."""
    inputs = keras.Input((4, 4, 3))
    value = keras.layers.GlobalAveragePooling2D()(inputs)[:, :1]
    return keras.Model(inputs, keras.layers.Concatenate()([value, keras.layers.Dropout(0.5)(value)]))


def _counted_dataset(n: int) -> tuple[tf.data.Dataset, Callable[[], int]]:
    """Return a shuffled dataset of grey images labelled by their grey value, and how often it was read."""
    started = []

    def images():
        started.append(1)
        for label in np.random.default_rng(len(started)).permutation(np.arange(1, n + 1)):
            yield np.full((4, 4, 3), label, np.float32), label

    signature = (tf.TensorSpec((4, 4, 3), tf.float32), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(images, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(n)).batch(4), lambda: len(started)


def check_pipeline(build: Callable, folder: str | Path, backbone: keras.Model) -> None:
    """Check ``build(folder, backbone)``, a pipeline without the four planted faults.

    Parameters
    ----------
    build : callable
        Returns a batched dataset of (images, labels), a compiled model and the class names. The files are read
        once; the images are augmented in the dataset or by layers of the model in front of the backbone.
    folder : str or pathlib.Path
        The folder that `build` gets, with a subfolder for each class.
    backbone : keras.Model
        The pretrained network that `build` gets; it takes raw pixels 0-255.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    flag = backbone.trainable
    try:
        _check_pipeline(build, folder, backbone)
    finally:
        backbone.trainable = flag  # the reader's later cells use it
    print("The pipeline is mended.")


def _check_pipeline(build: Callable, folder: str | Path, backbone: keras.Model) -> None:
    """Raise an ExerciseError with the first fault of a pipeline; leaves the backbone's flag as it happens to be."""
    expected = list(class_folders(folder))
    backbone.trainable = True  # so that a backbone frozen by an earlier cell does not hide the fault
    _check_pixels_and_names(lambda probe: build(probe, backbone), expected)
    backbone.trainable = True
    dataset, model, _ = build(folder, backbone)
    epochs = [np.concatenate([images for images, _ in dataset]) for _ in range(2)]
    require(
        _differ(*epochs) or _augments(model, backbone, epochs[0][:8]),
        "Two epochs bring exactly the same images: is the augmentation there, and behind the cache?",
    )
    answers = model(epochs[0][:8], training=False)  # which also builds the model
    frozen = not backbone.trainable_weights
    backbone.trainable = False
    require(frozen, "The backbone is not frozen: fit would change its weights and its BatchNorm statistics.")
    require(
        len(model.trainable_weights) == 2 and answers.shape[-1] == len(expected),
        f"The model should train one Dense layer of {len(expected)} classes and nothing else.",
    )
    outputs = backbone(epochs[0][:8], training=False)
    for layer in model.layers[model.layers.index(backbone) + 1 :] if backbone in model.layers else model.layers[-1:]:
        outputs = layer(outputs)
    require(
        np.allclose(answers, outputs, atol=1e-4),
        "A layer of the model changes the pixels in front of the backbone, which has its own preprocessing: remove it.",
    )


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two sets of images are different, in whatever order they came."""
    return not np.allclose(*[np.sort(images.mean(axis=(1, 2, 3))) for images in (one, other)])


def _augments(model: keras.Model, backbone: keras.Model, images: np.ndarray) -> bool:
    """Return whether the layers in front of the backbone change images anew in each training step."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if backbone not in layers[1:]:
        return False
    in_front = keras.Sequential(layers[: layers.index(backbone)])
    return _differ(*[np.asarray(in_front(images, training=True)) for _ in range(2)])


def _check_pixels_and_names(build: Callable, expected: list[str]) -> None:
    """Build on images of one colour for each class, so that the dataset shows what became of pixels and names."""
    shares = np.linspace(0, 1, len(expected))
    colours = np.stack([90 + 160 * shares, 40 + 160 * shares, 5 + 60 * shares], axis=1).astype("uint8")
    with TemporaryDirectory() as probe:
        for name, colour in zip(expected, colours, strict=True):
            Path(probe, name).mkdir()
            for number in range(4):
                Image.new("RGB", (64, 64), tuple(colour.tolist())).save(Path(probe, name, f"{number}.png"))
        dataset, _, names = build(probe)
        images, labels = (np.concatenate(part) for part in zip(*dataset, strict=True))
        for file in Path(probe).rglob("*.png"):
            file.unlink()
        require(
            _can_be_read(dataset), "Each epoch reads and decodes the files again: put a cache right after the loading."
        )
    height, width = images.shape[1] // 4, images.shape[2] // 4
    seen = np.median(images[:, height:-height, width:-width], axis=(1, 2))  # the centre: augmentation fills borders
    require(
        np.allclose(seen.mean(axis=0), colours.mean(axis=0), atol=20),
        f"Red, green and blue are {colours.mean(axis=0).round()} on average in the files, but "
        f"{seen.mean(axis=0).round(2)} in the dataset: the backbone has its own preprocessing and wants raw pixels.",
    )
    require(sorted(names) == expected, f"The names are {', '.join(names)}, but the folders are {', '.join(expected)}.")
    for label, name in enumerate(names):
        distance = np.abs(colours - np.median(seen[labels == label], axis=0)).sum(axis=1)
        found = expected[distance.argmin()]
        require(
            name == found,
            f"Class {label} is called {name!r}, but its images lie in {found!r}: take the names from the dataset.",
        )


def _can_be_read(dataset: tf.data.Dataset) -> bool:
    try:
        return all(True for _ in dataset)
    except tf.errors.NotFoundError:
        return False


def check_predictions(true: np.ndarray, predicted: np.ndarray, folder: str | Path) -> None:
    """Check predictions for all images of a folder, and compare them with guessing.

    Parameters
    ----------
    true, predicted : array of int, shape (n,)
        True and predicted class numbers, in the same order; classes are numbered in alphabetical order.
    folder : str or pathlib.Path
        With a subfolder for each class; n images in all.

    Raises
    ------
    ExerciseError
        When the arrays cannot belong to the folder, or the predictions are not clearly better than
        guessing: the same predictions in random order reach their balanced accuracy in one of a hundred cases.
    """
    require(true is not None and predicted is not None, "true or predicted is still None: fill both.")
    labels, predicted = np.asarray(true), np.asarray(predicted)
    counts = [len(visible_files(path)) for path in class_folders(folder).values()]
    chance = 1 / len(counts)
    require(
        labels.shape == predicted.shape == (sum(counts),),
        f"true has the shape {labels.shape} and predicted {predicted.shape}; the folder has {sum(counts)} images.",
    )
    require(
        np.bincount(labels, minlength=len(counts)).tolist() == counts,
        "The labels in true do not count as many images of each class as the folder holds: are they of this folder?",
    )
    require(
        np.isin(predicted, np.arange(len(counts))).all(),
        f"Predictions must be class numbers from 0 to {len(counts) - 1}.",
    )
    accuracy, limit = balanced_accuracy_score(labels, predicted), limit_of_guessing(labels, predicted)
    require(
        accuracy > limit + 1e-9,
        f"The balanced accuracy is {accuracy:.2f}, no better than guessing: the same predictions in random order reach "
        f"up to {limit:.2f}. Do true and predicted belong to the same images, from one pass?",
    )
    print(f"Balanced accuracy {accuracy:.2f}; guessing gives {chance:.3g}.")
