"""The table of the ablation: AUC and DSC of each variant out of fold, and its DSC difference to vanilla nnU-Net."""

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

from nnunet_multitask.evaluation.delong import delong_interval
from nnunet_multitask.evaluation.paired_scores import mean_interval

OURS, VANILLA = "multitask", "vanilla"
MIN_DSC_DIFFERENCE = -0.01
MIN_AUC = {"phantom": 0.90, "hippocampus": 0.85}


def report(args: argparse.Namespace) -> int:
    """Print and save the table; return the exit status."""
    rows = read_rows(args.rows)
    table = make_table(rows)
    for line in as_text(table):
        print(line)
    figures = []
    for entry in table:
        if entry["variant"] == OURS and entry["cohort"] in MIN_AUC:
            cohort = entry["cohort"]
            figures.append(Figure(f"AUC, {cohort}", entry["auc"] or 0, MIN_AUC[cohort], at_least=True))
            if entry["dsc_difference"] is not None:
                difference = entry["dsc_difference"]["mean"]
                figures.append(Figure(f"DSC difference, {cohort}", difference, MIN_DSC_DIFFERENCE, at_least=True))
    return finish("ablation", args, figures, {"table": table}, ("torch", "nnunetv2", "scikit-learn"))


def make_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one entry for each cohort and variant.

    A variant's number is the mean over its repeats (seeds), each computed over all cases out of fold; repeats without
    all folds of the others are left out. The difference of DSC pairs the cases of the seeds that both have: the mean
    over the seeds of each case, then over the cases, with a BCa interval that draws patients. A variant all of whose
    masks are empty segments nothing: it has neither DSC nor volumes.
    """
    by_variant: dict[tuple[str, str], dict[int, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_variant[row.cohort, row.variant][row.seed][row.case] = row
    cases = {
        cohort: max(len(seed) for (name, _), seeds in by_variant.items() if name == cohort for seed in seeds.values())
        for cohort in dict.fromkeys(row.cohort for row in rows)
    }
    table = []
    for (cohort, variant), seeds in by_variant.items():
        whole = {seed: found for seed, found in sorted(seeds.items()) if len(found) == cases[cohort]}
        vanilla = {s: f for s, f in by_variant.get((cohort, VANILLA), {}).items() if len(f) == cases[cohort]}
        if whole:
            entry = _entry(whole)
            common = sorted(set(whole) & set(vanilla)) if variant != VANILLA else []
            if common and entry["dsc"] is not None:
                entry["dsc_difference"] = _difference([whole[s] for s in common], [vanilla[s] for s in common])
            table.append({"cohort": cohort, "variant": variant, **entry})
    return table


def _entry(seeds: Mapping[int, Mapping[str, Row]]) -> dict[str, Any]:
    repeats = [list(found.values()) for found in seeds.values()]
    truth = [[row.positive for row in found] for found in repeats]
    segments = any(row.volume_ml for found in repeats for row in found)
    by_seed = [statistics.fmean(_dsc(row) for row in found) for found in repeats]
    aucs, rules = [], []
    for labels, found in zip(truth, repeats, strict=True):
        if all(row.probability is not None for row in found):
            aucs.append(float(roc_auc_score(labels, [row.probability for row in found])))
        of_volume = float(roc_auc_score(labels, [row.volume_ml for row in found]))
        rules.append(max(of_volume, 1 - of_volume))  # the direction that fits these cases better
    return {
        "cases": len(repeats[0]),
        "seeds": list(seeds),
        "auc": statistics.fmean(aucs) if aucs else None,
        "auc_by_seed": aucs,
        "auc_interval": _auc_interval(seeds) if aucs else None,
        "auc_of_predicted_volume": statistics.fmean(rules) if segments else None,
        "dsc": statistics.fmean(by_seed) if segments else None,
        "dsc_by_seed": by_seed if segments else [],
        "dsc_difference": None,
    }


def _dsc(row: Row) -> float:
    return 1.0 if row.dsc is None else row.dsc  # both masks are empty


def _auc_interval(seeds: Mapping[int, Mapping[str, Row]]) -> list[float | None]:
    """Return DeLong's interval for the mean probability over the seeds."""
    names = sorted(next(iter(seeds.values())))
    mean = [statistics.fmean(found[name].probability or 0.0 for found in seeds.values()) for name in names]
    first = next(iter(seeds.values()))
    interval = delong_interval([bool(first[name].positive) for name in names], mean)
    return [interval.low, interval.high]


def _difference(ours: Sequence[Mapping[str, Row]], vanilla: Sequence[Mapping[str, Row]]) -> dict[str, Any]:
    names = sorted(ours[0])
    differences = np.array(
        [statistics.fmean(_dsc(a[name]) - _dsc(b[name]) for a, b in zip(ours, vanilla, strict=True)) for name in names]
    )
    patients = [ours[0][name].patient for name in names]
    units = np.unique(patients, return_inverse=True)[1]
    interval = mean_interval(differences, units)
    return {"mean": float(differences.mean()), "interval": [interval.low, interval.high], "seeds": len(ours)}


def as_text(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table."""
    lines = [f"{'cohort':12}{'variant':21}{'seeds':>6}{'AUC':>7}{'DSC':>7}{'DSC difference':>24}{'AUC of volume':>15}"]
    for entry in table:
        auc, dsc, of_volume = (
            "-" if entry[name] is None else f"{entry[name]:.3f}" for name in ("auc", "dsc", "auc_of_predicted_volume")
        )
        shown = "-"
        if (difference := entry["dsc_difference"]) is not None:
            low, high = difference["interval"]
            ends = "" if low is None else f" ({low:+.3f} to {high:+.3f})"
            shown = f"{difference['mean']:+.4f}{ends}"
        lines.append(
            f"{entry['cohort']:12}{entry['variant']:21}{len(entry['seeds']):>6}{auc:>7}{dsc:>7}{shown:>24}{of_volume:>15}"
        )
    return lines
