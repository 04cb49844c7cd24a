"""Settings of the package: what the plans' ``multitask`` block says, parsed once into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from nnunet_multitask.errors import InputError

PLANS_KEY = "multitask"  # block of the plans: {"targets": ..., "config": ..., "schedule": ...}

Settings = TypeVar("Settings", bound="MultiTaskConfig | ScheduleConfig")


@dataclass(frozen=True)
class MultiTaskConfig:
    """The classification branch: its shape, its loss and how tiles become a case.

    Attributes:
        fusion_channels: channels onto which every encoder stage is projected.
        pooling: how a stage becomes a vector. ``average``: mean over the patch; ``attention``: beside it the mean
            under a learned spatial attention; ``guided``: beside both the mean under the network's own foreground
            probability (detached), and the share of the patch which that foreground fills.
        detach_features: keep the classification loss from changing the encoder: the branch learns on the features
            that segmentation makes. For ablations.
        dropout: dropout probability in front of the heads.
        classification_weight: weight of the classification loss beside nnU-Net's segmentation loss; where weights are
            learned, the one that they start from.
        loss_balancing: how the weights of both losses are found. ``fixed``: as set; ``uncertainty``: learned from the
            size of the losses; ``gradnorm``: learned from the size of their gradients and their progress; ``pcgrad``:
            as set, and conflicting gradients of the encoder are projected (needs the extra ``pcgrad``).
        warmup_epochs: epochs over which the classification's weight grows linearly to its full size; weights are
            learned from then on.
        gradnorm_alpha: how strongly ``gradnorm`` pulls a task that lags behind; 0 makes the gradients equally large.
        balancing_rate: learning rate of learned weights.
        classification_loss: ``cross_entropy`` (binary and multilabel: binary cross-entropy) or ``focal``.
        focal_gamma: how much the focal loss passes over what is decided already; 0 is cross-entropy.
        learning_rate_factor: learning rate of fusion and heads as a multiple of that of encoder and decoder.
        head_rate_factor: learning rate of the heads as a multiple of the fusion's; 0 is 1 with ``sgd`` and 10 with
            ``adam`` and ``adamw``.
        class_weights: ``balanced`` weighs classes by the inverse of their frequency in the training fold.
        label_smoothing: share of a label that is spread evenly over all classes, 0 to 1.
        empty_patch_weight: weight, 0 to 1, of a patch without foreground, which carries the label of its case
            although it does not show the reason for it.
        aggregation: how tiles become a case. ``mean``: plain mean of the tiles' probabilities; ``gaussian``: mean
            weighted by what a tile contributes to the segmentation; ``lesion``: mean weighted by the foreground that
            was predicted in the tile; or one of the next.
        patch_aggregation: the same for binary and multilabel targets whose patches were labelled by what they show
            (``slices``, ``present_if_label``), which a mean would dilute. ``max``: largest over the tiles;
            ``noisy_or``: one minus the product of the tiles' absences; ``topk``: mean of the largest few.
        top_tiles: how many tiles ``topk`` looks at.
    """

    fusion_channels: int = 32
    pooling: Literal["average", "attention", "guided"] = "guided"
    detach_features: bool = False
    dropout: float = 0.1
    classification_weight: float = 0.3
    loss_balancing: Literal["fixed", "uncertainty", "gradnorm", "pcgrad"] = "fixed"
    warmup_epochs: int = 0
    gradnorm_alpha: float = 1.5
    balancing_rate: float = 0.01
    classification_loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = 2.0
    learning_rate_factor: float = 1.0
    head_rate_factor: float = 0.0
    class_weights: Literal["balanced", "none"] = "balanced"
    label_smoothing: float = 0.0
    empty_patch_weight: float = 0.2
    aggregation: Literal["mean", "gaussian", "lesion", "max", "noisy_or", "topk"] = "lesion"
    patch_aggregation: Literal["max", "noisy_or", "topk"] = "max"
    top_tiles: int = 4

    def __post_init__(self) -> None:
        _check_types(self)
        _check_range(self, "fusion_channels", 1, None)
        _check_range(self, "dropout", 0, 0.95)
        _check_range(self, "classification_weight", 0, None)
        for name in ("warmup_epochs", "gradnorm_alpha", "balancing_rate", "focal_gamma"):
            _check_range(self, name, 0, None)
        if self.loss_balancing in ("uncertainty", "gradnorm") and self.classification_weight == 0:
            raise ValueError("classification_weight must be above 0 where learned weights start from it, got 0")
        if self.loss_balancing in ("uncertainty", "gradnorm") and self.balancing_rate == 0:
            raise ValueError("balancing_rate must be above 0 where weights are learned with it, got 0")
        if self.loss_balancing in ("gradnorm", "pcgrad") and self.detach_features:
            raise ValueError(
                f"loss_balancing must not be {self.loss_balancing!r} where detach_features parts the tasks"
            )
        if self.learning_rate_factor <= 0:  # the branch would stay as it was initialised
            raise ValueError(f"learning_rate_factor must be above 0, got {self.learning_rate_factor!r}")
        _check_range(self, "head_rate_factor", 0, None)
        _check_range(self, "label_smoothing", 0, 0.99)
        _check_range(self, "empty_patch_weight", 0, 1)
        _check_range(self, "top_tiles", 1, None)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and with what a network is trained; shared by the multi-task trainer and its baseline.

    The defaults are nnU-Net's own. ``SHORT_SCHEDULE`` is what the trainers ending in ``Short`` start from.

    Attributes:
        epochs: number of epochs.
        iterations: training batches in an epoch.
        val_iterations: validation batches in an epoch.
        optimizer: ``sgd`` is nnU-Net's (Nesterov momentum 0.99).
        learning_rate: initial learning rate.
        weight_decay: weight decay of the optimizer.
        decay: course of the learning rate over the epochs, ``poly`` (exponent 0.9, nnU-Net's), ``cosine`` or
            ``cosine_restarts``, which begins anew after each period.
        restart_epochs: epochs of the first period of ``cosine_restarts``.
        restart_factor: length of each further period as a multiple of the one before.
        foreground_oversampling: share of a batch whose patches are centred on foreground.
        case_sampling: how often a training case is drawn. ``natural``: all alike, nnU-Net's; ``balanced``: by the
            inverse frequency of its classes in the training fold; ``weights``: by the ``weight`` of the sidecar.
        mirroring: mirror patches in training and at test time.
        micro_batch_size: samples that go through the network at a time, their gradients added up over the batch, so
            that a large batch fits into little memory; 0 takes the batch as a whole. Losses that are means over
            samples or labels keep their gradient; Dice over the batch is then taken over each part by itself.
        cpu_precision: of the forward passes of training and validation on the CPU; on a GPU they are in nnU-Net's mixed
            precision anyhow. ``bfloat16`` is for processors that calculate with it (AMX, AVX-512 BF16); others gain
            nothing. Prediction stays in single precision.
        rotation: rotations in training. ``nnunet``: nnU-Net's own; ``axial``: within the plane of the plans' last two
            axes, by 15 degrees at most, for whole scans of thick slices that padding turns into cubes.
        save_every: epochs between two writings of ``checkpoint_latest.pth``.
        early_stopping_patience: epochs without a better validation loss (of both tasks together, where there are two)
            after which the training ends; 0 trains all epochs.
        case_validation_every: epochs between two classifications of whole validation cases (multi-task trainer); 0:
            none but the one at the end.
        case_validation_cases: how many whole validation cases at most, the same ones each time.
        seed: seed of initialisation, and of the order of data where ``nnUNet_n_proc_DA=0``.
    """

    epochs: int = 1000
    iterations: int = 250
    val_iterations: int = 50
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 1e-2
    weight_decay: float = 3e-5
    decay: Literal["poly", "cosine", "cosine_restarts"] = "poly"
    restart_epochs: int = 50
    restart_factor: int = 1
    foreground_oversampling: float = 0.33
    case_sampling: Literal["natural", "balanced", "weights"] = "natural"
    mirroring: bool = True
    micro_batch_size: int = 0
    cpu_precision: Literal["float32", "bfloat16"] = "float32"
    rotation: Literal["nnunet", "axial"] = "nnunet"
    save_every: int = 50
    early_stopping_patience: int = 0
    case_validation_every: int = 50
    case_validation_cases: int = 20
    seed: int = 12345

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("epochs", "iterations", "val_iterations", "restart_epochs", "restart_factor", "save_every"):
            _check_range(self, name, 1, None)
        _check_range(self, "case_validation_cases", 1, None)
        for name in ("weight_decay", "micro_batch_size", "early_stopping_patience"):
            _check_range(self, name, 0, None)
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        _check_range(self, "seed", 0, 2**31 - 1)  # numpy takes 32 bits, and each process adds its number
        _check_range(self, "case_validation_every", 0, None)
        _check_range(self, "foreground_oversampling", 0, 1)


