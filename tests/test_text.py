"""Sentences: word pieces, batches of like length, and the carried BERT against PyTorch.

The references were recorded with transformers 5.23 on PyTorch 2.13 (CPU): ``AutoTokenizer`` and ``AutoModel`` on the
carried files, the mean of the last hidden states over the attention mask. sentence-transformers 6.2 gave the same.
"""

from pathlib import Path

import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tokenizers import Tokenizer

from course_utils import cache
from course_utils.data import fetch
from course_utils.errors import CourseError
from course_utils.text import load_minilm, predict_sorted, sentence_encoder, sentence_vectors, tokenize, vectors
from course_utils.text.sentences import LONGEST

REFERENCE = np.load(Path(__file__).parent / "reference" / "minilm.npz")
SENTENCES = [str(sentence) for sentence in REFERENCE["sentences"]]


@pytest.fixture(scope="module")
def minilm():
    return load_minilm()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)  # the weights stay in the usual one
    return tmp_path / "features"


def test_word_pieces_equal_those_of_transformers(minilm):
    tokenizer, _ = minilm
    tokens = tokenize(tokenizer, SENTENCES)
    assert {array.dtype for array in tokens.values()} == {np.dtype("int32")}
    for expected, ids, mask in zip(REFERENCE["pieces"], tokens["token_ids"], tokens["padding_mask"], strict=True):
        pieces = [tokenizer.id_to_token(int(i)) for i in ids[: mask.sum()]]
        assert " ".join(pieces) == str(expected)
        assert not ids[mask.sum() :].any()


def test_word_pieces_of_every_kind_of_character_are_those_of_the_carried_tokenizer(minilm):
    """What may differ is what newer Unicode tables than its own know: no letter, no space."""
    tokenizer, _ = minilm
    theirs = Tokenizer.from_file(str(fetch("minilm") / "tokenizer.json"))
    theirs.no_truncation(), theirs.no_padding()
    characters = [
        chr(number) for block in (range(1, 0x600), range(0x2000, 0x2700), range(0x3000, 0x3100)) for number in block
    ]
    texts = [f"good{c}movie {c}" for c in characters] + ["좋은 영화였다", "İSTANBUL, CAFÉ", "two\u2028lines\u3000wide"]
    expected = [found.ids for found in theirs.encode_batch(texts, add_special_tokens=False)]
    assert [list(map(int, ids)) for ids in tokenizer(texts)] == expected
    in_a_pipeline = tf.data.Dataset.from_tensors(texts).map(tokenizer).get_single_element().to_list()
    assert in_a_pipeline == expected


def test_sentence_vectors_equal_those_of_pytorch(minilm, empty_cache):
    found = sentence_vectors(*minilm, SENTENCES)
    np.testing.assert_allclose(found, REFERENCE["vectors"], atol=1e-5)


def test_padding_changes_nothing(minilm):
    """Fails for pooling, or attention, that ignores the mask."""
    tokenizer, backbone = minilm
    encoder, alone = sentence_encoder(backbone), tokenize(tokenizer, SENTENCES[:1])
    wide = {name: np.pad(array, ((0, 0), (0, 50))) for name, array in alone.items()}
    np.testing.assert_allclose(encoder(wide), encoder(alone), atol=1e-5)


def test_batches_of_like_length_keep_the_order(minilm):
    tokenizer, backbone = minilm
    tokens, encoder = tokenize(tokenizer, SENTENCES), sentence_encoder(backbone)
    expected = np.array(encoder(tokens))
    for batch_size in (1, 2, 64):
        np.testing.assert_allclose(predict_sorted(encoder, tokens, batch_size), expected, atol=1e-5)


