"""What cannot work is said before training starts."""

import json

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import nnUNet_Primus_S_Trainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam
from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import nnUNetTrainer_5epochs

from nnunet_multitask.config import SHORT_SCHEDULE, ScheduleConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.training.multitask import MultiTaskMixin
from nnunet_multitask.training.preconditions import check_pretrained
from nnunet_multitask.training.settings import ShortScheduleMixin, TrainingSettingsMixin
from nnunet_multitask.training.trainers import nnUNetTrainerBaseline, nnUNetTrainerMultiTask


def test_mixin_behind_nnunets_trainer_is_refused_when_the_class_is_made():
    message = r"\[order-of-bases\] .*got nnUNetTrainerDA5, MultiTaskMixin -> write class Mine\(MultiTaskMixin, \.\.\.\)"
    with pytest.raises(InputError, match=message):

        class Mine(nnUNetTrainerDA5, MultiTaskMixin):
            pass


class OtherStep(nnUNetTrainer):
    def train_step(self, batch):
        raise NotImplementedError


class OldSignature(nnUNetTrainer):
    @staticmethod
    def build_network_architecture(architecture_class_name, arch_init_kwargs, *args):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (OtherStep, r"\[lost-method\] .*leaves train_step alone, got OtherStep"),
        (nnUNetTrainerAdam, r"\[lost-method\] .*leaves configure_optimizers alone, got nnUNetTrainerAdam, .*configure"),
        (nnUNet_Primus_S_Trainer, r"\[lost-method\] .*train_step alone, got AbstractPrimus"),
        (OldSignature, r"\[old-signature\] .*got \(architecture_class_name, arch_init_kwargs, args\)"),
    ],
)
def test_trainers_whose_changes_would_be_lost_are_refused_before_a_folder_is_made(make, tmp_path, base, message):
    class Mine(MultiTaskMixin, base):
        pass

    with pytest.raises(InputError, match=message):
        make(Mine)
    assert not list(tmp_path.iterdir())


def test_the_trainer_itself_may_replace_what_it_likes(make):
    class Mine(MultiTaskMixin, nnUNetTrainer):
        def train_step(self, batch):
            return super().train_step(batch)

    assert make(Mine).schedule.epochs == 2


def test_loaders_without_the_datasets_of_the_fold_are_refused(make):
    class NoLoading(nnUNetTrainer):
        def get_dataloaders(self):
            return None, None

    class Mine(MultiTaskMixin, NoLoading):
        pass

    trainer = make(Mine)
    trainer.initialize()
    with pytest.raises(
        InputError, match=r"\[unsupported-loader\] .*get_dataloaders that calls get_tr_and_val_datasets"
    ):
        trainer.get_dataloaders()


class Bare(TrainingSettingsMixin, nnUNetTrainer_5epochs):
    pass


class Short(ShortScheduleMixin, nnUNetTrainer_5epochs):
    pass


class Own(TrainingSettingsMixin, nnUNetTrainer_5epochs):
    default_schedule = ScheduleConfig(epochs=77)


@pytest.mark.parametrize(
    ("kind", "schedule", "epochs"),
    [
        (Bare, {}, 5),
        (Bare, {"epochs": 9}, 9),
        (Short, {}, SHORT_SCHEDULE.epochs),
        (Own, {}, 77),
        (nnUNetTrainerBaseline, {}, 1000),
    ],
)
def test_plans_go_before_own_default_before_nnunets_trainer(micro_env, tmp_path, monkeypatch, kind, schedule, epochs):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans = json.loads((micro_env.preprocessed / "micro.json").read_text())
    plans["multitask"]["schedule"] = schedule
    dataset = json.loads((micro_env.preprocessed / "dataset.json").read_text())
    trainer = kind({**plans, "continue_training": False}, "3d_fullres", 0, dataset, torch.device("cpu"))
    assert trainer.num_epochs == trainer.schedule.epochs == epochs


def test_pretrained_weights_must_have_a_branch_where_the_trainer_has_one(tmp_path):
    stock, own, other = (tmp_path / f"{name}.pth" for name in ("stock", "own", "other"))
    torch.save({"network_weights": {"encoder.x": torch.ones(1)}}, stock)
    torch.save({"network_weights": {"encoder.x": torch.ones(1), "heads.subtype.weight": torch.ones(1)}}, own)
    other.write_text("no checkpoint")
    check_pretrained(nnUNetTrainerBaseline, stock, has_branch=False)
    check_pretrained(nnUNetTrainerMultiTask, own, has_branch=True)
    with pytest.raises(InputError, match=r"\[stock-checkpoint\] .*stock.pth: .*`nnunet-multitask pretrain-from`"):
        check_pretrained(nnUNetTrainerMultiTask, stock, has_branch=True)
    with pytest.raises(InputError, match=r"\[unreadable-checkpoint\] .*other.pth"):
        check_pretrained(nnUNetTrainerMultiTask, other, has_branch=True)
