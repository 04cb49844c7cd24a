"""The ways in which tiles become a case, compared on the validation cases of the ablation's multi-task models."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _harness import finish


def compare_aggregations(
    args: argparse.Namespace, models: Mapping[str, Mapping[int, Path]], folds: int, variables: Mapping[str, str]
) -> int:
    """Run ``fit-aggregation`` on each model, print and save what each aggregation is worth; return the exit status.

    Args:
        args: of the command line.
        models: by cohort and seed the folder of a model.
        folds: how many it has; all have to be trained.
        variables: nnU-Net's.
    """
    measured: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for cohort, folders in models.items():
        for seed, folder in folders.items():
            for target, comparison in _comparisons(folder, folds, variables).items():
                measured[cohort][target].append({"seed": seed, **comparison})
    for cohort, targets in measured.items():
        for target, repeats in targets.items():
            print(f"{cohort}, {target}, {len(repeats)} repeats; the model's own: {repeats[0]['own']}")
            for line in _lines(repeats):
                print(line)
    return finish("aggregation", args, [], measured, ("torch", "nnunetv2"), script="ablation")


def _comparisons(folder: Path, folds: int, variables: Mapping[str, str]) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "nnunet-multitask"), "fit-aggregation", "-m", str(folder)]
    command += ["-f", *map(str, range(folds)), "--leave-out-rare", "--overwrite", "--json", "-device", "cpu"]
    answer = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, check=True)
    comparisons: dict[str, Any] = json.loads(answer.stdout)["targets"]
    return comparisons


def _lines(repeats: list[Any]) -> Iterator[str]:
    for kind in repeats[0]["aggregations"]:
        found = [repeat["aggregations"][kind] for repeat in repeats]
        auc, log_loss = (statistics.fmean(entry[score] for entry in found) for score in ("auc", "log_loss"))
        by_seed = " ".join(f"{entry['auc']:.3f}" for entry in found)
        yield f"  {kind:<17} AUC {auc:.3f} ({by_seed})  log loss {log_loss:.3f}"