def test_vectors_of_pieces_come_back_in_their_places(minilm):
    tokenizer, backbone = minilm
    tokens = tokenize(tokenizer, SENTENCES)
    hidden = keras.Model(backbone.input, backbone.output["sequence_output"])
    real = tokens["padding_mask"][..., None]
    found = predict_sorted(hidden, tokens, batch_size=2)
    np.testing.assert_allclose(found * real, np.array(hidden(tokens)) * real, atol=1e-5)
    inputs = {
        "hidden": keras.Input((None, 384), name="hidden"),
        "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
    }
    mean = keras.layers.GlobalAveragePooling1D()(inputs["hidden"], mask=inputs["padding_mask"])
    again = predict_sorted(keras.Model(inputs, mean), {"hidden": found, "padding_mask": tokens["padding_mask"]})
    np.testing.assert_allclose(again, REFERENCE["vectors"], atol=1e-5)


def test_batches_are_no_wider_than_their_longest_sentence():
    widths = []

    class Width(keras.layers.Layer):
        def call(self, x):
            return keras.ops.cast(keras.ops.shape(x)[1:2] + 0 * x[:, :1], "float32")

    ids, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask"))
    model = keras.Model([ids, mask], Width()(ids))
    lengths = np.array([3, 9, 4, 8, 2])
    mask = (np.arange(20) < lengths[:, None]).astype(np.int32)
    widths = predict_sorted(model, {"token_ids": mask, "padding_mask": mask}, batch_size=2)
    assert widths[:, 0].tolist() == [4, 9, 4, 9, 2]
    mask = (np.arange(40) < np.arange(1, 34)[:, None]).astype(np.int32)  # 32 together, and the shortest alone
    widths = predict_sorted(model, {"token_ids": mask, "padding_mask": mask})
    assert widths[:, 0].tolist() == [1] + [33] * 32
    with pytest.raises(CourseError, match="^batch_size=0 is impossible"):
        predict_sorted(model, {"token_ids": mask, "padding_mask": mask}, 0)


def test_long_sentences_are_cut(minilm):
    tokenizer, _ = minilm
    assert tokenize(tokenizer, ["word " * 1000])["token_ids"].shape == (1, LONGEST)
    short = tokenize(tokenizer, ["one two three four five"], longest=5)["token_ids"][0]
    assert [tokenizer.id_to_token(int(i)) for i in short] == ["[CLS]", "one", "two", "three", "[SEP]"]
    for longest in (2, 8.0, True):
        with pytest.raises(CourseError, match="give a whole number, at least 3"):
            tokenize(tokenizer, ["text"], longest)
    with pytest.raises(CourseError, match="^longest=513 .* 512"):
        tokenize(tokenizer, ["text"], 513)
    assert [tokenize(tokenizer, ["word " * 600], longest)["token_ids"].shape[1] for longest in (3, 512)] == [3, 512]


def test_model_survives_saving(minilm, tmp_path):
    tokenizer, backbone = minilm
    encoder, tokens = sentence_encoder(backbone), tokenize(tokenizer, SENTENCES[:2])
    for name, model in {"encoder": encoder, "backbone": backbone}.items():
        model.save(tmp_path / f"{name}.keras")
        again = keras.saving.load_model(tmp_path / f"{name}.keras")
        expected, found = model(tokens), again(tokens)
        for key in expected if isinstance(expected, dict) else [...]:
            np.testing.assert_allclose(found[key], expected[key], atol=1e-6)


def test_second_call_computes_nothing_in_any_order(minilm, empty_cache, monkeypatch):
    first = sentence_vectors(*minilm, SENTENCES)
    monkeypatch.setattr(vectors, "predict_sorted", None)
    order = [3, 0, 0, 2, 1, *range(4, len(SENTENCES))]
    np.testing.assert_array_equal(sentence_vectors(*minilm, [SENTENCES[i] for i in order]), first[order])
    assert [path.suffix for path in empty_cache.iterdir()] == [".npz"]


