"""Predicting a case from file to file: mask and classes in one pass, against nnU-Net alone and against two networks.

Three systems are loaded in one process and predict the same case in turns, `predict_from_files_sequential` doing it:
reading, preprocessing, all tiles and mirrorings, resampling, mask and records on the disk. Imports and loading a model
are left out, and so is a first case that warms up. The peers are nnU-Net's own predictor on the very same checkpoint,
and that one followed by `nnUNetTrainerResNet3D` on the same tiles and mirrorings, which is how mask and class come from
two networks.

Weights are random, since only the cost counts; a bias makes nearly all of the masks background, as in a head CT. On the
CPU one thread works and the time is that of the process (the time that passes is kept beside it); on a GPU it is the
time that passes. The memory is the peak of a fresh process that predicts one case.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Figure, alternate, finish, make_parser, peak_memory_mib, ratio_of_medians
from train_step import SPACING_MM, Setting, network_plans

NAME = "predict"
TRAINERS = {"joint": "nnUNetTrainerMultiTask", "nnU-Net": "nnUNetTrainerMultiTask", "ResNet3D": "nnUNetTrainerResNet3D"}
MAX_OF_STOCK, MAX_OF_TWO, MAX_MEMORY = 1.05, 0.8, 1.05
TARGETS = {"subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}}
SURE_OF_BACKGROUND = 5.0  # added to its logit
RESAMPLING = {"data": (3, False), "seg": (1, True), "probabilities": (1, False)}  # order, of a mask: nnU-Net's defaults


@dataclass(frozen=True)
class Work:
    """What is predicted.

    Args:
        setting: network, patch and device.
        shape: of an image, (z, y, x).
        mirroring: axes of the mirrorings.
        rounds: turns of the systems.
    """

    setting: Setting
    shape: tuple[int, int, int]
    mirroring: tuple[int, ...]
    rounds: int


FULL = Work(Setting("32 to 320", (32, 64, 128, 256, 320), (16, 96, 96), 0, 0), (24, 144, 144), (0, 1, 2), 5)
QUICK = replace(FULL, shape=(16, 96, 144), mirroring=(2,), rounds=3)
CUDA = Work(
    Setting("32 to 320", (32, 64, 128, 256, 320), (16, 96, 96), 0, 0, device="cuda"), (32, 448, 448), (0, 1, 2), 9
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and return the exit status."""
    args = _parse(argv)
    work = CUDA if args.device == "cuda" else QUICK if args.quick else FULL
    with tempfile.TemporaryDirectory(prefix="benchmark-predict-") as name:
        folder = Path(name)
        prepare(folder, work)
        seconds, passed = times(folder, work)
        memory = {system: statistics.median(memory_mib(folder, work, system) for _ in range(1 if args.quick else 3))
                  for system in ("joint", "nnU-Net")}  # fmt: skip
    two = [sum(pair) for pair in zip(seconds["nnU-Net"], seconds["ResNet3D"], strict=True)]
    medians = {system: statistics.median(values) for system, values in seconds.items()}
    for system, median in medians.items():
        print(f"{system:10} {median:.3f} s a case ({statistics.median(passed[system]):.3f} s passed)", flush=True)
    ours, stock = seconds["joint"], seconds["nnU-Net"]
    floor = ratio_of_medians(stock, two)
    print(f"a pass that costs as much as nnU-Net's would reach {floor:.3f} of both", flush=True)
    figures = [
        Figure("time of a case", ratio_of_medians(ours, stock), MAX_OF_STOCK, "times nnU-Net's"),
        Figure("time of a case", ratio_of_medians(ours, two), MAX_OF_TWO, "times nnU-Net's and ResNet3D's"),
        Figure("peak memory", memory["joint"] / memory["nnU-Net"], MAX_MEMORY, "times nnU-Net's"),
    ]
    measurements = {
        "device": work.setting.device,
        "features": work.setting.features,
        "patch_size": work.setting.patch_size,
        "image_shape": work.shape,
        "mirroring_axes": work.mirroring,
        "rounds": work.rounds,
        "seconds": seconds,
        "median_seconds": medians,
        "median_seconds_passed": {system: statistics.median(values) for system, values in passed.items()},
        "nnunet_of_both": floor,
        "peak_memory_mib": memory,
    }
    return finish(NAME, args, figures, measurements, ("torch", "nnunetv2"))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    return parser.parse_args(argv)


