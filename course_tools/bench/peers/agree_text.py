"""Word pieces by transformers, sentence vectors by sentence-transformers."""

from functools import cache
from pathlib import Path

import numpy as np
import regex
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from serving import serve
from transformers import AutoTokenizer

WIDTH, LONGEST = 384, 256


def pieces(tokenizer, texts, **options):
    """Return the numbers of each text's pieces as one string."""
    return np.array([" ".join(map(str, found)) for found in tokenizer(texts, **options)["input_ids"]])


@cache
def encoder(folder):
    return SentenceTransformer(
        modules=[Transformer(folder, max_seq_length=LONGEST), Pooling(WIDTH, "mean")], device="cpu"
    )


def ways_for(inputs):
    texts, minilm, smollm2 = inputs["texts"].tolist(), str(inputs["minilm"]), Path(str(inputs["smollm2"]))

    def byte_pairs():
        """Cut out each digit first, as the file demands ("smollm"): transformers overlooks that in a GGUF file."""
        tokenizer = AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
        cut = [[part for part in regex.split(r"(\p{N})", text) if part] for text in texts]
        return np.array([" ".join(pieces(tokenizer, parts)) for parts in cut])

    return {
        "word pieces": lambda: pieces(
            AutoTokenizer.from_pretrained(minilm), texts, truncation=True, max_length=LONGEST
        ),
        "byte pairs": byte_pairs,
        "vectors": lambda: encoder(minilm).encode(inputs["sentences"].tolist(), show_progress_bar=False),
    }


if __name__ == "__main__":
    serve(ways_for)
