"""The README of a synthetic cohort: it says what the cohort is not, and it is how a cohort is known again."""

from __future__ import annotations

import re
from pathlib import Path

README_NAME = "README.txt"

_MARK = re.compile(rb"Synthetic head-CT cohort, phantom version \d+, seed \d+\.")  # how every README begins
_TEXT = """Synthetic head-CT cohort, phantom version {version}, seed {seed}.
{counts}

No patient was scanned: every image is computed from a seed. The cohort has the source layout of {layout}, so that a
pipeline can be proved from raw files to report. Results on it say nothing about accuracy on patients.

{files}
"""


def write_readme(folder: Path, *, version: int, seed: int, counts: str, layout: str, files: str) -> None:
    """Write the README of a cohort.

    Args:
        folder: of the cohort.
        version, seed: equal ones give equal cohorts.
        counts: what it holds.
        layout: the data set whose layout it has.
        files: what each file is, a line each.
    """
    text = _TEXT.format(version=version, seed=seed, counts=counts, layout=layout, files=files)
    (folder / README_NAME).write_text(text, encoding="utf-8")


def is_cohort(folder: Path) -> bool:
    """Return whether a folder holds a synthetic cohort."""
    readme = folder / README_NAME
    if not readme.is_file():
        return False
    with readme.open("rb") as file:
        return _MARK.match(file.read(200)) is not None
