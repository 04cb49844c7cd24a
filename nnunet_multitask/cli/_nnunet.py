"""What ``train``, ``calibrate`` and ``predict`` share: nnU-Net's names for things, checked before nnU-Net is loaded."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.datasets import find_dataset, required_folder
from nnunet_multitask.documents import read_json
from nnunet_multitask.environment import VARIABLE
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    import torch

NAMES_OF_MODEL = ("-d", "-p", "-tr", "-c")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add nnU-Net's ``-device``."""
    parser.add_argument(
        "-device",
        choices=("cuda", "cpu", "mps"),
        default="cuda",
        help="device to run on; choose among several GPUs with CUDA_VISIBLE_DEVICES (default: cuda)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option without which no checkpoint is unpickled."""
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="load checkpoints that are more than weights and numbers, too: such a file can run any program with your "
        "rights",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add nnU-Net's options that name a trained model; see `model_folder`."""
    parser.add_argument("-m", metavar="DIR", help="folder of the trained model, instead of -d -p -tr -c")
    add = partial(parser.add_argument, action=_Said)
    add("-d", metavar="DATASET", help="dataset that the model was trained on, by name or id")
    add("-p", default="nnUNetPlans", help="name of the plans (default: nnUNetPlans)")
    add("-tr", default="nnUNetTrainerMultiTask", help="trainer (default: nnUNetTrainerMultiTask)")
    add("-c", metavar="CONFIGURATION", help="configuration: 2d, 3d_fullres, ...")


class _Said(argparse.Action):
    """Keeps the value, and in ``said`` that the option was given: a value alone may be the default."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        namespace.said = [*getattr(namespace, "said", ()), option]


def model_folder(args: argparse.Namespace, needless: Collection[str] = NAMES_OF_MODEL) -> Path:
    """Return the folder that ``-m`` names, or ``-d -tr -p -c`` together.

    Args:
        args: the parsed arguments.
        needless: options that ``-m`` leaves nothing to say.

    Raises:
        InputError: neither names a model, both do, or the dataset has no results.
    """
    if args.m:
        both = [option for option in dict.fromkeys(getattr(args, "said", ())) if option in needless]
        if both:
            fault = f"expected the model by -m alone, or by -d -p -tr -c, got -m and {' '.join(both)}"
            raise InputError("contradiction", "-m", fault, "leave one of both out")
        return Path(args.m)
    if not args.d or not args.c:
        raise InputError("missing-model", "arguments", "expected -m, or -d and -c, got neither", "name the model")
    dataset = find_dataset(required_folder("nnUNet_results"), args.d)
    return dataset / f"{args.tr}__{args.p}__{args.c}"


def existing_model_folder(args: argparse.Namespace, needless: Collection[str] = NAMES_OF_MODEL) -> Path:
    """Return what `model_folder` does; where there is no such folder, the models that the dataset has are named.

    Raises:
        InputError: as of `model_folder`, or there is no such folder.
    """
    folder = model_folder(args, needless)
    if folder.is_dir():
        return folder
    fault, remedy = "expected the folder of a trained model, found none", "correct -m"
    if not args.m:
        known = sorted(path.name for path in folder.parent.glob("*__*__*") if path.is_dir())
        fault, remedy = f"expected a trained model, found {', '.join(known) or 'none'}", "correct -tr, -p or -c"
    raise InputError("missing-folder", folder, fault, remedy)


def trained_folds(texts: Sequence[str]) -> list[int | str]:
    """Return the folds that ``-f`` names, ``all`` as it is.

    Raises:
        InputError: one that is no number.
    """
    for text in texts:
        if text != "all" and not text.isdigit():
            raise InputError("bad-fold", "-f", f"expected numbers or 'all', got {text!r}", "name trained folds")
    return [text if text == "all" else int(text) for text in texts]


def prepare_device(name: str) -> torch.device:
    """Return the device, with as many threads as nnU-Net's own commands take.

    Raises:
        InputError: CUDA or MPS was asked for and is not there.
    """
    import multiprocessing

    if name == "cpu":
        quiet_threads()

    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no-device", "-device cuda", "expected a CUDA device, torch finds none", "use -device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("no-device", "-device mps", "expected an Apple GPU, torch finds none", "use -device cpu")
    torch.set_num_threads(multiprocessing.cpu_count() if name == "cpu" else 1)
    return torch.device(name)


def quiet_threads() -> None:
    """Let OpenMP's threads sleep while they wait; only before torch is loaded, and only where the user has not chosen.

    By default they spin. On the CPU, training shares the cores with nnU-Net's augmentation workers, and a spinning
    thread then keeps the very thread from running for which it waits: with one other busy process on two cores, a
    training step took 11 s instead of 1.9 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def preprocessed_plans(dataset: str, plans_name: str) -> tuple[Path, dict[str, Any]]:
    """Return the preprocessed folder of a dataset and the plans of that name.

    Raises:
        InputError: the variable, the dataset or the plans are missing.
    """
    folder = find_dataset(required_folder("nnUNet_preprocessed"), dataset)
    path = folder / f"{plans_name}.json"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.json") if "configurations" in (read_json(p) or {}))
        raise InputError(
            "missing-plans",
            path,
            f"expected plans of this name, found {', '.join(known) or 'none'}",
            "run `nnunet-multitask plan` or `nnunet-multitask configure`, or correct -p",
        )
    plans: dict[str, Any] = read_json(path)
    return folder, plans


def check_preprocessed(dataset: Path, plans: dict[str, Any], configuration: str) -> None:
    """Refuse a configuration whose data are not preprocessed."""
    settings = plans["configurations"][configuration]
    while "data_identifier" not in settings and "inherits_from" in settings:
        settings = plans["configurations"][settings["inherits_from"]]
    folder = dataset / str(settings.get("data_identifier", configuration))
    command = f"nnunet-multitask plan -d {int(dataset.name[7:10])}"
    if "recipe" in plans.get("multitask", {}) or plans["plans_name"] != "nnUNetPlans":  # planned already
        command = f"nnUNetv2_preprocess -d {int(dataset.name[7:10])} -plans_name {plans['plans_name']}"
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(
            "missing-preprocessed",
            folder,
            f"expected the preprocessed cases of {configuration}, got none",
            f"run {command} -c {configuration}",
        )


def check_configuration(plans: dict[str, Any], configuration: str) -> None:
    """Refuse a configuration that the plans do not hold."""
    if configuration not in plans["configurations"]:
        raise InputError(
            "missing-configuration",
            f"plans {plans['plans_name']}",
            f"expected the configuration {configuration!r}, got {', '.join(plans['configurations'])}",
            "name one of these",
        )


def find_trainer(name: str) -> Any:
    """Return the class of a trainer, nnU-Net's or one in the folders of ``nnUNet_extTrainer``.

    Raises:
        InputError: there is none of that name.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        with contextlib.redirect_stdout(sys.stderr):  # nnU-Net tells where it looks
            return recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        from nnunet_multitask.discovery import multitask_trainers

        ours = ", ".join(multitask_trainers.__all__)
        fault = f"expected a trainer of nnU-Net or one of {ours}, got none"
        remedy = f"correct it, or name the folder of your own trainer in {VARIABLE}"
        raise InputError("unknown-trainer", f"-tr {name}", fault, remedy) from error
