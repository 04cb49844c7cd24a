"""docs/evaluation.md: every number of a mask is explained, and the options that its part on masks names exist."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

import pytest

from nnunet_multitask.cli import evaluate
from nnunet_multitask.evaluation import diameters, segmentation
from nnunet_multitask.evaluation.report import (
    CASES_NAME,
    COMPARISON_NAME,
    HEADLINE_CSV_NAME,
    HEADLINE_LATEX_NAME,
    MARKDOWN_NAME,
    REPORT_NAME,
    SECTIONS,
)

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
SEGMENTATION = TEXT[TEXT.index("## Segmentation") : TEXT.index("## Classification")]


@pytest.mark.parametrize("name", [*segmentation.DEFINITIONS, *diameters.DEFINITIONS, *get_args(segmentation.Status)])
def test_every_number_of_a_mask_is_explained(name: str) -> None:
    assert f"`{name}`" in SEGMENTATION


@pytest.mark.parametrize("name", ["volume_agreement", "abc2_agreement", "icc_2_1", "icc_3_1", "detection"])
def test_what_is_summed_up_over_cases_is_explained(name: str) -> None:
    assert f"`{name}`" in SEGMENTATION


def test_options_that_the_segmentation_part_names_exist() -> None:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    named = set(re.findall(r"--[a-z][a-z-]+", SEGMENTATION))
    assert {"--nsd-tolerance-mm", "--both-empty", "--lesion-rule", "--missing-predictions"} <= named
    assert named <= known


def test_every_section_of_the_report_is_described_in_order() -> None:
    report = TEXT[TEXT.index("### The report") : TEXT.index("### A model on a data set")]
    found = re.findall(r"^\| ([A-Z][^|]*?) \|", report, re.MULTILINE)
    assert found == list(SECTIONS.values())


def test_files_of_the_report_are_described() -> None:
    for name in (REPORT_NAME, MARKDOWN_NAME, COMPARISON_NAME, CASES_NAME, HEADLINE_CSV_NAME, HEADLINE_LATEX_NAME):
        assert f"`{name}`" in TEXT
