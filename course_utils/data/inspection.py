"""What to know of a data set before anything is trained: near copies, answers that leak, unequal classes."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.tree import DecisionTreeClassifier

FOLDS = 5
SIDE = 16  # of the small images that are compared, in pixels
# Root mean square between two small images, each scaled to mean 0 and SD 1. Most copies that were made smaller, darker
# or saved as JPEG of quality 50 lie below; of 5,000 digits 0.1% of the different ones do, of X-rays fewer.
NEAR_IMAGES = 0.07
FAINTEST = 4  # grey levels of SD: below this an image is plain, and noise is not blown up
NEAR_TEXTS = 0.15  # cosine distance of TF-IDF vectors of words: one word in ten or so is another
SHARE_OF_GAP = 0.3  # from chance level to 1: a leak that is worth a sentence
MEMORY_MB = 128  # for the distances that are computed at a time


def near_images(small: np.ndarray) -> csr_array:
    """Tell which images are nearly the same.

    Parameters
    ----------
    small : ndarray of uint8, shape (n, 16, 16, 3)
        The images, made small.

    Returns
    -------
    csr_array of shape (n, n)
        Not 0 where two images are near copies of each other: resized, compressed, darker or brighter.
    """
    x = small.reshape(len(small), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.maximum(x.std(axis=1, keepdims=True), FAINTEST)
    return _near(x, NEAR_IMAGES * np.sqrt(x.shape[1]), "euclidean")


def near_texts(texts: pd.Series) -> csr_array:
    """Tell which texts are nearly the same: (n, n), not 0 where the words of two texts differ little."""
    words = TfidfVectorizer(token_pattern=r"(?u)\w+|[^\w\s]", ngram_range=(1, 2), dtype=np.float32)
    try:
        return _near(words.fit_transform(texts), NEAR_TEXTS, "cosine")
    except ValueError:  # no words at all
        return csr_array((len(texts), len(texts)))


def _near(x, radius: float, metric: str) -> csr_array:
    finder, near = NearestNeighbors(metric=metric, algorithm="brute").fit(x), []
    rows = max(1, MEMORY_MB * 2**20 // (8 * x.shape[0]))
    for start in range(0, x.shape[0], rows):
        found = finder.radius_neighbors(x[start : start + rows], radius, return_distance=False)
        near += [(start + row, other) for row, others in enumerate(found) for other in others if start + row != other]
    rows, columns = np.array(near, dtype=np.int64).reshape(-1, 2).T
    return coo_array((np.ones(len(rows)), (rows, columns)), shape=(x.shape[0],) * 2).tocsr()


def joined(groups: pd.Series, near: csr_array) -> np.ndarray:
    """Return a number for each sample, the same for samples of one group and for near copies, shape (n,)."""
    numbers = pd.factorize(groups)[0]
    shares = csr_array((np.ones(len(numbers)), (np.arange(len(numbers)), numbers)))
    return connected_components(near + shares @ shares.T, directed=False)[1]


def told_by(facts: pd.DataFrame, labels: pd.Series) -> float:
    """Return how well facts beside the content tell the class: balanced accuracy of a small tree on held-out rows.

    Parameters
    ----------
    facts : DataFrame of n rows
        Such as width, height and format of the files; words are one-hot encoded.
    labels : Series of n names
        At least five of each.
    """
    tree = DecisionTreeClassifier(max_leaf_nodes=2 * labels.nunique(), class_weight="balanced", random_state=0)
    return _held_out(tree, pd.get_dummies(facts).to_numpy(np.float32), labels)


def telling_word(texts: pd.Series, labels: pd.Series) -> tuple[str, float]:
    """Return the word that tells the class best, and the balanced accuracy of asking for one word a class."""
    try:
        counter = CountVectorizer(binary=True, min_df=FOLDS, dtype=np.float32)
        x = counter.fit_transform(texts)
    except ValueError:  # no word is in five texts
        return "", 0.0
    tree = DecisionTreeClassifier(max_leaf_nodes=labels.nunique(), class_weight="balanced", random_state=0)
    score = _held_out(tree, x, labels)
    first = tree.fit(x, labels).tree_.feature[0]
    return (str(counter.get_feature_names_out()[first]) if first >= 0 else ""), score


def is_leak(score: float, labels: pd.Series) -> bool:
    """Tell whether a balanced accuracy lies clearly above chance level."""
    chance = 1 / labels.nunique()
    return score > chance + SHARE_OF_GAP * (1 - chance)


def _held_out(tree: DecisionTreeClassifier, x, labels: pd.Series) -> float:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return float(balanced_accuracy_score(labels, cross_val_predict(tree, x, labels, cv=folds)))


def balance(labels: pd.Series) -> str:
    """Return a sentence on how frequent the classes are."""
    counts = labels.value_counts()
    shown = ", ".join(f"{count} {name}" for name, count in counts.head(12).items())
    more = f" and {len(counts) - 12} more" if len(counts) > 12 else ""
    tail = f" The largest class has {counts.max() / counts.min():.1f} times as many as the smallest."
    majority = f" Always saying {counts.index[0]} would be right for {counts.max() / counts.sum():.0%}."
    return f"{len(counts)} classes: {shown}{more}.{tail if counts.max() > 1.5 * counts.min() else ''}{majority}"
