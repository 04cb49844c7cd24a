"""A joint training step small enough for hand-made comparisons, in one process or in two that train together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses.balancers import make_balancer
from nnunet_multitask.losses.balancing import Observation
from nnunet_multitask.losses.classification import UNKNOWN, ClassificationLoss
from nnunet_multitask.losses.segmentation import AnnotatedSamplesLoss, annotated_samples
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet
from nnunet_multitask.training.joint_step import JointStep, Samples
from nnunet_multitask.training.stepping import Part, SteppingMixin

OUTPUTS = {"subtype": 3, "ich": 1}
TYPES = {"subtype": "multiclass", "ich": "binary"}
IGNORE = 2
BATCH = 4


def make_network(config: MultiTaskConfig) -> MultiTaskUNet:
    """Return a small 2d network, the same at each call."""
    torch.manual_seed(0)
    unet = PlainConvUNet(
        input_channels=1, n_stages=3, features_per_stage=[4, 8, 8], conv_op=nn.Conv2d, kernel_sizes=3,
        strides=[1, 2, 2], n_conv_per_stage=1, num_classes=2, n_conv_per_stage_decoder=1, conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, deep_supervision=True,
    )  # fmt: skip
    network = MultiTaskUNet(unet, OUTPUTS, config)
    network.fusion.share_scale.eval()  # its running moments are those of each process's own samples
    return network


def make_samples() -> Samples:
    """Return four samples: the first two without a known label, the last one without a mask."""
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(BATCH, 1, 16, 16, generator=generator)
    target = (data > 0.5).long()
    target[3] = IGNORE
    labels = {
        "subtype": torch.tensor([[UNKNOWN], [UNKNOWN], [2], [0]]),
        "ich": torch.tensor([[UNKNOWN], [UNKNOWN], [1], [UNKNOWN]]),
    }
    weights = {name: torch.tensor([[1.0], [1.0], [1.0], [0.5]]) for name in labels}
    return Samples(data, [target, target[:, :, ::2, ::2]], labels, weights)


def rows_of(samples: Samples, rows: slice) -> Samples:
    """Return some of the samples."""
    parts = [{name: value[rows] for name, value in values.items()} for values in (samples.labels, samples.weights)]
    return Samples(samples.data[rows], [level[rows] for level in samples.target], *parts)


def segmentation_loss(batch_dice: bool) -> nn.Module:
    """Return nnU-Net's loss with deep supervision over the annotated samples."""
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": dist.is_initialized()}
    loss = DC_and_CE_loss(dice, {}, ignore_label=IGNORE, dice_class=MemoryEfficientSoftDiceLoss)
    return DeepSupervisionWrapper(AnnotatedSamplesLoss(loss, IGNORE, batch_dice), [0.7, 0.3])


def joint_step(
    settings: dict[str, Any],
    samples: Samples,
    parts: list[Part] | None = None,
    batch_dice: bool = False,
    compiled: bool = False,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Take the gradient of one step, and let the balancer see it; return all that should not depend on the way."""
    config = MultiTaskConfig(dropout=0.0, **settings)
    bare = make_network(config)
    balancer = make_balancer(config, bare, bare.encoder)
    network: Any = torch.compile(bare, backend="aot_eager", fullgraph=True) if compiled else bare
    if dist.is_initialized():
        network = nn.parallel.DistributedDataParallel(network)
    weights = {"subtype": torch.tensor([1.0, 2.0, 3.0])}
    classification_loss = ClassificationLoss(TYPES, weights, label_smoothing=0.1, focal_gamma=2.0)
    step = JointStep(network, segmentation_loss(batch_dice), classification_loss, balancer, lambda loss: loss * scale)
    whole = [Part(slice(0, len(samples.data)), 1.0, last=True)]
    losses, sums = step.backward(samples, whole if parts is None else parts)
    masks = annotated_samples(samples.target[0], IGNORE)
    labels = torch.cat([(values != UNKNOWN).flatten() for values in samples.labels.values()])
    observation = Observation.of_step(losses, sums, torch.stack([masks.sum(), labels.sum()]))
    balancer.observe(observation)
    return {
        "gradients": {name: parameter.grad / scale for name, parameter in bare.named_parameters()},
        "losses": observation.losses,
        "gradient_norms": observation.gradient_norms / scale,
        "complete": observation.complete,
        "weights": balancer.weights,
        "sums": sums / scale**2,
    }


def scenarios() -> dict[str, dict[str, Any]]:
    """Return the steps that two processes take, by name."""
    common = {"classification_weight": 0.7}
    return {
        "fixed": {"settings": common},
        "batch Dice": {"settings": common, "batch_dice": True},
        "warm-up": {"settings": {**common, "warmup_epochs": 3}},
        "uncertainty": {"settings": {**common, "loss_balancing": "uncertainty"}},
        "gradnorm": {"settings": {**common, "loss_balancing": "gradnorm"}},
        "pcgrad": {"settings": {**common, "loss_balancing": "pcgrad"}},
        "in parts": {"settings": common, "parts": [Part(slice(i, i + 1), share, i == 1) for i, share in PARTS]},
        "compiled": {"settings": common, "compiled": True},
        "no label": {"settings": {**common, "loss_balancing": "uncertainty"}, "labels": False},
    }


# of the samples (0, 2) and (1, 3) that come first and second in the two processes, two and one have a mask
PARTS = ((0, 2 / 3), (1, 1 / 3))


def samples_for(scenario: dict[str, Any]) -> Samples:
    """Return the joint batch of a scenario."""
    samples = make_samples()
    if scenario.get("labels", True):
        return samples
    unknown = {name: torch.full_like(values, UNKNOWN) for name, values in samples.labels.items()}
    return Samples(samples.data, samples.target, unknown, samples.weights)


def run_in_two_processes() -> list[dict[str, Any]]:
    """Return what the scenarios gave in each process; each has two of the four samples."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_run, args=(folder,), nprocs=2)
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(2)]


def _run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    training = SimpleNamespace(is_ddp=True)
    results: dict[str, Any] = {"gathered": SteppingMixin.gathered(training, [10 * rank, f"case {rank}"])}
    for name, scenario in scenarios().items():
        samples = rows_of(samples_for(scenario), slice(2 * rank, 2 * rank + 2))
        options = {option: value for option, value in scenario.items() if option != "labels"}
        results[name] = joint_step(samples=samples, **options)
    torch.save(results, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()
