"""Predict masks and classes of new cases in one pass.

Takes the arguments of nnUNetv2_predict, and -m of nnUNetv2_predict_from_modelfolder. Writes the masks as that command
does, and beside them classification.json and classification.csv: probabilities and decision of each target, their
spread, volume and components of each label, and whether mask and decision agree; and worklist.csv, the cases sorted by
probability.

  nnunet-multitask predict -i imagesTs -o predictions -d 200 -c 3d_fullres -tr nnUNetTrainerMultiTask
  nnunet-multitask predict -i imagesTs -o predictions -m MODEL_FOLDER

The images may also be DICOM series, one in each subfolder of -i: they become images with the channels of the model.

  nnunet-multitask predict -i scans -o predictions -m MODEL_FOLDER

The calibration.json that `nnunet-multitask calibrate` wrote into the model's folder is applied where it is there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._dicom_input import add_dicom, predictable
from nnunet_multitask.cli._nnunet import add_device, add_model, add_trust, model_folder, prepare_device, trained_folds
from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import check_writable

if TYPE_CHECKING:
    import torch

HELP = "predict masks and classes in one pass"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of nnUNetv2_predict and of nnUNetv2_predict_from_modelfolder, and those for classes."""
    parser.add_argument(
        "-i", required=True, metavar="DIR", help="images, named CASE_0000.nii.gz and so on, or a folder of DICOM series"
    )
    parser.add_argument("-o", required=True, metavar="DIR", help="where masks and classification are written")
    add_model(parser)
    parser.add_argument("-f", nargs="+", metavar="FOLD", help="folds to average over (default: all that are finished)")
    parser.add_argument("-step_size", type=float, default=0.5, help="step between tiles, in tiles (default: 0.5)")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring at test time: faster, less accurate")
    parser.add_argument("--verbose", action="store_true", help="say more while running")
    parser.add_argument("--save_probabilities", action="store_true", help="keep the segmentation's probabilities")
    parser.add_argument(
        "--continue_prediction", "--c", action="store_true", help="leave out cases that have mask and classification"
    )
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", help="name of the checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument(
        "-npp", type=int, default=_processes("nnUNet_npp"), help="processes that preprocess (default: %(default)s)"
    )
    parser.add_argument(
        "-nps", type=int, default=_processes("nnUNet_nps"), help="processes that write masks (default: %(default)s)"
    )
    parser.add_argument("-prev_stage_predictions", metavar="DIR", help="masks of the previous stage of a cascade")
    parser.add_argument("-num_parts", type=int, default=1, help="commands that share the work (default: 1)")
    parser.add_argument("-part_id", type=int, default=0, help="which of them this is, from 0 (default: 0)")
    parser.add_argument("--not_on_device", action="store_true", help="keep results in main memory: for large images")
    parser.add_argument("--disable_progress_bar", action="store_true", help="no progress bar")
    add_device(parser)
    add_trust(parser)
    add_dicom(parser)
    classes = parser.add_argument_group("classes")
    classes.add_argument(
        "--aggregation",
        nargs="+",
        default=[],
        metavar="[TARGET=]NAME",
        help="how tiles become a case: mean, gaussian, lesion, max, noisy_or, topk, or gated_attention after "
        "fit-aggregation (default: as the model was trained)",
    )

    classes.add_argument(
        "--no-calibration", action="store_true", help="report probabilities as the model gives them, not calibrated"
    )
    classes.add_argument(
        "--operating-point",
        nargs="+",
        default=[],
        metavar="[TARGET=]RULE",
        help="rule of the calibration whose threshold decides, for example youden (default: 0.5, or the most probable)",
    )
    classes.add_argument(
        "--gate",
        metavar="TARGET[=CLASS]",
        help="clear the mask of cases that are called negative (CLASS), at the operating point of this target",
    )
    classes.add_argument(
        "--worklist",
        metavar="TARGET[:CLASS]",
        help="what sorts worklist.csv (default: the first target with a positive class)",
    )
    classes.add_argument("--save-slices", action="store_true", help="keep the probabilities of each axial slice")
    classes.add_argument(
        "--save-tiles", action="store_true", help="keep box, weight and probabilities of each tile, in tiles/CASE.json"
    )


