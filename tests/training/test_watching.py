"""Checkpoints of the best epochs, and alarms, in trainings."""

from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_multitask.training import alarms, watching
from nnunet_multitask.training.best_checkpoints import CLASSIFICATION, JOINT
from nnunet_multitask.training.checkpoints import read_entry


def test_best_epochs_are_kept_and_their_scores_survive(make, monkeypatch):
    scores = iter([0.5, 0.9, 0.7, 0.8, 0.95])
    monkeypatch.setattr(watching, "classification_score", lambda curves, targets: (next(scores), False))
    trainer = make(epochs=3)
    trainer.run_training()
    folder = Path(trainer.output_folder)
    for name in (CLASSIFICATION, JOINT):
        checkpoint = torch.load(folder / name, weights_only=False)
        assert checkpoint["current_epoch"] == 2
        assert {len(values) for values in checkpoint["logging"].values()} == {2}
        assert read_entry(checkpoint)["best"]["best"][CLASSIFICATION] == [0.9, 1]
    log = next(folder.glob("training_log*")).read_text()
    assert "checkpoint_best_joint.pth: highest (pseudo Dice + mean AUC) / 2" in log
    assert "new best mean AUC: 0.9000 (validation patches, moving average)" in log
    assert (folder / "checkpoint_best.pth").is_file()
    longer = make(epochs=5)
    maybe_load_checkpoint(longer, True, False)
    assert longer.best == trainer.best
    longer.run_training()
    assert longer.best.best[CLASSIFICATION] == (0.95, 4)
    assert torch.load(folder / CLASSIFICATION, weights_only=False)["current_epoch"] == 5


def test_no_best_checkpoints_where_they_are_disabled(make):
    trainer = make(epochs=1)
    trainer.disable_checkpointing = True
    trainer.run_training()
    assert not list(Path(trainer.output_folder).glob("checkpoint*"))


def test_an_alarm_stands_in_the_log(make, monkeypatch):
    trainer = make(epochs=2)
    trainer.initialize()
    monkeypatch.setattr(trainer.alarms, "consider", lambda curves, targets: ["all is lost -> sleep"])
    trainer.run_training()
    assert "WARN all is lost -> sleep" in next(Path(trainer.output_folder).glob("training_log*")).read_text()


def test_a_head_that_says_the_same_of_all_patches_is_told_of(make, monkeypatch):
    monkeypatch.setattr(alarms, "EPOCHS", 2)
    trainer = make(epochs=2, val_iterations=8)
    trainer.initialize()
    head = trainer.network.heads.layers[0]
    head.forward = lambda vector: torch.stack((vector.mean(dim=1) * 0 + 9, vector.mean(dim=1) * 0), dim=1)
    trainer.run_training()
    log = next(Path(trainer.output_folder).glob("training_log*")).read_text()
    assert log.count("WARN subtype: every validation patch was called IPH for 2 epochs") == 1


def test_nnunets_picture_has_every_epoch(make, monkeypatch):
    lengths = []

    def look(logger, folder):
        lengths.append({len(values) for values in logger.my_fantastic_logging.values()})

    monkeypatch.setattr(LocalLogger, "plot_progress_png", look)
    make(epochs=3).run_training()
    assert lengths == [{1}, {2}, {3}]  # the picture ends with the shortest curve


def test_whole_cases_decide_where_they_are_classified(make):
    trainer = make(epochs=3, case_validation_every=2)
    trainer.run_training()
    assert trainer.best.of_cases
    assert [epoch for _, epoch in trainer.best.best.values()] == [1, 1]
    auc = trainer.logger.get_value("subtype/case_auc", 1)
    assert trainer.best.best[CLASSIFICATION][0] == auc
    assert trainer.best.best[JOINT][0] == pytest.approx((auc + trainer.logger.get_value("ema_fg_dice", 1)) / 2)
