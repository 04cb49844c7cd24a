"""One case: predicted, explained, its maps and pictures written in the geometry of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from numpy.typing import NDArray
from torch import nn

from nnunet_multitask.evaluation.predictions import decide
from nnunet_multitask.explanation.case_maps import CaseMaps
from nnunet_multitask.explanation.embedding import AFTER, BEFORE, case_vector
from nnunet_multitask.explanation.image_space import Reorder, file_order, to_read_image
from nnunet_multitask.explanation.montage import scan_of
from nnunet_multitask.explanation.volumes import Question, VolumeView, view_volume
from nnunet_multitask.files import Volume, check_same_geometry, read_image, read_mask
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.reporting import class_probabilities
from nnunet_multitask.labels import Target


@dataclass(frozen=True)
class CaseExplanation:
    """What is known of an explained case.

    Attributes:
        record: its entry in ``explanation.json``.
        stage_grids: size of a tile at each stage of the encoder.
        vectors: its fused features by ``before`` and ``after``, (D,); ``before`` where an untrained network was given.
    """

    record: dict[str, Any]
    stage_grids: tuple[tuple[int, ...], ...]
    vectors: dict[str, NDArray[np.floating]]


class CaseExplainer:
    """Explains cases one by one.

    Args:
        predictor: `MultiTaskPredictor` with a model, without mirroring.
        output: folder of the files.
        targets: those that are explained, by name.
        classes: by target the classes that were asked for; targets without an entry have their decision explained,
            multilabel ones each class.
        stages: numbers of the stages; 0 is the finest.
        masks: reference masks by case.
        labels: by target the known label of each case, as a text.
        untrained: the network as it was before training, on the predictor's device; None: not looked at.
        control: compare every map of a class with that of the untrained network.
        methods: how classes are explained, of ``METHODS``.
    """

    def __init__(
        self,
        predictor: Any,
        output: Path,
        targets: Mapping[str, Target],
        classes: Mapping[str, Sequence[str]],
        stages: Sequence[int],
        masks: Mapping[str, Path],
        labels: Mapping[str, Mapping[str, str]],
        untrained: nn.Module | None = None,
        control: bool = False,
        methods: Sequence[str] = ("gradcam",),
    ) -> None:
        self.predictor = predictor
        self.output = output
        self.targets = targets
        self.classes = classes
        self.stages = stages
        self.masks = masks
        self.labels = labels
        self.untrained = untrained
        self.control = control
        self.methods = methods
        self.is_ct = str(next(iter(predictor.dataset_json["channel_names"].values()))).lower() == "ct"

    def __call__(self, case_id: str, files: Sequence[Path]) -> CaseExplanation:
        """Explain a case, and write its maps and pictures.

        Args:
            case_id: its name.
            files: of its channels.

        Raises:
            InputError: a reference mask on other voxels than the image, or a reader that gives other voxels.
        """
        predictor = self.predictor
        image = read_image(files[0])
        reference = self._reference(case_id, image)
        read, properties = predictor.plans_manager.image_reader_writer_class().read_images([str(f) for f in files])
        turn = file_order(read[0], image)
        plans, configuration = predictor.plans_manager, predictor.configuration_manager
        preprocessor = configuration.preprocessor_class(verbose=False)
        array, _, properties = preprocessor.run_case_npy(
            read, None, properties, plans, configuration, predictor.dataset_json
        )
        data = torch.from_numpy(array)
        prediction, logits = predictor.predict_volume(case_id, data)
        mask = self._mask(logits, properties, turn)
        del logits, read

        told = {name: self._told(target, prediction, case_id) for name, target in self.targets.items()}
        explained = {
            name: self._explained_classes(target, told[name]["decision"]) for name, target in self.targets.items()
        }
        question = Question(predictor.targets, explained, self.stages, methods=self.methods)
        network = getattr(predictor.network, "_orig_mod", predictor.network).eval()  # not compiled: it has hooks
        view = view_volume(predictor, network, predictor.list_of_parameters, data, question)
        before = self._view_before(data, question)

        def in_image(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return turn(to_read_image(values, properties, plans, configuration))

        masks = {"prediction": mask, "reference": None if reference is None else reference.array}
        present = {name: found for name, found in masks.items() if found is not None}
        scan = scan_of(image, masks["prediction"], masks["reference"], self.is_ct)
        maps = CaseMaps(self.output, case_id, image, in_image, scan, present)
        maps.write(view, before if self.control else None)
        folds = [str(fold) for fold in predictor.model["folds"]]
        record = {
            "targets": told,
            "maps": maps.records,
            "pictures": maps.draw(told),
            "shares_of_image": {name: _share(found) for name, found in present.items()},
            "stage_weights": {fold: found.stage_weights for fold, found in zip(folds, view.folds, strict=True)},
            "channel_gate": {fold: found.channel_gate for fold, found in zip(folds, view.folds, strict=True)},
        }
        kind = predictor.aggregations[next(iter(self.targets))]
        vectors = {} if before is None else {BEFORE: case_vector(before.folds[0], kind)}
        return CaseExplanation(record, view.stage_shapes, {**vectors, AFTER: case_vector(view.folds[0], kind)})

    def _reference(self, case_id: str, image: Volume) -> Volume | None:
        if case_id not in self.masks:
            return None
        reference = read_mask(self.masks[case_id])
        check_same_geometry(image, reference)
        return reference

    def _mask(self, logits: torch.Tensor, properties: dict[str, Any], turn: Reorder) -> NDArray[Any] | None:
        predictor = self.predictor
        if not getattr(predictor.network, "segments", True):
            return None
        mask = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, predictor.plans_manager, predictor.configuration_manager, predictor.label_manager, properties
        )
        return turn(np.asarray(mask))

    def _told(self, target: Target, prediction: CasePrediction, case_id: str) -> dict[str, Any]:
        probabilities = class_probabilities(target, prediction.probabilities[target.name], None)
        decision = decide(target, probabilities, None)
        label = self.labels.get(target.name, {}).get(case_id, "")
        return {
            **({"label": label} if label else {}),
            "probabilities": probabilities,
            "decision": decision if isinstance(decision, str) else list(decision),
            "aggregation": self.predictor.aggregations[target.name],
        }

    def _explained_classes(self, target: Target, decision: Any) -> Sequence[str]:
        if target.name in self.classes:
            return self.classes[target.name]
        return target.classes if target.type == "multilabel" else [str(decision)]

    def _view_before(self, data: torch.Tensor, question: Question) -> VolumeView | None:
        if self.untrained is None:
            return None
        asked = replace(question, attention=False, classes=question.classes if self.control else {})
        return view_volume(self.predictor, self.untrained, [self.untrained.state_dict()], data, asked)


def _share(mask: NDArray[Any]) -> float:
    return float(np.count_nonzero(mask > 0) / mask.size)
