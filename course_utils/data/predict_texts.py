"""Classify new texts: python predict.py new.csv [COLUMN] > answers.csv

The file is a CSV with a header, in UTF-8. Needs Keras with TensorFlow; and KerasHub where a vocabulary.txt stands
beside it.
"""

import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

CLASSES = []
COLUMN = ""
LENGTH = 0
BATCH = 64


def main(path, column=COLUMN):
    """Write a row for each text: its number, the class, and the probability of each class."""
    home = Path(__file__).resolve().parent
    prepare = tf.constant
    if (home / "vocabulary.txt").exists():
        import keras_hub

        tokenizer = keras_hub.models.BertTokenizer(vocabulary=str(home / "vocabulary.txt"), lowercase=True)
        prepare = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=LENGTH)
    model = keras.saving.load_model(home / "model.keras", compile=False)
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if column not in (table.fieldnames or []):
            sys.exit(f"{path} has no column {column!r}; it has {table.fieldnames}.")
        texts = [" ".join((row[column] or "").split()) for row in table]
    write = csv.writer(sys.stdout).writerow
    write(["row", "class", *CLASSES])
    for start in range(0, len(texts), BATCH):
        answers = model.predict(prepare(texts[start : start + BATCH]), verbose=0)
        for row, p in enumerate(answers, start + 1):
            write([row, CLASSES[p.argmax()], *(f"{value:.4f}" for value in p)])


if __name__ == "__main__":
    # In UTF-8 whatever the console has; a name that has no characters is written with escapes, and lines end once.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    main(*(sys.argv[1:] or sys.exit(__doc__)))
