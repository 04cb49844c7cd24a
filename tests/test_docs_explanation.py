"""docs/explanation.md: its formulas, files, keys, codes, options and measured statements are those of the code."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.cli import explain
from nnunet_multitask.explanation import embedding, gradcam, montage
from nnunet_multitask.explanation.volumes import KINDS
from nnunet_multitask.workflows import explaining

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "explanation.md").read_text("utf-8")
SCHEMA = json.loads((resources.files("nnunet_multitask") / "schemas" / "explanation.json").read_text("utf-8"))


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def plain(text: str | None) -> str:
    return re.sub(r"\s+", "", text or "")


@pytest.mark.parametrize(("heading", "method"), [("Grad-CAM", gradcam.grad_cam), ("HiResCAM", gradcam.hires_cam)])
def test_formulas_are_those_of_the_code(heading: str, method: Any) -> None:
    formulas = [found for found in re.findall(r"`([^`]+)`", section(heading)) if "=" in found]
    assert formulas
    for formula in formulas:
        assert plain(formula) in plain(inspect.getdoc(method)), formula


def test_every_file_is_named() -> None:
    table = section("What is written")
    for kind in KINDS:
        assert f"`CASE_{kind}_" in table
    for name in (explaining.EXPLANATION_JSON, explaining.TSNE_PNG, explaining.TSNE_CSV):
        assert f"`{name}`" in table
    for kind in (*gradcam.METHODS, "attention"):
        assert f"`CASE_{kind}.png`" in table


def test_every_key_of_a_case_is_explained() -> None:
    for name in ("case", "map"):
        for key in SCHEMA["$defs"][name]["properties"]:
            assert f"`{key}`" in section("Numbers of a case"), key


def test_every_code_is_explained_and_there() -> None:
    rows = [line for line in section("What is refused").splitlines() if line.startswith("| `")]
    told = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row.split(" | ")[0])}
    package = ROOT / "nnunet_multitask"
    own = [*(package / "explanation").glob("*.py"), Path(inspect.getfile(explaining)), Path(inspect.getfile(explain))]
    shared = [package / "inference" / "loading.py", package / "cli" / "_folds.py", package / "cli" / "_nnunet.py"]
    there = set().union(*map(codes_of, own))
    assert there - told == set()
    assert told - there <= {"no-classification-heads", "same-folder"}.union(*map(codes_of, shared))


def codes_of(path: Path) -> set[str]:
    """Return the codes of the errors that a file raises."""
    calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "InputError"}


def test_options_exist_and_are_explained() -> None:
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", TEXT)) - {"--disable_tta"}  # of predict
    assert named <= known
    explained = ("--targets", "--class", "--stages", "--method", "--masks", "--labels", "--control", "--tsne")
    assert {*explained, "--overwrite"} <= named
    for command in re.findall(r"^nnunet-multitask explain ([^#\n]*)", TEXT, re.MULTILINE):
        parser.parse_args(command.split())


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"fewer than {embedding.MIN_CASES} cases are not drawn" in section("t-SNE")
    assert f"Perplexity is {embedding.PERPLEXITY:.0f}" in section("t-SNE")
    assert embedding.perplexity_of(91) == embedding.PERPLEXITY > embedding.perplexity_of(90)
    assert "0 to 80 HU" in section("Pictures")
    assert montage.BRAIN_WINDOW_HU == (0.0, 80.0)
    assert (montage.NUM_SLICES, montage.APART_MM) == (3, 10.0)
    assert "up to three slices" in section("Pictures")
    assert "10 mm apart" in section("Pictures")


def test_python_of_the_page_calls_what_is_there() -> None:
    tree = ast.parse(section("From Python").split("```python")[1].split("```")[0])
    calls = {ast.unparse(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for name in ("explain_model", "ExplainOptions"):
        node = calls[name]
        keywords = {str(keyword.arg): None for keyword in node.keywords}
        inspect.signature(getattr(explaining, name)).bind(*node.args, **keywords)


def test_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", TEXT):
        text = (ROOT / "docs" / page).read_text("utf-8") if page else TEXT
        headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
        assert not anchor or anchor in headings, f"{page}#{anchor}"
