"""SavedModels in the interface of TensorFlow Hub, one for text and one for images, exported here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_utils.errors import CourseError
from course_utils.models import HubLayer

WORDS = ["a", "good", "bad", "film", "play"]
TEXTS = tf.constant(["a good film", "a bad play", "good", "bad bad film"])
LABELS = np.array([1, 0, 1, 0])


class TextEncoder(tf.train.Checkpoint):
    """Vectors of words; their mean through a dense layer, as BERT's pooled output."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(0)
        numbers = tf.lookup.KeyValueTensorInitializer(WORDS, tf.range(1, 6, dtype=tf.int64))
        self.words = tf.lookup.StaticHashTable(numbers, default_value=0)
        self.table = tf.Variable(random.normal(size=(6, 8)), dtype="float32", name="words/table")
        self.kernel = tf.Variable(random.normal(size=(8, 4)), dtype="float32", name="pooler/kernel")
        self.released = tf.Variable(2026, dtype="int64", trainable=False, name="released")
        self.variables = [self.table, self.kernel, self.released]
        self.trainable_variables = [self.table, self.kernel]
        self.regularization_losses = [self.penalty]

    @tf.function(input_signature=[])
    def penalty(self):
        return 0.01 * tf.reduce_sum(self.kernel**2)

    @tf.function
    def __call__(self, texts, training=False):
        sequence = tf.gather(self.table, self.words.lookup(tf.strings.split(texts)).to_tensor())
        if training:
            sequence = tf.nn.dropout(sequence, 0.5)
        mean = tf.reduce_mean(sequence, axis=1)
        return {"default": mean, "pooled_output": tf.tanh(mean @ self.kernel), "sequence_output": sequence}


class ImageEncoder(tf.train.Checkpoint):
    """A convolution, normalised by moving means, and the mean over the image."""

    def __init__(self):
        super().__init__()
        self.filters = tf.Variable(tf.random.stateless_normal((3, 3, 3, 5), seed=(0, 0)), name="filters")
        self.moving_mean = tf.Variable(tf.zeros(5), trainable=False, name="moving_mean")
        self.variables, self.trainable_variables = [self.filters, self.moving_mean], [self.filters]

    @tf.function
    def __call__(self, images, training=False):
        x = tf.reduce_mean(tf.nn.conv2d(images, self.filters, strides=1, padding="SAME"), axis=(1, 2))
        mean = self.moving_mean
        if training:
            mean = tf.reduce_mean(x, axis=0)
            self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * mean)
        return x - mean


def export(encoder, signature, folder):
    for training in (False, True):
        encoder.__call__.get_concrete_function(signature, training=training)
    tf.saved_model.save(encoder, folder)
    return str(folder)


@pytest.fixture(scope="module")
def text_hub(tmp_path_factory):
    return export(TextEncoder(), tf.TensorSpec([None], tf.string), tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image_hub(tmp_path_factory):
    return export(ImageEncoder(), tf.TensorSpec([None, 8, 8, 3]), tmp_path_factory.mktemp("image"))


def classifier(layer):
    inputs = keras.Input((), dtype="string")
    head = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")
    model = keras.Model(inputs, head(layer(inputs)))
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy")
    return model


def moved_by_fit(layer):
    """Return the names of the SavedModel's variables that a short training moves."""
    before = {variable.name: variable.numpy() for variable in layer.saved_model.variables}
    classifier(layer).fit(TEXTS, LABELS, epochs=2, verbose=0)
    return {v.name for v in layer.saved_model.variables if not np.array_equal(before[v.name], v)}


def test_outputs_are_those_of_the_saved_model(text_hub):
    expected = TextEncoder()(TEXTS)
    found = HubLayer(text_hub)(TEXTS)
    assert found.keys() == expected.keys()
    for key, output in expected.items():
        np.testing.assert_allclose(found[key], output, atol=1e-6)
        np.testing.assert_allclose(HubLayer(text_hub, key)(TEXTS), output, atol=1e-6)


def test_shapes_are_known_to_a_functional_model(text_hub):
    layer = HubLayer(text_hub)
    assert not layer.supports_jit  # else fit() on a GPU would hand the strings to XLA
    outputs = layer(keras.Input((), dtype="string"))
    assert outputs["pooled_output"].shape == (None, 4)
    assert outputs["sequence_output"].shape == (None, None, 8)


def test_dictionaries_go_in_as_bert_takes_them(tmp_path):
    pieces = {name: tf.TensorSpec([None, None], tf.int32, name) for name in ("input_word_ids", "input_mask")}

    class Bert(tf.train.Checkpoint):
        @tf.function(input_signature=[pieces])
        def __call__(self, pieces):
            return {"sequence_output": tf.cast(pieces["input_word_ids"] * pieces["input_mask"], "float32")[..., None]}

    tf.saved_model.save(Bert(), tmp_path)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in pieces}
    model = keras.Model(inputs, HubLayer(tmp_path, "sequence_output")(inputs))
    found = model({"input_word_ids": tf.constant([[5, 6]]), "input_mask": tf.constant([[1, 0]])})
    np.testing.assert_array_equal(found, [[[5], [0]]])


def test_parameters_are_counted(text_hub, image_hub):
    for handle, total, trainable in ((text_hub, 48 + 32 + 1, 48 + 32), (image_hub, 135 + 5, 135)):
        for asked in (False, True):
            layer = HubLayer(handle, trainable=asked)
            assert layer.count_params() == total
            assert sum(weight.numpy().size for weight in layer.trainable_weights) == asked * trainable


