"""Checks of the exercises of lesson 03: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras.layers import BatchNormalization

from course_utils.exercises.answers import require

LARGEST_STEP = 3e-3  # Adam moves no weight further than its rate in a step
STEPS = 4


def check_let_train(let_train: Callable) -> None:
    """Check ``let_train(backbone, lowest)``: which layers train afterwards.

    Parameters
    ----------
    let_train : callable
        Takes a functional model and the name of a layer. Afterwards this layer and all above it
        train, but no layer below and no BatchNormalization.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    backbone = _small_backbone()
    backbone.trainable = False
    let_train(backbone, "conv2")
    flags = _check_flags(backbone)
    require(flags["conv2"], "let_train(backbone, 'conv2') leaves conv2 itself frozen; it is the lowest that trains.")
    require(flags["conv3"], "let_train(backbone, 'conv2') leaves conv3 frozen, which lies above it.")
    require(not flags["conv1"], "let_train(backbone, 'conv2') lets conv1 train, which lies below it.")
    let_train(backbone, "conv3")
    flags = _check_flags(backbone)
    require(
        flags["conv3"] and not flags["conv2"],
        "Called again for conv3, let_train leaves conv2 training: set the flag of every layer, True or False.",
    )
    print("let_train is right: the flags of backbone and layers agree, and BatchNorm stays frozen.")


def _check_flags(backbone: keras.Model) -> dict[str, bool]:
    """Return which layers have weights that train in the backbone, after a look at the two famous mistakes."""
    require(backbone.trainable, "backbone.trainable is still False, and hides the flags of all layers below it.")
    norms = [layer for layer in backbone.layers if isinstance(layer, BatchNormalization)]
    require(
        not any(norm.trainable for norm in norms), "A BatchNormalization layer trains; all of them must stay frozen."
    )
    return {layer.name: bool(layer.trainable_weights) for layer in backbone.layers}


def check_stage_two(stage_two: Callable) -> None:
    """Check ``stage_two(model)``, which gets a model after stage one and makes it ready to be fine-tuned.

    Parameters
    ----------
    stage_two : callable
        Takes a compiled and trained ``Sequential([backbone, head])`` whose backbone is frozen;
        returns a compiled model whose backbone trains, but for its BatchNormalization.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    images, labels = _images()
    backbone = _small_backbone()
    backbone.trainable = False
    model = keras.Sequential([backbone, keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, labels, verbose=0)
    expected = model.predict(images, verbose=0)
    answer = stage_two(model)
    require(isinstance(answer, keras.Model), "stage_two must return the model.")
    require(
        np.allclose(answer.predict(images, verbose=0), expected, atol=1e-5),
        "The model no longer predicts what it did after stage one: its fitted head was thrown away.",
    )
    require(
        bool(backbone.trainable_weights),
        "No weight of the backbone trains: its layers have their flags, but backbone.trainable is still False.",
    )
    _check_movement(answer, backbone, images, labels)
    print("stage_two is mended: fitted head, flags that count, still BatchNorm, a small rate, compiled again.")


def _check_movement(model: keras.Model, backbone: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Train for a few steps and look at what moves, and how far."""
    norms = [layer for layer in backbone.layers if isinstance(layer, BatchNormalization)]
    kernels = [layer for layer in backbone.layers if layer.weights and layer not in norms]
    before, means = _values(kernels), _values(norms)
    model.fit(images, labels, batch_size=len(images), epochs=STEPS, verbose=0)
    moved = max(np.abs(new - old).max() for new, old in zip(_values(kernels), before, strict=True))
    require(moved > 0, "The flags say that the backbone trains, yet fit leaves it where it was: compile again.")
    require(
        all(np.array_equal(new, old) for new, old in zip(_values(norms), means, strict=True)),
        "The weights or statistics of BatchNormalization moved in fit: freeze these layers.",
    )
    require(
        moved <= STEPS * LARGEST_STEP,
        f"A weight moved by {moved:.2g} in {STEPS} steps: such a rate destroys what was learned; try 1e-4.",
    )


def check_own_data(model: keras.Model, folder: str | Path, frozen: float) -> float:
    """Evaluate a fine-tuned model on a folder of images, and compare it with the frozen network.

    Parameters
    ----------
    model : keras.Model
        Takes raw pixels 0-255 of one size and gives a probability for each class.
    folder : str or pathlib.Path
        Test images, one subfolder for each class; classes in alphabetical order.
    frozen : float
        Accuracy of the frozen network on the same images.

    Returns
    -------
    float
        Accuracy of the model.

    Raises
    ------
    ExerciseError
        When the model does not fit the folder, its backbone does not train, or it is no better than guessing.
    """
    images = keras.utils.image_dataset_from_directory(
        folder, image_size=model.input_shape[1:3], shuffle=False, verbose=False
    )
    classes = len(images.class_names)
    require(
        model.output_shape[-1] == classes,
        f"The model has {model.output_shape[-1]} outputs, but the folder has {classes} classes.",
    )
    require(len(model.trainable_weights) > 2, "Only the head trains: unfreeze the backbone before stage two.")
    labels = np.concatenate([y for _, y in images])
    accuracy = float(np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels))
    chance = float(np.bincount(labels).max() / len(labels))
    require(
        accuracy > chance,
        f"The accuracy is {accuracy:.2f}; always saying the most frequent class gives {chance:.2f}: "
        "was the rate too large?",
    )
    print(
        f"{len(labels)} test images: fine-tuned {accuracy:.2f}, frozen {frozen:.2f}, most frequent class {chance:.2f}."
    )
    return accuracy


def _small_backbone() -> keras.Model:
    """Return three convolutions, two of them with BatchNormalization behind, and pooling."""
    x = inputs = keras.Input((8, 8, 3))
    for number in (1, 2, 3):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)
        if number < 3:
            x = BatchNormalization(name=f"norm{number}")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="backbone")


def _images() -> tuple[np.ndarray, np.ndarray]:
    """Return twelve random images of three classes."""
    random = np.random.default_rng(0)
    return random.normal(1.0, 2.0, (12, 8, 8, 3)).astype("float32"), np.arange(12) % 3


def _values(layers: list[keras.Layer]) -> list[np.ndarray]:
    return [value for layer in layers for value in layer.get_weights()]
