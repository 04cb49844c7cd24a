"""docs/training.md: the settings, trainers and codes that it lists are those that there are."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from nnunet_multitask.cli._settings import shown
from nnunet_multitask.cli.main import build_parser
from nnunet_multitask.config import MultiTaskConfig, ScheduleConfig

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "training.md").read_text("utf-8")

# where training can be refused
FOLDERS = ("training", "losses", "networks")
FILES = ("config.py", "cli/train.py")


def table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the first table under a heading."""
    section = TEXT.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


@pytest.mark.parametrize(
    ("heading", "settings"), [("### The branch", MultiTaskConfig), ("### The schedule", ScheduleConfig)]
)
def test_settings_and_their_defaults(heading: str, settings: type[MultiTaskConfig | ScheduleConfig]) -> None:
    told = {row[0].strip("`"): row[1] for row in table(heading)}
    assert told == {field.name: shown(field.default) for field in fields(settings)}
    assert all(len(row[2]) > 5 for row in table(heading))


def test_trainers() -> None:
    tree = ast.parse((ROOT / "nnunet_multitask" / "discovery" / "multitask_trainers.py").read_text("utf-8"))
    (names,) = (ast.literal_eval(node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign))
    assert {row[0].strip("`") for row in table("## Trainers")} == set(names)


def test_every_code_is_explained() -> None:
    told = {code for row in table("## What is refused before training") for code in re.findall(r"`([a-z-]+)`", row[0])}
    there = set()
    package = ROOT / "nnunet_multitask"
    paths = [path for folder in FOLDERS for path in (package / folder).glob("*.py")]
    for path in [*paths, *(package / name for name in FILES)]:
        tree = ast.parse(path.read_text("utf-8"))
        calls = (
            node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "InputError"
        )
        there |= {ast.literal_eval(call.args[0]) for call in calls}
    assert there - told == set(), "add them to docs/training.md"


@pytest.mark.parametrize("name", ["configure", "train", "predict"])
def test_options_that_are_named_exist(name: str) -> None:
    parser = next(a for a in build_parser()._actions if a.choices and name in a.choices).choices[name]
    known = {option for action in parser._actions for option in action.option_strings}
    for line in TEXT.splitlines():
        for command in re.findall(rf"nnunet-multitask {name} ([^`#]*)", line):
            assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", command)) <= known, line


def test_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", TEXT):
        text = (ROOT / "docs" / page).read_text("utf-8") if page else TEXT
        headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
        assert anchor in headings, f"{page}#{anchor}"
