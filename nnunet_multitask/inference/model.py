"""What a trained model says of itself: its targets, read from the plans and compared over the folds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.config import PLANS_KEY, config_from_plans
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Target


def targets_of_plans(plans: Mapping[str, Any], where: str | Path) -> dict[str, Target]:
    """Return the targets that a multi-task training wrote into its plans, by name.

    Raises:
        InputError: there are none, so the plans are those of a stock model.
    """
    targets = plans.get(PLANS_KEY, {}).get("targets")
    if not targets:
        raise InputError(
            "no-classification-heads",
            where,
            "expected a model with classification heads, got a stock nnU-Net model",
            "use nnUNetv2_predict for it, or name a model trained with -tr nnUNetTrainerMultiTask",
        )
    return {name: Target.from_json(name, document, where) for name, document in targets.items()}


def aggregations_of_plans(plans: Mapping[str, Any], targets: Mapping[str, Target]) -> dict[str, str]:
    """Return, by target, the name of the way in which tiles become a case.

    Binary and multilabel targets whose patches were labelled by what they show have their own: there, one tile is
    enough.
    """
    config = config_from_plans(plans)
    of_patches = plans.get(PLANS_KEY, {}).get("patch_targets", ())
    return {
        name: config.patch_aggregation if name in of_patches and target.type != "multiclass" else config.aggregation
        for name, target in targets.items()
    }


def check_model_folder(
    folder: Path, folds: Sequence[int | str], checkpoint_name: str, *, with_heads: bool = True
) -> None:
    """Refuse a folder that holds no trained model with these folds.

    Args:
        folder: the model folder.
        folds: the folds that are needed.
        checkpoint_name: file in each fold's folder.
        with_heads: refuse a stock model too.

    Raises:
        InputError: the folder, its plans, a fold's checkpoint or the heads are missing.
    """
    if not (folder / "plans.json").is_file():
        raise InputError(
            "missing-model",
            folder,
            "expected the folder of a trained model with plans.json, got none",
            "train it first, or check -d, -tr, -p and -c (or -m)",
        )
    if with_heads:
        targets_of_plans(read_json(folder / "plans.json"), folder / "plans.json")
    if not folds:
        trained_on_all = (folder / "fold_all" / checkpoint_name).is_file()
        found = "only fold all" if trained_on_all else f"none; there are {_known_checkpoints(folder)}"
        raise InputError(
            "missing-checkpoint",
            folder,
            f"expected at least one fold with {checkpoint_name}, got {found}",
            "name it: -f all" if trained_on_all else "train a fold to its end, or name another checkpoint with -chk",
        )
    for fold in folds:
        path = folder / f"fold_{fold}" / checkpoint_name
        if not path.is_file():
            raise InputError(
                "missing-checkpoint",
                path,
                f"expected the checkpoint of fold {fold}, got no such file; there are {_known_checkpoints(folder)}",
                "train that fold, or name the trained ones with -f, or another checkpoint with -chk",
            )


def finished_folds(folder: Path, checkpoint_name: str) -> list[int | str]:
    """Return the folds of a model folder that hold the checkpoint, without ``all``, in order."""
    found = (path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint_name}"))
    return sorted(int(fold) for fold in found if fold.isdigit())


def check_same_targets(
    folder: Path, targets: Mapping[str, Target], checkpoints: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse folds that were trained for different targets.

    Args:
        folder: the model folder.
        targets: the targets of its plans.
        checkpoints: the plans that each fold's checkpoint carries, by fold.

    Raises:
        InputError: a checkpoint names other targets, classes or another order of them.
    """
    for fold, plans in checkpoints.items():
        where = folder / f"fold_{fold}"
        theirs = targets_of_plans(plans, where)
        if theirs != targets:
            raise InputError(
                "mixed-folds",
                where,
                f"expected the targets {_shown(targets)} of plans.json, got {_shown(theirs)} in the checkpoint",
                "train the folds anew with one sidecar, or predict with -f the folds that agree",
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _known_checkpoints(folder: Path) -> str:
    """Return the names of all checkpoints in a model folder, each with the folds that have it, as text."""
    folds: dict[str, list[str]] = {}
    for path in sorted(folder.glob("fold_*/*.pth")):
        folds.setdefault(path.name, []).append(path.parent.name.removeprefix("fold_"))
    return "; ".join(f"{name} of fold {', '.join(numbers)}" for name, numbers in folds.items()) or "none"


def _shown(targets: Mapping[str, Target]) -> str:
    return "; ".join(f"{name}: {', '.join(target.classes)}" for name, target in targets.items())