def test_trainable_layer_trains_the_saved_model(text_hub):
    layer = HubLayer(text_hub, "pooled_output", trainable=True)
    assert moved_by_fit(layer) == {"words/table:0", "pooler/kernel:0"}
    for weight, variable in zip(layer.weights, layer.saved_model.variables, strict=True):
        np.testing.assert_array_equal(weight, variable)


def test_frozen_layer_stays(text_hub):
    assert not moved_by_fit(HubLayer(text_hub, "pooled_output"))
    thawed = HubLayer(text_hub, "pooled_output")
    thawed.trainable = True
    assert moved_by_fit(thawed)
    thawed.trainable = False
    assert not moved_by_fit(thawed)


def test_untracked_variables_train_nothing(text_hub):
    """The broken variant that notebook 06 shows: if this fails, the lesson is out of date."""

    class Untracked(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.saved_model = tf.saved_model.load(text_hub)

        def call(self, texts):
            return self.saved_model(texts)["pooled_output"]

    layer = Untracked()
    assert not layer.weights
    assert not moved_by_fit(layer)


def test_frozen_layer_runs_in_inference_mode(text_hub, image_hub):
    frozen, trains = HubLayer(text_hub, "default"), HubLayer(text_hub, "default", trainable=True)
    expected = frozen(TEXTS)
    np.testing.assert_array_equal(frozen(TEXTS, training=True), expected)
    np.testing.assert_array_equal(trains(TEXTS), expected)
    assert np.abs(trains(TEXTS, training=True) - expected).max() > 0.1
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    for trainable in (False, True):
        layer = HubLayer(image_hub, trainable=trainable)
        layer(images, training=True)
        assert layer.non_trainable_weights[-1].numpy().any() == trainable


def test_penalties_count_while_the_layer_trains(text_hub):
    for trainable in (False, True):
        layer = HubLayer(text_hub, trainable=trainable)
        layer(TEXTS)
        assert [float(loss) for loss in layer.losses] == [float(layer.saved_model.penalty())] * trainable


@pytest.mark.parametrize("trainable", [False, True])
def test_trained_weights_survive_saving(text_hub, tmp_path, trainable):
    layer = HubLayer(text_hub, "pooled_output", trainable=True, name="encoder")
    model = classifier(layer)
    model.fit(TEXTS, LABELS, epochs=2, verbose=0)
    layer.trainable = trainable
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))
    assert again.get_layer("encoder").get_config() == layer.get_config()
    assert again.get_layer("encoder").trainable is trainable
    if trainable:  # and goes on training
        assert moved_by_fit(again.get_layer("encoder"))


def test_image_model_survives_saving(image_hub, tmp_path):
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    model = keras.Sequential([keras.Input((8, 8, 3)), HubLayer(image_hub, trainable=True)])
    model.compile("sgd", "mse")
    model.fit(images, np.ones((4, 5)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))


def test_keras_layer_of_tensorflow_hub_fails_in_keras_3(text_hub):
    """The other mistake that notebook 06 shows."""
    hub = pytest.importorskip("tensorflow_hub", exc_type=ImportError)
    try:
        layer = hub.KerasLayer(text_hub, output_key="pooled_output")
    except (ImportError, ValueError) as error:
        pytest.skip(f"no hub.KerasLayer: {error}")
    with pytest.raises((ValueError, TypeError)):
        keras.Sequential([keras.Input((), dtype="string"), layer])
    with pytest.raises((ValueError, TypeError)):
        layer(keras.Input((), dtype="string"))


def test_unknown_outputs_are_refused(text_hub, image_hub):
    known = "'default', 'pooled_output', 'sequence_output', None"
    with pytest.raises(CourseError, match=f"^{text_hub} has no output 'pooled': accepted for output_key are {known}.$"):
        HubLayer(text_hub, "pooled")
    with pytest.raises(CourseError, match="no output 'default': accepted for output_key are None"):
        HubLayer(image_hub, "default")


def test_what_holds_no_saved_model_is_refused(tmp_path):
    for handle in (tmp_path, tmp_path / "nothing", 7):
        with pytest.raises(CourseError, match="There is no SavedModel in .*: accepted are"):
            HubLayer(handle)
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(CourseError, match="could be loaded from .*: accepted are"):
        HubLayer(tmp_path)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/encoder/1", "nowhere://encoder"])
def test_address_without_an_answer_is_refused(address):
    with pytest.raises(CourseError, match=f"Nothing could be loaded from {address} .*: accepted are"):
        HubLayer(address)


def test_saved_models_of_another_kind_are_refused(tmp_path):
    tf.saved_model.save(tf.train.Checkpoint(v=tf.Variable(1.0)), tmp_path / "no_call")
    with pytest.raises(CourseError, match="cannot be called: accepted are"):
        HubLayer(tmp_path / "no_call")
    encoder = ImageEncoder()
    encoder.trainable_variables = []
    handle = export(encoder, tf.TensorSpec([None, 8, 8, 3]), tmp_path / "nothing_to_train")
    with pytest.raises(CourseError, match="lists no trainable variables: accepted is trainable=False"):
        HubLayer(handle, trainable=True)
    HubLayer(handle)
