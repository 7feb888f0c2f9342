"""Sentences: the carried BERT and GPT, word pieces, and vectors of the frozen encoder."""

from course_utils.text.minilm import load_minilm, sentence_encoder
from course_utils.text.sentences import predict_sorted, tokenize
from course_utils.text.smollm2 import load_smollm2
from course_utils.text.vectors import sentence_vectors
