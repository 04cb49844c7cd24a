"""Measure predicted masks anew, after nnUNetv2_apply_postprocessing or any other change.

Writes classification.json, classification.csv and worklist.csv beside the masks, with their volumes, components and
agreement with the class; probabilities and decisions stay as they were predicted.

  nnUNetv2_apply_postprocessing -i predictions -o postprocessed -pp_pkl_file postprocessing.pkl
  nnunet-multitask volumes postprocessed --predictions predictions
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "measure predicted masks anew, for example after postprocessing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``volumes``."""
    parser.add_argument("masks", type=Path, metavar="DIR", help="folder of the masks")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="folder with the classification.json, dataset.json and plans.json of the prediction (default: the masks')",
    )
    parser.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="another dataset.json with labels and file ending"
    )
    parser.add_argument("--worklist", metavar="TARGET[:CLASS]", help="what sorts worklist.csv (default: as in predict)")


def run(args: argparse.Namespace) -> int:
    """Measure, write, and say how many masks were measured."""
    from nnunet_multitask.inference.remeasure import remeasure

    document = remeasure(args.masks, args.predictions or args.masks, args.dataset_json, args.worklist)
    print(f"{len(document['cases'])} masks measured: {args.masks / 'classification.json'}")
    return 0
