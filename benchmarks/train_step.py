"""A training step of the multi-task trainer against nnU-Net's own: CPU time (GPU: time) and peak memory.

Both trainers are built on the same plans for HemSeg-200's spacing and do their own `train_step` on the same synthetic
batch, in turns: forward pass, loss with deep supervision, backward pass, clipping, optimiser. Data loading is left out,
since it is the same for both.

On the CPU one thread works, the time is that of the process, and the memory is the peak of a fresh process that takes
steps, above one that takes none. On a GPU both networks are compiled and run in mixed precision, as nnU-Net does by
default; the time is what passes until the device is idle, the memory is what torch has allocated at most.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Figure, alternate, finish, make_parser, peak_memory_mib, ratio_of_medians

NAME = "train_step"
DATASET = "Dataset999_Benchmark"
TRAINING, VALIDATION = ("a", "b", "c", "d"), ("e", "f")
SPACING_MM = (5.0, 0.45, 0.45)
TRAINERS = {"vanilla": "nnUNetTrainer", "multi-task": "nnUNetTrainerMultiTask"}


@dataclass(frozen=True)
class Setting:
    """One size of network, patch and batch.

    Args:
        name: for the report.
        features: channels of the encoder's stages.
        patch_size: (z, y, x).
        max_ratio: target for the ratio of the times.
        rounds: turns of both trainers.
        batch_size: patches.
        device: ``cpu`` or ``cuda``.
    """

    name: str
    features: tuple[int, ...]
    patch_size: tuple[int, int, int]
    max_ratio: float
    rounds: int
    batch_size: int = 2
    device: str = "cpu"


SMALL = Setting("8 to 64", (8, 16, 32, 64), (16, 96, 96), 1.10, 60)
FULL = Setting("32 to 320", (32, 64, 128, 256, 320), (16, 96, 96), 1.05, 15)
CPU = (SMALL, replace(SMALL, name="8 to 64, batch 4", batch_size=4, rounds=30), FULL)
CUDA = (Setting("real size", (32, 64, 128, 256, 320, 320), (28, 256, 256), 1.05, 60, device="cuda"),)


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit status."""
    args = _parse(argv)
    import torch

    figures: list[Figure] = []
    measurements: dict[str, Any] = {"device": args.device, "max_memory_ratio": None}
    settings = CUDA if args.device == "cuda" else CPU
    if args.device == "cuda":
        measurements["gpu"] = torch.cuda.get_device_name()
    for setting in settings:
        seconds = times(setting, max(setting.rounds // 5, 5) if args.quick else setting.rounds)
        memory = {name: memory_mib(setting, name, 1 if args.quick else 3) for name in TRAINERS}
        ratio = ratio_of_medians(seconds["multi-task"], seconds["vanilla"])
        memory_ratio = memory["multi-task"] / memory["vanilla"]
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        print(
            f"{setting.name:18} vanilla {medians['vanilla']:.3f} s, {memory['vanilla']:.0f} MiB  "
            f"multi-task {medians['multi-task']:.3f} s, {memory['multi-task']:.0f} MiB  "
            f"time {ratio:.3f}, memory {memory_ratio:.3f}",
            flush=True,
        )
        figures.append(Figure(f"time of a step, {setting.name}", ratio, setting.max_ratio, "times vanilla's"))
        measurements[setting.name] = {
            "patch_size": setting.patch_size,
            "batch_size": setting.batch_size,
            "features": setting.features,
            "rounds": len(seconds["vanilla"]),
            "median_seconds": medians,
            "time_ratio": ratio,
            "peak_memory_mib": memory,
            "memory_ratio": memory_ratio,
        }
    measurements["max_memory_ratio"] = max(measurements[setting.name]["memory_ratio"] for setting in settings)
    return finish(NAME, args, figures, measurements, ("torch", "nnunetv2"))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    return parser.parse_args(argv)


def times(setting: Setting, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each step of both trainers, in turns after a few that warm up."""
    with trainers(setting) as built:
        steps = {name: partial(_finished_step, trainer, batch) for name, (trainer, batch) in built.items()}
        alternate(steps, 2)
        clock: Callable[[], float] = time.perf_counter if setting.device == "cuda" else time.process_time
        return alternate(steps, rounds, clock=clock)


def memory_mib(setting: Setting, name: str, repeats: int) -> float:
    """Return the peak memory of steps of one trainer: of a fresh process, or what torch allocated on the GPU."""
    if setting.device == "cuda":
        return _memory_on_gpu(setting, name)
    none, some = (
        statistics.median(peak_memory_mib(_build_and_step, setting, name, steps) for _ in range(repeats))
        for steps in (0, 2)
    )
    return some - none


@contextlib.contextmanager
def trainers(setting: Setting, names: tuple[str, ...] = tuple(TRAINERS)) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Yield, by name, an initialised trainer and the batch for it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-train-step-") as folder:
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[variable] = str(Path(folder) / variable)
        plans, dataset_json = _write_dataset(Path(folder) / "nnUNet_preprocessed" / DATASET, setting)
        with contextlib.redirect_stdout(io.StringIO()):
            yield {name: (_trainer(name, plans, dataset_json, setting), _batch(setting)) for name in names}


def _write_dataset(folder: Path, setting: Setting) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write what a trainer reads before its first batch; no case has an image."""
    from nnunet_multitask.documents import write_json

    (folder / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    for case_id in TRAINING + VALIDATION:
        (folder / "nnUNetPlans_3d_fullres" / f"{case_id}.b2nd").touch()
    dataset_json = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": len(TRAINING),
        "file_ending": ".nii.gz",
    }
    sidecar = {
        "version": 1,
        "targets": {"subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}},
        "cases": {
            case_id: {"labels": {"subtype": ("IPH", "IVH")[index % 2]}, "group": case_id}
            for index, case_id in enumerate(TRAINING + VALIDATION)
        },
    }
    write_json(folder / "class_labels.json", sidecar)
    write_json(folder / "splits_final.json", [{"train": TRAINING, "val": VALIDATION}])
    return network_plans(setting), dataset_json


def network_plans(setting: Setting) -> dict[str, Any]:
    """Return plans with strides and kernels as nnU-Net plans them for this patch."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    _, strides, kernels, _, _ = get_pool_and_conv_props(SPACING_MM, setting.patch_size, 4, 999)
    stages = len(setting.features)
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "batch_size": setting.batch_size,
                "batch_dice": False,
                "patch_size": list(setting.patch_size),
                "spacing": list(SPACING_MM),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": list(setting.features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [list(kernel) for kernel in kernels[:stages]],
                        "strides": [list(stride) for stride in strides[:stages]],
                        "n_conv_per_stage": [2] * stages,
                        "n_conv_per_stage_decoder": [2] * (stages - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def _trainer(name: str, plans: dict[str, Any], dataset_json: dict[str, Any], setting: Setting) -> Any:
    import copy

    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_multitask import environment

    environment.activate()
    if setting.device == "cpu":
        torch.set_num_threads(1)
    kind = recursive_find_trainer_class_by_name(TRAINERS[name])
    trainer = kind(
        {**copy.deepcopy(plans), "continue_training": False},
        "3d_fullres",
        0,
        dict(dataset_json),
        torch.device(setting.device),
    )
    trainer.initialize()
    trainer.get_tr_and_val_datasets()
    trainer.network.train()
    return trainer


def _batch(setting: Setting) -> Mapping[str, Any]:
    """Return a batch as nnU-Net's loader gives it: noise, and a ball of foreground at every scale of the decoder."""
    import torch
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    generator = torch.Generator().manual_seed(0)
    data = torch.randn(setting.batch_size, 1, *setting.patch_size, generator=generator)
    axes = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in setting.patch_size), indexing="ij")
    ball = (torch.stack(axes).square().sum(dim=0) < 0.2).to(torch.int16)
    target = ball.expand(setting.batch_size, 1, *setting.patch_size).contiguous()
    _, strides, _, _, _ = get_pool_and_conv_props(SPACING_MM, setting.patch_size, 4, 999)
    targets, steps = [], (1, 1, 1)
    for stride in strides[: len(setting.features) - 1]:  # the coarsest stage is not supervised
        steps = tuple(math.prod(pair) for pair in zip(steps, stride, strict=True))
        z, y, x = steps
        targets.append(target[:, :, ::z, ::y, ::x].contiguous())
    return {"data": data, "target": targets, "keys": TRAINING[: setting.batch_size]}


def _finished_step(trainer: Any, batch: Mapping[str, Any]) -> None:
    trainer.train_step(batch)
    if trainer.device.type == "cuda":
        import torch

        torch.cuda.synchronize()


def _build_and_step(setting: Setting, name: str, steps: int) -> None:
    with trainers(setting, (name,)) as built:
        trainer, batch = built[name]
        for _ in range(steps):
            _finished_step(trainer, batch)


def _memory_on_gpu(setting: Setting, name: str) -> float:
    import torch

    with trainers(setting, (name,)) as built:
        trainer, batch = built[name]
        for steps in (3, 5):  # those that compile do not count
            torch.cuda.reset_peak_memory_stats()
            for _ in range(steps):
                _finished_step(trainer, batch)
        return torch.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    sys.exit(main())
