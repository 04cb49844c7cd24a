"""Start encoder and decoder from the checkpoint of a trained network, stock nnU-Net's or a multi-task one.

Written is a checkpoint with all weights of the multi-task network of this dataset: encoder and decoder from CHECKPOINT,
fusion and heads as the trainer initialises them. It is what -pretrained_weights wants; nnU-Net refuses a stock
checkpoint there, because that lacks fusion and heads.

  nnunet-multitask pretrain-from fold_0/checkpoint_final.pth -d 200 -c 3d_fullres -o start.pth
  nnunet-multitask train 200 3d_fullres 0 -pretrained_weights start.pth

The checkpoint must be of the same network: same plans, or plans moved with nnUNetv2_move_plans_between_datasets. The
number of input channels may differ, and the labels. It is read without running anything that it contains,
unless --trust-checkpoint is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._nnunet import add_trust, check_configuration, find_trainer, preprocessed_plans
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.training.pretraining import Transfer

HELP = "start encoder and decoder from the checkpoint of a trained network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pretrain-from``."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint to take weights from")
    parser.add_argument("-d", required=True, metavar="DATASET", help="dataset to train on, by name or id")
    parser.add_argument("-c", required=True, metavar="CONFIGURATION", help="configuration: 2d, 3d_fullres, ...")
    parser.add_argument("-p", default="nnUNetPlans", help="name of the plans (default: nnUNetPlans)")
    parser.add_argument("-tr", default="nnUNetTrainerMultiTask", help="trainer (default: nnUNetTrainerMultiTask)")
    parser.add_argument("-o", required=True, type=Path, metavar="FILE.pth", help="checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.pth")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print what was taken as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and print what was taken."""
    import json

    from nnunet_multitask import environment
    from nnunet_multitask.datasets import optional_folder
    from nnunet_multitask.documents import read_json

    if args.o.exists() and not args.overwrite:
        raise InputError("already-exists", args.o, "expected no file, found one", "name another, or use --overwrite")
    check_output(args.o, is_folder=False)
    folder, plans = preprocessed_plans(args.d, args.p)
    check_configuration(plans, args.c)
    environment.activate()

    from nnunet_multitask.inference.checkpoints import load_checkpoint_file
    from nnunet_multitask.training.pretraining import initial_network, transfer
    from nnunet_multitask.training.supervision import load_sidecar

    checkpoint = load_checkpoint_file(args.checkpoint, trust_checkpoint=args.trust_checkpoint)
    raw = optional_folder("nnUNet_raw")
    sidecar = load_sidecar(None if raw is None else raw / folder.name, folder)
    dataset_json = read_json(folder / "dataset.json")
    network = initial_network(find_trainer(args.tr), plans, args.c, dataset_json, sidecar)
    transferred = transfer(checkpoint["network_weights"], network, args.checkpoint)
    origin = {
        "checkpoint": str(args.checkpoint),
        "trainer": str(checkpoint.get("trainer_name", "unknown")),
        "dataset": folder.name,
        "plans": args.p,
        "configuration": args.c,
    }
    _write(args.o, {"network_weights": transferred.weights, "pretrained_from": origin})
    summary = {**origin, "written": str(args.o), **_summary(transferred)}
    if args.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
        return 0
    print("\n".join(describe(transferred)))
    print(f"written: {args.o}")
    trainer = "" if args.tr == "nnUNetTrainerMultiTask" else f" -tr {args.tr}"
    plans_name = "" if args.p == "nnUNetPlans" else f" -p {args.p}"
    print(f"next: nnunet-multitask train {args.d} {args.c} 0{trainer}{plans_name} -pretrained_weights {args.o}")
    return 0


def describe(transferred: Transfer) -> list[str]:
    """Return the lines that tell what was taken, and what was not and why."""
    weights = transferred.weights
    lines = [
        f"taken: {part}, {_count(names, weights)}"
        for part in ("encoder", "decoder")
        if (names := [name for name in transferred.taken if name.startswith(f"{part}.")])
    ]
    if transferred.input_layer is not None:
        name, theirs, ours = transferred.input_layer
        lines.append(
            f"not taken: {name}: the checkpoint sees {theirs[1]} input channels, this dataset has {ours[1]}; "
            "it starts afresh"
        )
    lines.append(
        f"not taken: segmentation layers, {_count(transferred.segmentation_layers, weights)}: "
        "nnU-Net starts them afresh for the labels of each dataset"
    )
    lines.append(f"new: fusion and heads, {_count(transferred.branch, weights)}")
    if transferred.left:
        lines.append(f"left: {len(transferred.left)} tensors of the checkpoint's own fusion and heads")
    return lines


def _summary(transferred: Transfer) -> dict[str, Any]:
    layer = transferred.input_layer
    return {
        "taken": list(transferred.taken),
        "input_layer": layer and {"name": layer[0], "checkpoint": list(layer[1]), "network": list(layer[2])},
        "segmentation_layers": list(transferred.segmentation_layers),
        "new": list(transferred.branch),
        "left": list(transferred.left),
    }


def _count(names: Sequence[str], weights: Any) -> str:
    return f"{len(names)} tensors with {sum(weights[name].numel() for name in names):,} weights"


def _write(path: Path, checkpoint: dict[str, Any]) -> None:
    import torch

    from nnunet_multitask.storage import atomic_file

    with atomic_file(path) as temporary:
        torch.save(checkpoint, temporary)