def times(folder: Path, work: Work) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return what a case takes by system and round: of the process (GPU: what passes), and what passes."""
    is_cuda = work.setting.device == "cuda"
    passed: dict[str, list[float]] = {system: [] for system in TRAINERS}
    loaded = {system: load(folder, work, system) for system in TRAINERS}
    variants = {system: partial(_predict, loaded[system], folder, system, passed[system]) for system in TRAINERS}
    alternate(variants, 1)
    for values in passed.values():
        values.clear()
    clock: Callable[[], float] = time.perf_counter if is_cuda else time.process_time
    return alternate(variants, work.rounds, clock=clock), passed


def memory_mib(folder: Path, work: Work, system: str) -> float:
    """Return the peak memory of a case: of a fresh process on the CPU, of what torch has allocated on a GPU."""
    if work.setting.device == "cuda":
        import torch

        predictor = load(folder, work, system)
        torch.cuda.reset_peak_memory_stats()
        _predict(predictor, folder, system, [])
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_mib(_load_and_predict, folder, work, system)


def _load_and_predict(folder: Path, work: Work, system: str) -> None:
    _predict(load(folder, work, system), folder, system, [])


def _predict(predictor: Any, folder: Path, system: str, passed: list[float]) -> None:
    output = folder / "out" / system
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        predictor.predict_from_files_sequential([[str(folder / "case_0000.nii.gz")]], str(output))
    passed.append(time.perf_counter() - start)
    if not (output / "case.nii.gz").is_file():
        raise RuntimeError(f"{system} wrote no mask")


def load(folder: Path, work: Work, system: str) -> Any:
    """Return the predictor of a system, ready to predict."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunet_multitask import environment
    from nnunet_multitask.inference.predictor import MultiTaskPredictor

    environment.activate()
    device = torch.device(work.setting.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    kind = nnUNetPredictor if system == "nnU-Net" else MultiTaskPredictor
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = kind(device=device, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder / TRAINERS[system]), (0,), "checkpoint_final.pth")
    return predictor


def prepare(folder: Path, work: Work) -> None:
    """Write an image of noise, and a model folder of random weights for each trainer."""
    import numpy as np
    import SimpleITK as sitk

    voxels = np.random.default_rng(0).normal(40, 20, work.shape).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING_MM[::-1])
    sitk.WriteImage(image, folder / "case_0000.nii.gz")
    for trainer in sorted(set(TRAINERS.values())):
        _write_model(folder / trainer, trainer, work)


def model_plans(setting: Setting) -> dict[str, Any]:
    """Return plans with all that a prediction reads."""
    plans = network_plans(setting)
    plans["multitask"] = {"targets": TARGETS, "has_regions": False}
    intensities = {"max": 100.0, "mean": 40.0, "median": 40.0, "min": -50.0, "std": 20.0}
    intensities |= {"percentile_00_5": -20.0, "percentile_99_5": 90.0}
    plans["foreground_intensity_properties_per_channel"] = {"0": intensities}
    plans["label_manager"] = "LabelManager"
    configuration: dict[str, Any] = plans["configurations"]["3d_fullres"]
    configuration["preprocessor_name"] = "DefaultPreprocessor"
    for kind, (order, is_mask) in RESAMPLING.items():
        configuration[f"resampling_fn_{kind}"] = "resample_data_or_seg_to_shape"
        settings = {"is_seg": is_mask, "order": order, "order_z": 0, "force_separate_z": None}
        configuration[f"resampling_fn_{kind}_kwargs"] = settings
    return plans


def _write_model(folder: Path, trainer: str, work: Work) -> None:
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_multitask.documents import write_json
    from nnunet_multitask.training import trainers

    torch.manual_seed(0)
    plans = model_plans(work.setting)
    dataset_json = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset_json)
    manager = PlansManager(plans)
    network = getattr(trainers, trainer).build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 2, False
    )
    for layer in getattr(network.decoder, "seg_layers", ())[-1:]:
        with torch.no_grad():
            layer.bias[0] += SURE_OF_BACKGROUND
    checkpoint: Mapping[str, Any] = {
        "network_weights": network.state_dict(),
        "trainer_name": trainer,
        "init_args": {"configuration": "3d_fullres", "plans": plans},
        "inference_allowed_mirroring_axes": work.mirroring,
    }
    (folder / "fold_0").mkdir()
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
