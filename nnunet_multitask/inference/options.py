"""Options of a prediction that hold for every target or for one: ``NAME``, or ``TARGET=NAME``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.calibration import Calibration
from nnunet_multitask.inference.aggregation import NAMES
from nnunet_multitask.labels import Target


def by_target(texts: Sequence[str], targets: Iterable[str], option: str) -> dict[str, str]:
    """Return the value that an option gives each target that it names; one without ``TARGET=`` is for all others.

    Args:
        texts: the words after the option, ``VALUE`` or ``TARGET=VALUE``.
        targets: those of the model.
        option: its name, for messages.

    Raises:
        InputError: an unknown target, or two values for one.
    """
    known = list(targets)
    named: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.rpartition("=")
        if separator and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else "name one of them"
            fault = f"expected one of the targets {', '.join(known)}, got {name}"
            raise InputError("unknown-target", f"{option} {text}", fault, remedy)
        if name in named:
            what = f"the target {name}" if name else "all targets"
            raise InputError("given-twice", f"{option} {text}", f"expected one value for {what}, got two", "give one")
        named[name] = value
    everywhere = named.pop("", None)
    return named if everywhere is None else {name: named.get(name, everywhere) for name in known}


def choose_aggregations(
    texts: Sequence[str], targets: Mapping[str, Target], default: Mapping[str, str]
) -> dict[str, str]:
    """Return the aggregation of each target: what the options say, else what the model says.

    Args:
        texts: ``NAME`` or ``TARGET=NAME``.
        targets: those of the model.
        default: by target.

    Raises:
        InputError: an unknown target or aggregation.
    """
    chosen = by_target(texts, targets, "--aggregation")
    for name in chosen.values():
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            remedy = f"did you mean {near[0]}?" if near else "name one of these"
            fault = f"expected one of {', '.join(NAMES)}, got {name}"
            raise InputError("unknown-aggregation", "--aggregation", fault, remedy)
    return {name: chosen.get(name, default[name]) for name in targets}


def choose_operating_points(
    texts: Sequence[str], targets: Mapping[str, Target], calibration: Calibration | None
) -> dict[str, str]:
    """Return the rule whose threshold decides, by target.

    Args:
        texts: ``RULE``, for every target whose calibration has a threshold by it, or ``TARGET=RULE``.
        targets: those of the model.
        calibration: of the model.

    Raises:
        InputError: an unknown target, or a rule that no target has. What one target lacks says ``check_reporting``.
    """
    chosen = by_target(texts, targets, "--operating-point")
    named = {text.rpartition("=")[0] for text in texts}
    known = {} if calibration is None else calibration.targets
    found = {
        name: rule
        for name, rule in chosen.items()
        if name in named or (name in known and rule in known[name].thresholds)
    }
    if chosen and not found:
        rules = sorted({rule for target in known.values() for rule in target.thresholds})
        where = f"--operating-point {' '.join(texts)}"
        if calibration is None:
            fault = "expected a calibration in the model's folder, got none"
            remedy = "run `nnunet-multitask calibrate`, or leave the option away"
            raise InputError("missing-calibration", where, fault, remedy)
        fault = f"expected one of the rules {', '.join(rules) or 'none'}"
        raise InputError("unknown-rule", where, fault, "name one of these, or calibrate with --rules")
    return found
