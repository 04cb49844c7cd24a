"""docs/prediction.md: its formulas are those of the code, and every output, option and link that it names is there."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from dataclasses import fields
from importlib import resources
from pathlib import Path

import pytest

from nnunet_multitask.cli import calibrate, ensemble, evaluate, fit_aggregation, predict, train, volumes
from nnunet_multitask.inference.aggregation import AGGREGATIONS, GATED_ATTENTION, NAMES
from nnunet_multitask.inference.gated_attention import GatedHead
from nnunet_multitask.inference.in_process import CaseResult
from nnunet_multitask.inference.measures import _KINDS
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.inference.records import RECORDS, UNFINISHED
from nnunet_multitask.inference.worklist import HEADER

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "prediction.md").read_text("utf-8")
SCHEMA = json.loads((resources.files("nnunet_multitask") / "schemas" / "classification.json").read_text("utf-8"))


def section(heading: str) -> str:
    found = TEXT[TEXT.index(f"\n{heading}\n") + 1 :]
    end = re.search(rf"\n#{{2,{heading.count('#')}}} ", found)
    return found[: end.start()] if end else found


def without_blanks(text: str | None) -> str:
    return re.sub(r"\s+", "", text or "")


@pytest.mark.parametrize("name", NAMES)
def test_formulas_of_the_page_are_those_of_the_code(name: str) -> None:
    rows = [line.split(" | ") for line in section("## From tiles to a case").splitlines() if line.startswith("| `")]
    (formulas,) = [row[1] for row in rows if row[0] == f"| `{name}`"]
    functions = (GatedHead.attention, GatedHead.logits) if name == GATED_ATTENTION else (AGGREGATIONS[name],)
    docstring = "".join(without_blanks(inspect.getdoc(function)) for function in functions)
    found = re.findall(r"`([^`]+)`", formulas)
    assert found
    for formula in found:
        assert without_blanks(formula) in docstring, formula


def test_table_of_aggregations_is_complete() -> None:
    named = re.findall(r"^\| `(\w+)` \|", section("## From tiles to a case"), flags=re.MULTILINE)
    assert named == list(NAMES)


def test_every_key_of_a_case_is_explained() -> None:
    case, target = (SCHEMA["$defs"][name]["properties"] for name in ("case", "prediction"))
    label = SCHEMA["$defs"]["labels"]["additionalProperties"]["properties"]
    of_tables_only = {"fold", "group", "reference", "targets"}
    for key in (set(case) | set(target) | set(label)) - of_tables_only:
        assert f"`{key}`" in section("## What is written"), key


@pytest.mark.parametrize("name", [*_KINDS.values(), "mask_agreement"])
def test_words_of_the_agreement_are_explained(name: str) -> None:
    assert f"`{name}`" in section("## Mask and class")


def test_columns_of_the_worklist_are_named() -> None:
    assert all(f"`{name}`" in section("## The worklist") for name in HEADER)


def test_hidden_folders_are_named() -> None:
    assert f"`{RECORDS}`" in section("## Stopped and continued")
    assert f"`{UNFINISHED}`" in section("## Stopped and continued")


def test_options_exist_and_those_for_classes_are_explained() -> None:
    parsers = {}
    for command in (calibrate, ensemble, evaluate, fit_aggregation, predict, train, volumes):
        parsers[command] = argparse.ArgumentParser()
        command.add_arguments(parsers[command])
    known = {option for parser in parsers.values() for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z_-]+[a-z]", TEXT)) <= known
    (classes,) = [group for group in parsers[predict]._action_groups if group.title == "classes"]
    for action in classes._group_actions:
        assert action.option_strings[0] in TEXT


def test_python_of_the_page_calls_what_is_there() -> None:
    code = section("## From Python").split("```python")[1].split("```")[0]
    tree = ast.parse(code)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    called = {ast.unparse(node.func): node for node in calls}
    for name in ("initialize_from_trained_model_folder", "configure", "predict_images"):
        node = called[f"predictor.{name}"]
        arguments = [None, *node.args]  # self first
        inspect.signature(getattr(MultiTaskPredictor, name)).bind(
            *arguments, **{str(keyword.arg): None for keyword in node.keywords}
        )
    assert {"case_id", "record", "mask"} == {field.name for field in fields(CaseResult)}


def test_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", TEXT):
        text = (DOCS / page).read_text("utf-8") if page else TEXT
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page}#{anchor}"
