"""The balance of both tasks in a training: the joint step, its curves, and what lasts over an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch._functorch.config

from nnunet_multitask.config import MultiTaskConfig, check_together
from nnunet_multitask.losses.balancers import check_available, make_balancer
from nnunet_multitask.losses.balancing import Balancer, Observation
from nnunet_multitask.losses.classification import UNKNOWN, ClassificationLoss
from nnunet_multitask.networks.gradient_probe import gradient_cosine
from nnunet_multitask.training.curves import GRADIENT_COSINE, TRAIN_LOSS, WEIGHTS, mean_of_known
from nnunet_multitask.training.joint_step import JointStep, Samples
from nnunet_multitask.training.random_stream import RandomStream
from nnunet_multitask.training.resuming import seed_of_epoch
from nnunet_multitask.training.settings import TrainingSettingsMixin
from nnunet_multitask.training.stepping import bare, finest_of


class BalanceMixin(TrainingSettingsMixin):
    """Trains the network on both losses as the balancer that the settings name joins them."""

    config: MultiTaskConfig
    classification_loss: ClassificationLoss
    balancer: Balancer
    dropout_stream: RandomStream

    def seed_epoch(self) -> None:
        """Seed the dropout of the branch apart from everything else."""
        super().seed_epoch()
        self.dropout_stream = RandomStream(seed_of_epoch(self.schedule.seed, self.local_rank, self.current_epoch))

    def initialize(self) -> None:
        """Build all as ever, and the balancer for the parameters of the network."""
        self._check_balance()
        super().initialize()
        network: Any = bare(self.network)
        self.balancer = make_balancer(self.config, network, network.encoder)

    def step_on(self, samples: Samples) -> dict[str, Any]:
        """Take one step on a batch; return its losses and the state of the balance, one number by curve name."""
        step = JointStep(self.network, self.loss, self.classification_loss, self.balancer, self.scaled, self.autocast)
        applied = self.balancer.effective_weights()
        self.optimizer.zero_grad(set_to_none=True)
        with self.dropout_stream:
            losses, gradient_sums = step.backward(samples, self.parts_of(samples.target))
        self.take_step()
        if self.balancer.learns:
            masks = self.samples_with_mask(finest_of(samples.target))
            labels = torch.cat([(values != UNKNOWN).flatten() for values in samples.labels.values()])
            self.balancer.observe(Observation.of_step(losses, gradient_sums, torch.stack([masks.sum(), labels.sum()])))
        segmentation_loss, classification_loss = losses.cpu().numpy()
        return {
            "loss": segmentation_loss,  # nnU-Net's name
            TRAIN_LOSS: classification_loss,
            GRADIENT_COSINE: gradient_cosine(gradient_sums.tolist()),
            **dict(zip(WEIGHTS, applied, strict=True)),
        }

    def on_train_epoch_start(self) -> None:
        """Tell the balancer where in its warm-up it is."""
        super().on_train_epoch_start()
        self.balancer.epoch = self.current_epoch

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log the training losses of the epoch, the segmentation's where nnU-Net expects its loss, and the balance."""
        super().on_train_epoch_end(train_outputs)
        for name in (TRAIN_LOSS, GRADIENT_COSINE, *WEIGHTS):
            values = self.gathered([float(output[name]) for output in train_outputs])
            self.logger.log(name, mean_of_known(values), self.current_epoch)

    def balance_line(self) -> str:
        """Return what the log says about the balance in the epoch that ends."""
        cosine, *weights = (self.logger.get_value(name, step=-1) for name in (GRADIENT_COSINE, *WEIGHTS))
        line = f"cosine of the gradients {cosine:.3f}"
        if self.balancer.learns or self.balancer.ramp < 1:
            line += ", weights {:.3f} (segmentation) and {:.3f}".format(*weights)
        return line

    def extra_state(self) -> dict[str, Any]:
        """Return also what the balancer learned."""
        return {**super().extra_state(), "balance": {self.config.loss_balancing: self.balancer.state()}}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Give the balancer back what it learned; where it is another one than before, it starts afresh."""
        super().load_extra_state(state)
        learned = state.get("balance", {}).get(self.config.loss_balancing)
        if learned:
            self.balancer.load_state(learned)

    def _check_balance(self) -> None:
        """Refuse a balance that cannot be had, before any work.

        Raises:
            InputError: a package is missing, or gradients of parts of a batch would be projected one by one.
        """
        check_available(self.config)
        check_together(self.config, self.schedule, f"plans {self.plans_manager.plans_name}")
        warmup, epochs = self.config.warmup_epochs, self.schedule.epochs
        if warmup >= epochs:
            self.print_to_log_file(
                f"WARN warmup_epochs {warmup} in a training of {epochs}: the classification never counts more than "
                f"{epochs / (warmup + 1):.2f} of its weight, and no weights are learned"
            )
        if self.config.loss_balancing != "pcgrad":
            return
        # both tasks go back through the same compiled graph, which would else free its buffers in the first pass
        torch._functorch.config.donated_buffer = False
