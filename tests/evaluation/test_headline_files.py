"""The headline table as LaTeX, CSV and Markdown: numbers as they are, texts of the user taken literally."""

from __future__ import annotations

import csv
from pathlib import Path

from nnunet_multitask.evaluation.headline import Change, HeadlineRow
from nnunet_multitask.evaluation.headline_files import escape, headline_latex, write_headline_csv
from nnunet_multitask.evaluation.report import SECTIONS
from nnunet_multitask.evaluation.report_texts import interval, markdown, p_value, signed
from nnunet_multitask.evaluation.reporting_guidelines import CLAIM, TRIPOD_AI

CHANGE = Change(-0.0123456, {"low": -0.02, "high": 0.001}, "wilcoxon", 0.0004, None, 0.012, None, False, 1, 2, 3, n=21)
ROWS = [
    HeadlineRow("segmentation", "IPH & IVH", "dsc", "DSC", "", "base_1", 3, 20, 0.81234, 0.1, 19, 0.85, 0.05),
    HeadlineRow("segmentation", "IPH & IVH", "dsc", "DSC", "", "multi", 3, 20, 0.8, 0.1, 19, 0.84, 0.05, change=CHANGE),
    HeadlineRow("segmentation", "IPH & IVH", "hd95", "HD95", "mm", "base_1", 2, 0, None, reason="no_cases"),
]


def test_latex_is_a_booktabs_tabular_with_escaped_texts() -> None:
    lines = headline_latex(ROWS).splitlines()
    assert lines[1] == r"\begin{tabular}{llrrrrrr}"
    assert r"\multicolumn{8}{l}{\textit{IPH \& IVH}} \\" in lines
    assert r"DSC & base\_1 & 0.812 $\pm$ 0.100 & 20 &  &  &  &  \\" in lines
    assert (
        r" & multi & 0.800 $\pm$ 0.100 & 20 & $-$0.012 ($-$0.020 to +0.001) & 21 & \textless{} 0.001 & 0.012 \\"
        in lines
    )
    assert r"HD95 (mm) & base\_1 & n/a & 0 &  &  &  &  \\" in lines
    assert lines[-3::2] == [r"\bottomrule", r"\end{tabular}"]
    # both policies stand below the numbers: the worst value, and an empty mask that is right only in a pair
    assert lines[-2].startswith(
        r"\multicolumn{8}{p{0.9\linewidth}}{\footnotesize n: cases in a value; after a difference"
    )
    assert "DSC 0 and the diagonal" in lines[-2]
    assert "DSC 1 and distance 0" in lines[-2]
    assert escape("a\\b\n{x}^~#$%") == r"a\textbackslash{}b \{x\}\textasciicircum{}\textasciitilde{}\#\$\%"


def test_csv_keeps_all_digits(tmp_path: Path) -> None:
    write_headline_csv(ROWS, tmp_path / "headline.csv")
    with (tmp_path / "headline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["base_1", "multi", "base_1"]
    assert float(rows[0]["mean"]) == 0.81234
    assert [row["difference_n"] for row in rows] == ["", "21", ""]
    assert rows[0]["difference"] == rows[2]["mean"] == ""
    assert (
        rows[1]["difference"],
        rows[1]["difference_high"],
        rows[1]["test"],
        rows[1]["p_holm"],
        rows[1]["losses"],
    ) == (
        "-0.0123456",
        "0.001",
        "wilcoxon",
        "0.012",
        "3",
    )


def test_markdown_and_numbers() -> None:
    assert markdown("a|b_<script>\n*") == r"a\|b\_\<script\> \*"
    assert (signed(-0.0004), signed(None), signed(0.5)) == ("0.000", "n/a", "+0.500")
    assert interval({"low": -0.1, "high": 0.2}, with_sign=True) == "\u22120.100 to +0.200"
    assert interval({"low": None, "high": None}) == ""
    assert (p_value(0.0001), p_value(None, "not_in_family")) == ("< 0.001", "n/a (not corrected)")


def test_the_guidelines_are_complete() -> None:
    assert [item.number for item in CLAIM.items] == [str(n) for n in range(1, 45)]
    numbers = [item.number for item in TRIPOD_AI.items]
    assert len(numbers) == len(set(numbers)) == 52
    assert list(dict.fromkeys(number.rstrip("abcdefg") for number in numbers)) == [str(n) for n in range(1, 28)]
    for item in (*CLAIM.items, *TRIPOD_AI.items):
        assert (item.section in SECTIONS) == (item.filled != "author"), item
    # the numbers belong to these versions
    assert "2024 update (44 items)" in CLAIM.source
    assert "27 items, 52 with their parts" in TRIPOD_AI.source
