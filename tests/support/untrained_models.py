"""Models of the micro dataset that nobody trained: what a finished training leaves, in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.documents import write_json


def make_untrained(
    trainer_name: str, plans: str = "micro", configuration: str = "3d_fullres", folds: Sequence[int] = (0, 1)
) -> Path:
    """Write the model folder of some folds into ``nnUNet_results``, and return it."""
    for fold in folds:
        trainer = get_trainer_from_args("901", configuration, fold, trainer_name, plans, device=torch.device("cpu"))
        trainer.initialize()
        folder = Path(trainer.output_folder_base)
        write_json(folder / "plans.json", trainer.plans_manager.plans)
        write_json(folder / "dataset.json", trainer.dataset_json)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return folder
