"""Sentence vectors of MiniLM: the course's way beside sentence-transformers."""

import numpy as np

from course_tools.bench.peer import time_beside
from course_tools.bench.rounds import clocked, limit_threads
from course_tools.bench.table import Row, limit, versus
from course_utils.data import fetch, load_sentiment
from course_utils.data.sentiment import DOMAINS
from course_utils.text import load_minilm, predict_sorted, sentence_encoder, tokenize

SENTENCES = {"smoke": 64, "default": 2000, "full": 6000}  # a quarter from each domain
PEERS = ("sentence-transformers, batches of 32", "sentence-transformers, batches of 64")
TOLERANCE = 1e-3
COSINE_TOLERANCE = 1e-5


def measure(profile: str) -> list[Row]:
    """Return the lines of both batch sizes of the peer; sentences in, vectors out, tokenizer included."""
    limit_threads()
    count = SENTENCES[profile] // len(DOMAINS)
    texts = [text for domain in DOMAINS for text in load_sentiment(domain).train.x[:count]]
    tokenizer, backbone = load_minilm()
    encoder = sentence_encoder(backbone)
    own = {"ours": clocked(lambda: predict_sorted(encoder, tokenize(tokenizer, texts)))}
    arrays = {"texts": np.array(texts), "model": np.array(str(fetch("minilm")))}
    results, seconds = time_beside(own, profile, "torch_sentences.py", PEERS, **arrays)
    rates = {name: [len(texts) / s for s in times] for name, times in seconds.items()}
    rows = [
        versus("sentence vectors", "sentences/s", rates["ours"], name, rates[name], 1.2) for name in list(rates)[1:]
    ]
    return rows + [row for name in list(rates)[1:] for row in equality_rows(name, results["ours"], results[name])]


def equality_rows(name: str, ours: np.ndarray, theirs: np.ndarray) -> list[Row]:
    """Return the lines that hold two sets of vectors, shape (n, width), against each other."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = (np.sum(ours * theirs, axis=1, dtype=np.float64) / lengths).min()
    what = f"sentence vectors: largest {{}} from {name}"
    return [
        limit(what.format("difference"), "", np.abs(ours - theirs).max(), TOLERANCE, True),
        limit(what.format("1 - cosine"), "", 1 - cosine, COSINE_TOLERANCE, True),
    ]
