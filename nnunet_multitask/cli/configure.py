"""Write plans under a new name: another network width, patch, batch, schedule or classification branch.

The new plans share the preprocessed data of the old ones, and serve the multi-task trainer and its baseline alike.
Sizes are changed in one configuration; the schedule counts for all. With --recipe they follow a published system
instead, whose scans have to be preprocessed anew; the other options then change the recipe.

  nnunet-multitask configure 200 --from nnUNetPlans --name small --features 8,16,32,64 --patch-size 16,96,96 \\
      --batch-size 4 --epochs 10 --iterations 50 --optimizer adamw
  nnunet-multitask configure 200 --name heavier --set classification_weight=1 --set pooling=attention
  nnunet-multitask configure 200 --name evenly --case-sampling balanced
  nnunet-multitask configure 200 --recipe xiao2025 --name xiao2025
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._nnunet import preprocessed_plans
from nnunet_multitask.cli._settings import add_options, changes, given, listed
from nnunet_multitask.config import MultiTaskConfig, ScheduleConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.workflows.plans_names import check_plans_name
from nnunet_multitask.workflows.recipes import RECIPES, recipe_plans

HELP = "write plans with another size, schedule or branch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; what is not given stays as it is."""
    parser.add_argument("dataset", help="dataset, by name or id; it must be preprocessed")
    parser.add_argument(
        "--from", dest="source", default="nnUNetPlans", help="plans to start from (default: nnUNetPlans)"
    )
    parser.add_argument("--name", required=True, help="name of the new plans, for -p")
    parser.add_argument("--configuration", default="3d_fullres", help="what to change (default: 3d_fullres)")
    parser.add_argument("--recipe", choices=tuple(RECIPES), help="published system to follow")
    size = parser.add_argument_group("size")
    size.add_argument("--features", type=_numbers, metavar="8,16,32,64", help="channels of each encoder stage")
    size.add_argument("--patch-size", type=_numbers, metavar="16,96,96", help="voxels along each axis of the plans")
    size.add_argument("--batch-size", type=int, help="patches in a batch")
    text = "of the multi-task trainer and its baseline; what is not given is as the trainer has it"
    add_options(parser.add_argument_group("schedule", text), ScheduleConfig)
    branch = parser.add_argument_group("classification branch, by --set", listed(MultiTaskConfig))
    known = "a setting of the branch or of the schedule; repeatable"
    branch.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=known)
    parser.add_argument("--overwrite", action="store_true", help="replace plans of that name")
    parser.add_argument("--json", action="store_true", help="print path and settings as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the plans and print what differs from the defaults."""
    import json

    from nnunet_multitask.documents import write_json
    from nnunet_multitask.workflows.configure import derive_plans

    folder, plans = preprocessed_plans(args.dataset, args.source)
    check_plans_name(args.name, "--name")
    path = folder / f"{args.name}.json"
    _check_place(path, args.overwrite)
    config, schedule = given(args)
    if args.recipe is not None:
        plans = _of_recipe(args, folder, plans)
    new = derive_plans(
        plans,
        args.name,
        args.configuration,
        features=args.features,
        patch_size=args.patch_size,
        batch_size=args.batch_size,
        config=config,
        schedule=schedule,
    )
    write_json(path, new)
    changed = new["configurations"][args.configuration]
    summary = {
        "plans": str(path),
        "configuration": args.configuration,
        "features": changed["architecture"]["arch_kwargs"]["features_per_stage"],
        "patch_size": changed["patch_size"],
        "batch_size": changed["batch_size"],
        "config": new["multitask"]["config"],
        "schedule": new["multitask"]["schedule"],
    }
    if args.recipe is not None:
        summary["spacing"] = [round(spacing, 4) for spacing in changed["spacing"]]
    if args.json:
        print(json.dumps(summary))
        return 0
    blocks = {"config": ("branch", MultiTaskConfig), "schedule": ("schedule", ScheduleConfig)}
    for name, value in summary.items():
        if name not in blocks:
            print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for block, (title, settings) in blocks.items():
        print(f"{title}:" if new["multitask"][block] else f"{title}: as by default")
        for name, text in changes(settings, new["multitask"][block]).items():
            print(f"  {name}: {text}")
    if args.recipe is not None:
        _print_next(args, folder)
    return 0


def _check_place(path: Path, overwrite: bool) -> None:
    """Refuse to write where something stands that is not to be replaced, or where nnU-Net keeps another document."""
    from nnunet_multitask.documents import read_json

    if path.is_file() and "configurations" not in (read_json(path) or {}):
        raise InputError("bad-name", path, "expected a name for plans, got that of another document", "choose another")
    if path.exists() and not overwrite:
        raise InputError("exists", path, "expected a new name, got one that is taken", "choose another or --overwrite")


def _of_recipe(args: argparse.Namespace, folder: Path, plans: dict[str, Any]) -> dict[str, Any]:
    """Return the plans of the recipe for this dataset."""
    from nnunet_multitask.documents import read_json
    from nnunet_multitask.workflows.plan import FINGERPRINT_NAME

    path = folder / FINGERPRINT_NAME
    if not path.is_file():
        remedy = f"run nnunet-multitask plan -d {int(folder.name[7:10])} --no_pp"
        raise InputError("missing-fingerprint", path, "expected the sizes of the training scans, got no file", remedy)
    return recipe_plans(
        plans, read_json(path), args.recipe, args.name, patch_size=args.patch_size, batch_size=args.batch_size
    )


def _print_next(args: argparse.Namespace, folder: Path) -> None:
    """Print the commands that follow plans of a recipe."""
    dataset = int(folder.name[7:10])
    print("next:")
    print(f"  nnUNetv2_preprocess -d {dataset} -plans_name {args.name} -c {args.configuration}")
    for trainer in RECIPES[args.recipe].trainers:
        print(f"  nnunet-multitask train {dataset} {args.configuration} 0 -p {args.name} -tr {trainer}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in re.split(r"[,x]", text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, got {text!r}") from error
