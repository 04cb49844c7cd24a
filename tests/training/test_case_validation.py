"""Whole validation cases while a network is trained: which ones, when, how they are scored."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.training.case_validation import CaseValidation, choose_cases, volume_of
from nnunet_multitask.training.curves import case_scores, curve_names, draw_curves

BINARY = Target("ich", "binary", ("no", "yes"))
KINDS = Target("kinds", "multilabel", ("IVH", "SAH"))
NAME = "nnUNetTrainerMultiTaskShort"


def cohort(**counts: int) -> LabelSidecar:
    """Return cases by label, ``no_0``, ``no_1``, ..."""
    cases = {f"{label}_{i}": Case({"ich": label}) for label, count in counts.items() for i in range(count)}
    return LabelSidecar({"ich": BINARY}, {**cases, "unknown": Case({})})


def test_the_rare_class_is_drawn_as_often_as_the_other():
    sidecar = cohort(no=90, yes=10)
    chosen = choose_cases(sidecar, list(sidecar.cases), 12, seed=1)
    assert [name.split("_")[0] for name in chosen] == ["no"] * 6 + ["yes"] * 6
    assert chosen == choose_cases(sidecar, list(sidecar.cases)[::-1], 12, seed=1)
    assert chosen != choose_cases(sidecar, list(sidecar.cases), 12, seed=2)


def test_no_more_than_there_are_and_none_without_a_label():
    sidecar = cohort(no=3, yes=1)
    assert choose_cases(sidecar, list(sidecar.cases), 20, seed=0) == ["no_0", "no_1", "no_2", "yes_0"]
    assert len(choose_cases(cohort(no=30, yes=1), [f"no_{i}" for i in range(30)], 5, seed=0)) == 5


def test_every_class_of_several_targets_is_drawn():
    cases = {f"plain_{i}": Case({"ich": "yes", "kinds": ("IVH",)}) for i in range(50)}
    cases |= {"healthy": Case({"ich": "no", "kinds": ()}), "rare": Case({"ich": "yes", "kinds": ("IVH", "SAH")})}
    chosen = choose_cases(LabelSidecar({"ich": BINARY, "kinds": KINDS}, cases), list(cases), 4, seed=0)
    assert {"healthy", "rare"} < set(chosen)


def test_scores_by_hand():
    sidecar = LabelSidecar(
        {"ich": BINARY, "kinds": KINDS},
        {
            "a": Case({"ich": "no", "kinds": ()}),
            "b": Case({"ich": "yes", "kinds": ("IVH",)}),
            "c": Case({"ich": "yes"}),
            "d": Case({"kinds": ("IVH", "SAH")}),
        },
    )
    given = {"a": (0.6, (0.1, 0.9)), "b": (0.7, (0.2, 0.1)), "c": (0.3, (0.9, 0.9)), "d": (0.0, (0.8, 0.2))}
    predictions = {name: {"ich": np.array([p]), "kinds": np.array(kinds)} for name, (p, kinds) in given.items()}
    assert case_scores(sidecar.targets, sidecar, predictions) == {
        "ich/case_auc": 0.5,  # 0.7 is above 0.6, 0.3 is not
        "ich/case_balanced_accuracy": 0.25,  # none of one "no", one of two "yes"
        "kinds/case_auc": (1.0 + 0.5) / 2,
        "kinds/case_balanced_accuracy": ((1.0 + 0.5) / 2 + (0.5 + 0.0) / 2) / 2,
    }
    one_class = {"a": predictions["a"]}
    assert all(math.isnan(value) for value in case_scores(sidecar.targets, sidecar, one_class).values())


def test_when_it_is_due():
    validation = CaseValidation(every=3, num_cases=2, seed=0)
    assert not validation.is_due(2)  # no cases chosen yet
    sidecar = cohort(no=3, yes=3)
    validation.choose(sidecar, list(sidecar.cases))
    assert [epoch for epoch in range(7) if validation.is_due(epoch)] == [2, 5]
    never = CaseValidation(every=0, num_cases=2, seed=0)
    never.choose(sidecar, list(sidecar.cases))
    assert not any(never.is_due(epoch) for epoch in range(7))


def test_the_trainer_logs_whole_cases_when_they_are_due(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trainer = get_trainer_from_args("901", "3d_fullres", 0, NAME, "micro", device=torch.device("cpu"))
    trainer.schedule = dataclasses.replace(trainer.schedule, case_validation_every=2, case_validation_cases=2)
    trainer.run_training()
    assert trainer.network.decoder.deep_supervision  # as before
    log = trainer.logger.local_logger.my_fantastic_logging
    assert {len(values) for values in log.values()} == {2}
    first, second = log["subtype/case_auc"]
    assert math.isnan(first)
    assert second in (0.0, 0.5, 1.0)  # of one case of each class
    assert log["subtype/case_balanced_accuracy"][1] in (0.0, 0.5, 1.0)
    assert "2 whole validation cases: subtype/case_auc" in Path(trainer.log_file).read_text()
    assert trainer.best.of_cases  # the best checkpoint goes by whole cases from now on
    assert (Path(trainer.output_folder) / "checkpoint_best_classification.pth").is_file()
    assert not (Path(trainer.output_folder) / "validation").exists()


def test_one_pass_a_tile_without_mirrors(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trainer = get_trainer_from_args("901", "3d_fullres", 0, NAME, "micro", device=torch.device("cpu"))
    trainer.initialize()
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    passes = []
    trainer.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    validation = CaseValidation(1, 1, seed=0)
    validation.choose(trainer.sidecar, trainer.do_split()[1])
    dataset = trainer.dataset_class(trainer.preprocessed_dataset_folder, validation.case_ids)
    shape = dataset.load_case(validation.case_ids[0])[0].shape[1:]
    validation.run(trainer)
    patch = trainer.configuration_manager.patch_size
    assert len(passes) == math.prod(math.ceil(size / tile) for size, tile in zip(shape, patch, strict=True))


class Predictor:
    """Says of each volume that "yes" has the probability of its first voxel."""

    def __init__(self, told: list[CasePrediction]) -> None:
        self.told = told

    def predict_sliding_window_return_logits(self, volume: torch.Tensor) -> None:
        self.told.append(CasePrediction({"ich": np.array([[float(volume[0, 0, 0, 0])]])}, {}, 0.0))


def test_processes_share_the_cases(monkeypatch):
    """What one process does not predict the other does, and both get the scores of all."""
    sidecar = LabelSidecar({"ich": BINARY}, {c: Case({"ich": "no" if c < "c" else "yes"}) for c in "abcd"})
    values = {"a": 0.1, "b": 0.6, "c": 0.5, "d": 0.9}
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    found = {}

    class Dataset:
        def __init__(self, folder, case_ids, folder_with_segs_from_previous_stage):
            pass

        def load_case(self, case_id):
            return np.full((1, 2, 2, 2), values[case_id]), None, None, {}

    for rank in (0, 1):
        validation = CaseValidation(1, 4, seed=0)
        validation.choose(sidecar, list("abcd"))
        validation._predictor = Predictor(validation._told)
        trainer = SimpleNamespace(
            local_rank=rank, is_ddp=True, is_cascaded=False, targets={"ich": BINARY}, sidecar=sidecar,
            dataset_class=Dataset, preprocessed_dataset_folder="", folder_with_segs_from_previous_stage=None,
            enable_deep_supervision=True, set_deep_supervision_enabled=lambda enabled: None,
            gathered=lambda part, rank=rank: [*found.setdefault(rank, part), *found.get(0, [])],
        )  # fmt: skip
        scores = validation.run(trainer)
    assert [[case_id for case_id, _ in part] for part in found.values()] == [["a", "c"], ["b", "d"]]
    assert scores["ich/case_auc"] == 0.75


def test_a_cascade_sees_the_previous_stage():
    data, previous = np.full((1, 1, 2, 2), 5.0, np.float32), np.array([[[[0, 1], [2, 1]]]])
    dataset = SimpleNamespace(load_case=lambda case_id: (data, None, previous[0], {}))
    trainer = SimpleNamespace(is_cascaded=True, label_manager=SimpleNamespace(foreground_labels=[1, 2]))
    volume = volume_of(trainer, dataset, "a")
    assert volume.shape == (3, 1, 2, 2)
    assert volume[0].unique().tolist() == [5]
    assert volume[1].tolist() == [[[0, 1], [0, 1]]]
    assert volume[2].tolist() == [[[0, 0], [1, 0]]]


@pytest.mark.parametrize("scored", [(), (0, 2)])
def test_the_picture_has_the_epochs_that_were_scored(tmp_path, scored):
    curves = {name: [0.5, 0.6, 0.7] for name in curve_names({"ich": BINARY})}
    for name in ("ich/case_auc", "ich/case_balanced_accuracy"):
        curves[name] = [0.8 if epoch in scored else float("nan") for epoch in range(3)]
    draw_curves(tmp_path / "curves.png", curves, {"ich": BINARY})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_keeps_its_fonts_whatever_nnunet_has_set(tmp_path, monkeypatch):
    """nnU-Net's own picture sets a font scale of 2.5 for the whole process, for which the panels have no room."""
    curves = {name: [0.5, 0.6, 0.7] for name in curve_names({"ich": BINARY})}
    draw_curves(tmp_path / "first.png", curves, {"ich": BINARY})
    monkeypatch.setitem(matplotlib.rcParams, "axes.titlesize", 30.0)
    draw_curves(tmp_path / "later.png", curves, {"ich": BINARY})
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "later.png").read_bytes()
    assert matplotlib.rcParams["axes.titlesize"] == 30.0
