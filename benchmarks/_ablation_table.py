"""The table of the ablation: out of fold, the AUC of each variant beside the defaults', its DSC beside nnU-Net's."""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _ablation_rows import Row, read_rows
from _harness import Figure, finish
from sklearn.metrics import roc_auc_score

from nnunet_multitask.evaluation.delong import delong_interval, delong_test
from nnunet_multitask.evaluation.paired_scores import mean_interval

OURS, VANILLA = "multitask", "vanilla"
MIN_DSC_DIFFERENCE = -0.01
MIN_AUC = {"phantom": 0.90, "hippocampus": 0.85}


def report(args: argparse.Namespace) -> int:
    """Print and save the table; return the exit status."""
    rows = read_rows(args.rows)
    if not rows:
        raise SystemExit(f"no rows in {args.rows}: `ablation.py run` and `ablation.py test` write them")
    table = make_table(rows)
    for line in as_text(table):
        print(line)
    figures = []
    for entry in table:
        if entry["variant"] == OURS and entry["cohort"] in MIN_AUC:
            cohort = entry["cohort"]
            figures.append(Figure(f"AUC, {cohort}", entry["auc"] or 0, MIN_AUC[cohort], at_least=True))
            if entry["dsc_difference"] is not None:
                difference = entry["dsc_difference"]["difference"]
                figures.append(Figure(f"DSC difference, {cohort}", difference, MIN_DSC_DIFFERENCE, at_least=True))
    name = "ablation_test" if all(row.fold < 0 for row in rows) else "ablation"
    return finish(name, args, figures, {"table": table}, ("torch", "nnunetv2", "scikit-learn"), script="ablation")


