"""The carried BERT: MiniLM-L6, with its tokenizer, in KerasHub."""

import keras
import keras_hub
import tensorflow as tf

from course_utils.data.assets import fetch


@keras.saving.register_keras_serializable("course_utils")
class ExactBert(keras_hub.models.BertBackbone):
    """A BERT with the exact GELU of the original, x Φ(x).

    KerasHub takes the approximation by tanh, which moves the sentence vectors of MiniLM by up to 2e-3.

    References
    ----------
    Hendrycks & Gimpel (2016), https://arxiv.org/abs/1606.08415
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for layer in self.transformer_layers:
            layer._feedforward_intermediate_dense.activation = keras.activations.gelu
            layer.activation = keras.activations.gelu  # what a saved model remembers of the layer


@keras.saving.register_keras_serializable("course_utils")
class ExactBertTokenizer(keras_hub.models.BertTokenizer):
    """A tokenizer for lower-case BERTs that cleans a text as the original does.

    KerasHub keeps what is invisible, knows no white space but that of ASCII, and folds case with compatibility
    forms ("½" becomes "1⁄2"): "good\\u00a0movie" would be one unknown word.

    References
    ----------
    Devlin, Chang, Lee & Toutanova (2019), https://arxiv.org/abs/1810.04805
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"lowercase": False, "strip_accents": True})

    def tokenize(self, inputs):
        visible = tf.strings.regex_replace(inputs, r"[^\P{C}\t\n\r]|\x{fffd}", "")
        spaced = tf.strings.regex_replace(visible, r"[\s\p{Z}]", " ")
        return super().tokenize(tf.strings.lower(spaced, encoding="utf-8"))


def load_minilm() -> tuple[ExactBertTokenizer, ExactBert]:
    """Load MiniLM-L6, a BERT of 6 layers that are 384 wide, and the tokenizer that belongs to it.

    Returns
    -------
    tokenizer : ExactBertTokenizer
        From a sentence to the numbers of its word pieces, in lower case and without accents.
    backbone : ExactBert
        From word pieces to ``sequence_output`` (n, pieces, 384).

    References
    ----------
    Wang et al. (2020), https://arxiv.org/abs/2002.10957;
    Reimers & Gurevych (2019), https://arxiv.org/abs/1908.10084
    """
    folder = str(fetch("minilm"))
    tokenizer = ExactBertTokenizer(keras_hub.models.BertTokenizer.from_preset(folder).get_vocabulary())
    loaded = keras_hub.models.BertBackbone.from_preset(folder)
    backbone = ExactBert.from_config(loaded.get_config())
    backbone.set_weights(loaded.get_weights())
    return tokenizer, backbone


def sentence_encoder(backbone: keras_hub.models.BertBackbone) -> keras.Model:
    """Return a model from word pieces to one vector a sentence, the mean over its real pieces.

    Parameters
    ----------
    backbone : keras_hub.models.BertBackbone

    Returns
    -------
    keras.Model
        Takes what `tokenize` returns; gives shape (n, width). It shares the weights of the backbone.

    References
    ----------
    Reimers & Gurevych (2019), https://arxiv.org/abs/1908.10084
    """
    is_real = keras.ops.cast(backbone.input["padding_mask"], "bool")
    mean = keras.layers.GlobalAveragePooling1D(name="mean_of_real_pieces")
    return keras.Model(backbone.input, mean(backbone.output["sequence_output"], mask=is_real))
