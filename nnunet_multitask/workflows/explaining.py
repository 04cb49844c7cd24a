"""Explaining a trained model on cases: maps and pictures of each, and t-SNE of all, before training and after."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nnunet_multitask.documents import write_json
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError
from nnunet_multitask.explanation.case_maps import patterns_of
from nnunet_multitask.explanation.cases import CaseExplainer, CaseExplanation
from nnunet_multitask.explanation.choices import check_files, chosen_classes, chosen_stages, chosen_targets
from nnunet_multitask.explanation.embedding import MIN_CASES, check_enough
from nnunet_multitask.explanation.gradcam import check_explainable, num_stages
from nnunet_multitask.explanation.volumes import ATTENTION
from nnunet_multitask.inference.inputs import check_images
from nnunet_multitask.inference.loading import check_images_alone
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.workflows.tsne import TSNE_CSV, TSNE_PNG, write_tsne
from nnunet_multitask.workflows.untrained import untrained_network

EXPLANATION_JSON = "explanation.json"

DEFINITIONS = {
    "gradcam": "Selvaraju et al. 2017, eq. 1 and 2: ReLU of the sum of a stage's channels, each weighted by the mean "
    "gradient of the class's logit. Unit: logits for each voxel of the stage. Of each tile on its own, without "
    "mirroring; tiles blended as those of the segmentation; mean over folds.",
    "hirescam": "Draelos and Carin 2020: the same with the gradient of each voxel instead of its mean",
    "attention": "weight that spatial attention gives a voxel of a stage, divided by that of a plain mean: 1 is even",
    "guidance": "the same of pooling under the network's own foreground",
    "share_in_prediction": "share of the sum of a map that lies inside the predicted mask (any foreground); null where "
    "the map is 0 everywhere. An even map has shares_of_image",
    "share_in_reference": "the same inside the given mask",
    "rank_correlation_with_untrained": "Spearman's, over the voxels, with the same map of the network before training "
    "(Adebayo et al. 2018): a map near 1 shows the architecture, not what was learned",
    "probabilities": "not calibrated, without mirroring; the decision that is explained is by these",
    "stage_weights": "what each stage counts in the fusion, finest first, by fold",
    "channel_gate": "what channel attention multiplies the fused channels by (0 to 2), mean over tiles, by fold",
}


@dataclass(frozen=True)
class ExplainOptions:
    """How a model is explained.

    Args:
        folds: whose networks are averaged; None: all that are finished. t-SNE is of the first.
        checkpoint_name: file in each fold's folder.
        device: where the networks run.
        step_size: step between tiles, in tiles.
        targets: names of those that are explained; None: all.
        classes: ``CLASS``, ``TARGET=CLASS``, or ``all``; empty: the decision, of multilabel targets each class.
        stages: their numbers, 0 the finest; None: all.
        methods: how classes are explained: gradcam, hirescam.
        control: compare the maps of classes with those of the untrained network.
        tsne: draw t-SNE; None: where there are cases enough.
        overwrite: replace an earlier explanation.
        progress: show a progress bar.
        trust_checkpoint: unpickle the checkpoints, whatever they ask for, and warn.
    """

    folds: Sequence[int | str] | None = None
    checkpoint_name: str = "checkpoint_final.pth"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    step_size: float = 0.5
    targets: Sequence[str] | None = None
    classes: Sequence[str] = ()
    stages: Sequence[int] | None = None
    methods: Sequence[str] = ("gradcam",)
    control: bool = False
    tsne: bool | None = None
    overwrite: bool = False
    progress: bool = True
    trust_checkpoint: bool = False


def explain_model(
    folder: Path,
    images: Mapping[str, Sequence[Path]],
    output: Path,
    options: ExplainOptions,
    *,
    masks: Mapping[str, Path] | None = None,
    sidecar: LabelSidecar | None = None,
) -> dict[str, Any]:
    """Explain a model on images, write everything, and return the content of ``explanation.json``.

    Args:
        folder: of the trained model.
        images: files of the channels by case.
        output: folder of the files; made where it is not there.
        options: how.
        masks: reference masks by case, for those that have one.
        sidecar: class labels, for the colours of t-SNE.

    Raises:
        InputError: a model that cannot be explained, unknown targets, classes or stages, too few cases for t-SNE, an
            explanation that is there already.
        InputErrors: images that cannot be used.
    """
    predictor = load_predictor(folder, options)
    targets = chosen_targets(options.targets, predictor.targets)
    classes = chosen_classes(options.classes, targets)
    stages = chosen_stages(options.stages, num_stages(predictor.network))
    check_files(images, predictor.dataset_json)
    if options.tsne:
        check_enough(len(images), "--tsne")
    tsne = len(images) >= MIN_CASES if options.tsne is None else options.tsne
    check_images(images, list(predictor.dataset_json["channel_names"].values()))
    _make_room(output, images, options.overwrite)

    untrained = untrained_network(predictor) if tsne or options.control else None
    labels = {name: {case_id: _label_of(sidecar, case_id, name) for case_id in images} for name in targets}
    explain = CaseExplainer(
        predictor, output, targets, classes, stages, masks or {}, labels, untrained, options.control, options.methods
    )
    found: dict[str, CaseExplanation] = {}
    results = map_in_order(
        lambda case_id: explain(case_id, images[case_id]),
        list(images),
        num_workers=1,
        description="explain",
        progress=options.progress,
    )
    for case_id, explanation in zip(images, results, strict=True):
        found[case_id] = explanation
    document: dict[str, Any] = {
        "version": 1,
        "model": predictor.model,
        "settings": {
            "targets": list(targets),
            "classes": {name: list(names) for name, names in classes.items()},
            "stages": list(stages),
            "methods": list(options.methods),
            "step_size": options.step_size,
            "mirroring": False,
            "control": options.control,
        },
        "definitions": DEFINITIONS,
        "targets": {name: {"type": target.type, "classes": list(target.classes)} for name, target in targets.items()},
        "stages": [
            {"stage": number, "tile_grid": list(grid)}
            for number, grid in enumerate(next(iter(found.values())).stage_grids)
        ],
        "attention": "explained" if _has_attention(found.values()) else "the network has none",
        "cases": {case_id: explanation.record for case_id, explanation in found.items()},
        "tsne": write_tsne(output, found, predictor, labels) if tsne else None,
    }
    write_json(output / EXPLANATION_JSON, document)
    return document


def load_predictor(folder: Path, options: ExplainOptions) -> MultiTaskPredictor:
    """Return the model, without mirroring.

    Raises:
        InputError: no model with heads there, a cascade, or a network without stages.
    """
    predictor = MultiTaskPredictor(
        tile_step_size=options.step_size,
        use_mirroring=False,
        perform_everything_on_device=options.device.type == "cuda",
        device=options.device,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(
        folder, options.folds, options.checkpoint_name, trust_checkpoint=options.trust_checkpoint
    )
    check_images_alone(predictor, folder)
    check_explainable(predictor.network, str(folder))
    predictor.configure(calibrate=False)
    return predictor


def _has_attention(explanations: Iterable[CaseExplanation]) -> bool:
    return any(entry["kind"] == ATTENTION for explanation in explanations for entry in explanation.record["maps"])


def _make_room(output: Path, case_ids: Iterable[str], overwrite: bool) -> None:
    """Refuse an earlier explanation, or remove what it said of these cases; the folder is made.

    Raises:
        InputError: there is one.
    """
    names = [EXPLANATION_JSON, TSNE_PNG, TSNE_CSV]
    names += [f"{glob.escape(start)}[._]*" for case_id in case_ids for start in patterns_of(case_id)]
    there = [path for name in names for path in output.glob(name)]
    if there and not overwrite:
        fault = f"expected no explanation of these cases, found {there[0].name}"
        raise InputError("already-exists", output, fault, "use --overwrite to replace it, or another -o")
    output.mkdir(parents=True, exist_ok=True)
    for path in there:
        path.unlink()


def _label_of(sidecar: LabelSidecar | None, case_id: str, target: str) -> str:
    case = None if sidecar is None else sidecar.cases.get(case_id)
    label = None if case is None else case.labels.get(target)
    if label is None:
        return ""
    return label if isinstance(label, str) else "+".join(label) or "none"
