"""Everything that the networks of a model tell of one preprocessed volume: maps, weights, fused features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from numpy.typing import NDArray
from torch import nn

from nnunet_multitask.explanation.blending import Blend
from nnunet_multitask.explanation.gradcam import METHODS, Traced, class_score, stage_gradients, trace
from nnunet_multitask.inference.aggregation import TileWeights
from nnunet_multitask.inference.collecting import probabilities_of
from nnunet_multitask.inference.tiles import tile_importance
from nnunet_multitask.labels import Target
from nnunet_multitask.networks.multitask_unet import foreground_probability

ATTENTION, GUIDANCE = "attention", "guidance"
KINDS = (*METHODS, ATTENTION, GUIDANCE)


class MapKey(NamedTuple):
    """Which map: its kind (one of ``KINDS``), its stage (0 is the finest), and of a class map target and class."""

    kind: str
    stage: int
    target: str = ""
    class_name: str = ""


@dataclass(frozen=True)
class Question:
    """What maps are asked for.

    Attributes:
        targets: the model's, by name.
        classes: by target the classes that are explained.
        stages: numbers of the stages; 0 is the finest.
        attention: the network's own attention, too.
        methods: how classes are explained, of ``METHODS``.
    """

    targets: Mapping[str, Target]
    classes: Mapping[str, Sequence[str]]
    stages: Sequence[int]
    attention: bool = True
    methods: Sequence[str] = ("gradcam",)


@dataclass
class FoldView:
    """What one network tells of the tiles of a volume.

    Attributes:
        probabilities: by target (T, outputs).
        vectors: fused features, (T, D).
        weights: of the tiles.
        stage_weights: what each stage counts, (S,); empty for networks without such weights.
        channel_gate: channel attention, mean over the tiles, (D,); empty for networks without it.
    """

    probabilities: dict[str, NDArray[np.floating]]
    vectors: NDArray[np.floating]
    weights: TileWeights
    stage_weights: list[float] = field(default_factory=list)
    channel_gate: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class VolumeView:
    """What the networks tell of a volume.

    Attributes:
        maps: by key (z, y, x) in float32, mean over the networks; on the grid of the preprocessed volume.
        folds: one entry a network.
        stage_shapes: size of the stages of a tile.
    """

    maps: dict[MapKey, NDArray[np.float32]]
    folds: tuple[FoldView, ...]
    stage_shapes: tuple[tuple[int, ...], ...]


def view_volume(
    predictor: Any,
    network: nn.Module,
    parameters: Sequence[Mapping[str, Any]],
    data: torch.Tensor,
    question: Question,
) -> VolumeView:
    """Pass the tiles of a volume through networks, as they are, without mirroring, in full precision.

    Args:
        predictor: `MultiTaskPredictor`, for tile size, step and device.
        network: on the device of the predictor, in ``eval`` mode; it holds the last parameters afterwards.
        parameters: of each fold.
        data: preprocessed volume, (C, z, y, x).
        question: what is asked for; no class and no attention: weights and features alone.
    """
    tile = tuple(predictor.configuration_manager.patch_size)
    padded, revert = pad_nd_image(data.float(), tile, "constant", {"value": 0}, True, None)
    slicers = predictor._internal_get_sliding_window_slicers(padded.shape[1:])
    importance = tile_importance(slicers, tuple(data.shape[1:]), tuple(padded.shape[1:]))
    wanted = [
        MapKey(method, stage, name, class_name)
        for method in question.methods
        for name, classes in question.classes.items()
        for class_name in classes
        for stage in question.stages
    ]
    keys: list[MapKey] = []
    blend: Blend | None = None
    folds: list[FoldView] = []
    shapes: tuple[tuple[int, ...], ...] = ()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for weights in parameters:
            network.load_state_dict(weights)
            tiles = []
            for slicer in slicers:
                x = padded[slicer][None].to(predictor.device)
                with torch.set_grad_enabled(bool(wanted)):
                    traced = trace(network, x)
                told = _told_by(network, traced, predictor.has_regions, question)
                maps = {**_class_maps(traced, question, wanted), **told.maps}
                if blend is None:
                    keys, blend = list(maps), Blend(len(maps), padded.shape[1:], tile)
                blend.add(slicer, [maps[key] for key in keys])
                tiles.append(told)
                shapes = tuple(tuple(stage.shape[2:]) for stage in traced.stages)
                del traced, maps  # the graph of this tile, before that of the next is built
            folds.append(_fold_view(tiles, importance, predictor.top_tiles))
    assert blend is not None  # there is a tile at least
    inside = blend.mean()[(slice(None), *revert[1:])].numpy()
    return VolumeView(dict(zip(keys, inside, strict=True)), tuple(folds), shapes)


@dataclass(frozen=True)
class _Told:
    """What a tile tells beside the maps of classes."""

    maps: dict[MapKey, torch.Tensor]
    probabilities: dict[str, NDArray[np.floating]]
    vector: NDArray[np.floating]
    foreground: float
    stage_weights: list[float]
    channel_gate: NDArray[np.floating] | None


def _class_maps(traced: Traced, question: Question, wanted: Sequence[MapKey]) -> dict[MapKey, torch.Tensor]:
    found: dict[MapKey, torch.Tensor] = {}
    stages = [traced.stages[number] for number in question.stages]
    for name, class_name in dict.fromkeys((key.target, key.class_name) for key in wanted):
        score = class_score(question.targets[name], class_name, traced.logits[name])
        gradients = stage_gradients(score, stages)
        for method in question.methods:
            for number, stage, gradient in zip(question.stages, stages, gradients, strict=True):
                found[MapKey(method, number, name, class_name)] = METHODS[method](stage, gradient)
    return found


@torch.no_grad()
def _told_by(network: Any, traced: Traced, has_regions: bool, question: Question) -> _Told:
    maps: dict[MapKey, torch.Tensor] = {}
    stage_weights, gate = [], None
    if question.attention and hasattr(network, "explain_features"):
        stages = [stage.detach() for stage in traced.stages]
        explained = network.explain_features(stages, traced.segmentation.detach())
        for kind, weights in ((ATTENTION, explained.attention), (GUIDANCE, explained.guidance)):
            for number in question.stages if weights else ():
                # they sum to 1: times their number, 1 is what a plain mean gives each voxel, at every stage
                maps[MapKey(kind, number)] = weights[number] * weights[number][0].numel()
        stage_weights = [float(value) for value in explained.stage_weights]
        gate = explained.channel_gate[0].float().cpu().numpy()
    probabilities = {
        name: values[0].cpu().numpy() for name, values in probabilities_of(traced.logits, question.targets).items()
    }
    foreground = float(foreground_probability(traced.segmentation, has_regions).sum())
    vector = traced.vector[0].float().cpu().numpy()
    return _Told(maps, probabilities, vector, foreground, stage_weights, gate)


def _fold_view(tiles: Sequence[_Told], importance: NDArray[np.floating], top_tiles: int) -> FoldView:
    gates = [tile.channel_gate for tile in tiles if tile.channel_gate is not None]
    return FoldView(
        probabilities={name: np.stack([tile.probabilities[name] for tile in tiles]) for name in tiles[0].probabilities},
        vectors=np.stack([tile.vector for tile in tiles]),
        weights=TileWeights(np.array([tile.foreground for tile in tiles]), importance, top_tiles),
        stage_weights=tiles[0].stage_weights,
        channel_gate=[] if not gates else [float(value) for value in np.mean(gates, axis=0)],
    )
