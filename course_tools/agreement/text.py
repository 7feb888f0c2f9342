"""Word pieces and sentence vectors, beside transformers and sentence-transformers."""

import gguf
import numpy as np

from course_tools.agreement.table import Agreement, beside
from course_utils.data import fetch, load_sentiment
from course_utils.data.sentiment import DOMAINS
from course_utils.text import load_minilm, predict_sorted, sentence_encoder, tokenize
from course_utils.text.smollm2 import make_tokenizer

REAL, ODD, ENCODED = 300, 600, 64  # sentences of a domain, of random characters, of those encoded
FLOAT32 = 1e-5  # of vectors whose largest numbers are around 0.5
# Letters with accents, Greek, Cyrillic, punctuation, arrows, kana, Chinese, emoji, white space, what is invisible.
BLOCKS = [(0x20, 0x7F)] * 6 + [(0xA0, 0x250), (0x370, 0x500), (0x2010, 0x2028), (0x2190, 0x2200), (0x3041, 0x30FF)]
BLOCKS += [(0x4E00, 0x9FA5), (0x1F300, 0x1F600), (0x20, 0x21), (0x09, 0x0B), (0x200B, 0x200E)]


def odd_texts() -> list[str]:
    """Return texts of up to 40 characters out of all these blocks; each has a letter, so that it is not empty.

    None has a capital sigma: at the end of a word it becomes ς by Unicode's rule and in the course, σ in transformers.
    """
    random = np.random.default_rng(0)
    texts = []
    for length in random.integers(1, 40, ODD):
        blocks = random.integers(0, len(BLOCKS), length)
        text = "".join(chr(random.integers(*BLOCKS[block])) for block in blocks)
        texts.append("a" + text.replace("Σ", "σ"))
    return texts


def measure() -> list[Agreement]:
    """Return the lines."""
    sentences = [str(text) for domain in DOMAINS for text in load_sentiment(domain).train.x[:REAL]]
    texts = sentences + odd_texts()
    given = {"texts": texts, "sentences": sentences[:: len(sentences) // ENCODED]}
    given |= {name: str(fetch(name)) for name in ("minilm", "smollm2")}
    tokenizer, backbone = load_minilm()
    vectors = predict_sorted(sentence_encoder(backbone), tokenize(tokenizer, given["sentences"]))
    return beside(
        "agree_text.py",
        given,
        [
            ("word pieces of MiniLM", "transformers", "word pieces", 0, word_pieces(tokenizer, texts)),
            ("pieces of SmolLM2", "transformers", "byte pairs", 0, byte_pairs(texts)),
            ("sentence vectors", "sentence-transformers", "vectors", FLOAT32, vectors),
        ],
    )


def word_pieces(tokenizer, texts: list[str]) -> list[str]:
    """Return the numbers of each text's pieces as one string."""
    tokens = tokenize(tokenizer, texts)
    pairs = zip(tokens["token_ids"], tokens["padding_mask"].sum(axis=1), strict=True)
    return [" ".join(map(str, ids[:length])) for ids, length in pairs]


def byte_pairs(texts: list[str]) -> list[str]:
    """Return the numbers of each text's pieces as one string."""
    tokenizer = make_tokenizer(gguf.GGUFReader(fetch("smollm2")))  # without its network
    return [" ".join(str(int(number)) for number in found) for found in tokenizer(texts)]
