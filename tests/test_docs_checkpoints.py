"""docs/checkpoints.md: the codes that it explains are those of the code; its commands, options and links exist."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from pathlib import Path

from nnunet_multitask.cli.main import SUBCOMMANDS, build_parser
from nnunet_multitask.inference import checkpoints, loading, predictor, stock_model

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "checkpoints.md").read_text("utf-8")
FILES = ("checkpoints", "consistency", "loading", "model", "safe_plans", "stock_model")


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def options(command: str) -> set[str]:
    top_level = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {option for action in top_level.choices[command]._actions for option in action.option_strings}


def test_every_code_is_explained() -> None:
    rows = [line.split(" | ")[0] for line in section("What is refused").splitlines() if line.startswith("| `")]
    explained = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    there = set()
    for name in FILES:
        tree = ast.parse((ROOT / "nnunet_multitask" / "inference" / f"{name}.py").read_text("utf-8"))
        calls = (
            node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "InputError"
        )
        there |= {ast.literal_eval(call.args[0]) for call in calls}
    assert explained == there


def test_commands_with_the_option_are_those_that_it_names() -> None:
    named = re.findall(r"`([a-z-]+)`", section("`--trust-checkpoint`").partition(" have this option")[0])
    assert set(named) == {name for name in SUBCOMMANDS if "--trust-checkpoint" in options(name)}
    for name in named:
        assert f"nnunet-multitask {name}`" in section("What this package does")
    for call in (
        checkpoints.load_checkpoint_file,
        checkpoints.safe_loading,
        loading.load_model_folder,
        predictor.MultiTaskPredictor.initialize_from_trained_model_folder,
        stock_model.read_stock_model,
    ):
        assert inspect.signature(call).parameters["trust_checkpoint"].default is False


def test_files_and_options_of_an_export() -> None:
    page = section("A model for stock nnU-Net")
    for name in (stock_model.PLANS, stock_model.DATASET, stock_model.FINGERPRINT, f"fold_X/{stock_model.CHECKPOINT}"):
        assert f"`{name}`" in page
    (command,) = re.findall(r"nnunet-multitask export ([^`\n]*)", page)
    named = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", command)) | {"-f", "-chk", "--overwrite"}
    assert named <= options("export")
    assert all(f"`{option}`" in page for option in ("-f", "-chk", "--overwrite"))


def test_links_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", TEXT, re.M)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings


def test_what_it_says_of_torch_is_what_the_package_asks_for() -> None:
    (needed,) = re.findall(r"this package needs (\d\.\d+)", TEXT)
    assert f'"torch>={needed}"' in (ROOT / "pyproject.toml").read_text("utf-8")
