"""Write a trained model for stock nnU-Net: its segmentation, without the classification branch.

The model folder is one of nnU-Net's own trainer. nnUNetv2_predict opens it on a machine without this package, and
predicts the same masks; its checkpoints hold only weights and plain values.

  nnunet-multitask export --seg-only -d 200 -c 3d_fullres -o RESULTS
  nnUNet_results=RESULTS nnUNetv2_predict -d 200 -c 3d_fullres -f 0 1 2 3 4 -i imagesTs -o masks

Written is RESULTS/DATASET/nnUNetTrainer__PLANS__CONFIGURATION. The whole model, with its branch, is what nnU-Net's
nnUNetv2_export_model_to_zip packs; who opens it there needs this package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_multitask.cli._nnunet import add_model, add_trust, model_folder, trained_folds
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.errors import InputError

HELP = "write the segmentation of a model for stock nnU-Net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``."""
    parser.add_argument("--seg-only", action="store_true", help="leave the classification branch out (required)")
    add_model(parser)
    parser.add_argument("-f", nargs="+", metavar="FOLD", help="folds to export (default: all that are finished)")
    parser.add_argument(
        "-chk",
        default="checkpoint_final.pth",
        help="name of the checkpoint; it is written as checkpoint_final.pth (default: checkpoint_final.pth)",
    )
    parser.add_argument(
        "-o", required=True, type=Path, metavar="RESULTS", help="where to write, a folder like nnUNet_results"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON on standard output")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Export the model and print how to predict with it."""
    import json

    from nnunet_multitask.dataset_conversion.replacing import check_replaceable
    from nnunet_multitask.inference.model import finished_folds

    if not args.seg_only:
        raise InputError(
            "only-segmentation",
            "export",
            "expected --seg-only, since stock nnU-Net knows no classes; got a whole model to export",
            "say --seg-only, or pack the whole model with `nnUNetv2_export_model_to_zip` (and calibration.json, which "
            "it leaves out) for machines with this package",
        )
    folder = model_folder(args)
    folds = finished_folds(folder, args.chk) if args.f is None else trained_folds(args.f)
    check_output(args.o, is_folder=True)

    from nnunet_multitask.inference.stock_model import is_export, read_stock_model, write_stock_model

    model = read_stock_model(folder, folds, args.chk, trust_checkpoint=args.trust_checkpoint)
    output = model.folder(args.o)
    check_replaceable(output, args.overwrite, "an earlier export", is_export)
    write_stock_model(model, args.o, overwrite=args.overwrite)
    if args.json:
        answer = {"output": str(output), "model": str(folder), "folds": folds, "left": list(model.left)}
        print(json.dumps(answer, indent=2, allow_nan=False))
        return 0
    which = " ".join(map(str, folds))
    print(f"written: {output}, folds {which}")
    print(f"left out: classification branch, {len(model.left)} tensors; class names, calibration, what --c needs")
    plans = "" if model.plans_name == "nnUNetPlans" else f" -p {model.plans_name}"
    print(
        f"next: nnUNet_results={args.o.absolute()} nnUNetv2_predict -d {model.dataset} -c {model.configuration}{plans} "
        f"-f {which} -i IMAGES -o MASKS"
    )
    return 0
