"""Join the predictions of several models, for example 2d and 3d_fullres: masks and classes.

Takes folders that `nnunet-multitask predict --save_probabilities` wrote for the same images. The masks are those of
nnUNetv2_ensemble, made by its own function. Of the classes, the probability is the mean over the members, with their
spread beside it; volumes, agreement and worklist are those of the joint mask.

  nnunet-multitask ensemble -i predictions_2d predictions_3d -o predictions_ensemble
  nnunet-multitask ensemble -i predictions_3d --stock stock_2d -o predictions_ensemble

The mean of calibrated probabilities is not calibrated, and the operating points of the members do not hold for it: the
ensemble decides at 0.5, or for the most probable class. Gates of the members do not act on the joint mask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "join the predictions of several models: masks and classes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ensemble``; the first four are those of nnUNetv2_ensemble."""
    parser.add_argument("-i", nargs="+", required=True, type=Path, metavar="DIR", help="folders of predictions")
    parser.add_argument("-o", required=True, type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument("-np", type=int, default=3, metavar="N", help="processes that join masks (default: 3)")
    parser.add_argument(
        "--save_probabilities", "--save_npz", action="store_true", help="keep the mean probabilities of the masks"
    )
    parser.add_argument(
        "--stock",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="folders of nnUNetv2_predict --save_probabilities, which take part in the masks alone",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        type=float,
        metavar="W",
        help="of the class probabilities, one for each folder of -i (default: all alike); masks count alike always",
    )
    parser.add_argument("--worklist", metavar="TARGET[:CLASS]", help="what sorts worklist.csv (default: as in predict)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier ensemble")


def run(args: argparse.Namespace) -> int:
    """Join, write, and say who took part in what."""
    from nnunet_multitask.errors import InputError

    if args.np < 1:
        raise InputError("bad-processes", "-np", f"expected 1 or more, got {args.np}", "correct it")

    from nnunet_multitask.inference.ensembling import ensemble

    document = ensemble(
        args.i,
        args.o,
        stock=args.stock,
        weights=args.weights,
        save_probabilities=args.save_probabilities,
        overwrite=args.overwrite,
        worklist=args.worklist,
        num_processes=args.np,
    )
    for member in document["model"]["ensemble"]:
        print(f"{member['folder']}: {' and '.join(member['takes_part_in'])}")
    if any(record["members_calibrated"] for case in document["cases"].values() for record in case["targets"].values()):
        print("the members are calibrated, the ensemble is not: its decisions are made at 0.5 or for the most probable")
    print(f"written: {args.o / 'classification.json'}, {len(document['cases'])} cases")
    return 0
