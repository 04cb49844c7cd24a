"""The headline table as files: CSV for calculation, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.evaluation.headline import Change, HeadlineRow
from nnunet_multitask.storage import atomic_file

COLUMNS = (
    *("part", "group", "metric", "unit", "model", "n", "mean", "std", "low", "high"),
    *("ok_n", "ok_mean", "ok_std", "ok_low", "ok_high", "difference", "difference_low", "difference_high"),
    *("difference_n", "test", "p", "p_holm", "wins", "ties", "losses"),
)
# stands below the tabular as a row, since the table goes into papers without the page that explains it
NOTE = (
    "n: cases in a value; after a difference, pairs. A missed case or a false alarm counts with DSC 0 and the diagonal "
    "of the image as its distance. A scan without reference on which a model drew nothing has no value of its own; in "
    "a pair with a model that drew something it counts with DSC 1 and distance 0. So a difference may be over more "
    "cases than the values, and not be their difference."
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u2212": "$-$",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_headline_csv(rows: Iterable[HeadlineRow], path: str | Path) -> None:
    """Write the rows with all digits; an empty cell is a number that is not defined."""
    write_csv(path, COLUMNS, (_cells(row) for row in rows))


def write_headline_latex(rows: Sequence[HeadlineRow], path: str | Path) -> None:
    """Write the rows as a tabular that needs the package booktabs, all or nothing."""
    with atomic_file(path) as temporary:
        temporary.write_text(headline_latex(rows), encoding="utf-8")


def headline_latex(rows: Sequence[HeadlineRow]) -> str:
    """Return the tabular; texts of the user are escaped."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{llrrrrrr}",
        "\\toprule",
        "Metric & Model & Value & $n$ & Difference (95\\,\\% interval) & $n$ & $p$ & $p$ (Holm) \\\\",
    ]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines += ["\\midrule", f"\\multicolumn{{8}}{{l}}{{\\textit{{{escape(group)}}}}} \\\\"]
        before = ""
        for row in members:
            title = escape(f"{row.title} ({row.unit})" if row.unit else row.title)
            cells = [title if row.metric != before else "", escape(row.model), escape(_value(row)), str(row.n)]
            lines.append(" & ".join([*cells, *map(escape, _change(row.change))]) + " \\\\")
            before = row.metric
    note = f"\\multicolumn{{8}}{{p{{0.9\\linewidth}}}}{{\\footnotesize {escape(NOTE)}}} \\\\"
    return "\n".join([*lines, "\\bottomrule", note, "\\end{tabular}", ""])


def escape(text: str) -> str:
    """Return a text as LaTeX sets it literally; line breaks become spaces."""
    return "".join(_LATEX.get(character, character) for character in re.sub(r"\s+", " ", text))


def _value(row: HeadlineRow) -> str:
    return f"{row.value_text} ({row.interval_text})" if row.interval_text else row.value_text


def _change(change: Change | None) -> tuple[str, str, str, str]:
    """Difference with its interval, pairs, p, corrected p."""
    if change is None:
        return "", "", "", ""
    ends = f" ({change.interval_text})" if change.interval_text else ""
    return change.difference_text + ends, "" if change.n is None else str(change.n), change.p_text, change.p_holm_text


def _cells(row: HeadlineRow) -> list[Any]:
    ends = row.interval or {}
    cells = [row.part, row.group, row.metric, row.unit, row.model, row.n, row.mean, row.std]
    cells += [ends.get("low"), ends.get("high"), row.ok_n, row.ok_mean, row.ok_std]
    ends = row.ok_interval or {}
    cells += [ends.get("low"), ends.get("high")]
    change = row.change
    if change is None:
        return [*cells, *[None] * 10]
    ends = change.interval or {}
    cells += [change.difference, ends.get("low"), ends.get("high"), change.n, change.test, change.p, change.p_holm]
    return [*cells, change.wins, change.ties, change.losses]
