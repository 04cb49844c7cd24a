"""The multi-task trainer as a mixin: network with heads, class labels, joint loss, classification curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_multitask.config import PLANS_KEY, config_from_plans, head_rate_factor
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.collecting import CollectingNetwork, probabilities_of
from nnunet_multitask.inference.model import targets_of_plans
from nnunet_multitask.labels import Target
from nnunet_multitask.losses.classification import ClassificationLoss
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet, check_architecture
from nnunet_multitask.training.balance import BalanceMixin
from nnunet_multitask.training.case_validation import CaseValidation
from nnunet_multitask.training.curves import (
    TRAIN_LOSS,
    VAL_LOSS,
    auc_name,
    check_numbers,
    curve_names,
    draw_curves,
    patch_scores,
    recall_name,
)
from nnunet_multitask.training.final_validation import ClassifiedValidationMixin
from nnunet_multitask.training.joint_step import Samples
from nnunet_multitask.training.patch_labels import PatchLabels
from nnunet_multitask.training.patches import check_slices, telling_slices
from nnunet_multitask.training.plans_block import branch_block, changed_targets
from nnunet_multitask.training.preconditions import (
    check_branch_of_plans,
    check_datasets_were_asked_for,
    check_network_builder,
    check_nothing_is_lost,
)
from nnunet_multitask.training.stepping import bare, finest_of, to_device
from nnunet_multitask.training.supervision import CaseLabels, load_sidecar, sidecar_file
from nnunet_multitask.training.watching import WatchingMixin


class MultiTaskMixin(WatchingMixin, ClassifiedValidationMixin, BalanceMixin):
    """Adds the classification branch to any nnU-Net trainer: ``class Mine(MultiTaskMixin, nnUNetTrainerDA5)``.

    nnU-Net's own loss, losses in the log, pseudo Dice and best checkpoint stay those of the segmentation.
    """

    network: Any
    targets: dict[str, Target]
    case_labels: CaseLabels
    case_validation: CaseValidation
    patch_labels: PatchLabels

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net reads this signature
    ) -> None:
        check_nothing_is_lost(type(self), MultiTaskMixin, ("train_step",))
        check_network_builder(type(self), MultiTaskMixin)
        check_branch_of_plans(plans)
        super().__init__(plans, configuration, fold, dataset_json, device)

    def initialize(self) -> None:
        """Read the sidecar and put its targets into the plans, from which network and inference take them."""
        plans = self.plans_manager.plans
        raw, preprocessed = self.dataset_folders()
        self.sidecar = load_sidecar(raw, preprocessed)
        self.targets = dict(self.sidecar.targets)
        self.config = config_from_plans(plans)
        plans[PLANS_KEY] = {**plans.get(PLANS_KEY, {}), **branch_block(self.sidecar, self.label_manager.has_regions)}
        schedule = self.schedule
        self.case_validation = CaseValidation(
            schedule.case_validation_every, schedule.case_validation_cases, schedule.seed
        )
        self._check_other_folds()
        super().initialize()
        for name in curve_names(self.targets):
            self.logger.local_logger.my_fantastic_logging.setdefault(name, [])

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Return the plans' network with the branch for the targets that the plans name; also used at inference."""
        check_architecture(configuration_manager.network_arch_class_name, f"plans {plans_manager.plans_name}")
        unet = super().build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        targets = targets_of_plans(plans_manager.plans, f"plans {plans_manager.plans_name}")
        num_outputs = {name: target.num_outputs for name, target in targets.items()}
        return cls.add_branch(unet, num_outputs, plans_manager.plans)

    @classmethod
    def add_branch(cls, unet: nn.Module, num_outputs: Mapping[str, int], plans: Mapping[str, Any]) -> nn.Module:
        """Return the network with its classification branch; trainers of other systems bring their own.

        Args:
            unet: the plans' network.
            num_outputs: for each target the number of its logits.
            plans: the plans, with the multi-task block.
        """
        has_regions = bool(plans[PLANS_KEY].get("has_regions", False))
        return MultiTaskUNet(unet, num_outputs, config_from_plans(plans), has_regions=has_regions)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters of encoder and decoder, of the fusion and of the heads, with their learning rates."""
        network: Any = bare(self.network)
        fusion, heads = list(network.fusion.parameters()), list(network.heads.parameters())
        own = {id(parameter) for parameter in (*fusion, *heads)}
        shared = [parameter for parameter in network.parameters() if id(parameter) not in own]
        rate = self.schedule.learning_rate * self.config.learning_rate_factor
        rate_of_heads = rate * head_rate_factor(self.config, self.schedule)
        return [{"params": shared}, {"params": fusion, "lr": rate}, {"params": heads, "lr": rate_of_heads}]

    def get_dataloaders(self) -> Any:
        """Return nnU-Net's loaders; where cases have labels per slice, they tell which slices a patch shows."""
        if not any(case.slices for case in self.sidecar.cases.values()):
            loaders = super().get_dataloaders()
        else:
            with telling_slices(super().get_dataloaders, self.plans_manager.transpose_forward):
                loaders = super().get_dataloaders()
        check_datasets_were_asked_for(type(self), hasattr(self, "case_labels"))
        return loaders

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return nnU-Net's datasets; the labels of their cases are read and weighed here, where the fold is known."""
        dataset_tr, dataset_val = super().get_tr_and_val_datasets()
        drawn, val = list(dataset_tr.identifiers), list(dataset_val.identifiers)
        train = list(dict.fromkeys(drawn))
        where = sidecar_file(*self.dataset_folders())
        self.case_labels = CaseLabels(self.targets, self.sidecar, [*train, *val], where)
        self.case_labels.check_trainable(train, where)
        check_slices(self.sidecar, (dataset_tr, dataset_val), self.plans_manager.transpose_forward, where)
        self.case_validation.choose(self.sidecar, val)
        labels = self.label_manager
        segments = labels.foreground_regions if labels.has_regions else labels.foreground_labels
        self.patch_labels = PatchLabels(
            self.case_labels,
            self.sidecar,
            segments=[np.atleast_1d(values).tolist() for values in segments],
            ignore_label=labels.ignore_label,
            empty_patch_weight=self.config.empty_patch_weight,
            where=str(where),
        )
        # over the cases as often as they are drawn, so that balanced sampling is not balanced once more
        weights = self.case_labels.class_weights(drawn) if self.config.class_weights == "balanced" else None
        types = {name: target.type for name, target in self.targets.items()}
        gamma = self.config.focal_gamma if self.config.classification_loss == "focal" else 0.0
        self.classification_loss = ClassificationLoss(types, weights, self.config.label_smoothing, gamma)
        for part, case_ids in (("training", train), ("validation", val)):
            for name, counts in self.case_labels.class_counts(case_ids).items():
                listed = ", ".join(f"{class_name} {count}" for class_name, count in counts.items())
                if unknown := sum(name not in self.sidecar.cases[case_id].labels for case_id in case_ids):
                    listed += f", unknown {unknown}"
                self.print_to_log_file(f"{len(case_ids)} {part} cases, {name}: {listed}")
        return dataset_tr, dataset_val

    def train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Take one step on nnU-Net's segmentation loss and the classification loss, as the balancer joins them."""
        target = to_device(batch["target"], self.device)
        labels, weights = self._labels(batch, target)
        return self.step_on(Samples(to_device(batch["data"], self.device), target, labels, weights))

    def validation_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Score a validation batch: nnU-Net's step, with the class logits taken from the same forward pass."""
        target = to_device(batch["target"], self.device)
        labels, weights = self._labels(batch, target)  # first: nnU-Net's step wipes out the ignore label
        network = self.network
        self.network = collecting = CollectingNetwork(network)
        try:
            output = super().validation_step(batch)
        finally:
            self.network = network
        (logits,) = collecting.logits
        output[VAL_LOSS] = self.classification_loss(logits, labels, weights).cpu().numpy()
        for name, probabilities in probabilities_of(logits, self.targets).items():
            output[f"{name}/probabilities"] = list(probabilities.cpu().numpy())
            output[f"{name}/labels"] = list(labels[name].cpu().numpy())
        return output

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log nnU-Net's scores and the classification curves of the epoch."""
        super().on_validation_epoch_end(val_outputs)
        losses = self.gathered([float(output[VAL_LOSS]) for output in val_outputs])
        self.logger.log(VAL_LOSS, float(np.mean(losses)), self.current_epoch)
        for name, target in self.targets.items():
            rows = self.gathered([row for output in val_outputs for row in output[f"{name}/probabilities"]])
            probabilities = np.stack(rows)
            check_numbers(probabilities, f"{self.output_folder}, epoch {self.current_epoch}, {name}")
            labels = self.gathered([row for output in val_outputs for row in output[f"{name}/labels"]])
            for curve, value in patch_scores(target, probabilities, np.stack(labels)).items():
                self.logger.log(curve, value, self.current_epoch)
        for curve, value in self.case_validation.scores_of_epoch(self).items():
            self.logger.log(curve, value, self.current_epoch)

    def stopping_criterion(self) -> float:
        """Return the validation losses of both tasks by the fixed weight: learned ones would move the goal."""
        classification = float(self.logger.get_value(VAL_LOSS, step=-1))
        return super().stopping_criterion() + self.config.classification_weight * classification

    def on_epoch_end(self) -> None:
        """Print and draw the classification curves beside nnU-Net's own."""
        curves = {name: self.logger.get_value(name, step=None) for name in curve_names(self.targets)}
        last = {name: values[-1] for name, values in curves.items()}
        lines = [f"loss {last[TRAIN_LOSS]:.4f}, validation {last[VAL_LOSS]:.4f}"]
        lines.append(self.balance_line())
        for target in self.targets.values():
            recalls = ", ".join(f"{name} {last[recall_name(target, name)]:.2f}" for name in target.classes)
            lines.append(f"{target.name} AUC {last[auc_name(target)]:.3f}, recall {recalls}")
        self.print_to_log_file("classification", "; ".join(lines))
        if self.local_rank == 0:
            draw_curves(Path(self.output_folder) / "classification_progress.png", curves, self.targets)
        super().on_epoch_end()

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint; curves that its log lacks are filled with NaN, so that all have one value an epoch."""
        super().load_checkpoint(filename_or_checkpoint)
        log = self.logger.local_logger.my_fantastic_logging
        for name in curve_names(self.targets):
            values = log.setdefault(name, [])
            values += [float("nan")] * (self.current_epoch - len(values))

    def _labels(self, batch: Mapping[str, Any], target: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return what ``PatchLabels.batch`` does, on the device."""
        labels, weights = self.patch_labels.batch(batch, finest_of(target))
        return to_device(labels, self.device), to_device(weights, self.device)

    def _check_other_folds(self) -> None:
        """Refuse to train a fold whose targets differ from those of the folds that have a checkpoint."""
        plans_file = Path(self.output_folder_base) / "plans.json"
        if not plans_file.is_file():
            return
        try:
            before = load_json(str(plans_file)).get(PLANS_KEY, {}).get("targets", {})
        except ValueError:
            self.print_to_log_file(f"WARN {plans_file}: half-written by a start that was killed -> written again now")
            return
        changed = changed_targets(before, self.plans_manager.plans[PLANS_KEY]["targets"])
        if changed is not None and any(plans_file.parent.glob("fold_*/checkpoint_*.pth")):
            raise InputError(
                "targets-changed",
                plans_file,
                f"expected the targets of the folds trained before, {changed[0]}, got {changed[1]} from the sidecar",
                "restore the sidecar, or train under other plans (`nnunet-multitask configure`) or in an empty folder",
            )