def test_key_depends_on_all_that_matters(minilm, monkeypatch):
    tokenizer, backbone = minilm
    keys = [vectors.vector_key(tokenizer, backbone, texts) for texts in (["a"], ["b"], ["a", "b"], ["ab"])]
    other = keras_hub.models.BertTokenizer.from_config(tokenizer.get_config())
    other.set_vocabulary(tokenizer.get_vocabulary())
    keys.append(vectors.vector_key(other, backbone, ["a"]))
    other.set_vocabulary(tokenizer.get_vocabulary()[::-1])
    keys.append(vectors.vector_key(other, backbone, ["a"]))
    other = keras_hub.models.BertTokenizer.from_config(tokenizer.get_config() | {"strip_accents": False})
    other.set_vocabulary(tokenizer.get_vocabulary())
    keys.append(vectors.vector_key(other, backbone, ["a"]))
    weights = backbone.get_weights()
    backbone.set_weights([weights[0] + 1, *weights[1:]])
    keys.append(vectors.vector_key(tokenizer, backbone, ["a"]))
    backbone.set_weights(weights)
    assert len(set(keys)) == len(keys)
    backbone.trainable = False  # changes nothing of what the model computes
    assert vectors.vector_key(tokenizer, backbone, ["a"]) == keys[0]
    backbone.trainable = True
    renamed = type(tokenizer).from_config(tokenizer.get_config() | {"name": "another"})
    renamed.set_vocabulary(tokenizer.get_vocabulary())
    assert vectors.vector_key(renamed, backbone, ["a"]) == keys[0]
    monkeypatch.setattr(vectors, "VERSION", vectors.VERSION + 1)
    assert vectors.vector_key(tokenizer, backbone, ["a"]) not in keys


def test_key_is_the_same_in_whatever_order_a_configuration_comes(minilm, monkeypatch):
    tokenizer, backbone = minilm
    key, config = vectors.vector_key(tokenizer, backbone, ["a"]), backbone.get_config()
    monkeypatch.setattr(backbone, "get_config", lambda: dict(reversed(config.items())))
    assert vectors.vector_key(tokenizer, backbone, ["a"]) == key
    monkeypatch.setattr(backbone, "get_config", lambda: config | {"dtype": keras.DTypePolicy("float16")})  # no JSON
    assert vectors.vector_key(tokenizer, backbone, ["a"]) != key


def test_sentences_that_differ_in_their_last_byte_are_two(minilm, empty_cache, monkeypatch):
    """NumPy's own strings drop a NUL at the end."""
    monkeypatch.setattr(vectors, "sentence_encoder", lambda backbone: None)
    monkeypatch.setattr(vectors, "predict_sorted", lambda _, tokens, size: np.arange(len(tokens["token_ids"]))[:, None])
    assert sentence_vectors(*minilm, ["one\0", "one", "one"]).tolist() == [[1], [0], [0]]


def test_sentences_are_computed_as_many_at_a_time_as_asked(minilm, empty_cache, monkeypatch):
    sizes = []
    monkeypatch.setattr(vectors, "sentence_encoder", lambda backbone: None)
    monkeypatch.setattr(vectors, "predict_sorted", lambda _, tokens, size: sizes.append(size) or np.zeros((1, 2)))
    sentence_vectors(*minilm, ["one"]), sentence_vectors(*minilm, ["another"], batch_size=5)
    assert sizes == [32, 5]


@pytest.mark.parametrize(
    "texts, message",
    [
        ("one sentence", "The texts are str"),
        ([], "or there is none"),
        (["good", ""], "Text 1 is empty"),
        (["good", "\n "], "Text 1 is empty"),
        (["good", None], "no string but NoneType"),
        (["good", 7], "no string but int"),
        (["good", "bad \ud800"], "Text 1 holds half a character"),
        (np.array([["a"], ["b"]]), "The texts are ndarray"),
        (np.array("a"), "The texts are ndarray"),
        (pd.DataFrame({"text": ["a"]}), "The texts are DataFrame"),
        ({"text": 1}, "The texts are dict"),
        (np.ma.masked_array(["a", "b"], [0, 1]), "no string but MaskedConstant"),
    ],
)
def test_what_is_no_text_is_refused(minilm, texts, message):
    with pytest.raises(CourseError, match=message):
        sentence_vectors(*minilm, texts)
