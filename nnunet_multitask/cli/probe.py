"""Fit linear probes on the frozen features of a trained model: is a class readable at all, and in which stage?

Works for multi-task models and for stock nnU-Net's, so that it tells before any multi-task training what an encoder
that only segments knows of the classes. Each fold's probe is fitted on the features of its training cases and scored on
its validation cases, which neither network nor probe has seen. The control is the same with permuted labels.

  nnunet-multitask probe -d 200 -c 3d_fullres -tr nnUNetTrainer
  nnunet-multitask probe -m MODEL_FOLDER -f 0 1 -o probe.json --permutations 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._folds import add_labels, labels_of, splits_of
from nnunet_multitask.cli._nnunet import add_device, add_model, add_trust, model_folder, prepare_device
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

HELP = "linear probes on the features of a trained model, stage by stage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``probe``."""
    add_model(parser)
    parser.add_argument("-f", nargs="+", type=int, metavar="FOLD", help="folds (default: all that are finished)")
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", help="name of the checkpoint (default: checkpoint_final.pth)"
    )
    add_labels(parser, "targets to probe (default: all)")
    parser.add_argument("--permutations", type=int, default=100, help="of the labels, as control (default: 100)")
    parser.add_argument("--step-size", type=float, default=1.0, help="step between tiles, in tiles (default: 1.0)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write the results here, too")
    parser.add_argument("--json", action="store_true", help="print the results as JSON on standard output")
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Probe the model and print a table."""
    import json

    from nnunet_multitask import environment
    from nnunet_multitask.documents import write_json
    from nnunet_multitask.inference.model import check_model_folder, finished_folds

    folder = model_folder(args)
    if args.permutations < 0 or not 0 < args.step_size <= 1:
        fault = (
            f"expected --permutations from 0 and --step-size above 0 to 1, got {args.permutations}, {args.step_size}"
        )
        raise InputError("bad-option", "arguments", fault, "correct them")
    if args.output is not None:
        check_output(args.output, is_folder=False)
    folds = args.f if args.f is not None else finished_folds(folder, args.chk)
    check_model_folder(folder, folds, args.chk, with_heads=False)
    preprocessed, splits = splits_of(folder, folds)
    sidecar = labels_of(args, preprocessed)
    environment.activate()
    device = prepare_device(args.device)

    from nnunet_multitask.workflows.probing import probe_model

    document = probe_model(
        folder,
        splits,
        sidecar,
        preprocessed,
        checkpoint_name=args.chk,
        device=device,
        step_size=args.step_size,
        permutations=args.permutations,
        trust_checkpoint=args.trust_checkpoint,
    )
    if args.output is not None:
        write_json(args.output, document)
    if args.json:
        print(json.dumps(document, indent=2, allow_nan=False))
        return 0
    print("\n".join(describe(document)))
    if args.output is not None:
        print(f"written: {args.output}")
    return 0


def describe(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table for each target."""
    for task, entry in document["targets"].items():
        probes = entry["probes"]
        yield f"{task}: {probes[0]['n']} validation cases; chance {entry['chance']['balanced_accuracy']:.3f} and 0.500"
        yield (
            f"  {'pooling':<11}{'stage':>5}{'channels':>9}   {'balanced accuracy':<22}{'AUC':<22}"
            f"{'AUC permuted (95 %)':<21}{'p':>6}"
        )
        for found in probes:
            control = found["auc"]["permuted"]
            permuted = f"{control['mean']:.3f} ({control['high']:.3f})" if control else "n/a"
            yield (
                f"  {found['pooling']:<11}{found['stage']:>5}{found['channels']:>9}   "
                f"{_with_interval(found['balanced_accuracy']):<22}{_with_interval(found['auc']):<22}"
                f"{permuted:<21}{text_of(control['p'] if control else None):>6}"
            )
    yield "stage 0 is the finest; with many stages and poolings some p are small by chance"


def _with_interval(entry: Mapping[str, Any]) -> str:
    interval = entry["interval"]
    ends = "" if interval["low"] is None else f" ({interval['low']:.3f}-{interval['high']:.3f})"
    return text_of(entry["value"]) + ends