def settings_from(default: Settings, values: Mapping[str, Any], where: str) -> Settings:
    """Return ``default`` with ``values`` put in.

    Args:
        default: the settings to start from.
        values: names and values that differ from them.
        where: file and place that an error names.

    Raises:
        InputError: an unknown name (the nearest known one is named), or a value that does not fit.
    """
    known = [field.name for field in dataclasses.fields(default)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}? known: {', '.join(known)}" if near else f"known: {', '.join(known)}"
            raise InputError("unknown-setting", where, f"no setting is called {name!r}", remedy)
    try:
        return dataclasses.replace(default, **values)
    except (TypeError, ValueError) as error:
        raise InputError("bad-setting", where, str(error), "mend the value") from error


def check_together(config: MultiTaskConfig, schedule: ScheduleConfig, where: str) -> None:
    """Refuse settings of the branch and of the schedule that cannot both be had.

    Raises:
        InputError: gradients of parts of a batch would be projected one by one.
    """
    if config.loss_balancing == "pcgrad" and schedule.micro_batch_size:
        raise InputError(
            "contradiction",
            f"{where}, loss_balancing",
            f"expected whole batches, whose gradients pcgrad projects, got {schedule.micro_batch_size} "
            "samples at a time",
            "set micro_batch_size=0, or choose another balance",
        )


