"""An ensemble of several configurations or trainers: masks as nnU-Net joins them, and the mean of their classes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.ensembling.ensemble import ensemble_folders

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.predictions import THRESHOLD, decide
from nnunet_multitask.inference.members import DATASET_JSON, PLANS_JSON, Member, read_members
from nnunet_multitask.inference.records import CLASSIFICATION_JSON
from nnunet_multitask.inference.remeasure import remeasure
from nnunet_multitask.labels import Target
from nnunet_multitask.storage import atomic_directory, copy_file


def ensemble(
    folders: Sequence[Path],
    output: Path,
    *,
    stock: Sequence[Path] = (),
    weights: Sequence[float] | None = None,
    save_probabilities: bool = False,
    overwrite: bool = False,
    worklist: str | None = None,
    num_processes: int = 3,
) -> dict[str, Any]:
    """Join predictions of the same cases.

    The masks are those of ``nnUNetv2_ensemble``, made by its own function: the largest mean probability of the
    segmentation. Volumes, components, agreement and worklist are those of the joint mask.

    Args:
        folders: of `nnunet-multitask predict --save_probabilities`.
        output: the folder to appear.
        stock: folders of `nnUNetv2_predict --save_probabilities`, which take part in the masks alone.
        weights: of the class probabilities of each of ``folders``; by default all count alike.
        save_probabilities: keep the mean probabilities of the segmentation.
        overwrite: replace an earlier ensemble.
        worklist: ``TARGET`` or ``TARGET:CLASS`` that sorts worklist.csv.
        num_processes: that join masks.

    Returns:
        The ``classification.json`` that was written.

    Raises:
        InputError: fewer than two members, weights that do not fit, an output that exists or is a member.
        InputErrors: members that cannot be joined, see `read_members`.
    """
    _check_arguments(folders, output, stock, weights, overwrite)
    members = read_members(folders, stock)
    document = join_documents(members, weights)
    segmenting = [str(member.folder) for member in members if member.segments]
    first = members[0].folder
    with atomic_directory(output, overwrite=overwrite) as temporary:
        write_json(temporary / CLASSIFICATION_JSON, document)
        copy_file(first / PLANS_JSON, temporary / PLANS_JSON)
        with contextlib.redirect_stdout(sys.stderr):
            ensemble_folders(
                segmenting, str(temporary), save_probabilities, num_processes, None, str(first / PLANS_JSON)
            )
        (temporary / DATASET_JSON).unlink()
        copy_file(first / DATASET_JSON, temporary / DATASET_JSON)
        return remeasure(temporary, temporary, worklist=worklist)


def join_documents(members: Sequence[Member], weights: Sequence[float] | None = None) -> dict[str, Any]:
    """Return the classification of an ensemble, whose masks are not measured yet.

    ``p = sum_m w_m p_m / sum_m w_m`` over the members m. The mean, because it is what nnU-Net does with masks, keeps
    probabilities of exclusive classes summing to 1, and has a log loss that is never above the mean of the members'
    (Jensen); a product would let one member that is wrongly sure decide alone. It is less sure than its members, so
    that the ensemble of calibrated members is not calibrated itself, and their thresholds do not hold for it:
    decisions are made at 0.5, or for the most probable class.

    Args:
        members: those without classes take no part.
        weights: of the members with classes.
    """
    named = [(member, member.document) for member in members if member.document is not None]
    documents = [document for _, document in named]
    given = np.ones(len(named)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = given / given.sum()
    targets = {name: Target(name, e["type"], tuple(e["classes"])) for name, e in documents[0]["targets"].items()}
    cases: dict[str, Any] = {}
    for case_id in sorted(documents[0]["cases"]):
        parts = [document["cases"][case_id] for document in documents]
        same = [
            key
            for key in ("fold", "reference", "group")
            if key in parts[0] and len({str(p.get(key)) for p in parts}) == 1
        ]
        cases[case_id] = {
            "targets": {
                name: _joined(target, [part["targets"][name] for part in parts], shares)
                for name, target in targets.items()
            },
            "labels": {"0": {}},  # measured when the masks are there
            "seconds": round(sum(part.get("seconds") or 0 for part in parts), 3),
            **{key: parts[0][key] for key in same},
        }
    return {
        "version": 1,
        "model": {"ensemble": [_about(member) for member in members]},
        "settings": {"weights": [float(weight) for weight in given]},
        "targets": documents[0]["targets"],
        "cases": cases,
    }


def _joined(target: Target, records: Sequence[Mapping[str, Any]], shares: np.ndarray) -> dict[str, Any]:
    """Return what is said of a target of a case by all members together."""
    table = np.array([[record["probabilities"][name] for name in target.classes] for record in records])
    probabilities = dict(zip(target.classes, np.round(shares @ table, 6).tolist(), strict=True))
    decision = decide(target, probabilities)
    spread = np.round(table.std(axis=0), 6).tolist()
    return {
        "probabilities": probabilities,
        "decision": decision if isinstance(decision, str) else list(decision),
        "threshold": None if target.type == "multiclass" else THRESHOLD,
        "operating_point": None,
        "calibrated": False,
        "members_calibrated": all(record.get("calibrated", False) for record in records),
        "member_probabilities": [dict(record["probabilities"]) for record in records],
        "member_spread": dict(zip(target.classes, spread if len(records) > 1 else [None] * len(spread), strict=True)),
        "fold_spread": dict.fromkeys(target.classes),
        "mirror_spread": dict.fromkeys(target.classes),
        "mask_agreement": None,
    }


def _about(member: Member) -> dict[str, Any]:
    """Return what is known of a member, and in what it takes part."""
    parts = (["classes"] if member.document is not None else []) + (["masks"] if member.segments else [])
    model = dict(member.document.get("model", {})) if member.document is not None else {}
    return {"folder": str(member.folder), "takes_part_in": parts, **model}


def _check_arguments(
    folders: Sequence[Path], output: Path, stock: Sequence[Path], weights: Sequence[float] | None, overwrite: bool
) -> None:
    if not folders or len(folders) + len(stock) < 2:
        got = f"{len(folders)} and {len(stock)} of --stock"
        raise InputError("too-few-members", "-i", f"expected two folders or more, got {got}", "name several folders")
    if weights is not None and (len(weights) != len(folders) or not all(0 < w < float("inf") for w in weights)):
        fault = f"expected {len(folders)} numbers above 0, one for each folder of -i, got {list(weights)}"
        raise InputError("bad-weights", "--weights", fault, "correct them")
    inside = [f for f in (*folders, *stock) if output.resolve() in (f.resolve(), *f.resolve().parents)]
    if inside:
        fault = f"expected another folder than those of the members, got {inside[0]} or one above it"
        raise InputError("output-is-input", output, fault, "name another -o")
    if not output.exists():
        return
    if not overwrite:
        raise InputError(
            "already-exists", output, "expected no such folder, found one", "use --overwrite, or another -o"
        )
    path = output / CLASSIFICATION_JSON
    if not output.is_dir() or (any(output.iterdir()) and not (path.is_file() and "ensemble" in _model_of(path))):
        fault = "expected an earlier ensemble to replace, found something else"
        raise InputError("already-exists", output, fault, "name another -o, or remove it")


def _model_of(path: Path) -> Mapping[str, Any]:
    document = read_json(path)
    model = document.get("model", {}) if isinstance(document, dict) else {}
    return model if isinstance(model, dict) else {}
