"""Costs against arithmetic done by hand, published counts, and a second library."""

import keras
import numpy as np
import pytest
from keras import layers

from course_utils.errors import CourseError
from course_utils.models.folding import fold_batch_norm
from course_utils.zoo import cost, load_backbone
from course_utils.zoo.cost import compiled_pass, count_flops, measure_cost, median_seconds


def small_network():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 4 x 4
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.SeparableConv2D(5, 3, padding="valid")(x)  # 2 x 2 x 5
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))


def test_operations_by_hand():
    conv = 9 * 3 * 4 * 16
    depthwise = 9 * 4 * 16
    separable = (9 * 4 + 4 * 5) * 4
    assert count_flops(small_network()) == 2 * (conv + depthwise + separable + 5 * 7)


def test_a_shared_layer_counts_at_every_call():
    shared = layers.Conv2D(3, 1)
    inputs = keras.Input((4, 4, 3))
    assert count_flops(keras.Model(inputs, shared(shared(inputs)))) == 2 * 2 * 9 * 16


def test_grouped_convolution_by_hand():
    inputs = keras.Input((4, 4, 8))
    model = keras.Model(inputs, layers.Conv2D(6, 3, groups=2, padding="same")(inputs))
    assert count_flops(model) == 2 * 9 * 4 * 6 * 16


def test_a_model_within_a_model_by_hand():
    stem = keras.Sequential([layers.Conv2D(4, 3, padding="same"), layers.ReLU()])
    inputs = keras.Input((4, 4, 3))
    body = keras.Model(inputs, layers.Conv2D(5, 1)(stem(inputs)))
    outer = keras.Model(inputs, body(inputs * 2))
    assert count_flops(outer) == 2 * 16 * (9 * 3 * 4 + 4 * 5)


def test_channels_first_counts_the_same():
    counts = []
    for order, shape in (("channels_last", (8, 6, 3)), ("channels_first", (3, 8, 6))):
        inputs = keras.Input(shape)
        x = layers.Conv2D(4, 3, padding="same", data_format=order)(inputs)
        x = layers.SeparableConv2D(5, 3, data_format=order)(layers.DepthwiseConv2D(3, data_format=order)(x))
        counts.append(count_flops(keras.Model(inputs, x)))
    assert counts[0] == counts[1]


def test_sums_and_activations_of_functions_are_left_out():
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.ops.relu(layers.Conv2D(3, 1)(inputs) + inputs) * 2)
    assert count_flops(model) == 2 * 9 * 16


# Multiplications in millions: Lite without its head and lesser layers, so a little below what is published.
@pytest.mark.parametrize(
    "name, published, tolerance",
    [
        ("EfficientNetLite0", 407, 0.07),
        ("EfficientNetLite2", 899, 0.07),
        ("MobileNetV2", 300, 0.01),
        ("MobileNet", 569, 0.01),
        ("MobileNetV3Small", 56, 0.03),
        ("ConvNeXtTiny", 4500, 0.02),
    ],
)
def test_operations_as_published(name, published, tolerance):
    millions = count_flops(load_backbone(name, weights=None)) / 2e6
    assert millions == pytest.approx(published, rel=tolerance)


def test_folding_saves_no_convolution():
    model = load_backbone(input_size=64, weights=None)
    assert count_flops(fold_batch_norm(model)) == count_flops(model)


def test_operations_grow_with_the_pixels():
    small, large = (count_flops(load_backbone(input_size=size, weights=None)) for size in (64, 128))
    assert large == 4 * small


def test_measured_cost_of_a_small_network():
    found = measure_cost(small_network(), batch_size=2, repeats=4)
    assert found.parameters == small_network().count_params() and found.flops == count_flops(small_network())
    assert found.latency > 0 and found.batch_latency > 0


def test_a_batch_is_timed_a_quarter_as_often_and_told_for_each_image(monkeypatch):
    monkeypatch.setattr(cost, "compiled_pass", lambda model, batch_size: batch_size)
    monkeypatch.setattr(cost, "median_seconds", lambda batch_size, repeats: 1000 * batch_size + repeats)
    given = ((8, 20), (8, 3), ())
    found = [measure_cost(small_network(), *each) for each in given]
    assert [each.latency for each in found] == [1020, 1003, 1020]
    assert [each.batch_latency for each in found] == [8005 / 8, 8001 / 8, 32005 / 32]


def test_a_pass_takes_a_batch_of_the_size_asked_for():
    model = small_network()
    run = compiled_pass(model, 5)
    assert run().shape == (5, 7) and np.array_equal(run(), run()) and np.ptp(run()) > 0


def test_median_ignores_the_warm_up(monkeypatch):
    clock = iter([0, 9, 10, 11, 20, 22, 30, 36, 40, 41])  # calls of 9, 1, 2, 6 and 1 seconds
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert median_seconds(lambda: None, 4) == 1.5


def test_what_cannot_be_counted_is_refused():
    inputs = keras.Input((4, 6))
    with pytest.raises(CourseError, match="no rule.*LSTM"):
        count_flops(keras.Model(inputs, layers.LSTM(3)(inputs)))
    inputs = keras.Input((6, 6))
    products = [layers.Dot(1)([inputs, inputs]), inputs @ inputs, keras.ops.einsum("bij,bkj->bik", inputs, inputs)]
    products += [layers.Attention()([inputs, inputs]), layers.Lambda(lambda x: x @ x)(inputs)]
    for product in products:
        with pytest.raises(CourseError, match="no rule"):
            count_flops(keras.Model(inputs, product))
    inputs = [keras.Input((None, 3)), keras.Input((4, 3))]
    with pytest.raises(CourseError, match="one fixed size"):
        count_flops(keras.Model(inputs, layers.Dense(2)(inputs[0])))
    inputs = keras.Input((None, None, 3))
    with pytest.raises(CourseError, match="one fixed size"):
        count_flops(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)))
    with pytest.raises(CourseError, match="no functional model"):
        count_flops(keras.layers.Dense(2))
