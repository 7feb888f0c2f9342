"""The carried GPT: SmolLM2-135M, with its tokenizer, in KerasHub."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import gguf
import keras_hub
import numpy as np
from filelock import FileLock

from course_utils.data.assets import content_hash, fetch
from course_utils.data.catalog import find_asset
from course_utils.settings import cache_dir

# Part of the folder's name: raise it when the conversion changes.
VERSION = 1
HASH_FILE = ".sha256"  # hidden, so that it does not count to the content
LAYERS, WIDTH, HEADS, KEY_HEADS = 30, 576, 9, 3


def load_smollm2() -> tuple[keras_hub.models.Llama3Tokenizer, keras_hub.models.Llama3Backbone]:
    """Load SmolLM2-135M-Instruct, a GPT-style decoder of 30 layers that are 576 wide, and its tokenizer.

    The carried file holds about 4 bits a weight. The first call converts it to float32 in the cache (538 MB); every
    later one reads that.

    Returns
    -------
    tokenizer : keras_hub.models.Llama3Tokenizer
        From a sentence to the numbers of its pieces; ``end_token_id`` ends a text.
    backbone : keras_hub.models.Llama3Backbone
        From pieces to their last hidden states (n, pieces, 576); ``token_embedding(states, reverse=True)`` turns these
        into logits over the 49,152 pieces of the vocabulary.

    References
    ----------
    Allal et al. (2025), https://arxiv.org/abs/2502.02737
    """
    folder = converted_folder()
    backbone = empty_backbone()
    backbone.load_weights(folder / "backbone.weights.h5")
    special = json.loads((folder / "special.json").read_text(encoding="utf-8"))
    return make_tokenizer(str(folder / "vocabulary.json"), str(folder / "merges.txt"), special), backbone


def empty_backbone() -> keras_hub.models.Llama3Backbone:
    """Return the architecture with random weights."""
    return keras_hub.models.Llama3Backbone(
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


def make_tokenizer(vocabulary, merges, special: list[str]) -> keras_hub.models.Llama3Tokenizer:
    """Return KerasHub's tokenizer with the names that SmolLM2, unlike Llama 3, gives to its special pieces."""
    return keras_hub.models.Llama3Tokenizer(
        vocabulary,
        merges,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        misc_special_tokens=set(),
        unsplittable_tokens=special,
    )


def converted_folder() -> Path:
    """Return the folder of the converted model; convert it when there is none, or a damaged one."""
    folder = cache_dir().absolute() / "converted" / f"smollm2-{find_asset('smollm2').member_sha256[:16]}-{VERSION}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not is_whole(folder):
                replace_folder(folder)
    except OSError as error:
        raise CourseError(
            f"The converted model cannot be kept in {folder.parent} ({error.strerror or error}): "
            "free some space, or let COURSE_CACHE name another folder."
        ) from error
    return folder


def is_whole(folder: Path) -> bool:
    """Tell whether the files are, byte for byte, those that were converted."""
    try:
        return (folder / HASH_FILE).read_bytes() == content_hash(folder).encode()
    except OSError:
        return False


def replace_folder(folder: Path) -> None:
    """Convert the carried file aside, and move the result into its place in one step."""
    for stale in folder.parent.glob(f".{folder.name}.partial-*"):  # left by a killed conversion: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.partial-", dir=folder.parent) as aside:
        content = Path(aside) / "content"
        content.mkdir()
        convert(fetch("smollm2"), content)
        (content / HASH_FILE).write_text(content_hash(content), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(content, folder)


def convert(path: Path, folder: Path) -> None:
    """Write weights, vocabulary and merges of a GGUF file of SmolLM2 in the forms that Keras reads."""
    reader = gguf.GGUFReader(path)
    backbone = empty_backbone()
    variables = keras_variables(backbone)
    for tensor in reader.tensors:
        variable = variables.pop(tensor.name)
        variable.assign(in_keras_order(tensor.name, dequantised(tensor)).reshape(variable.shape))
    assert not variables, f"{path.name} lacks {', '.join(variables)}"
    backbone.save_weights(folder / "backbone.weights.h5")
    pieces, kinds, merges = (
        reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges")
    )
    special = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind == gguf.TokenType.CONTROL]
    (folder / "special.json").write_text(json.dumps(special), encoding="utf-8")
    make_tokenizer({piece: number for number, piece in enumerate(pieces)}, merges, special).save_assets(folder)


def dequantised(tensor: gguf.ReaderTensor) -> np.ndarray:
    """Return the float32 weights of a tensor, which lies in blocks of 32 weights with a scale for each."""
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


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
