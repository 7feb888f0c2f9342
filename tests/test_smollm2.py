"""The carried GPT against PyTorch.

The references were recorded with transformers 5.23 on PyTorch 2.13 (CPU): ``AutoTokenizer`` and
``AutoModelForCausalLM`` on the carried file, in float32; the logits of 48 of the pieces at every place.
"""

from pathlib import Path

import numpy as np
import pytest

from course_utils.data import fetch
from course_utils.text import load_smollm2, smollm2

REFERENCE = np.load(Path(__file__).parent / "reference" / "smollm2.npz")
SENTENCES = [str(sentence) for sentence in REFERENCE["sentences"]]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """Load from a cache that holds the file alone: nothing is written to it, so a full disk does not matter."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "assets").mkdir()
    (cache / "assets" / "smollm2").symlink_to(fetch("smollm2").absolute().parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(cache))
        loaded = load_smollm2()
    assert [path.name for path in cache.rglob("*")] == ["assets", "smollm2"]
    return loaded


def expected_pieces(row):
    return [int(number) for number in REFERENCE["pieces"][row] if number >= 0]


@pytest.mark.parametrize("row", range(len(SENTENCES)))
def test_pieces_equal_those_of_transformers(gpt, row):
    tokenizer, _ = gpt
    numbers = [int(number) for number in tokenizer(SENTENCES[row])]
    assert numbers == expected_pieces(row)
    assert tokenizer.detokenize(numbers) == SENTENCES[row]


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("two  spaces", "two Ġ Ġspaces"),
        ("one\n\ntwo", "one Ċ Ċ two"),
        ("a\t\tb \n", "a ĉ ĉ b ĠĊ"),
        ("a\r\nb", "a č Ċ b"),
        ("it's 2024!", "it 's Ġ 2 0 2 4 !"),
    ],
)
def test_white_space_is_cut_as_in_gpt2(gpt, text, pieces):
    """Of a run of white space, the last character goes with what follows it."""
    tokenizer, _ = gpt
    assert " ".join(tokenizer.id_to_token(int(number)) for number in tokenizer(text)) == pieces


def test_special_pieces_stay_whole(gpt):
    tokenizer, _ = gpt
    assert tokenizer.end_token_id == 2
    assert tokenizer("<|im_start|>user<|im_end|>").tolist()[::2] == [1, 2]


def test_logits_equal_those_of_pytorch(gpt):
    """Fails when queries and keys keep the order of the file. One padded batch: the mask must hold, too."""
    _, backbone = gpt
    rows = range(4)
    real = REFERENCE["pieces"][rows] >= 0
    tokens = {"token_ids": np.where(real, REFERENCE["pieces"][rows], 0), "padding_mask": real.astype("int32")}
    logits = np.array(backbone.token_embedding(backbone(tokens), reverse=True))[..., REFERENCE["tokens"]]
    np.testing.assert_allclose(logits[real], REFERENCE["logits"][rows][real], atol=2e-4)


def test_no_place_sees_what_comes_after_it(gpt):
    _, backbone = gpt
    numbers = np.array([expected_pieces(0), [*expected_pieces(0)[:-1], 9]])
    first, second = np.array(backbone({"token_ids": numbers, "padding_mask": np.ones_like(numbers)}))
    np.testing.assert_allclose(first[:-1], second[:-1], atol=1e-3)
    assert np.abs(first[-1] - second[-1]).max() > 1


def test_order_of_the_file_is_undone():
    pairs = np.arange(9 * 64).reshape(9, 64)  # the number of each row, head by head
    weights = np.repeat(pairs.reshape(-1, 1), 576, axis=1)
    rows = smollm2.in_keras_order("blk.0.attn_q.weight", weights)[0].reshape(9, 64)
    np.testing.assert_array_equal(rows[:, :32], pairs[:, ::2])
    np.testing.assert_array_equal(rows[:, 32:], pairs[:, 1::2])
    assert smollm2.in_keras_order("blk.0.ffn_up.weight", np.zeros((1536, 576))).shape == (576, 1536)
