"""Show what a trained model looks at: Grad-CAM, its own attention, and t-SNE of its features before and after training.

Grad-CAM of each target (the class it decides on; of a multilabel target each class) at every stage of the encoder, and
the attention that the network learned, as NIfTI in the geometry of each image and as pictures; in explanation.json
probabilities, weights of the stages, and how much of each map lies inside the mask. A map shows where a class is read
from, not why: see docs/explanation.md.

  nnunet-multitask explain -i imagesTs -o explained -d 200 -c 3d_fullres
  nnunet-multitask explain -o explained -d 200 -c 3d_fullres -f 0 --control
  nnunet-multitask explain -i imagesTs -o explained -m MODEL_FOLDER --class subtype=IVH --stages 2 3 --masks labelsTs

Without -i the validation cases of the fold are explained, with their reference masks and labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._folds import splits_of
from nnunet_multitask.cli._nnunet import add_device, add_model, add_trust, model_folder, prepare_device, trained_folds
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.labels import LabelSidecar

HELP = "Grad-CAM, attention maps and t-SNE of a trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.add_argument(
        "-i", metavar="DIR", help="images, named CASE_0000.nii.gz and so on (default: the fold's validation cases)"
    )
    parser.add_argument("-o", required=True, type=Path, metavar="DIR", help="where maps and pictures are written")
    add_model(parser)
    parser.add_argument("-f", nargs="+", metavar="FOLD", help="folds to average over (default: all that are finished)")
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", help="name of the checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument("-step_size", type=float, default=0.5, help="step between tiles, in tiles (default: 0.5)")
    add_device(parser)
    parser.add_argument("--targets", nargs="+", metavar="TARGET", help="targets to explain (default: all)")
    parser.add_argument(
        "--class",
        dest="classes",
        nargs="+",
        default=[],
        metavar="[TARGET=]CLASS",
        help="classes to explain instead of the decision, or all (multilabel targets: default all)",
    )
    parser.add_argument(
        "--stages", nargs="+", type=int, metavar="STAGE", help="stages of the encoder, 0 is the finest (default: all)"
    )
    parser.add_argument(
        "--method",
        dest="methods",
        nargs="+",
        choices=("gradcam", "hirescam"),
        default=["gradcam"],
        help="how classes are explained; hirescam weighs each voxel by its own gradient (default: gradcam)",
    )
    parser.add_argument("--masks", type=Path, metavar="DIR", help="reference masks CASE.nii.gz, to compare maps with")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class_labels.json for colours (default: that of the model's dataset)",
    )
    parser.add_argument(
        "--control", action="store_true", help="compare the maps with those of the untrained network: twice the time"
    )
    parser.add_argument(
        "--tsne",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="t-SNE of the fused features (default: with 5 cases or more)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier explanation of these cases")
    parser.add_argument("--disable_progress_bar", action="store_true", help="no progress bar")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Explain the model and say what lies where."""
    from nnunet_multitask import environment
    from nnunet_multitask.documents import read_json
    from nnunet_multitask.inference.inputs import check_folders
    from nnunet_multitask.inference.model import check_model_folder, finished_folds

    folder = model_folder(args)
    if args.i is not None:
        check_folders(args.i, args.o)
    if not 0 < args.step_size <= 1:
        fault = f"expected a number above 0 and up to 1, got {args.step_size:g}"
        raise InputError("bad-step-size", "-step_size", fault, "leave it at 0.5")
    check_output(args.o, is_folder=True)
    folds = finished_folds(folder, args.chk) if args.f is None else trained_folds(args.f)
    check_model_folder(folder, folds, args.chk)
    dataset_json = read_json(folder / "dataset.json")
    name = str(read_json(folder / "plans.json")["dataset_name"])
    images, masks = _cases(args, folder, name, folds, dataset_json)
    sidecar = _sidecar(args, name)
    environment.activate()
    device = prepare_device(args.device)

    from nnunet_multitask.workflows.explaining import ExplainOptions, explain_model

    options = ExplainOptions(
        folds=folds,
        checkpoint_name=args.chk,
        device=device,
        step_size=args.step_size,
        targets=args.targets,
        classes=args.classes,
        stages=args.stages,
        methods=list(dict.fromkeys(args.methods)),
        control=args.control,
        tsne=args.tsne,
        overwrite=args.overwrite,
        trust_checkpoint=args.trust_checkpoint,
        progress=not args.disable_progress_bar,
    )
    document = explain_model(folder, images, args.o, options, masks=masks, sidecar=sidecar)
    print("\n".join(describe(document)))
    print(f"written: {args.o}")
    return 0


def describe(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each case and explained class: how much of each stage's map lies inside the mask."""
    lines = []
    for case_id, case in document["cases"].items():
        groups: dict[str, list[str]] = {}
        for entry in case["maps"]:
            if "class" in entry:
                share = entry.get("share_in_reference", entry.get("share_in_prediction"))
                shown = "n/a" if share is None else f"{share:.3f}"
                groups.setdefault(f"{entry['kind']} {entry['target']}={entry['class']}", []).append(shown)
        shares = case["shares_of_image"]
        name = "reference" if "reference" in shares else "prediction"
        even = f" (even map: {shares[name]:.3f})" if shares else ""
        lines += [f"{case_id} {group}: share in {name}, by stage: {' '.join(v)}{even}" for group, v in groups.items()]
    return lines


def _cases(
    args: argparse.Namespace, folder: Path, name: str, folds: Sequence[int | str], dataset_json: Mapping[str, Any]
) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Return images and reference masks: those that are named, or of the fold's validation cases."""
    from nnunet_multitask.datasets import (
        find_dataset,
        list_cases,
        list_image_channels,
        required_folder,
        training_images,
        training_masks,
    )

    ending = dataset_json["file_ending"]
    masks = {} if args.masks is None else list_cases(args.masks, ending)
    if args.i is not None:
        images = list_image_channels(args.i, ending)
    else:
        if len(folds) != 1 or not isinstance(folds[0], int):
            fault = f"expected images, or one fold whose validation cases are explained, got folds {_listed(folds)}"
            raise InputError("missing-images", "-i", fault, "name images with -i, or one fold with -f")
        _, splits = splits_of(folder, folds)
        wanted = splits[folds[0]]["val"]
        raw = find_dataset(required_folder("nnUNet_raw"), name)
        known = training_images(raw, dataset_json)
        absent = [case_id for case_id in wanted if case_id not in known]
        if absent:
            fault = f"expected the images of all validation cases, found none of {', '.join(absent[:5])}"
            raise InputError("missing-images", raw, fault, "restore them, or name images with -i")
        images = {case_id: known[case_id] for case_id in wanted}
        masks = masks or training_masks(raw, dataset_json)
    if args.masks is not None and not set(masks) & set(images):
        fault = f"expected masks of the cases, named CASE{ending}, found none"
        raise InputError("missing-masks", args.masks, fault, "correct --masks")
    return images, {case_id: path for case_id, path in masks.items() if case_id in images}


def _sidecar(args: argparse.Namespace, name: str) -> LabelSidecar | None:
    """Return the labels for colours; None where the dataset is not on this machine."""
    from nnunet_multitask.datasets import optional_folder
    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar

    if args.labels is not None:
        return read_sidecar(args.labels)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed"):
        folder = optional_folder(variable)
        if folder is not None and (folder / name / SIDECAR_NAME).is_file():
            return read_sidecar(folder / name / SIDECAR_NAME)
    return None


def _listed(folds: Sequence[int | str]) -> str:
    return ", ".join(map(str, folds)) or "none"
