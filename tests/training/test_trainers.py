"""The trainers on a micro dataset, in this process."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.config import SHORT_SCHEDULE, ScheduleConfig
from nnunet_multitask.files import read_mask
from nnunet_multitask.inference.model import aggregations_of_plans
from nnunet_multitask.training import trainers

CPU = torch.device("cpu")


def make_trainer(name, configuration="3d_fullres", plans="micro", fold=0, change=None):
    trainer = get_trainer_from_args("901", configuration, fold, name, plans, device=CPU)
    if change is not None:
        change(trainer)
    return trainer


def test_baseline_differs_only_in_the_branch(micro_env):
    multitask = make_trainer("nnUNetTrainerMultiTaskShort")
    baseline = make_trainer("nnUNetTrainerBaselineShort")
    own = {"my_init_kwargs", "output_folder", "output_folder_base", "log_file", "logger", "plans_manager"}
    settings = [
        {k: str(v) for k, v in vars(t).items() if k not in own and not callable(v)} for t in (multitask, baseline)
    ]
    for shown in settings:
        shown.pop("configuration_manager"), shown.pop("label_manager")  # objects: compared by content below
    assert settings[0] == settings[1]
    assert multitask.schedule == baseline.schedule
    assert multitask.configuration_manager.configuration == baseline.configuration_manager.configuration
    for trainer in (multitask, baseline):
        trainer.initialize()
    assert type(multitask.optimizer) is type(baseline.optimizer)
    for group in ("lr", "weight_decay", "betas"):
        assert multitask.optimizer.param_groups[0][group] == baseline.optimizer.param_groups[0][group]
    shared, *_ = multitask.parameter_groups()
    assert len(shared["params"]) == len(baseline.parameter_groups()[0]["params"])
    assert multitask.lr_scheduler.initial_rates[0] == baseline.lr_scheduler.initial_rates[0]
    assert multitask.lr_scheduler.schedule == baseline.lr_scheduler.schedule
    assert str(multitask.loss) == str(baseline.loss)
    assert multitask.do_split() == baseline.do_split()
    augmentations = [t.configure_rotation_dummyDA_mirroring_and_inital_patch_size() for t in (multitask, baseline)]
    assert str(augmentations[0]) == str(augmentations[1])
    assert multitask.inference_allowed_mirroring_axes is baseline.inference_allowed_mirroring_axes is None
    shared, weights = baseline.network.state_dict(), multitask.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in shared.items())
    assert {name.split(".")[0] for name in set(weights) - set(shared)} == {"fusion", "heads"}


@pytest.mark.parametrize("case_sampling", ["natural", "balanced", "weights"])
def test_both_trainers_see_the_same_batches(micro_env, case_sampling):
    batches = []
    for name in ("nnUNetTrainerMultiTaskShort", "nnUNetTrainerBaselineShort"):
        trainer = make_trainer(name)
        trainer.schedule = replace(trainer.schedule, case_sampling=case_sampling)
        trainer.on_train_start()
        batches.append(next(trainer.dataloader_train))
    assert list(batches[0]["keys"]) == list(batches[1]["keys"])
    assert torch.equal(batches[0]["data"], batches[1]["data"])


def test_a_detached_branch_leaves_the_unet_as_it_is_without_one(micro_env):
    # two steps with dropout in the branch: same batches, same gradients, same weights to the last bit
    networks = []
    for name in ("nnUNetTrainerMultiTaskShort", "nnUNetTrainerBaselineShort"):

        def detach(trainer):
            trainer.plans_manager.plans["multitask"] = {"config": {"detach_features": True, "dropout": 0.5}}

        trainer = make_trainer(name, change=detach)
        trainer.on_train_start()
        trainer.network.train()
        for _ in range(2):
            trainer.train_step(next(trainer.dataloader_train))
        networks.append(trainer.network)
    assert networks[0].detach_features
    assert networks[0].heads.dropout.p == 0.5
    weights = networks[0].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in networks[1].state_dict().items())


def test_training_cases_are_drawn_by_class_and_validation_cases_alike(micro_env, sidecar, edit):
    trainer = make_trainer("nnUNetTrainerMultiTaskShort")
    trainer.schedule = replace(trainer.schedule, case_sampling="balanced")
    train, val = trainer.do_split()

    def one_ivh(document):
        for index, case_id in enumerate([*train, *val]):
            document["cases"][case_id]["labels"]["subtype"] = "IVH" if index in (0, len(train)) else "IPH"

    edit(sidecar, one_ivh)
    trainer.initialize()
    dataset_tr, dataset_val = trainer.get_tr_and_val_datasets()
    assert sorted(dataset_tr.identifiers) == sorted([*train, *[train[0]] * (len(train) - 2)])
    assert sorted(dataset_val.identifiers) == sorted(val)
    # the loss weighs the classes as they are drawn, so that they are not balanced twice; the log counts cases
    assert trainer.classification_loss.class_weights["subtype"].tolist() == [1, 1]
    log = Path(trainer.log_file).read_text()
    assert f"balanced sampling: {len(train)} cases, drawn {len(train) - 1} : 1 at the most" in log
    assert f"{len(train)} training cases, subtype: IPH {len(train) - 1}, IVH 1" in log


def test_classes_share_their_overrides():
    short = trainers.nnUNetTrainerMultiTaskShort
    assert short.default_schedule == trainers.nnUNetTrainerBaselineShort.default_schedule == SHORT_SCHEDULE
    assert trainers.nnUNetTrainerMultiTask.default_schedule == ScheduleConfig()


def train_briefly(trainer):
    trainer.run_training()
    trainer.perform_actual_validation()
    return trainer


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_two_epochs_give_curves_of_both_tasks(micro_env, deep_supervision):
    def change(trainer):
        trainer.enable_deep_supervision = deep_supervision

    trainer = make_trainer("nnUNetTrainerMultiTaskShort", change=change)
    trainer.run_training()
    log = trainer.logger.local_logger.my_fantastic_logging
    assert {len(values) for values in log.values()} == {2}
    assert all(math.isfinite(v) for v in log["train_losses_classification"] + log["val_losses_classification"])
    assert {"subtype/auc", "subtype/recall/IPH", "subtype/recall/IVH"} <= set(log)


def test_branch_keeps_its_own_learning_rate(micro_env):
    def change(trainer):
        trainer.plans_manager.plans["multitask"]["config"] = {"learning_rate_factor": 0.5, "head_rate_factor": 4.0}

    trainer = make_trainer("nnUNetTrainerMultiTaskShort", change=change)
    trainer.run_training()
    shared, fusion, heads = trainer.optimizer.param_groups
    assert fusion["lr"] == pytest.approx(0.5 * shared["lr"])
    assert heads["lr"] == pytest.approx(4 * fusion["lr"])
    assert 0 < shared["lr"] < SHORT_SCHEDULE.learning_rate
    assert len(fusion["params"]) + len(heads["params"]) == sum(
        1 for name in trainer.network.state_dict() if is_branch_parameter(name)
    )


def is_branch_parameter(name):
    return name.startswith(("fusion.", "heads.")) and ".share_scale." not in name


def test_sgd_is_nnunets(micro_env):
    ours = make_trainer("nnUNetTrainerMultiTask")
    ours.initialize()
    theirs = make_trainer("nnUNetTrainer")
    theirs.initialize()
    names = ("lr", "momentum", "nesterov", "weight_decay", "dampening")
    # the micro plans change the schedule's length, and nothing of the optimiser
    assert {n: ours.optimizer.param_groups[0][n] for n in names} == {
        n: theirs.optimizer.param_groups[0][n] for n in names
    }


def test_without_settings_the_schedule_is_nnunets(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    ours, theirs = (make_trainer(name, plans="nnUNetPlans") for name in ("nnUNetTrainerMultiTask", "nnUNetTrainer"))
    for name in ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "initial_lr", "weight_decay",
                 "oversample_foreground_percent", "probabilistic_oversampling", "save_every"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    mirroring = [t.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[-1] for t in (ours, theirs)]
    assert mirroring[0] == mirroring[1]


def test_two_dimensional_configuration(micro_env):
    trainer = train_briefly(make_trainer("nnUNetTrainerMultiTaskShort", "2d", "micro2d"))
    assert math.isfinite(trainer.logger.get_value("train_losses_classification", -1))


@pytest.mark.parametrize("network", ["ResidualEncoderUNet", "ResidualUNet"])
def test_residual_networks(micro_env, network):
    def change(trainer):
        architecture = trainer.configuration_manager.configuration["architecture"]
        kwargs = architecture["arch_kwargs"]
        architecture["network_class_name"] = architecture["network_class_name"].replace("PlainConvUNet", network)
        kwargs["n_blocks_per_stage"] = kwargs.pop("n_conv_per_stage")

    trainer = make_trainer("nnUNetTrainerMultiTaskShort", change=change)
    trainer.run_training()
    assert "Residual" in type(trainer.network.encoder).__name__


def test_same_seed_same_losses(micro_env):
    losses = []
    for _ in range(2):
        trainer = make_trainer("nnUNetTrainerMultiTaskShort")
        trainer.on_train_start()
        losses.append([float(trainer.train_step(next(trainer.dataloader_train))["loss"]) for _ in range(2)])
    assert losses[0] == losses[1]


def test_vanilla_log_is_filled_up(micro_env, tmp_path):
    trainer = make_trainer("nnUNetTrainerMultiTaskShort")
    trainer.run_training()
    path = f"{trainer.output_folder}/checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["logging"] = {k: v for k, v in checkpoint["logging"].items() if "/" not in k and "classif" not in k}
    again = make_trainer("nnUNetTrainerMultiTaskShort")
    torch.save(checkpoint, tmp_path / "vanilla.pth")
    again.load_checkpoint(str(tmp_path / "vanilla.pth"))
    assert len(again.logger.get_value("subtype/auc", None)) == again.current_epoch == 2
    assert np.isnan(again.logger.get_value("subtype/auc", None)).all()


@pytest.mark.parametrize(("plans", "configuration"), [("micro", "3d_fullres"), ("micro2d", "2d")])
def test_patches_are_labelled_by_what_they_show(micro_env, sidecar, edit, plans, configuration, tmp_path, monkeypatch):
    """The blood fills some slices: a target by slices and one by mask labels agree with the mask of each patch."""
    splits = json.loads((micro_env.preprocessed / "splits_final.json").read_text())
    healthy = {splits[0]["train"][0]}
    masks = {path.name[:-7]: read_mask(path).array for path in (micro_env.raw / "labelsTr").iterdir()}

    def change(document):
        document["targets"] = {
            "blood": {"type": "binary", "classes": ["no", "yes"]},
            "seen": {
                "type": "multilabel",
                "classes": ["blood", "other"],
                "present_if_label": {"blood": [1]},
                "min_voxels": 1,
            },
        }
        for case_id, case in document["cases"].items():
            present = case_id not in healthy
            case["labels"] = {"blood": "yes" if present else "no", "seen": ["blood", "other"] if present else []}
            if present and case_id in masks:
                slices = ["yes" if part.any() else "no" for part in masks[case_id]]
                case["slices"] = {"blood": slices}

    edit(sidecar, change)
    monkeypatch.setenv("nnUNet_results", str(tmp_path))  # other targets than those of the folds trained before
    trainer = make_trainer("nnUNetTrainerMultiTaskShort", plans=plans, configuration=configuration)
    trainer.on_train_start()
    seen = set()
    for loader in [trainer.dataloader_train] * 6 + [trainer.dataloader_val]:
        batch = next(loader)
        finest = batch["target"][0] if isinstance(batch["target"], list) else batch["target"]
        labels, weights = trainer.patch_labels.batch(batch, finest)
        for row, case_id in enumerate(batch["keys"]):
            present = "slices" in json.loads(sidecar.read_text())["cases"][case_id]
            first, last = batch["slices"][row]
            assert labels["blood"][row].item() == int(present and masks[case_id][first:last].any())
            assert labels["seen"][row, 0].item() == int(present and bool((finest[row] == 1).any()))
            assert weights["seen"][row, 0].item() == 1
            seen.add(labels["blood"][row].item())
        assert np.isfinite(trainer.train_step(batch)["train_losses_classification"])
    assert seen == {0, 1}
    assert trainer.plans_manager.plans["multitask"]["patch_targets"] == ["blood", "seen"]
    ways = aggregations_of_plans(trainer.plans_manager.plans, trainer.targets)
    assert ways == {"blood": "max", "seen": "max"}


def test_a_case_without_mask_leaves_the_segmentation_of_its_neighbour_alone(micro_env, edit):
    path = micro_env.preprocessed / "dataset.json"
    before = path.read_text()
    edit(path, lambda document: document["labels"].update(ignore=2))
    try:
        trainer = make_trainer("nnUNetTrainerBaselineShort")
    finally:
        path.write_text(before)
    trainer.initialize()
    data = torch.randn((2, 1, 8, 64, 64))
    scales = trainer._get_deep_supervision_scales()
    sizes = [[round(size * factor) for size, factor in zip((8, 64, 64), scale, strict=True)] for scale in scales]
    target = [torch.ones((2, 1, *size), dtype=torch.int16) for size in sizes]
    for level in target:
        level[1] = 2
    with torch.no_grad():
        together = trainer.loss(trainer.network(data), target)
        alone = trainer.loss(trainer.network(data[:1]), [level[:1] for level in target])
    assert float(together) == pytest.approx(float(alone), abs=1e-6)
