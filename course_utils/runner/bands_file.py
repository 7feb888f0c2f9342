"""The file of bands, as it is written; `course_utils.evaluation` reads it."""

import tomllib

import tomli_w

from course_utils.evaluation import expectations
from course_utils.whole_file import replacing


def update_record(notebook: str, profile: str, record: dict) -> None:
    """Put these fields into a notebook's record of one profile; the others stay. The file is written whole or not at all."""
    path = expectations.BANDS_PATH
    known = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known.setdefault(notebook, {}).setdefault(profile, {}).update(record)
    ordered = {name: dict(sorted(known[name].items())) for name in sorted(known)}
    with replacing(path) as partial:
        partial.write_text("# Written by `course bands` and `course build`: do not edit.\n\n" + tomli_w.dumps(ordered), encoding="utf-8")
