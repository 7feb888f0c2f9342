"""Sentence vectors of a frozen BERT, computed once and kept on disk."""

import hashlib
import json
from collections.abc import Sequence

import keras_hub
import numpy as np

from course_utils.cache import cached, hash_arrays
from course_utils.text.minilm import sentence_encoder
from course_utils.text.sentences import checked_texts, predict_sorted, tokenize

# Part of every key: raise it when the computation changes.
VERSION = 1
# Parts of a configuration that do not change what a trained model computes.
IRRELEVANT = ("name", "trainable")


def sentence_vectors(
    tokenizer: keras_hub.models.BertTokenizer,
    backbone: keras_hub.models.BertBackbone,
    texts: Sequence[str],
    batch_size: int = 32,
) -> np.ndarray:
    """Return one vector a sentence; the same sentences cost nothing the second time, in any order.

    Cached by content: configurations, vocabulary, weights, and the set of sentences.

    Parameters
    ----------
    tokenizer, backbone
        As `load_minilm` gives them.
    texts : sequence of str
        Sentences; repetitions are computed once.
    batch_size : int
        Sentences computed at a time.

    Returns
    -------
    ndarray of shape (n, width), float32
        Mean over the real word pieces of each sentence, see `sentence_encoder`.

    Raises
    ------
    CourseError
        If there is no text, one is empty, or one is no string.
    """
    different, rows = np.unique(np.array(checked_texts(texts), dtype=object), return_inverse=True)

    def compute() -> np.ndarray:
        return predict_sorted(sentence_encoder(backbone), tokenize(tokenizer, different), batch_size)

    return cached(vector_key(tokenizer, backbone, different), len(different), compute)[rows]


def vector_key(
    tokenizer: keras_hub.models.BertTokenizer, backbone: keras_hub.models.BertBackbone, texts: Sequence[str]
) -> str:
    """Return a SHA-256 over all that sentence vectors depend on."""
    digest = hashlib.sha256(f"sentence vectors {VERSION}".encode())
    for part in (tokenizer, backbone):
        config = {key: value for key, value in part.get_config().items() if key not in IRRELEVANT}
        digest.update(json.dumps([type(part).__name__, config], sort_keys=True, default=str).encode())
    digest.update(json.dumps([tokenizer.get_vocabulary(), list(texts)]).encode())
    hash_arrays(digest, backbone.get_weights())
    return digest.hexdigest()
