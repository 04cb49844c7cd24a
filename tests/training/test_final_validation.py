"""The validation at the end of a training: nnU-Net's masks, and the class of each case from the same passes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch.nn.parallel import DistributedDataParallel

from nnunet_multitask.cli.main import main
from nnunet_multitask.config import SHORT_SCHEDULE, MultiTaskConfig, differences
from nnunet_multitask.documents import check_schema
from nnunet_multitask.evaluation.out_of_fold import target_tables
from nnunet_multitask.evaluation.predictions import read_classification
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.labels import Case, LabelSidecar, Target, read_sidecar
from nnunet_multitask.training.final_validation import NOT_SHAPING, predictor_modules, write_validation

NAME = "nnUNetTrainerMultiTaskShort"


@pytest.fixture
def make_trainer(micro_env, tmp_path, monkeypatch):
    """Return a function that makes an initialised, untrained trainer with results of its own.

    Threads take the place of nnU-Net's processes, which take seconds to start.
    """
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=ThreadPool))

    def make(fold=0, configuration="3d_fullres", plans="micro"):
        trainer = get_trainer_from_args("901", configuration, fold, NAME, plans, device=torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


def validate_only(trainer, *indices: int) -> None:
    """Let the fold have these of its validation cases, in this order."""
    train, val = trainer.do_split()
    trainer.do_split = lambda: (train, [val[index] for index in indices])


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def test_masks_and_next_stage_are_those_of_nnunet(make_trainer, monkeypatch):
    """The configuration stands in for its own next stage: what a cascade gets is exported, too."""
    monkeypatch.setattr(ConfigurationManager, "next_stage_names", property(lambda self: ["3d_fullres"]))
    trainer = make_trainer()
    validate_only(trainer, 0)
    passes = []
    trainer.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    folder = Path(trainer.output_folder) / "validation"
    next_stage = Path(trainer.output_folder_base) / "predicted_next_stage" / "3d_fullres"
    found = []
    for kind in (trainer_module.nnUNetTrainer, type(trainer)):
        passes.clear()
        kind.perform_actual_validation(trainer, save_probabilities=True)
        found.append({**contents(folder, "*.nii.gz"), **contents(folder, "*.npz"), "passes": len(passes)})
        found[-1] |= {f"next/{name}": content for name, content in contents(next_stage, "*").items()}
    assert found[0] == found[1]
    assert len(found[0]) == 4  # mask, probabilities, next stage, passes
    assert (folder / "classification.json").is_file()


def test_the_file_is_a_part_of_an_out_of_fold_table(make_trainer, micro_env):
    trainer = make_trainer()
    checkpoint = Path(trainer.output_folder) / "checkpoint_best.pth"
    trainer.save_checkpoint(str(checkpoint))
    trainer.load_checkpoint(str(checkpoint))
    trainer.perform_actual_validation()
    folder = Path(trainer.output_folder) / "validation"
    document = json.loads((folder / "classification.json").read_text())
    check_schema(document, "classification.json", "here")
    plans = json.loads((micro_env.preprocessed / "micro.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    assert document["model"] == {
        "trainer": NAME,
        "plans": "micro",
        "configuration": "3d_fullres",
        "folds": [0],
        "settings": {
            **{name: value for name, value in differences(SHORT_SCHEDULE).items() if name not in NOT_SHAPING},
            **{"epochs": 2, "iterations": 2, "val_iterations": 2},  # of the plans
            "network": "PlainConvUNet",
            "features": [4, 8, 8],
            **{name: configuration[name] for name in ("patch_size", "batch_size", "spacing")},
        },
        "checkpoint": "checkpoint_best.pth",
        "checkpoint_sha256": {"0": hashlib.sha256(checkpoint.read_bytes()).hexdigest()},
    }
    sidecar = read_sidecar(micro_env.raw / "class_labels.json")
    val = json.loads((micro_env.preprocessed / "splits_final.json").read_text())[0]["val"]
    assert list(document["cases"]) == sorted(val)
    for case_id, case in document["cases"].items():
        assert case["fold"] == 0
        assert case["reference"] == {"subtype": sidecar.cases[case_id].labels["subtype"]}
        assert case["group"] == sidecar.cases[case_id].group
        assert case["labels"]["1"]["volume_ml"] >= 0
        assert case["seconds"] > 0
    table = target_tables(read_classification(folder / "classification.json"))["subtype"]
    assert table.folds == [0] * len(val)
    header, *rows = (folder / "classification.csv").read_text().splitlines()
    assert header.startswith("case_id,fold,group,subtype_reference,subtype_decision,subtype_probability_IPH")
    assert len(rows) == len(val)


def test_each_case_has_its_own_classification(make_trainer):
    """The volumes go through the network in another order than the alphabet's, and keep their names."""
    trainer = make_trainer()
    validate_only(trainer, 1, 0)
    trainer.perform_actual_validation()
    document = json.loads((Path(trainer.output_folder) / "validation" / "classification.json").read_text())
    predictor = MultiTaskPredictor(device=torch.device("cpu"), allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, [trainer.network.state_dict()],
        trainer.dataset_json, NAME, trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    dataset = trainer.dataset_class(trainer.preprocessed_dataset_folder, trainer.do_split()[1])
    for case_id in dataset.identifiers:
        predictor._waiting = [case_id]
        predictor.predict_logits_from_preprocessed_data(torch.from_numpy(dataset.load_case(case_id)[0][:]))
        expected = predictor.cases[case_id].probabilities["subtype"]
        found = document["cases"][case_id]["targets"]["subtype"]["probabilities"]
        assert list(found.values()) == pytest.approx(expected.tolist(), abs=2e-6)
    assert len(document["cases"]) == 2
    values = [case["targets"]["subtype"]["probabilities"]["IPH"] for case in document["cases"].values()]
    assert len(set(values)) == len(values)


def test_two_dimensions_and_fold_all(make_trainer):
    trainer = make_trainer("all", "2d", "micro2d")
    trainer.perform_actual_validation()
    document = json.loads((Path(trainer.output_folder) / "validation" / "classification.json").read_text())
    assert document["model"]["folds"] == ["all"]
    assert document["model"]["configuration"] == "2d"
    assert document["model"]["checkpoint_sha256"] == {}  # these weights are in no file
    assert len(document["cases"]) == 6
    assert {case["fold"] for case in document["cases"].values()} == {"all"}


def test_the_name_that_is_swapped_is_there_and_comes_back(make_trainer, monkeypatch):
    trainer = make_trainer()
    assert predictor_modules(trainer) == [vars(trainer_module)]
    folder = Path(trainer.output_folder) / "validation"
    folder.mkdir()
    (folder / "classification.json").write_text("of an earlier checkpoint")
    dataset_class = trainer.dataset_class

    def fails(self, data):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(nnUNetPredictor, "predict_sliding_window_return_logits", fails)
    with pytest.raises(RuntimeError, match="the device is gone"):
        trainer.perform_actual_validation()
    assert not (folder / "classification.json").exists()
    assert trainer_module.nnUNetPredictor is nnUNetPredictor
    assert trainer.dataset_class is dataset_class


def test_a_trainer_with_another_predictor_says_that_it_does_not_classify(make_trainer, monkeypatch):
    trainer = make_trainer()
    validate_only(trainer, 0)
    monkeypatch.setattr(trainer_module, "nnUNetPredictor", type("Other", (nnUNetPredictor,), {}))
    trainer.perform_actual_validation()
    folder = Path(trainer.output_folder) / "validation"
    assert (folder / "summary.json").is_file()
    assert not (folder / "classification.json").exists()
    assert "WARN validation without nnUNetPredictor" in Path(trainer.log_file).read_text()


def stand_in(folder: Path, given: dict[str, float], cases: dict[str, Case], fold: int = 3, rank: int = 0):
    """Return what ``write_validation`` asks a trainer for, whose processes found these probabilities of "yes"."""
    found = {name: {"ich": np.array([[p]])} for name, p in given.items()}
    predictions = {name: CasePrediction(values, values, 1.0) for name, values in found.items()}
    target = Target("ich", "binary", ("no", "yes"))
    log: list[str] = []
    (folder / "validation").mkdir(exist_ok=True, parents=True)
    return SimpleNamespace(
        local_rank=rank,
        network=torch.nn.Identity(),
        gathered=lambda values: list(predictions.items()),
        fold=fold,
        plans_manager=SimpleNamespace(plans_name="p", plans={}),
        configuration_name="2d",
        configuration_manager=SimpleNamespace(
            network_arch_class_name="unet.PlainConvUNet",
            network_arch_init_kwargs={},
            patch_size=(8, 8),
            batch_size=2,
            spacing=(1, 1),
        ),
        config=MultiTaskConfig(),
        schedule=SHORT_SCHEDULE,
        targets={"ich": target},
        sidecar=LabelSidecar({"ich": target}, cases),
        dataset_json={"labels": {"background": 0}, "file_ending": ".png"},
        output_folder=folder,
        log=log,
        print_to_log_file=lambda text, **_: log.append(text),
    )


def test_processes_join_their_cases_and_the_first_one_writes(tmp_path):
    cases = {"a": Case({"ich": "no"}), "c": Case({"ich": "yes"})}  # nothing is known of b
    for rank in (1, 0):
        trainer = stand_in(tmp_path, {"a": 0.2, "b": 0.9, "c": 0.7}, cases, rank=rank)
        write_validation(trainer, {}, None)
        assert (tmp_path / "validation" / "classification.json").exists() == (rank == 0)
    document = json.loads((tmp_path / "validation" / "classification.json").read_text())
    references = {case_id: case["reference"] for case_id, case in document["cases"].items()}
    assert references == {"a": {"ich": "no"}, "b": {}, "c": {"ich": "yes"}}
    assert document["cases"]["b"]["labels"] == {}  # a format that is not measured
    assert trainer.log == ["3 cases classified: ich/case_auc 1.000, ich/case_balanced_accuracy 1.000"]


def test_calibrate_and_collect_read_what_is_written(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for fold in range(2):
        given = {f"{fold}_{index}": float(p) for index, p in enumerate(rng.uniform(0.02, 0.98, 40))}
        cases = {name: Case({"ich": "yes" if rng.random() < p else "no"}) for name, p in given.items()}
        write_validation(stand_in(tmp_path / f"fold_{fold}", given, cases, fold), {}, None)
    assert main(["collect", "-m", str(tmp_path), "--folds", "0", "1"]) == 0
    assert "80 cases of the folds 0, 1\nich: n = 80, 0 without a label" in capsys.readouterr().out
    by_folds, by_table = tmp_path / "by_folds.json", tmp_path / "by_table.json"
    table = str(tmp_path / "classification_out_of_fold.json")
    assert main(["calibrate", "-m", str(tmp_path), "--output", str(by_folds)]) == 0
    assert "ich: 80 cases, 0 without a label; after: leave fold out" in capsys.readouterr().out
    assert main(["calibrate", "--classification", table, "--output", str(by_table)]) == 0
    documents = [json.loads(path.read_text()) for path in (by_folds, by_table)]
    assert documents[0]["targets"] == documents[1]["targets"]


def test_a_distributed_network_is_used_without_its_wrapper(make_trainer):
    trainer = make_trainer()
    wrapper = DistributedDataParallel.__new__(DistributedDataParallel)
    torch.nn.Module.__init__(wrapper)
    wrapper.module = trainer.network
    predictor = MultiTaskPredictor(device=torch.device("cpu"))
    predictor.manual_initialization(
        wrapper, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, NAME, None
    )
    assert predictor.network is trainer.network
    assert predictor.model == {"trainer": NAME, "plans": "micro"}
