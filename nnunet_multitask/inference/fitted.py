"""What was fitted for a trained model, and whether it still belongs to it: aggregation.json and calibration.json."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.calibration import Calibration
from nnunet_multitask.inference.aggregation import GATED_ATTENTION
from nnunet_multitask.inference.gated_attention import FEATURES_VERSION, GatedAttention
from nnunet_multitask.inference.model import sha256_of
from nnunet_multitask.labels import Target

logger = logging.getLogger(__name__)

AGGREGATION_NAME = "aggregation.json"
_FIT = "run `nnunet-multitask fit-aggregation`"


@dataclass(frozen=True)
class FittedAggregation:
    """The aggregations of an aggregation.json that a prediction uses.

    Attributes:
        by_target: the aggregation of each target that uses it.
        sha256: of the file; None where nothing is used of it.
    """

    by_target: Mapping[str, GatedAttention]
    sha256: str | None = None


def load_fitted(
    folder: Path | None, aggregations: Mapping[str, str], targets: Mapping[str, Target], model: Mapping[str, Any]
) -> FittedAggregation:
    """Return the fitted aggregation of each target that asks for one.

    Args:
        folder: of the model, which holds aggregation.json; None for a network in memory.
        aggregations: by target the name of its aggregation.
        targets: of the model.
        model: what predicts, with ``checkpoint_sha256`` by fold.

    Raises:
        InputError: there is no such file, it was fitted for other checkpoints, targets or features, or not for a
            target that asks for it.
        InputErrors: it does not follow its schema.
    """
    wanted = [name for name, kind in aggregations.items() if kind == GATED_ATTENTION]
    if not wanted:
        return FittedAggregation({})
    where = f"--aggregation {GATED_ATTENTION}"
    if folder is None:
        fault = "expected the folder of a trained model, which has the fitted attention, got a network in memory"
        raise InputError("missing-aggregation", where, fault, "predict with another aggregation")
    path = folder / AGGREGATION_NAME
    if not path.is_file():
        fault = f"expected {path}, which has the fitted attention, got no such file"
        raise InputError("missing-aggregation", where, fault, f"{_FIT}, or choose another aggregation")
    document = read_json(path)
    check_schema(document, AGGREGATION_NAME, path)
    if document["features_version"] != FEATURES_VERSION:
        fault = f"expected features of version {FEATURES_VERSION}, got {document['features_version']}"
        raise InputError("stale-aggregation", path, fault, f"{_FIT} with --overwrite")
    recorded = document["model"]["checkpoint_sha256"]
    _check_digests("stale-aggregation", path, recorded, model, f"{_FIT} with --overwrite")
    unknown = [fold for fold in model.get("checkpoint_sha256", {}) if fold not in recorded]
    if unknown:
        fault = f"expected an attention that saw the tiles of every fold, got one without fold {', '.join(unknown)}"
        raise InputError("stale-aggregation", path, fault, f"{_FIT} with --overwrite, or predict with other folds")
    return FittedAggregation({name: _of_target(path, document, targets[name]) for name in wanted}, sha256_of(path))


def check_calibration(calibration: Calibration, model: Mapping[str, Any], fitted: FittedAggregation) -> None:
    """Refuse a calibration of other networks, or of another attention, than those that predict.

    What the calibration does not tell is not compared; folds that it does not know are named in the log.

    Args:
        calibration: of the model's folder.
        model: what predicts, with ``checkpoint_sha256`` by fold.
        fitted: the attention that the prediction uses.

    Raises:
        InputError: it is stale.
    """
    remedy = "run `nnunet-multitask calibrate` with --overwrite, or use --no-calibration"
    _check_digests("stale-calibration", calibration.path, calibration.checkpoint_sha256, model, remedy)
    unknown = [fold for fold in model.get("checkpoint_sha256", {}) if fold not in calibration.checkpoint_sha256]
    if unknown and calibration.checkpoint_sha256:
        logger.warning(
            "WARN [other-folds] %s: fitted on predictions of the folds %s, applied to fold %s",
            calibration.path,
            ", ".join(calibration.checkpoint_sha256),
            ", ".join(unknown),
        )
    if calibration.aggregation_sha256 is not None and fitted.sha256 not in (None, calibration.aggregation_sha256):
        fault = f"expected a calibration of the present {AGGREGATION_NAME}, got one of an earlier file"
        raise InputError("stale-calibration", calibration.path, fault, remedy)


def _check_digests(code: str, path: Path, recorded: Mapping[str, str], model: Mapping[str, Any], remedy: str) -> None:
    other = [
        fold for fold, digest in model.get("checkpoint_sha256", {}).items() if recorded.get(fold) not in (None, digest)
    ]
    if other:
        fault = f"expected what was fitted for this checkpoint of fold {', '.join(other)}, got it for another one"
        raise InputError(code, path, fault, remedy)


def _of_target(path: Path, document: Mapping[str, Any], target: Target) -> GatedAttention:
    where = f"{path}: targets/{target.name}"
    entry = document["targets"].get(target.name)
    if entry is None:
        fault = f"expected an attention for the target {target.name}, got those for {', '.join(document['targets'])}"
        raise InputError("missing-aggregation", where, fault, f"name another aggregation for it, or {_FIT} again")
    if (entry["type"], tuple(entry["classes"])) != (target.type, target.classes):
        fault = f"expected {target.type} {', '.join(target.classes)}"
        got = f"got {entry['type']} {', '.join(entry['classes'])}"
        raise InputError("stale-aggregation", where, f"{fault}, {got}", f"{_FIT} with --overwrite")
    try:
        return GatedAttention.from_json(target, entry)
    except ValueError as error:
        raise InputError("bad-aggregation", where, str(error), f"{_FIT} with --overwrite") from error
