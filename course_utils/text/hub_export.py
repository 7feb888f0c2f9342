"""A BERT of KerasHub as two SavedModels, with the interface of the BERT models on TensorFlow Hub."""

from importlib.util import find_spec
from pathlib import Path

import keras_hub
import tensorflow as tf

from course_utils.errors import CourseError, whole_number
from course_utils.text.sentences import POSITIONS

# What TensorFlow Hub calls the three arrays of KerasHub.
NAMES = {"input_word_ids": "token_ids", "input_mask": "padding_mask", "input_type_ids": "segment_ids"}


def export_bert(
    tokenizer: keras_hub.models.BertTokenizer,
    backbone: keras_hub.models.BertBackbone,
    folder: str | Path,
    sequence_length: int = 128,
) -> tuple[str, str]:
    """Write a BERT as the two SavedModels that a classifier of the TensorFlow Hub tutorials is built from.

    Both run without KerasHub. The first holds operations of ``tensorflow_text``, which must be imported before it is
    loaded.

    Parameters
    ----------
    tokenizer, backbone
        As `load_minilm` gives them.
    folder : str or Path
        Gets the folders ``preprocessing`` and ``encoder``.
    sequence_length : int
        Word pieces that the preprocessing gives for each text, start, end and padding included; 3 to 512.

    Returns
    -------
    preprocessing : str
        Folder of a SavedModel. From strings (n,) to ``input_word_ids``, ``input_mask`` and ``input_type_ids``, int32,
        shape (n, sequence_length) each.
    encoder : str
        Folder of a SavedModel. From these three to ``pooled_output`` (n, width) and ``sequence_output``
        (n, pieces, width). It takes ``training=True``, and lists its ``variables`` and ``trainable_variables``.

    Raises
    ------
    CourseError
        If `sequence_length` is outside its range, the tokenizer knows more pieces than the backbone, or there is no
        ``tensorflow_text``, as on Windows.

    References
    ----------
    The interface: https://www.tensorflow.org/hub/common_saved_model_apis/text
    """
    if find_spec("tensorflow_text") is None:
        raise CourseError("There is no tensorflow_text, which is not made for Windows: accepted are Linux and macOS.")
    if whole_number("sequence_length", sequence_length, 3) > POSITIONS:
        raise CourseError(f"sequence_length={sequence_length} is impossible: a BERT has {POSITIONS} positions.")
    known, rows = tokenizer.vocabulary_size(), backbone.vocabulary_size
    if known > rows:
        raise CourseError(f"The tokenizer knows {known} pieces, the backbone {rows}: give two that belong together.")
    programs = {"preprocessing": _preprocessing(tokenizer, sequence_length), "encoder": _encoder(backbone)}
    paths = {name: str(Path(folder) / name) for name in programs}
    for name, program in programs.items():
        tf.saved_model.save(program, paths[name])
    return paths["preprocessing"], paths["encoder"]


def _preprocessing(tokenizer: keras_hub.models.BertTokenizer, sequence_length: int) -> tf.train.Checkpoint:
    """Return the program from strings to the arrays that the encoder takes; it has no variables."""
    pack = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=sequence_length)

    def preprocess(texts):
        arrays = pack(texts)
        return {name: tf.cast(arrays[of_keras], tf.int32) for name, of_keras in NAMES.items()}

    program = tf.train.Checkpoint()
    program.__call__ = tf.function(preprocess, [tf.TensorSpec([None], tf.string, "text")], autograph=False)
    return program


def _encoder(backbone: keras_hub.models.BertBackbone) -> tf.train.Checkpoint:
    """Return the program from word ids to vectors, with the variables of the backbone."""

    def encode(arrays, training=False):
        outputs = backbone({of_keras: arrays[name] for name, of_keras in NAMES.items()}, training=training)
        return {name: outputs[name] for name in ("pooled_output", "sequence_output")}

    program = tf.train.Checkpoint()
    program.variables = [variable.value for variable in backbone.variables]  # the states of dropout are among them
    program.trainable_variables = [variable.value for variable in backbone.trainable_variables]
    program.__call__ = tf.function(encode, autograph=False)
    pieces = {name: tf.TensorSpec([None, None], tf.int32, name) for name in NAMES}
    for training in (False, True):
        program.__call__.get_concrete_function(pieces, training=training)
    return program
