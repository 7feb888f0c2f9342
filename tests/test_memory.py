"""Working memory against arithmetic done by hand, and against processes that really take it."""

import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from course_utils.errors import CourseError
from course_utils.zoo import memory
from course_utils.zoo.memory import count_memory, measure_memory, peak_memory


def wide_network(size=128):
    """Return a network of one convolution, whose output is twenty times as large as its input."""
    inputs = keras.Input((size, size, 3))
    return keras.Model(inputs, layers.GlobalMaxPooling2D()(layers.Conv2D(60, 3)(inputs)))


def test_memory_by_hand():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 1)(inputs)  # 32 numbers in, 128 out
    x = layers.ReLU()(x)  # in place
    y = layers.Conv2D(8, 1)(x)
    z = layers.Conv2D(8, 1)(y)  # x waits for the sum, beside y and z
    model = keras.Model(inputs, layers.Add()([x, z]))
    assert count_memory(model, 10) == pytest.approx(4 * 10 * 3 * 128 / 1e6)


def test_a_fresh_process_measures_what_was_counted():
    model = wide_network()
    model(np.ones((64, 128, 128, 3), "float32"))  # memory that this process now has to spare
    assert 0.8 < measure_memory(model, 32) / count_memory(model, 32) < 2.5


def test_a_failing_process_says_why():
    @keras.saving.register_keras_serializable(package="tests")
    class Unknown(layers.Layer):
        def call(self, pixels):
            return pixels

    inputs = keras.Input((8, 8, 3))
    with pytest.raises(CourseError, match="could not run lost on 2 images: TypeError: .*deserialized"):
        measure_memory(keras.Model(inputs, Unknown()(inputs), name="lost"), 2)


@pytest.fixture
def process(monkeypatch):
    """What the fresh process answers, and how it was started."""
    answer = SimpleNamespace(returncode=0, stdout="greetings\n12.5\n", stderr="", started=[])

    def run(command, **options):
        answer.started.append((command[-1], options["env"]["CUDA_VISIBLE_DEVICES"]))
        return answer

    monkeypatch.setattr(memory.subprocess, "run", run)
    return answer


def test_the_last_word_of_the_fresh_process_counts_and_it_has_no_gpu(process):
    assert measure_memory(wide_network(8), 3) == 12.5 and process.started == [("3", "-1")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("Killed", "exit code -9, perhaps for want of memory$"),
        ("FirstError: one\nMemoryError: two\n note: NoError: three\nend", "MemoryError: two$"),
    ],
)
def test_a_process_that_ended_is_told_with_its_last_error(process, words, reason):
    process.returncode, process.stderr = -9, words
    with pytest.raises(CourseError, match=f"could not run .* on 2 images: {reason}"):
        measure_memory(wide_network(8), 2)


def test_a_model_of_any_size_is_refused_at_once():
    with pytest.raises(CourseError, match="one fixed size"):
        measure_memory(wide_network(size=None), 2)


def test_peak_memory_sees_a_large_array():
    def work():
        array = np.ones(25_000_000)  # 200 MB, written to
        time.sleep(0.05)
        return array.sum()

    assert 150 < peak_memory(work) < 300


def test_peak_memory_passes_errors_on():
    def broken():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        peak_memory(broken)
