"""Sentences with their mean ratings."""

import numpy as np
import pytest

from course_utils.data import load_sentiment
from course_utils.data.sentiment_ratings import load_ratings
from course_utils.errors import CourseError


@pytest.mark.parametrize("domain", ["movie", "tweets", "amazon", "nyt"])
def test_ratings_agree_with_the_labels(domain):
    texts, ratings = load_ratings(domain)
    assert texts.shape == ratings.shape and np.abs(ratings).max() <= 4
    rated = dict(zip(texts, ratings, strict=True))
    test = load_sentiment(domain).test
    once = [(rated[x], y) for x, y in zip(test.x, test.y, strict=True) if (texts == x).sum() == 1]
    assert len(once) > 100
    assert all((rating > 0.5) == bool(label) and abs(rating) > 0.5 for rating, label in once)


def test_there_are_neutral_sentences():
    _, ratings = load_ratings("tweets")
    assert len(ratings) == 4200 and (np.abs(ratings) <= 0.5).any()


def test_unknown_domain_is_refused():
    with pytest.raises(CourseError, match="There is no domain 'songs'; accepted are movie, tweets, amazon, nyt."):
        load_ratings("songs")
