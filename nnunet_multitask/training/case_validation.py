"""How well whole cases are classified while the network is still trained: a few validation cases every N epochs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.training.curves import NAN, case_curve_names, case_scores
from nnunet_multitask.training.final_validation import WholeCasePredictor

TILE_STEP = 1.0  # of the tile: tiles side by side, a fraction of the forward passes of the final validation


class CaseValidation:
    """Classifies the same few validation cases every N epochs, as prediction does, only faster.

    Tiles lie side by side instead of overlapping by half, and nothing is mirrored, so that a case takes a fraction of
    the time that it takes in the final validation; its probabilities differ a little from those. No mask is written.

    Args:
        every: epochs between two validations; 0: never.
        num_cases: how many cases at most.
        seed: chooses the cases.
    """

    def __init__(self, every: int, num_cases: int, seed: int) -> None:
        self.every = every
        self.num_cases = num_cases
        self.seed = seed
        self.case_ids: list[str] = []
        self._predictor: WholeCasePredictor | None = None
        self._told: list[CasePrediction] = []

    def choose(self, sidecar: LabelSidecar, case_ids: Sequence[str]) -> None:
        """Choose the cases among those of the validation fold."""
        self.case_ids = choose_cases(sidecar, case_ids, self.num_cases, self.seed) if self.every else []

    def is_due(self, epoch: int) -> bool:
        """Tell whether the epoch, counted from 0, ends with a validation of cases."""
        return bool(self.every and self.case_ids) and (epoch + 1) % self.every == 0

    def scores_of_epoch(self, trainer: Any) -> dict[str, float]:
        """Return the scores of the trainer's epoch by curve name, NaN where it is not due; see ``run``."""
        if not self.is_due(trainer.current_epoch):
            return {curve: NAN for target in trainer.targets.values() for curve in case_curve_names(target)}
        scores = self.run(trainer)
        shown = ", ".join(f"{curve} {value:.3f}" for curve, value in scores.items())
        trainer.print_to_log_file(f"{len(self.case_ids)} whole validation cases: {shown}")
        return scores

    def run(self, trainer: Any) -> dict[str, float]:
        """Predict the chosen cases with the trainer's network as it is, and return their scores by curve name.

        Args:
            trainer: the multi-task trainer; of a distributed training every process predicts its share, and all get
                the same scores.
        """
        share = self.case_ids[trainer.local_rank :: dist.get_world_size() if trainer.is_ddp else 1]
        trainer.set_deep_supervision_enabled(False)
        try:
            predictor = self._predictor_of(trainer)
            dataset = trainer.dataset_class(
                trainer.preprocessed_dataset_folder,
                share,
                folder_with_segs_from_previous_stage=trainer.folder_with_segs_from_previous_stage,
            )
            found = []
            for case_id in share:
                predictor.predict_sliding_window_return_logits(volume_of(trainer, dataset, case_id))
                found.append((case_id, self._told.pop().probabilities))
        finally:
            trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        return case_scores(trainer.targets, trainer.sidecar, dict(trainer.gathered(found)))

    def _predictor_of(self, trainer: Any) -> WholeCasePredictor:
        if self._predictor is None:
            self._predictor = WholeCasePredictor(
                tile_step_size=TILE_STEP,
                use_mirroring=False,
                device=trainer.device,
                allow_tqdm=False,
                tell=self._told.append,
            )
            self._predictor.manual_initialization(
                trainer.network,
                trainer.plans_manager,
                trainer.configuration_manager,
                None,
                trainer.dataset_json,
                type(trainer).__name__,
                None,
            )
        return self._predictor


def choose_cases(sidecar: LabelSidecar, case_ids: Sequence[str], num_cases: int, seed: int) -> list[str]:
    """Choose cases so that each class is there and is absent as often as possible alike.

    One after the other, a case is drawn from the side (with or without a class of a target) that has the fewest cases
    so far. AUC and balanced accuracy do not depend on how frequent a class is, and are the surer the more cases the
    rarer side has.

    Args:
        sidecar: the labels; cases without any label are passed over.
        case_ids: the cases to choose from.
        num_cases: how many at most.
        seed: of the draw; the order of ``case_ids`` does not matter.

    Returns:
        Case ids in alphabetical order.
    """
    sides = {case_id: _sides(sidecar, case_id) for case_id in sorted(case_ids)}
    left = [case_id for case_id, present in sides.items() if present]
    random.Random(seed).shuffle(left)
    counts = dict.fromkeys(sorted({side for present in sides.values() for side in present}), 0)
    chosen: list[str] = []
    while left and len(chosen) < num_cases:
        wanted = min((side for side in counts if any(side in sides[c] for c in left)), key=lambda side: counts[side])
        case_id = next(case_id for case_id in left if wanted in sides[case_id])
        left.remove(case_id)
        chosen.append(case_id)
        for side in sides[case_id]:
            counts[side] += 1
    return sorted(chosen)


def volume_of(trainer: Any, dataset: Any, case_id: str) -> torch.Tensor:
    """Return a preprocessed case as the network takes it, (C, *spatial): of a cascade with the stage before, one-hot.

    Args:
        trainer: whether it is cascaded, and with which labels.
        dataset: nnU-Net's dataset.
        case_id: one of its cases.
    """
    data, _, previous, _ = dataset.load_case(case_id)
    data = np.array(data[:])
    if trainer.is_cascaded:
        labels = trainer.label_manager.foreground_labels
        data = np.vstack((data, convert_labelmap_to_one_hot(previous[:], labels, output_dtype=data.dtype)))
    return torch.from_numpy(data)


def _sides(sidecar: LabelSidecar, case_id: str) -> set[tuple[str, str, bool]]:
    """Return, for each class of each known label, target, class and whether the case has it."""
    found = set()
    for name, label in sidecar.cases[case_id].labels.items():
        present = {label} if isinstance(label, str) else set(label)
        found |= {(name, class_name, class_name in present) for class_name in sidecar.targets[name].classes}
    return found
