"""The checks of lesson 03 accept right answers and name each planted fault."""

import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from course_utils.exercises import fine_tuning as check
from course_utils.exercises.answers import ExerciseError
from course_utils.exercises.rates import largest_rate


def let_train_with(base=True, norm=False, below=False, off_by_one=False, only_on=False, nothing=False):
    """Return a `let_train` that has the faults asked for."""

    def let_train(backbone, lowest):
        if nothing:
            return
        names = [layer.name for layer in backbone.layers]
        first = names.index(lowest) + off_by_one
        for position, layer in enumerate(backbone.layers):
            still = isinstance(layer, keras.layers.BatchNormalization) and not norm
            on = (position >= first or below) and not still
            if on or not only_on:
                layer.trainable = on
        if base:
            flags = [layer.trainable for layer in backbone.layers]
            backbone.trainable = True
            for layer, flag in zip(backbone.layers, flags, strict=True):
                layer.trainable = flag

    return let_train


def test_a_right_let_train_is_accepted(capsys):
    check.check_let_train(let_train_with())
    assert capsys.readouterr().out == "let_train is right.\n"


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"nothing": True}, "backbone.trainable is still False"),
        ({"base": False}, "backbone.trainable is still False"),
        ({"norm": True}, "BatchNormalization layer trains"),
        ({"below": True}, "lets conv1 train"),
        ({"off_by_one": True}, "leaves conv2 itself frozen"),
        ({"only_on": True}, "Called again for conv3"),
    ],
)
def test_each_fault_of_let_train_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_let_train(let_train_with(**faults))


def stage_two_with(base=True, still=True, new_head=False, rate=1e-4, compiled=True, frozen=()):
    """Return a `stage_two` that has the faults asked for."""

    def stage_two(model):
        backbone = model.layers[0]
        backbone.trainable = True
        if still:
            for layer in backbone.layers:
                layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        if not base:
            backbone.trainable = False
            for layer in backbone.layers[-4:]:
                layer.trainable = True
        if new_head:
            model = keras.Sequential([backbone, keras.layers.Dense(3, activation="softmax")])
        for layer in [*backbone.layers, model.layers[-1]]:
            if layer.name.startswith(tuple(frozen)):
                layer.trainable = False
        if compiled or new_head:
            model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        return model

    return stage_two


def test_a_mended_stage_two_is_accepted(capsys):
    check.check_stage_two(stage_two_with())
    assert capsys.readouterr().out == "stage_two is mended.\n"


def test_a_rate_that_warms_up_is_accepted():
    check.check_stage_two(
        stage_two_with(rate=keras.optimizers.schedules.CosineDecay(0.0, 50, warmup_target=1e-3, warmup_steps=10))
    )


def test_a_rate_that_warms_up_too_far_is_named():
    rate = keras.optimizers.schedules.CosineDecay(0.0, 500, warmup_target=0.1, warmup_steps=200)
    with pytest.raises(ExerciseError, match="rate reaches 0.1, beyond the cliff"):
        check.check_stage_two(stage_two_with(rate=rate))


@pytest.mark.parametrize(("lower", "others", "right"), [(1e-5, 1e-4, True), (1e-5, 0.1, False), (0.1, 1e-5, False)])
def test_each_of_several_rates_is_read(lower, others, right):
    def stage_two(model):
        model = stage_two_with()(model)
        adam, optimizers = keras.optimizers.Adam, keras.optimizers
        rates = optimizers.OptimizerMap(adam(others), {"conv1.*": adam(lower)})
        model.compile(optimizers.MultiOptimizer(rates), "sparse_categorical_crossentropy")
        return model

    if right:
        return check.check_stage_two(stage_two)
    with pytest.raises(ExerciseError, match="beyond the cliff"):
        check.check_stage_two(stage_two)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"base": False}, "set backbone.trainable = True first"),
        ({"still": False}, "statistics of BatchNormalization moved"),
        ({"new_head": True}, "fitted head was thrown away"),
        ({"rate": 0.1}, "beyond the cliff"),
        ({"rate": 3e-3}, "beyond the cliff"),
        ({"rate": 0.0}, "learning rate is 0"),
        ({"frozen": ["dense"]}, "The head is frozen"),
        ({"frozen": ["dense", "conv2", "conv3"]}, "is frozen"),
        ({"frozen": ["conv2", "conv3"]}, "top layer of the backbone is frozen"),
        ({"compiled": False}, "compile again"),
    ],
)
def test_each_fault_of_stage_two_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_stage_two(stage_two_with(**faults))


def test_a_stage_two_that_returns_nothing_is_named():
    with pytest.raises(ExerciseError, match="must return the model"):
        check.check_stage_two(lambda model: None)


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("blue", (0, 0, 250)), ("red", (250, 0, 0))):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (9 + i, 12), colour).save(tmp_path / name / f"{i}.png")
    return tmp_path


def red_or_blue(*, outputs=2, right=True, trained=True):
    """Return a model that tells red from blue by the mean of the channels."""
    pooled = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    model = keras.Sequential([pooled, keras.layers.Dense(outputs, activation="softmax")])
    sign = 1.0 if right else -1.0
    pooled.layers[-1].set_weights([np.eye(3), np.zeros(3)])
    kernel = np.zeros((3, outputs))
    kernel[2, 0] = kernel[0, 1] = sign
    model.layers[-1].set_weights([kernel, np.zeros(outputs)])
    pooled.trainable = trained
    return model


def test_a_model_of_the_readers_own_data_is_evaluated(folder, capsys):
    assert check.check_own_data(red_or_blue(), folder, frozen=0.5) == 1.0
    said = capsys.readouterr().out
    assert "fine-tuned 1.00, frozen 0.50" in said and said.count("\n") == 1
    assert re.findall(r"\d[.\d]*\b", said) == ["6", "0.17", "1.00", "0.50", "0.50"]


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"outputs": 5}, "has 5 outputs, but the folder has 2 classes"),
        ({"trained": False}, "Only the head trains"),
        ({"right": False}, "was the rate too large"),
    ],
)
def test_each_fault_of_the_readers_own_model_is_named(faults, sentence, folder):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_own_data(red_or_blue(**faults), folder, frozen=0.5)


@pytest.mark.parametrize("frozen", [None, "0.5", 50, 0.55, float("nan")])
def test_an_accuracy_that_the_frozen_network_cannot_have_is_named(frozen, folder):
    with pytest.raises(ExerciseError, match="no share of these 6 images"):
        check.check_own_data(red_or_blue(), folder, frozen)


def test_a_model_that_is_not_there_is_named(folder):
    with pytest.raises(ExerciseError, match="The model is None"):
        check.check_own_data(None, folder, 0.5)


def test_the_largest_rate_within_a_thousand_steps_is_found_and_the_steps_taken_stay():
    rises = keras.optimizers.schedules.CosineDecay(0.0, 500, warmup_target=0.3, warmup_steps=100)
    falls, late = (
        keras.optimizers.schedules.PiecewiseConstantDecay([step], rates)
        for step, rates in ((0, [0.9, 0.1]), (995, [0.1, 0.5]))
    )
    for rate, largest in ((rises, 0.3), (falls, 0.9), (late, 0.5), (0.002, 0.002)):
        optimizer = keras.optimizers.SGD(rate)
        optimizer.iterations.assign(7)
        assert largest_rate(optimizer) == pytest.approx(largest) and int(optimizer.iterations) == 7
    several = SimpleNamespace(optimizers=[keras.optimizers.SGD(rate) for rate in (0.1, 0.4, 0.2)])
    assert largest_rate(several) == pytest.approx(0.4)
