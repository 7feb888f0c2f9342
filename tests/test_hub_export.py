"""BERT as two SavedModels in the interface of TensorFlow Hub, and the classifier of its tutorials on top."""

from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from course_utils.errors import CourseError
from course_utils.models import HubLayer
from course_utils.text import hub_export, load_minilm, tokenize
from course_utils.text.hub_export import export_bert

pytest.importorskip("tensorflow_text", reason="is not made for Windows")
REFERENCE = np.load(Path(__file__).parent / "reference" / "minilm.npz")
TEXTS = [str(sentence) for sentence in REFERENCE["sentences"]]
TEXTS += ["café\u00a0crème", "½ price!!", "좋은 영화였다", "a\u200bb [SEP] [MASK]", "don't  stop\t\n", "word " * 60, ""]
LENGTH = 32
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"a good bad dull film was the".split()]  # 12 pieces
SHORT = tf.constant(["a good film", "the film was bad", "good", "dull"])
LABELS = np.array([1, 0, 1, 0])


@pytest.fixture(scope="module")
def minilm():
    return load_minilm()


@pytest.fixture(scope="module")
def real(minilm, tmp_path_factory):
    return [HubLayer(handle) for handle in export_bert(*minilm, tmp_path_factory.mktemp("real"), LENGTH)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return the two handles of an untrained BERT of one layer."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("small")
    return export_bert(keras_hub.models.BertTokenizer(VOCABULARY, lowercase=True), small_bert(), folder, 8)


def small_bert(rows=12):
    return keras_hub.models.BertBackbone(rows, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16)


def classifier(handles, trainable=True):
    texts = keras.Input((), dtype="string")
    encoder = HubLayer(handles[1], trainable=trainable, name="encoder")
    vector = keras.layers.Dropout(0.1)(encoder(HubLayer(handles[0])(texts))["pooled_output"])
    model = keras.Model(texts, keras.layers.Dense(1)(vector))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def test_ids_are_those_of_the_tokenizer(minilm, real):
    arrays = {name: array.numpy() for name, array in real[0](tf.constant(TEXTS)).items()}
    assert {array.dtype for array in arrays.values()} == {np.dtype("int32")}
    assert {array.shape for array in arrays.values()} == {(len(TEXTS), LENGTH)}
    expected = tokenize(minilm[0], TEXTS[:-1], LENGTH)  # which refuses an empty text
    np.testing.assert_array_equal(arrays["input_word_ids"][:-1], expected["token_ids"])
    np.testing.assert_array_equal(arrays["input_mask"][:-1], expected["padding_mask"])
    np.testing.assert_array_equal(arrays["input_type_ids"], 0)
    assert arrays["input_mask"][-1].sum() == 2  # start and end


def test_vectors_are_those_of_the_backbone(minilm, real):
    tokenizer, backbone = minilm
    preprocessing, encoder = real
    found = encoder(preprocessing(tf.constant(TEXTS[:-1])))
    expected = backbone(tokenize(tokenizer, TEXTS[:-1], LENGTH))
    assert found.keys() == expected.keys() == {"pooled_output", "sequence_output"}
    for name, vectors in expected.items():
        np.testing.assert_allclose(found[name], vectors, atol=1e-4)


def test_the_gradient_reaches_every_part_of_the_encoder(real):
    arrays, encoder = real[0](tf.constant(TEXTS[:2])), real[1]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.saved_model(arrays, training=True)["pooled_output"])
    variables = encoder.saved_model.trainable_variables
    gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, variables)]
    # A bias of the keys moves all scores of a query alike, which the softmax does not see.
    without = {v.name for v, g in zip(variables, gradients, strict=True) if np.abs(g).max() < 1e-6}
    assert all("key" in name and "bias" in name for name in without), without
    assert sum(gradient.size for gradient in gradients) == 22_713_216


def test_parameters_and_shapes_are_known_to_keras(small):
    model = classifier(small)
    assert sorted(output.shape for output in model.get_layer("encoder").output) == [(None, 8), (None, 8, 8)]
    trained = sum(int(np.prod(weight.shape)) for weight in model.get_layer("encoder").trainable_weights)
    assert trained == small_bert().count_params()
    assert not classifier(small, trainable=False).get_layer("encoder").trainable_weights


def test_a_trainable_encoder_trains_and_survives_saving(small, tmp_path):
    model = classifier(small)
    variables = model.get_layer("encoder").saved_model.trainable_variables
    before = [variable.numpy() for variable in variables]
    model.fit(SHORT, LABELS, epochs=2, verbose=0)
    assert all(not np.array_equal(variable, old) for variable, old in zip(variables, before, strict=True))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(SHORT), model(SHORT))


def test_a_frozen_encoder_stays_and_drops_nothing_out(small):
    model = classifier(small, trainable=False)
    encoder = model.get_layer("encoder")
    before = [variable.numpy() for variable in encoder.saved_model.variables]
    model.fit(SHORT, LABELS, epochs=2, verbose=0)
    assert all(np.array_equal(v, old) for v, old in zip(encoder.saved_model.variables, before, strict=True))


def test_dropout_is_on_while_it_trains(small):
    arrays, encoder = HubLayer(small[0])(SHORT), HubLayer(small[1], trainable=True)
    vectors = [encoder(arrays, training=training)["pooled_output"].numpy() for training in (False, False, True, True)]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[2], vectors[0]) and not np.array_equal(vectors[2], vectors[3])


@pytest.mark.parametrize("length", [0, 2, 513, 8.5])
def test_lengths_that_no_bert_has_are_refused(tmp_path, length):
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY)
    with pytest.raises(CourseError, match=f"sequence_length={length} is impossible"):
        export_bert(tokenizer, small_bert(), tmp_path, length)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY)
    with pytest.raises(CourseError, match="The tokenizer knows 12 pieces, the backbone 5: give two that belong"):
        export_bert(tokenizer, small_bert(5), tmp_path)


def test_a_machine_without_tensorflow_text_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_export, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match="There is no tensorflow_text, which is not made for Windows: accepted are"):
        export_bert(keras_hub.models.BertTokenizer(VOCABULARY), small_bert(), tmp_path)
