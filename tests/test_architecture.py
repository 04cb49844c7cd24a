"""Who may import whom: the walls between the rooms of the package, and what stays outside."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "nnunet_multitask"
ROOT = Path(__file__).resolve().parents[1]

READING = {
    "storage", "documents", "csv_files", "wording", "datasets",
    "compression", "geometry", "nifti", "nifti_geometry", "itk_files", "files", "plausibility", "boxes",
}  # fmt: skip
GROUND_FLOOR = READING | {"targets", "labels", "stratification", "splits", "environment", "engines"}
UPPER_ROOMS = {
    "config", "networks", "losses", "inference", "explanation", "training", "evaluation", "dataset_conversion",
}  # fmt: skip

# room -> the rooms that it may import, besides itself and errors
MAY_IMPORT = {
    "": set(),  # the package's own __init__
    "errors": set(),
    "environment": set(),
    "storage": set(),
    "documents": READING,
    "wording": set(),
    "csv_files": {"storage"},
    "datasets": READING,
    "compression": READING,
    "geometry": READING,
    "nifti": READING,
    "nifti_geometry": READING,
    "itk_files": READING,
    "boxes": set(),  # arithmetic on arrays
    "files": READING,
    "plausibility": READING,
    "targets": READING,
    "labels": GROUND_FLOOR,
    "stratification": set(),  # counts, folds and a seed
    "splits": GROUND_FLOOR,
    "engines": set(),  # knows nothing of medicine
    "config": READING | {"labels"},
    "evaluation": READING | {"targets", "labels", "engines"},
    "dataset_conversion": READING | {"labels", "splits", "engines"},
    "networks": {"config"},
    "losses": {"config"},
    "inference": READING | {"networks", "labels", "config", "evaluation", "environment"},
    # looks into trained networks by means of inference, and draws with the report's brushes; nothing rests on it
    "explanation": READING | {"networks", "labels", "inference", "evaluation"},
    "training": READING
    | {"networks", "losses", "labels", "splits", "config", "inference", "evaluation", "environment"},
    "discovery": {"training"},
    "workflows": GROUND_FLOOR | UPPER_ROOMS,
    "cli": GROUND_FLOOR | UPPER_ROOMS | {"discovery", "workflows"},
}
WITHOUT_TORCH = GROUND_FLOOR | {"", "errors", "evaluation", "dataset_conversion"}
WITH_NNUNET = {"training", "inference", "explanation", "networks", "discovery", "workflows", "cli"}
BRINGS_TORCH = {
    "torch",
    "torchvision",
    "timm",
    "dynamic_network_architectures",
    "batchgeneratorsv2",
    "acvl_utils",
}


def test_no_wall_is_broken() -> None:
    faults = [
        f"{module}: {fault}" for module, path in modules() for fault in broken_walls(module, path.read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_every_room_has_its_modules_looked_at() -> None:
    names = {module for module, _ in modules()}
    assert {"nnunet_multitask.errors", "nnunet_multitask.cli.main"} <= names
    for link in ("evaluation", "dataset_conversion"):
        expected = {path.stem for path in (ROOT / link).glob("*.py")} - {"__init__"}
        assert expected <= {name.rpartition(".")[2] for name in names if f".{link}." in name}


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("labels", "import torch", "torch is not for labels"),
        ("evaluation.surface", "def f():\n    from torch.nn import Module", "torch is not for evaluation"),
        ("dataset_conversion.x", "import acvl_utils.cropping_and_padding", "acvl_utils is not for dataset_conversion"),
        ("evaluation.x", "from nnunetv2.paths import nnUNet_raw", "nnunetv2 is not for evaluation"),
        ("losses.x", "import nnunetv2", "nnunetv2 is not for losses"),
        ("cli.x", "import medpy.metric", "medpy is for tests only"),
        ("evaluation.x", "from MLstatkit import Delong_test", "MLstatkit is for tests only"),
        ("workflows.demo", "from nnunet_multitask.cli import main", "workflows may not import cli"),
        ("networks.x", "from nnunet_multitask.training.trainers import X", "networks may not import training"),
        ("losses.x", "from nnunet_multitask import labels, networks", "losses may not import labels"),
        ("losses.x", "from nnunet_multitask import labels, networks", "losses may not import networks"),
        ("evaluation.x", "import nnunet_multitask.splits", "evaluation may not import splits"),
        ("engines.local", "import nnunet_multitask.labels", "engines may not import labels"),
        ("cli.x", "from . import main", "relative import"),
        ("cli.x", "from evaluation.surface import x", "evaluation is imported as nnunet_multitask.evaluation"),
        ("labels", "import importlib\nimportlib.import_module('torch.nn')", "torch is not for labels"),
        ("labels", "__import__('torch')", "torch is not for labels"),
        ("attic.x", "import json", "attic is no room of the house"),
    ],
)
def test_a_broken_wall_is_found(module: str, source: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in broken_walls(f"{PACKAGE}.{module}", source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("evaluation.x", "from nnunet_multitask.labels import Target\nfrom nnunet_multitask.errors import InputError"),
        ("cli.x", "from nnunet_multitask import __version__\nimport torch, nnunetv2\nimport nnunet_multitask.training"),
        ("networks.x", "from nnunet_multitask.networks.heads import Head\nimport torch\nfrom torch import nn"),
        ("labels", "import torchlike"),
        ("evaluation.x", "import importlib\nimportlib.import_module(name)"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert not list(broken_walls(f"{PACKAGE}.{module}", source))


def test_rooms_without_torch_load_none_by_detours() -> None:
    names = [module for module, _ in modules() if _room(module) in WITHOUT_TORCH]
    snippet = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps(sorted({{'nnunetv2', *{sorted(BRINGS_TORCH)!r}}} & set(sys.modules))))"
    )
    process = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == []


def modules() -> Iterator[tuple[str, Path]]:
    """Yield dotted name and path of every module of the package, through its links."""
    for folder, _, files in os.walk(ROOT / PACKAGE, followlinks=True):
        for file in sorted(files):
            path = Path(folder, file)
            if path.suffix == ".py":
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def broken_walls(module: str, source: str) -> Iterator[str]:
    """Yield what the imports in ``source`` break, those inside functions among them."""
    room = _room(module)
    if room not in MAY_IMPORT:
        yield f"{room} is no room of the house: write into MAY_IMPORT whom it may import"
        return
    for name in _imported_names(source):
        top = name.partition(".")[0]
        target = _room(name)
        if not top:
            yield "relative import: write it from nnunet_multitask on"
        elif top == PACKAGE:
            if target not in MAY_IMPORT[room] | {room, "errors", ""}:
                yield f"{room} may not import {target} ({name})"
        elif top in ("evaluation", "dataset_conversion"):
            yield f"{top} is imported as {PACKAGE}.{top}"
        elif top in ("medpy", "MLstatkit"):
            yield f"{top} is for tests only"
        elif (top in BRINGS_TORCH and room in WITHOUT_TORCH) or (top == "nnunetv2" and room not in WITH_NNUNET):
            yield f"{top} is not for {room}"


def _imported_names(source: str) -> Iterator[str]:
    """Yield the dotted name of each import; a relative one begins with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            if origin == PACKAGE:  # the names may be rooms
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                yield origin
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and arg.value)


def _room(name: str) -> str:
    """Return the room of a dotted name of the package; "" for the package itself and its dunder names."""
    room = name.split(".")[1] if name.count(".") else ""
    return "" if room.startswith("__") else room
