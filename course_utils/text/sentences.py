"""From sentences to word pieces, and through a model in batches of like length."""

from collections.abc import Mapping, Sequence, Set

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from course_utils.errors import CourseError, whole_number

LONGEST = 256  # word pieces for which MiniLM was made, start and end included
POSITIONS = 512  # of a BERT: it cannot tell where further pieces are
PROGRESS_AFTER_SECONDS = 3


def tokenize(
    tokenizer: keras_hub.models.BertTokenizer, texts: Sequence[str], longest: int = LONGEST
) -> dict[str, np.ndarray]:
    """Turn sentences into the three arrays that a BERT takes, padded to the longest of them.

    Parameters
    ----------
    tokenizer : keras_hub.models.BertTokenizer
    texts : sequence of str
    longest : int
        Word pieces, start and end included, beyond which a sentence is cut off; 3 to 512.

    Returns
    -------
    dict of ndarray of int32, shape (n, pieces)
        ``token_ids``; ``padding_mask``, 1 for a real piece and 0 for padding; ``segment_ids``, all 0.

    Raises
    ------
    CourseError
        If there is no text, one is empty, or one is no string; or if `longest` is outside its range.
    """
    texts = checked_texts(texts)
    if whole_number("longest", longest, 3) > POSITIONS:
        raise CourseError(f"longest={longest} is impossible: a BERT has {POSITIONS} positions.")
    pack = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=longest)
    arrays = {name: np.asarray(array) for name, array in pack(texts).items()}
    arrays["padding_mask"] = arrays["padding_mask"].astype(np.int32)
    return cut_to_longest(arrays)


def predict_sorted(model: keras.Model, tokens: dict[str, np.ndarray], batch_size: int = 32) -> np.ndarray:
    """Run a model over sentences in the order of their lengths; return its outputs in the given order.

    A batch is padded only to its own longest sentence, so that nearly no time goes into padding.

    Parameters
    ----------
    model : keras.Model
        From such arrays to one vector a sentence or one vector a piece.
    tokens : dict of ndarray, shape (n, pieces) or (n, pieces, width)
        What `tokenize` returns; or anything else with a row for each piece, and the ``padding_mask``.
    batch_size : int
        Sentences at a time.

    Returns
    -------
    ndarray of shape (n, width) or (n, pieces, width), float32
        Vectors of padding are 0, or whatever the model gives.
    """
    batch_size = whole_number("batch_size", batch_size)
    names, pieces = list(tokens), tokens["padding_mask"].shape[1]
    # One graph for every length: a graph for each would take longer to build than to run.
    shapes = [tf.TensorSpec((None, None, *array.shape[2:]), array.dtype) for array in tokens.values()]
    run = tf.function(
        lambda *arrays: model(dict(zip(names, arrays, strict=False)), training=False), shapes, autograph=False
    )
    order = np.argsort(-tokens["padding_mask"].sum(axis=1), kind="stable")
    outputs = []
    starts = range(0, len(order), batch_size)
    for start in tqdm(starts, "sentences", leave=False, disable=None, delay=PROGRESS_AFTER_SECONDS, unit="batch"):
        rows = order[start : start + batch_size]
        batch = cut_to_longest({name: array[rows] for name, array in tokens.items()})
        output = run(*batch.values()).numpy()
        if output.ndim == 3:
            output = np.pad(output, ((0, 0), (0, pieces - output.shape[1]), (0, 0)))
        outputs.append(output)
    return np.concatenate(outputs)[np.argsort(order)]


def cut_to_longest(tokens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut off the columns in which every sentence has padding."""
    pieces = tokens["padding_mask"].sum(axis=1).max()
    return {name: array[:, :pieces] for name, array in tokens.items()}


def checked_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list; refuse what is no sequence of strings with something in them."""
    accepted = "accepted is a sequence of one or more strings, none of them empty."
    others = (str, bytes, Mapping, Set)
    if isinstance(texts, others) or not hasattr(texts, "__len__") or getattr(texts, "ndim", 1) != 1 or not len(texts):
        raise CourseError(f"The texts are {type(texts).__name__}, or there is none: {accepted}")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise CourseError(f"Text {row} is empty, or no string but {type(text).__name__}: {accepted}")
        if text.encode(errors="ignore").decode() != text:
            raise CourseError(f"Text {row} holds half a character (a surrogate): read its file as UTF-8.")
    return list(texts)
