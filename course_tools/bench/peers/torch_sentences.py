"""Sentence vectors by sentence-transformers, on PyTorch: the mean over the pieces of each sentence."""

from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from serving import serve

WIDTH, LONGEST = 384, 256
BATCHES = (32, 64)  # the library's own size, which is the course's too, and twice as many


def ways_for(inputs):
    modules = [Transformer(str(inputs["model"]), max_seq_length=LONGEST), Pooling(WIDTH, "mean")]
    encoder, texts = SentenceTransformer(modules=modules, device="cpu"), inputs["texts"].tolist()

    def vectors(batch):
        return lambda: encoder.encode(texts, batch_size=batch, show_progress_bar=False)

    return {f"sentence-transformers, batches of {batch}": vectors(batch) for batch in BATCHES}


serve(ways_for)
