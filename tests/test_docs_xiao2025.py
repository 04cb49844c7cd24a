"""docs/xiao-2025.md: its numbers are those of the recipe and the networks, its names and options exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_multitask.cli.main import build_parser
from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.discovery import multitask_trainers
from nnunet_multitask.networks.resnet3d import ResNet3D
from nnunet_multitask.networks.xiao2025 import Xiao2025Network
from nnunet_multitask.training.best_loss import BEST_LOSS
from nnunet_multitask.workflows.recipes import RECIPES, recipe_plans

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "xiao-2025.md").read_text("utf-8")
SECTION = TEXT.partition("\n## Settings\n")[2].partition("\n## ")[0]
ROWS = {
    cells[1].strip("`"): json.loads(cells[2])
    for cells in ([cell.strip() for cell in line.strip("|").split(" | ")] for line in SECTION.splitlines())
    if len(cells) == 3 and cells[1].startswith("`")
}


@pytest.fixture(scope="module")
def plans() -> dict[str, Any]:
    scans = {"shapes_after_crop": [[33, 512, 512]] * 200, "spacings": [[5.0, 250 / 512, 250 / 512]] * 200}
    empty: dict[str, Any] = {
        "plans_name": "nnUNetPlans",
        "transpose_backward": [0, 1, 2],
        "original_median_spacing_after_transp": [5.0, 0.5, 0.5],
        "original_median_shape_after_transp": [33, 512, 512],
        "configurations": {"3d_fullres": {}},
    }
    return recipe_plans(empty, scans, "xiao2025", "xiao2025")


def looked_up(plans: dict[str, Any], place: str) -> Any:
    """Return what stands at a place such as ``schedule.epochs`` or ``spacing[0]``."""
    value: Any = {**plans["configurations"]["3d_fullres"], **plans["multitask"]}
    for part in re.findall(r"\w+", place):
        value = value[int(part)] if part.isdigit() else value[part]
    return value


@pytest.mark.parametrize("place", ROWS)
def test_number_is_the_recipes(plans: dict[str, Any], place: str) -> None:
    assert ROWS[place] == looked_up(plans, place)
    assert type(ROWS[place]) is type(looked_up(plans, place))


def test_no_setting_of_the_recipe_is_left_out(plans: dict[str, Any]) -> None:
    block = plans["multitask"]
    settings = {f"{part}.{name}" for part in ("schedule", "config") for name in block[part]}
    assert settings == {place for place in ROWS if place.startswith(("schedule.", "config."))}


def test_example_of_the_spacing(plans: dict[str, Any]) -> None:
    assert f"({plans['configurations']['3d_fullres']['spacing'][1]:.2f} mm for 250 mm)" in TEXT


def test_sizes_of_the_networks(plans: dict[str, Any]) -> None:
    network = plans["configurations"]["3d_fullres"]["architecture"]
    with torch.device("meta"):
        unet = get_network_from_plans(*network.values(), 1, 2, allow_init=False, deep_supervision=False)
        joint = Xiao2025Network(unet, {"subtype": 2}, MultiTaskConfig(**plans["multitask"]["config"]))
        resnet = ResNet3D(1, 2, {"subtype": 2})
    millions = [
        sum(p.numel() for part in parts for p in part.parameters()) / 1e6
        for parts in ([joint], [joint.fusion, joint.heads], [resnet])
    ]
    assert "The network has {:.1f} M parameters, of which {:.2f} M are".format(*millions) in TEXT
    assert f"ResNet3D-18 has {millions[2]:.1f} M" in TEXT


def test_names_exist() -> None:
    assert set(re.findall(r"nnUNetTrainer(?:MultiTask_\w+|ResNet\w+|MultiTask|Baseline)\b", TEXT)) <= set(
        multitask_trainers.__all__
    )
    assert set(re.findall(r"--recipe ([\w-]+)", TEXT)) == set(RECIPES)
    assert BEST_LOSS in TEXT
    assert set(re.findall(r"--set (\w+)=", TEXT)) <= set(MultiTaskConfig.__dataclass_fields__)


def test_options_that_are_named_exist() -> None:
    subcommands = next(action for action in build_parser()._actions if action.dest == "run" or action.choices).choices
    text = TEXT.replace("\\\n", " ")
    commands = re.findall(r"^ *nnunet-multitask (\w+) ([^#\n]*)", text, re.M)
    assert {name for name, _ in commands} >= {"convert", "plan", "configure", "train", "predict", "compare", "evaluate"}
    for name, arguments in commands:
        if name != "convert":  # whose options are those of its sources
            known = {option for action in subcommands[name]._actions for option in action.option_strings}
            assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", arguments)) <= known, name
