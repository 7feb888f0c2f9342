"""The sentences of one domain as a CSV file, as a spreadsheet would hand them over."""

from pathlib import Path

import numpy as np
import pandas as pd

from course_utils.data.sentiment import DOMAINS, THRESHOLD, _read_domain
from course_utils.errors import CourseError
from course_utils.settings import cache_dir
from course_utils.whole_file import kept_in, replacing

LABELS = {2: ("negative", "positive"), 3: ("negative", "neutral", "positive")}


def write_sentiment_csv(domain: str = "amazon", classes: int = 2) -> Path:
    """Write the sentences of one domain into a CSV file of the cache.

    Parameters
    ----------
    domain : {"movie", "tweets", "amazon", "nyt"}
        Film reviews, tweets, product reviews, newspaper editorials.
    classes : {2, 3}
        Without or with the neutral sentences, whose mean rating lies between -0.5 and 0.5.

    Returns
    -------
    pathlib.Path
        The file, with the columns ``text``, ``label`` and ``document``: which review or editorial a sentence comes
        from. Each tweet and each snippet of a film review is a document of its own.

    Raises
    ------
    CourseError
        If the domain or the number of classes is another, or the disk does not take the file.

    References
    ----------
    Hutto & Gilbert (2014), https://doi.org/10.1609/icwsm.v8i1.14550
    """
    if domain not in DOMAINS:
        raise CourseError(f"There is no domain {domain!r}; accepted are {', '.join(DOMAINS)}.")
    if classes not in LABELS:
        raise CourseError(f"classes must be 2 or 3; got {classes!r}.")
    names, ratings, texts = _read_domain(domain)
    label = np.where(ratings > THRESHOLD, "positive", np.where(ratings < -THRESHOLD, "negative", "neutral"))
    document = [name.split("_")[0] for name in names]  # 12_3 is the third sentence of document 12
    table = pd.DataFrame({"text": texts, "label": label, "document": document})
    folder = cache_dir().absolute() / "tables"
    path = folder / f"{domain}-{classes}.csv"
    with kept_in(folder, "Sentences"), replacing(path) as partial:
        table[table["label"].isin(LABELS[classes])].to_csv(partial, index=False)
    return path
