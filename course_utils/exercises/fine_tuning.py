"""Checks of the exercises of lesson 03: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable, Iterable
from numbers import Real
from pathlib import Path

import keras
import numpy as np
from keras.layers import BatchNormalization

from course_utils.exercises.answers import require
from course_utils.exercises.rates import largest_rate

LARGEST_RATE = 1e-3  # at 3e-3 the lesson's figure shows the first ruined networks


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
    print("let_train is right.")


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
        returns a compiled model whose head and upper layers train, but no BatchNormalization, at a rate
        of at most 0.001.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    images, labels = _images()
    backbone = _small_backbone()
    backbone.trainable = False
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([backbone, head])
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
        "No weight of the backbone trains: set backbone.trainable = True first, then the flags of its layers.",
    )
    upper = {"head": head, "top layer of the backbone": backbone.get_layer("conv3")}
    for name, layer in upper.items():
        require(bool(layer.trainable_weights), f"The {name} is frozen: head and upper layers must train.")
    require(answer.compiled, "The model that stage_two returns is not compiled: compile it.")
    rate = largest_rate(answer.optimizer)
    require(rate > 0, "The learning rate is 0: nothing can move.")
    norms = [layer for layer in backbone.layers if isinstance(layer, BatchNormalization)]
    before, statistics = _values(upper.values()), _values(norms)
    answer.fit(images, labels, batch_size=len(images), epochs=4, verbose=0)
    require(
        not any(np.array_equal(*pair) for pair in zip(_values(upper.values()), before, strict=True)),
        "The flags say that head and upper layers train, yet fit leaves some where they were: compile again.",
    )
    require(
        all(np.array_equal(*pair) for pair in zip(_values(norms), statistics, strict=True)),
        "The weights or statistics of BatchNormalization moved in fit: freeze these layers.",
    )
    require(
        rate <= 1.001 * LARGEST_RATE,  # float32 rounds 1e-3 up
        f"The learning rate reaches {rate:.2g}, beyond the cliff of section 2: try Adam with 1e-4.",
    )
    print("stage_two is mended.")


def check_own_data(model: keras.Model, folder: str | Path, frozen: float) -> float:
    """Evaluate a fine-tuned model on a folder of images, and compare it with the frozen network.

    Parameters
    ----------
    model : keras.Model
        Takes raw pixels 0-255 of one size and gives a probability for each class.
    folder : str or pathlib.Path
        Test images, one subfolder for each class; classes in alphabetical order.
    frozen : float
        Accuracy of the frozen network on the same images, not rounded: a whole number of them over all.

    Returns
    -------
    float
        Accuracy of the model.

    Raises
    ------
    ExerciseError
        When the model or `frozen` does not fit the folder, the backbone does not train, or the model is no better
        than guessing.
    """
    require(isinstance(model, keras.Model), f"The model is {model!r}: give your fine-tuned Keras model.")
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
    require(
        isinstance(frozen, Real)
        and 0 <= frozen <= 1
        and abs(frozen * len(labels) - round(frozen * len(labels))) < 0.01,
        f"The accuracy of the frozen network is given as {frozen}, which is no share of these {len(labels)} images: "
        "evaluate the network on them before stage two, and do not round.",
    )
    accuracy = float(np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels))
    chance = float(np.bincount(labels).max() / len(labels))
    require(
        accuracy > chance,
        f"The accuracy is {accuracy:.2f}; always saying the most frequent class gives {chance:.2f}: "
        "was the rate too large?",
    )
    print(
        f"{len(labels)} test images (one is {1 / len(labels):.2g}): fine-tuned {accuracy:.2f}, frozen {frozen:.2f}, "
        f"most frequent class {chance:.2f}."
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


def _values(layers: Iterable[keras.Layer]) -> list[np.ndarray]:
    return [value for layer in layers for value in layer.get_weights()]
