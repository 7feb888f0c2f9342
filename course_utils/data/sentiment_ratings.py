"""The sentences of one domain with their mean ratings, for regression."""

import numpy as np

from course_utils.data.sentiment import DOMAINS, _read_domain
from course_utils.errors import CourseError


def load_ratings(domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Load the sentences of one domain, the neutral ones too, and how some twenty people rated each.

    Parameters
    ----------
    domain : {"movie", "tweets", "amazon", "nyt"}
        Film reviews, tweets, product reviews, newspaper editorials. Only tweets and films may be split by sentence:
        the others come from documents of several sentences.

    Returns
    -------
    texts : ndarray of objects of type str, shape (n,)
    ratings : ndarray of float64, shape (n,)
        Mean rating, from -4 (negative) to 4 (positive).

    Raises
    ------
    CourseError
        If the domain is another.

    References
    ----------
    Hutto & Gilbert (2014), https://doi.org/10.1609/icwsm.v8i1.14550
    """
    if domain not in DOMAINS:
        raise CourseError(f"There is no domain {domain!r}; accepted are {', '.join(DOMAINS)}.")
    _, ratings, texts = _read_domain(domain)
    return texts, ratings
