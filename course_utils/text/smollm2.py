"""The carried GPT: SmolLM2-135M, with its tokenizer, in KerasHub."""

import gguf
import keras
import keras_hub
import numpy as np
from tokenizers import pre_tokenizers

from course_utils.data.assets import fetch

LAYERS, WIDTH, HEADS, KEY_HEADS = 30, 576, 9, 3


@keras.saving.register_keras_serializable("course_utils")
class SmolTokenizer(keras_hub.models.Llama3Tokenizer):
    """Llama 3's tokenizer, but cutting a text into words and digits as SmolLM2 does, which is GPT-2's way.

    Inside ``tf.data``, KerasHub cuts by rules of its own, which differ where white space follows white space.
    """

    def _set_vocabulary_and_merges_tokenizers(self, vocabulary, merges):
        super()._set_vocabulary_and_merges_tokenizers(vocabulary, merges)
        ways = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(ways)


def load_smollm2() -> tuple[SmolTokenizer, keras_hub.models.Llama3Backbone]:
    """Load SmolLM2-135M-Instruct, a GPT-style decoder of 30 layers that are 576 wide, and its tokenizer.

    The carried file holds about 4 bits a weight, in blocks of 32 with a scale for each; they become float32.

    Returns
    -------
    tokenizer : SmolTokenizer
        From a sentence to the numbers of its pieces; ``end_token_id`` ends a text.
    backbone : keras_hub.models.Llama3Backbone
        From pieces to their last hidden states (n, pieces, 576); ``token_embedding(states, reverse=True)`` turns these
        into logits over the 49,152 pieces of the vocabulary.

    References
    ----------
    Allal et al. (2025), https://arxiv.org/abs/2502.02737
    """
    reader = gguf.GGUFReader(fetch("smollm2"))
    return make_tokenizer(reader), make_backbone(reader)


def make_backbone(reader: gguf.GGUFReader) -> keras_hub.models.Llama3Backbone:
    """Build the architecture and give it the weights of the file."""
    backbone = keras_hub.models.Llama3Backbone(
        vocabulary_size=49152,
        num_layers=LAYERS,
        num_query_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=1536,
        rope_max_wavelength=100_000,
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=True,
    )
    variables = keras_variables(backbone)
    for tensor in reader.tensors:
        variable = variables.pop(tensor.name)
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        variable.assign(in_keras_order(tensor.name, weights).reshape(variable.shape))
    assert not variables, f"the file lacks {', '.join(variables)}"
    return backbone


def make_tokenizer(reader: gguf.GGUFReader) -> SmolTokenizer:
    """Build the tokenizer, with the names that SmolLM2, unlike Llama 3, gives to its special pieces."""
    pieces, types, merges = (
        reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges")
    )
    return SmolTokenizer(
        {piece: number for number, piece in enumerate(pieces)},
        merges,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        misc_special_tokens=set(),
        unsplittable_tokens=[piece for piece, of in zip(pieces, types, strict=True) if of == gguf.TokenType.CONTROL],
    )


def in_keras_order(name: str, weights: np.ndarray) -> np.ndarray:
    """Return weights as Keras multiplies them, inputs first; undo the order that GGUF gives to queries and keys.

    A rotary embedding turns pairs of features. GGUF keeps the two of a pair side by side, Keras half a head apart.
    """
    if name.endswith(("attn_q.weight", "attn_k.weight")):
        pairs = weights.reshape(-1, WIDTH // HEADS // 2, 2, WIDTH)
        weights = pairs.swapaxes(1, 2).reshape(-1, WIDTH)
    return weights if name == "token_embd.weight" else weights.T


def keras_variables(backbone: keras_hub.models.Llama3Backbone) -> dict:
    """Return the variables of the backbone under the names that GGUF gives them."""
    variables = {
        "token_embd.weight": backbone.token_embedding.embeddings,
        "output_norm.weight": backbone.layer_norm.scale,
    }
    for number, layer in enumerate(backbone.transformer_layers):
        attention = layer._self_attention_layer
        of_layer = {
            "attn_norm": layer._self_attention_layernorm.scale,
            "attn_q": attention._query_dense.kernel,
            "attn_k": attention._key_dense.kernel,
            "attn_v": attention._value_dense.kernel,
            "attn_output": attention._output_dense.kernel,
            "ffn_norm": layer._feedforward_layernorm.scale,
            "ffn_gate": layer._feedforward_gate_dense.kernel,
            "ffn_up": layer._feedforward_intermediate_dense.kernel,
            "ffn_down": layer._feedforward_output_dense.kernel,
        }
        variables |= {f"blk.{number}.{name}.weight": variable for name, variable in of_layer.items()}
    return variables
