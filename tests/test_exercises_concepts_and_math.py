"""The checks of lesson 01 accept right answers and name each planted fault."""

import keras
import pytest
from PIL import Image

from course_utils.exercises import concepts_and_math as check
from course_utils.exercises.answers import ExerciseError

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def copy_of(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def carry_with(weights=True, shared=False, old_head=False, softmax=False, frozen=False, ten=False):
    """Return a `carry` that has the faults asked for."""

    def carry(source, classes):
        old = source.get_layer("M")
        new = old if shared else copy_of(old) if weights else keras.models.clone_model(old)
        new.trainable = not frozen
        head = keras.layers.Dense(10 if ten else classes, activation="softmax" if softmax else None)
        if old_head and classes == 10:
            head = copy_of(keras.Sequential([keras.Input((64,)), source.get_layer("L")])).layers[-1]
        return keras.Sequential([new, head])

    return carry


def test_a_right_carry_is_accepted(capsys):
    check.check_carry(carry_with())
    assert capsys.readouterr().out == "carry is right.\n"


def test_a_carry_that_builds_the_network_of_the_lesson_is_accepted():
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(16, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.Flatten()]
    layers += [keras.layers.Dense(64, activation="relu")]

    def carry(source, classes):
        M = keras.Sequential(layers)
        M.set_weights(source.get_layer("M").get_weights())
        return keras.Sequential([M, keras.layers.Dense(classes)])

    check.check_carry(carry)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"weights": False}, "does not have the weights of M"),
        ({"shared": True}, "changed the source"),
        ({"old_head": True}, "the old head came along"),
        ({"softmax": True}, "gives probabilities"),
        ({"frozen": True}, "A part is frozen"),
        ({"ten": True}, r"gives \(10,\) numbers"),
    ],
)
def test_each_fault_of_carry_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_carry(carry_with(**faults))


def test_a_carry_that_returns_nothing_is_named():
    with pytest.raises(ExerciseError, match="must return the network"):
        check.check_carry(lambda source, classes: None)


def make_ready_with(weights=True, pixels=(-1, 255), loss=LOGITS, compiled=True, rate=0.002, copied=True, end=()):
    """Return a `make_ready` that has the faults asked for."""

    def make_ready(source):
        network = source if not copied else copy_of(source) if weights else keras.models.clone_model(source)
        scale, offset = pixels
        model = keras.Sequential([keras.layers.Rescaling(scale, offset=offset), network, *end])
        if compiled:
            model.compile(keras.optimizers.Adam(rate), loss)
        return model

    return make_ready


def test_a_mended_make_ready_is_accepted(capsys):
    check.check_make_ready(make_ready_with())
    assert capsys.readouterr().out == "make_ready is mended.\n"


def test_probabilities_with_their_own_loss_are_accepted():
    check.check_make_ready(make_ready_with(end=[keras.layers.Softmax()], loss="sparse_categorical_crossentropy"))


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"weights": False}, "weights were not carried over"),
        ({"pixels": (1, 0)}, "the pixels as they are"),
        ({"pixels": (1 / 255, 0)}, r"the pixels divided by 255 \(it"),
        ({"pixels": (-1 / 255, 1)}, "the pixels inverted and divided by 255"),
        ({"pixels": (-1, 0)}, "with their sign turned"),
        ({"loss": "sparse_categorical_crossentropy"}, "does the loss know that they are logits"),
        ({"end": [keras.layers.Softmax(), keras.layers.Reshape((10,))]}, "does the loss know"),
        ({"compiled": False}, "not compiled"),
        ({"rate": 0.0}, "learning rate must not be 0"),
        ({"copied": False}, "changed the source"),
    ],
)
def test_each_fault_of_make_ready_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_make_ready(make_ready_with(**faults))


def ending_in(activation):
    return lambda source, classes: keras.Sequential(
        [copy_of(source.get_layer("M")), keras.layers.Dense(classes, activation=activation)]
    )


def test_probabilities_are_told_from_logits():
    check.check_carry(ending_in("softplus"))  # none below zero, their sum is not 1
    check.check_carry(ending_in(lambda x: x - keras.ops.mean(x, axis=1, keepdims=True) + 1 / x.shape[1]))  # sum of 1
    for sure in (1, 1e4):  # so sure that all but one are 0
        with pytest.raises(ExerciseError, match="gives probabilities"):
            check.check_carry(ending_in(lambda x, sure=sure: keras.ops.softmax(sure * x)))


@pytest.fixture
def folder(tmp_path):
    for name in ("blue", "red"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (9, 12)).save(tmp_path / name / f"{i}.png")
    return tmp_path


ALONE = [0.5, 0.6, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(
    ("carried", "gain", "verdict"),
    [
        ([0.8, 0.9, 0.7, 0.8, 0.9], 0.32, "it helps"),
        ([0.1, 0.3, 0.1, 0.2, 0.2], -0.32, "it harms"),
        ([0.6, 0.5, 0.4, 0.6, 0.5], 0.02, "no clear difference"),
    ],
)
def test_pairs_are_compared(carried, gain, verdict, folder, capsys):
    assert check.check_pairs(carried, ALONE, folder) == pytest.approx(gain)
    assert capsys.readouterr().out.rstrip().endswith(f"{verdict}.")


@pytest.mark.parametrize(
    ("carried", "sentence"),
    [
        ([], "There are 0 and 5 accuracies"),
        ([0.8, 0.9, 0.7, 0.8], "There are 4 and 5 accuracies"),
        ([80, 90, 70, 80, 90], "no share of the 10 images"),
        ([0.85, 0.9, 0.7, 0.8, 0.9], "no share of the 10 images"),
        ([-0.1, 0.9, 0.7, 0.8, 0.9], "no share of the 10 images"),
        ([1.1, 0.9, 0.7, 0.8, 0.9], "no share of the 10 images"),
        ([float("nan")] * 5, "no share of the 10 images"),
        (ALONE, "Both lists are the same"),
        ([0.8] * 5, "one value five times"),
    ],
)
def test_lists_that_cannot_be_such_pairs_are_named(carried, sentence, folder):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_pairs(carried, ALONE, folder)