def run(args: argparse.Namespace) -> int:
    """Predict as nnUNetv2_predict does, after checks that name what is missing."""
    folder = model_folder(args)
    _check_numbers(args)
    if not Path(args.i).is_dir():
        raise InputError("missing-folder", args.i, "expected a folder of images, got none", "correct -i")
    folds = None if args.f is None else trained_folds(args.f)
    if folds is not None and len(set(folds)) < len(folds):
        raise InputError("given-twice", "-f", f"expected each fold once, got {' '.join(args.f)}", "name it once")

    from nnunet_multitask.dataset_conversion.script import terminable
    from nnunet_multitask.inference.inputs import check_folders
    from nnunet_multitask.inference.model import check_model_folder, finished_folds

    check_model_folder(folder, folds or finished_folds(folder, args.chk), args.chk)
    check_folders(args.i, args.o)
    check_writable(args.o)
    device = prepare_device(args.device)
    try:
        with terminable(), predictable(args, folder) as (images, dicom):
            _predict(args, folder, folds, device, images, dicom)
    except (KeyboardInterrupt, SystemExit):
        print("stopped; the same command with --continue_prediction does what is left", file=sys.stderr)
        raise
    return 0


def _predict(
    args: argparse.Namespace,
    folder: Path,
    folds: list[int | str] | None,
    device: torch.device,
    images: Path,
    dicom: Mapping[str, Any],
) -> None:
    from nnunet_multitask.inference.predictor import MultiTaskPredictor

    predictor = MultiTaskPredictor(
        tile_step_size=args.step_size,
        use_gaussian=True,
        use_mirroring=not args.disable_tta,
        perform_everything_on_device=not args.not_on_device,
        device=device,
        verbose=args.verbose,
        verbose_preprocessing=args.verbose,
        allow_tqdm=not args.disable_progress_bar,
    )
    predictor.initialize_from_trained_model_folder(folder, folds, args.chk, trust_checkpoint=args.trust_checkpoint)
    predictor.configure(
        aggregation=args.aggregation,
        calibrate=not args.no_calibration,
        operating_points=args.operating_point,
        gate=args.gate,
        worklist=args.worklist,
        save_slices=args.save_slices,
        save_tiles=args.save_tiles,
    )
    predictor.dicom = dicom
    options = {
        "save_probabilities": args.save_probabilities,
        "overwrite": not args.continue_prediction,
        "folder_with_segs_from_prev_stage": args.prev_stage_predictions,
    }
    if args.npp == 0:
        predictor.predict_from_files_sequential(str(images), args.o, **options)
    else:
        predictor.predict_from_files(
            str(images),
            args.o,
            num_processes_preprocessing=args.npp,
            num_processes_segmentation_export=args.nps,
            num_parts=args.num_parts,
            part_id=args.part_id,
            **options,
        )


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse what nnU-Net would meet with a failed assertion, or would not notice."""
    if args.num_parts < 1:
        raise InputError("bad-part", "-num_parts", f"expected 1 or more, got {args.num_parts}", "correct it")
    if not 0 <= args.part_id < args.num_parts:
        raise InputError(
            "bad-part", "-part_id", f"expected 0 to {args.num_parts - 1}, got {args.part_id}", "correct it"
        )
    if not 0 < args.step_size <= 1:
        fault = f"expected a number above 0 and up to 1, got {args.step_size:g}"
        raise InputError("bad-step-size", "-step_size", fault, "leave it at 0.5")
    if min(args.npp, args.nps) < 0 or (args.npp == 0) != (args.nps == 0):
        fault = f"expected both above 0, or both 0 for no other process, got {args.npp} and {args.nps}"
        raise InputError("bad-processes", "-npp -nps", fault, "correct them")
    if args.npp == 0 and args.num_parts > 1:
        fault = "expected one part where no other process is used, since nnU-Net then predicts every case in each part"
        raise InputError("contradiction", "-num_parts", fault, "use -npp 1 -nps 1")


def _processes(variable: str) -> int:
    """Return the number of processes that nnU-Net takes from a variable of the environment, 3 without one."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 3