def make_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one entry for each cohort and variant.

    A variant's number is the mean over its repeats (seeds), each computed over all cases out of fold; repeats without
    all folds of the others are left out. Differences pair the cases of the seeds that both have: of DSC, to vanilla
    nnU-Net, the mean over the seeds of each case, then over the cases, with a BCa interval that draws patients; of the
    mean AUC over the seeds, to the multi-task trainer with its defaults and to the rule that takes the volume of the
    variant's own masks for the class, with DeLong's interval. The rule looks in the direction that fits these cases
    better, in each repeat. A variant all of whose masks are empty segments nothing: it has neither DSC nor volumes.
    """
    by_variant: dict[tuple[str, str], dict[int, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_variant[row.cohort, row.variant][row.seed][row.case] = row
    cases = {
        cohort: max(len(seed) for (name, _), seeds in by_variant.items() if name == cohort for seed in seeds.values())
        for cohort in dict.fromkeys(row.cohort for row in rows)
    }
    table = []
    for (cohort, variant), seeds in sorted(by_variant.items(), key=lambda item: item[0][0]):
        whole = {seed: found for seed, found in sorted(seeds.items()) if len(found) == cases[cohort]}
        if whole:
            entry = _entry(whole)
            for peer, known, name, difference in (
                (VANILLA, "dsc", "dsc_difference", _dsc_difference),
                (OURS, "auc", "auc_difference", _auc_difference),
            ):
                others = by_variant.get((cohort, peer), {})
                common = [seed for seed in whole if len(others.get(seed, ())) == cases[cohort]]
                is_compared = variant != peer and common and entry[known] is not None
                pair = [whole[seed] for seed in common], [others[seed] for seed in common]
                entry[name] = difference(*pair) if is_compared else None
            table.append({"cohort": cohort, "variant": variant, **entry})
    return table


def _entry(seeds: Mapping[int, Mapping[str, Row]]) -> dict[str, Any]:
    repeats = [_in_order(found) for found in seeds.values()]
    truth = [[row.positive for row in found] for found in repeats]
    segments = any(row.volume_ml for found in repeats for row in found)
    by_seed = [statistics.fmean(_dsc(row) for row in found) for found in repeats]
    probabilities = [_probabilities(found) for found in repeats]
    classifies = all(row.probability is not None for found in repeats for row in found)
    aucs = [float(auc) for auc in map(roc_auc_score, truth, probabilities)] if classifies else []
    interval = delong_interval(truth[0], probabilities)
    volumes = [_volumes(found) for found in repeats]
    return {
        "cases": len(repeats[0]),
        "seeds": list(seeds),
        "auc": statistics.fmean(aucs) if aucs else None,
        "auc_by_seed": aucs,
        "auc_interval": [interval.low, interval.high] if aucs else None,
        "auc_of_predicted_volume": statistics.fmean(map(roc_auc_score, truth, volumes)) if segments else None,
        "difference_to_volume": _difference(truth[0], probabilities, volumes) if segments and aucs else None,
        "dsc": statistics.fmean(by_seed) if segments else None,
        "dsc_by_seed": by_seed if segments else [],
    }


def _dsc(row: Row) -> float:
    return 1.0 if row.dsc is None else row.dsc  # both masks are empty


def _in_order(found: Mapping[str, Row]) -> list[Row]:
    return [found[name] for name in sorted(found)]


def _probabilities(found: Sequence[Row]) -> list[float]:
    return [row.probability or 0.0 for row in found]


def _volumes(found: Sequence[Row]) -> list[float]:
    """Return the volumes, or what is opposite to them, as it fits the classes of these cases better."""
    volumes = [row.volume_ml for row in found]
    fits = roc_auc_score([row.positive for row in found], volumes) >= 0.5
    return volumes if fits else [-volume for volume in volumes]


def _auc_difference(one: Sequence[Mapping[str, Row]], other: Sequence[Mapping[str, Row]]) -> dict[str, Any]:
    truth = [row.positive for row in _in_order(one[0])]
    ours, others = ([_probabilities(_in_order(found)) for found in repeats] for repeats in (one, other))
    return {**_difference(truth, ours, others), "seeds": len(one)}


def _difference(truth: Sequence[int], one: list[list[float]], other: list[list[float]]) -> dict[str, Any]:
    found = delong_test(truth, one, other)
    return {"difference": found.difference, "interval": [found.low, found.high]}


def _dsc_difference(ours: Sequence[Mapping[str, Row]], vanilla: Sequence[Mapping[str, Row]]) -> dict[str, Any]:
    names = sorted(ours[0])
    differences = np.array(
        [statistics.fmean(_dsc(a[name]) - _dsc(b[name]) for a, b in zip(ours, vanilla, strict=True)) for name in names]
    )
    patients = [ours[0][name].patient for name in names]
    units = np.unique(patients, return_inverse=True)[1]
    interval = mean_interval(differences, units)
    return {"difference": float(differences.mean()), "interval": [interval.low, interval.high], "seeds": len(ours)}


def as_text(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"{'cohort':12}{'variant':20}{'seeds':>5}{'AUC':>7}{'minus that of multitask':>27}{'of volume':>11}{'DSC':>7}"
        f"{'minus that of vanilla':>30}"
    ]
    for entry in table:
        auc, dsc, of_volume = (
            "-" if entry[name] is None else f"{entry[name]:.3f}" for name in ("auc", "dsc", "auc_of_predicted_volume")
        )
        differences = _as_text(entry["auc_difference"], 3), _as_text(entry["dsc_difference"], 4)
        lines.append(
            f"{entry['cohort']:12}{entry['variant']:20}{len(entry['seeds']):>5}{auc:>7}{differences[0]:>27}{of_volume:>11}"
            f"{dsc:>7}{differences[1]:>30}"
        )
    for entry in table:
        if entry["variant"] == OURS and entry["auc_interval"][0] is not None:
            low, high = entry["auc_interval"]
            lines.append(
                f"{entry['cohort']}: AUC of {OURS} {entry['auc']:.3f} ({low:.3f} to {high:.3f}), "
                f"minus that of volume {_as_text(entry['difference_to_volume'], 3)}"
            )
    return lines


def _as_text(difference: Mapping[str, Any] | None, digits: int) -> str:
    if difference is None:
        return "-"
    low, high = difference["interval"]
    ends = "" if low is None else f" ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"{difference['difference']:+.{digits}f}{ends}"
