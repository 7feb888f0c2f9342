"""Sentences of four domains, labelled by the mean rating of some twenty people each."""

import tarfile

import numpy as np

from course_utils.data.assets import fetch
from course_utils.data.dataset import Card, DataSplit
from course_utils.data.splits import make_split
from course_utils.errors import CourseError

DOMAINS = {
    "movie": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
FROM_DOCUMENTS = {"amazon", "nyt"}  # sentence 12_3 is the third of document 12
THRESHOLD = 0.5  # on the scale of the ratings, -4 to 4
CLASS_NAMES = {2: ("negative", "positive"), 3: ("negative", "neutral", "positive")}


def load_sentiment(domain: str, classes: int = 2, seed: int = 0) -> DataSplit:
    """Load the sentences of one domain with their sentiment.

    A sentence is positive when its mean rating exceeds 0.5, negative below -0.5; those in between
    are dropped, or neutral with three classes.

    Parameters
    ----------
    domain : {"movie", "tweets", "amazon", "nyt"}
        Film reviews, tweets, product reviews, newspaper editorials.
    classes : {2, 3}
        Negative and positive, or with neutral between the two.
    seed : int
        Seed of the split. Sentences of one product review or editorial stay in one part.

    Returns
    -------
    DataSplit
        ``x`` objects of type str, shape (n,).

    Raises
    ------
    CourseError
        If the domain or the number of classes is another.

    References
    ----------
    Hutto & Gilbert (2014), https://doi.org/10.1609/icwsm.v8i1.14550
    """
    if domain not in DOMAINS:
        raise CourseError(f"There is no domain {domain!r}; accepted are {', '.join(DOMAINS)}.")
    if classes not in CLASS_NAMES:
        raise CourseError(f"classes must be 2 or 3; got {classes!r}.")
    names, ratings, texts = _read_domain(domain)
    sign = (ratings > THRESHOLD).astype(np.int64) - (ratings < -THRESHOLD)
    kept = sign != 0 if classes == 2 else np.full(len(sign), True)
    labels = (sign[kept] + 1) // (2 if classes == 2 else 1)
    groups = None
    if domain in FROM_DOCUMENTS:
        groups = np.array([name.split("_")[0] for name in names])[kept]
    card = Card.of_asset("sentiment", note=f"Domain: {domain}.")
    return make_split(texts[kept], labels, CLASS_NAMES[classes], card, groups, seed)


def _read_domain(domain: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, mean ratings and texts of a domain's sentences."""
    with tarfile.open(fetch("sentiment")) as archive:
        stream = archive.extractfile(f"hutto_ICWSM_2014/{DOMAINS[domain]}")
        lines = stream.read().decode("utf-8").split("\r\n")
    names, ratings, texts = zip(*(line.split("\t", 2) for line in lines if line), strict=True)
    return list(names), np.array(ratings, dtype=float), np.array(texts, dtype=object)