def config_from_plans(plans: Mapping[str, Any]) -> MultiTaskConfig:
    """Return the settings of the branch that the plans hold; absent ones have their default."""
    return settings_from(MultiTaskConfig(), block_of(plans).get("config", {}), f"plans {_plans_name(plans)}, config")


def schedule_from_plans(plans: Mapping[str, Any], default: ScheduleConfig) -> ScheduleConfig:
    """Return the schedule that the plans hold on top of the trainer's ``default``."""
    return settings_from(default, block_of(plans).get("schedule", {}), f"plans {_plans_name(plans)}, schedule")


def differences(settings: MultiTaskConfig | ScheduleConfig) -> dict[str, Any]:
    """Return the settings that differ from the class's defaults."""
    default = type(settings)()
    return {name: value for name, value in dataclasses.asdict(settings).items() if value != getattr(default, name)}


def parse_value(default: MultiTaskConfig | ScheduleConfig, name: str, text: str) -> Any:
    """Turn the text of ``--set name=text`` into the type of that setting; unknown names stay text."""
    kind = get_type_hints(type(default)).get(name, str)
    if kind is bool:
        words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
        return words.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def block_of(plans: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the block of the plans that is this package's; empty where they have none.

    Raises:
        InputError: it, or the settings in it, are no objects.
    """
    block = plans.get(PLANS_KEY, {})
    entries = {PLANS_KEY: block}
    if isinstance(block, Mapping):
        entries |= {f"{PLANS_KEY}/{name}": block.get(name, {}) for name in ("config", "schedule")}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise InputError(
                "bad-plans",
                f"plans {_plans_name(plans)}",
                f"expected an object under {name!r}, got {type(entry).__name__}",
                "write the plans again with `nnunet-multitask configure`",
            )
    return block


def _plans_name(plans: Mapping[str, Any]) -> str:
    return str(plans.get("plans_name", "(unnamed)"))


def _check_types(settings: Any) -> None:
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
        elif kind is float:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        elif kind is bool and not isinstance(value, bool):
            raise ValueError(f"{name} must be on (true) or off (false), got {value!r}")
        elif type(value) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}, got {value!r}")


def _check_range(settings: Any, name: str, low: float, high: float | None) -> None:
    value = getattr(settings, name)
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def head_rate_factor(config: MultiTaskConfig, schedule: ScheduleConfig) -> float:
    """Return the learning rate of the heads as a multiple of the fusion's, above 0.

    Where the settings leave it open it is 1 with SGD, whose steps grow with the gradient, and 10 with Adam and AdamW:
    with those no weight moves faster than the learning rate, and the linear heads, which no normalisation follows,
    would not get far enough in a schedule of minutes. The fusion keeps its rate: at ten times of it its units die.
    """
    if config.head_rate_factor > 0:
        return config.head_rate_factor
    return 1.0 if schedule.optimizer == "sgd" else 10.0


# at the end, since making an instance calls the checks above
SHORT_SCHEDULE = ScheduleConfig(
    epochs=10,
    iterations=45,
    val_iterations=5,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=0.3,  # with 1e-4 masks were worse on the hippocampus sample: benchmarks/results/ablation.json
    decay="cosine",
    foreground_oversampling=0.5,
    mirroring=False,
    save_every=1,
    case_validation_every=0,
)
