"""docs/labels.md: every code that verify, labels, plan and split can answer with is explained, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "labels.md").read_text("utf-8")

VERIFY = """
    nnunet_multitask/files nnunet_multitask/nifti nnunet_multitask/nifti_geometry nnunet_multitask/itk_files
    nnunet_multitask/compression nnunet_multitask/geometry nnunet_multitask/storage nnunet_multitask/plausibility
    nnunet_multitask/documents nnunet_multitask/datasets nnunet_multitask/labels nnunet_multitask/targets
    dataset_conversion/verification dataset_conversion/case_checks dataset_conversion/contradictions
    dataset_conversion/dataset_json_checks dataset_conversion/leakage dataset_conversion/sidecar_checks
""".split()
OTHERS = """
    nnunet_multitask/splits nnunet_multitask/workflows/plan
    nnunet_multitask/workflows/annotated_cases nnunet_multitask/cli/labels nnunet_multitask/cli/split
    nnunet_multitask/cli/plan dataset_conversion/label_tables dataset_conversion/slice_tables
    dataset_conversion/excel dataset_conversion/tables
    dataset_conversion/columns dataset_conversion/table_classes dataset_conversion/table_weights
    dataset_conversion/matching dataset_conversion/layouts
""".split()


def codes(module: str) -> Iterator[str]:
    """Yield the codes of a module; one that is put together counts as all that it can become."""
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
            text = ast.unparse(node.args[0])
            endings = {"{side}": ("training", "validation"), "{what}": ("group", "split"), "{dimensions}": ("3", "4")}
            parts = re.findall(r"\{\w+\}", text)
            yield from (
                (ast.literal_eval(text.lstrip("f").replace(parts[0], end)) for end in endings[parts[0]])
                if parts
                else [ast.literal_eval(text)]
            )


def table(heading: str) -> dict[str, list[str]]:
    """Return the cells of each row of the first table under a heading, by each code of its first cell."""
    section = TEXT.partition(f"{heading}\n")[2]
    rows = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {code: row for row in cells for code in re.findall(r"`([a-z0-9-]+)`", row[0])}


def test_every_code_is_explained() -> None:
    explained = set(table("### All codes")) | set(table("## Codes of the other commands"))
    there = {code for module in (*VERIFY, *OTHERS) for code in codes(module)}
    assert there - explained == set(), "add them to docs/labels.md"
    assert explained - there == set(), "docs/labels.md explains what no longer exists"


def test_severities() -> None:
    severity = {code: cells[1] for code, cells in table("### All codes").items()}
    assert set(severity.values()) == {"ERROR", "WARN"}
    source = (ROOT / "nnunet_multitask" / "plausibility.py").read_text("utf-8")
    for code in ("no-hounsfield", "mirrored-mask"):
        assert code in source
        assert severity[code] == "WARN"
    for module in ("contradictions",):
        assert {severity[code] for code in codes(f"dataset_conversion/{module}")} == {"WARN"}
    for module in ("dataset_json_checks", "case_checks"):
        assert {severity[code] for code in codes(f"dataset_conversion/{module}")} == {"ERROR"}


@pytest.mark.parametrize("name", ["labels", "verify", "plan", "split"])
def test_options_that_are_named_exist(name: str) -> None:
    parser = next(a for a in build_parser()._actions if a.choices and name in a.choices).choices[name]
    subparsers = [a for a in parser._actions if isinstance(a.choices, dict)]
    parsers = [parser, *(choice for action in subparsers for choice in action.choices.values())]
    known = {option for one in parsers for action in one._actions for option in action.option_strings}
    for line in TEXT.splitlines():
        for command in re.findall(rf"nnunet-multitask {name} ([^`]*)", line):
            used = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", command))
            assert used <= known, line
