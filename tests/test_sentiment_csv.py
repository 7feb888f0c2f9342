"""The CSV files of sentences hold what the loader of the same domain holds."""

import pandas as pd
import pytest

from course_utils.data import load_sentiment
from course_utils.data.sentiment_csv import write_sentiment_csv
from course_utils.errors import CourseError


@pytest.mark.parametrize(("domain", "classes"), [("movie", 2), ("amazon", 3)])
def test_the_file_has_the_sentences_and_labels_of_the_loader(domain, classes):
    table = pd.read_csv(write_sentiment_csv(domain, classes))
    split = load_sentiment(domain, classes)
    parts = (split.train, split.validation, split.test)
    of_loader = sorted((text, split.class_names[label]) for part in parts for text, label in zip(*part, strict=True))
    assert list(table.columns) == ["text", "label", "document"]
    assert sorted(zip(table["text"], table["label"], strict=True)) == of_loader


def test_sentences_of_a_review_share_a_document():
    table = pd.read_csv(write_sentiment_csv("amazon"))
    assert 200 < table["document"].nunique() < len(table) / 5
    assert pd.read_csv(write_sentiment_csv("movie"))["document"].is_unique


@pytest.mark.parametrize(
    ("domain", "classes", "sentence"), [("films", 2, "accepted are movie"), ("movie", 4, "2 or 3")]
)
def test_what_does_not_exist_is_named(domain, classes, sentence):
    with pytest.raises(CourseError, match=sentence):
        write_sentiment_csv(domain, classes)
