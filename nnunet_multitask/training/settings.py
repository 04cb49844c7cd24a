"""What the multi-task trainer and its baseline share: schedule, optimiser, sampling, folds, seed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.paths import nnUNet_raw, nnUNet_results
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

from nnunet_multitask.config import PLANS_KEY, SHORT_SCHEDULE, ScheduleConfig, schedule_from_plans
from nnunet_multitask.datasets import required_folder
from nnunet_multitask.documents import write_json
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.losses.segmentation import AnnotatedSamplesLoss
from nnunet_multitask.splits import check_fold, check_splits, make_splits, split_warnings
from nnunet_multitask.training.cpu_precision import run_in_bfloat16
from nnunet_multitask.training.interruption import Interruption
from nnunet_multitask.training.preconditions import check_nothing_is_lost, check_order_of_bases, check_previous_stage
from nnunet_multitask.training.resuming import ResumingMixin
from nnunet_multitask.training.sampling import case_weights, repeated
from nnunet_multitask.training.stepping import SteppingMixin
from nnunet_multitask.training.stopping import EarlyStopping
from nnunet_multitask.training.supervision import load_sidecar, sidecar_file

# setting of the schedule -> attribute of nnU-Net's trainer
_ATTRIBUTES = {
    "epochs": "num_epochs",
    "iterations": "num_iterations_per_epoch",
    "val_iterations": "num_val_iterations_per_epoch",
    "learning_rate": "initial_lr",
    "weight_decay": "weight_decay",
    "foreground_oversampling": "oversample_foreground_percent",
    "save_every": "save_every",
}
FOLD_ALL = (
    "fold all: the validation cases are the training cases. Scores, curves, the best checkpoint, early stopping, "
    "calibration and thresholds from it cannot be judged: they would be those of cases that were learned by heart"
)


_AXIAL_ROTATION = math.pi / 12


class TrainingSettingsMixin(SteppingMixin, ResumingMixin):
    """Takes the schedule from the plans' ``multitask.schedule`` block, on top of ``default_schedule``.

    Two trainers that share this mixin and its default differ in nothing but what their other mixins add.
    """

    default_schedule: ClassVar[ScheduleConfig] = ScheduleConfig()

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net reads this signature
    ) -> None:
        if not nnUNet_results.is_set():
            required_folder("nnUNet_results")  # names it; nnU-Net would fail with a TypeError
        check_nothing_is_lost(type(self), TrainingSettingsMixin, ("configure_optimizers",))
        schedule_from_plans(plans, self.default_schedule)  # refused before nnU-Net makes its folders
        check_previous_stage(type(self), plans, configuration, fold)
        super().__init__(plans, configuration, fold, dataset_json, device)
        schedule = schedule_from_plans(self.plans_manager.plans, self._schedule_of_bases())
        self.schedule = schedule
        for field, name in _ATTRIBUTES.items():
            setattr(self, name, getattr(schedule, field))
        self.stopping = EarlyStopping(schedule.early_stopping_patience)
        self.interruption = Interruption()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class whose bases stand in an order in which the mixin does nothing."""
        super().__init_subclass__(**kwargs)
        check_order_of_bases(cls, TrainingSettingsMixin)

    def initialize(self) -> None:
        """Build network, optimiser and loss from a seed; encoder and decoder are made first, so they start equal."""
        plans = self.plans_manager.plans
        model = {"trainer": type(self).__name__, "configuration": self.configuration_name}
        plans[PLANS_KEY] = {**plans.get(PLANS_KEY, {}), "model": model}  # prediction copies the plans
        self.check_parts()
        self.seed_epoch()
        super().initialize()
        if self.device.type == "cpu" and self.schedule.cpu_precision == "bfloat16":
            run_in_bfloat16(self.network)
            self.print_to_log_file("forward passes of training and validation run in bfloat16")
        self.seed_epoch()  # again, since networks with more parameters have drawn more numbers

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return the optimiser and the learning rate's course that the schedule names."""
        schedule = self.schedule
        kind: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[schedule.optimizer]
        momentum = {"momentum": 0.99, "nesterov": True} if schedule.optimizer == "sgd" else {}  # nnU-Net's own
        optimizer = kind(
            self.parameter_groups(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, **momentum
        )
        return optimizer, EpochDecay(optimizer, schedule)

    def _build_loss(self) -> Any:
        """Return nnU-Net's loss; with an ignore label it passes over samples that are ignored everywhere."""
        loss = super()._build_loss()
        if not self.label_manager.has_ignore_label:
            return loss
        label = None if self.label_manager.has_regions else self.label_manager.ignore_label
        if isinstance(loss, DeepSupervisionWrapper):
            # at each scale, since a coarse target may have lost the few annotated voxels of the fine one
            loss.loss = AnnotatedSamplesLoss(loss.loss, label, self.configuration_manager.batch_dice)
            return loss
        return AnnotatedSamplesLoss(loss, label, self.configuration_manager.batch_dice)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups of parameters that the optimiser gets; a group may name a learning rate of its own."""
        return [{"params": list(self.network.parameters())}]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, Any]:
        """Return nnU-Net's augmentation settings, with the rotation and mirroring that the schedule names."""
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        patch_size = self.configuration_manager.patch_size
        if self.schedule.rotation == "axial" and len(patch_size) == 3:
            # a padded cube looks isotropic to nnU-Net, which would turn thick slices out of their plane
            rotation, dummy_2d = (-_AXIAL_ROTATION, _AXIAL_ROTATION), True
            initial_patch_size = get_patch_size(patch_size, *[rotation] * 3, (0.85, 1.25))  # nnU-Net's own call
            initial_patch_size[0] = patch_size[0]
            self.print_to_log_file("rotation within the axial plane instead, by 15 degrees at most")
        if not self.schedule.mirroring:
            mirror_axes = None
            self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return nnU-Net's datasets; from the list of the training cases the loader draws, so it is repeated here.

        Raises:
            InputError: no sidecar to sample by.
            InputErrors: cases without entry in the sidecar.
        """
        dataset_tr, dataset_val = super().get_tr_and_val_datasets()
        how = self.schedule.case_sampling
        if how != "natural":
            train, folders = list(dataset_tr.identifiers), self.dataset_folders()
            weights = case_weights(how, load_sidecar(*folders), train, sidecar_file(*folders))
            dataset_tr.identifiers = repeated(train, weights)
            counts = Counter(dataset_tr.identifiers).values()
            self.print_to_log_file(
                f"{how} sampling: {len(train)} cases, drawn {max(counts) / min(counts):g} : 1 at the most"
            )
        return dataset_tr, dataset_val

    def do_split(self) -> tuple[list[str], list[str]]:
        """Return the cases of the fold; where no split file exists, make folds by class and patient first.

        Raises:
            InputError: the split file has a patient on both sides of the fold.
            InputErrors: no split file, and a class that cannot be in every training fold; nothing is written.
        """
        splits_file = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        sidecar = self.find_sidecar()
        if self.fold == "all":
            self.print_to_log_file(f"WARN {FOLD_ALL}")
        if self.fold == "all" or sidecar is None:
            return super().do_split()
        if not splits_file.is_file():
            case_ids = self.dataset_class.get_identifiers(self.preprocessed_dataset_folder)
            splits = make_splits(sidecar, case_ids)
            check_splits(sidecar, splits)
            write_json(splits_file, splits)
            self.print_to_log_file(f"wrote folds by class and patient to {splits_file}")
            for warning in split_warnings(sidecar, splits):
                self.print_to_log_file(f"WARN {warning}")
        train, val = super().do_split()
        check_fold(sidecar, {"train": train, "val": val}, splits_file)
        return train, val

    def find_sidecar(self) -> LabelSidecar | None:
        """Return the sidecar of the dataset, None where it has none."""
        folders = self.dataset_folders()
        return load_sidecar(*folders) if sidecar_file(*folders).is_file() else None

    def dataset_folders(self) -> tuple[Path | None, Path]:
        """Return the dataset's folder in ``nnUNet_raw`` (None where unset) and in ``nnUNet_preprocessed``."""
        raw = Path(nnUNet_raw.get()) / self.plans_manager.dataset_name if nnUNet_raw.is_set() else None
        return raw, Path(self.preprocessed_dataset_folder_base)

    def _schedule_of_bases(self) -> ScheduleConfig:
        """Return the default schedule, with what nnU-Net's trainer below has set where it is nnU-Net's own.

        So nnUNetTrainer_100epochs below the mixin trains for 100 epochs.
        """
        nnunets, default = ScheduleConfig(), self.default_schedule
        below = {field: getattr(self, name) for field, name in _ATTRIBUTES.items()}
        return replace(
            default,
            **{
                field: type(getattr(nnunets, field))(value)
                for field, value in below.items()
                if getattr(default, field) == getattr(nnunets, field)
            },
        )


class ShortScheduleMixin(TrainingSettingsMixin):
    """A schedule of minutes instead of days, for demonstrations and tests; not for results."""

    default_schedule = SHORT_SCHEDULE


class EpochDecay:
    """Learning rate as a function of the epoch, in nnU-Net's protocol ``step(epoch)``.

    Each parameter group keeps its own initial rate. ``poly`` is ``(1 - epoch / epochs) ** 0.9``; ``cosine`` is
    ``(1 + cos(pi * epoch / epochs)) / 2`` (Loshchilov and Hutter 2017, eq. 5, without restarts); ``cosine_restarts``
    is the same over each period, with epoch and epochs counted within it (their T_cur and T_i).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: ScheduleConfig) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.initial_rates = [group["lr"] for group in optimizer.param_groups]

    def step(self, epoch: int) -> None:
        """Set the learning rates of ``epoch``, counted from 0."""
        length = self.schedule.epochs
        if self.schedule.decay == "cosine_restarts":
            length = self.schedule.restart_epochs
            while epoch >= length:
                epoch, length = epoch - length, length * self.schedule.restart_factor
        progress = min(epoch / length, 1.0)
        factor = (1 - progress) ** 0.9 if self.schedule.decay == "poly" else (1 + math.cos(math.pi * progress)) / 2
        for group, rate in zip(self.optimizer.param_groups, self.initial_rates, strict=True):
            group["lr"] = rate * factor
