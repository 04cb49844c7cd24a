"""The maps of a case on the voxels of its image: written, measured and drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.overlays import to_lps
from nnunet_multitask.explanation.gradcam import METHODS
from nnunet_multitask.explanation.mass import rank_correlation, share_inside
from nnunet_multitask.explanation.montage import Scan, Strip, chosen_slices, draw_montage, strips_of
from nnunet_multitask.explanation.volumes import ATTENTION, KINDS, MapKey, VolumeView
from nnunet_multitask.files import Volume, write_volume
from nnunet_multitask.storage import atomic_file

TITLES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM", ATTENTION: "attention"}
NO_MASS = "the map is 0 everywhere"
CONSTANT = "one of the two maps is the same everywhere"


class CaseMaps:
    """Writes the maps of a case, measures them, and draws those that explain the same side by side.

    Args:
        output: folder of the files.
        case_id: the case.
        image: its first channel.
        in_image: brings a map from the preprocessed grid to the voxels of the image, (Z, Y, X).
        scan: image and masks for drawing.
        masks: by name (``prediction``, ``reference``) those that there are, (Z, Y, X).

    Attributes:
        records: of the maps that were written, for ``explanation.json``.
    """

    def __init__(
        self,
        output: Path,
        case_id: str,
        image: Volume,
        in_image: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        scan: Scan,
        masks: Mapping[str, NDArray[Any]],
    ) -> None:
        self.output, self.case_id, self.image, self.in_image = output, case_id, image, in_image
        self.scan, self.masks = scan, masks
        self.records: list[dict[str, Any]] = []
        self._slices: list[int] = []  # of the first pictures
        self._strips: dict[str, list[Strip]] = {kind: [] for kind in (*METHODS, ATTENTION)}

    def write(self, view: VolumeView, untrained: VolumeView | None) -> None:
        """Write all maps; with an untrained network's, say how like them those of classes are."""
        for group in dict.fromkeys((key.kind, key.target, key.class_name) for key in view.maps):
            kind, target, class_name = group
            drawn = {}
            for key in (key for key in view.maps if (key.kind, key.target, key.class_name) == group):
                values = self.in_image(view.maps[key])
                record = self._measured(key, values)
                if untrained is not None and kind in METHODS:
                    alike = rank_correlation(view.maps[key], untrained.maps[key])
                    record["rank_correlation_with_untrained"] = alike
                    if alike is None:
                        record["rank_correlation_reason"] = CONSTANT
                volume = replace(self.image, array=values, changed=True, warnings=(), sha256="")
                write_volume(volume, self.output / record["file"])
                self.records.append(record)
                drawn[f"stage {key.stage}"] = to_lps(values, self.image.affine)
            if kind in METHODS:
                slices = chosen_slices(list(drawn.values()), self.scan)
                self._slices = self._slices or slices
                self._strips[kind] += strips_of(f"{target}: {class_name}", self.scan, drawn, slices)
            else:  # shown where the classes are, to be held against them
                self._strips[ATTENTION] += strips_of(kind, self.scan, drawn, self._slices)

    def draw(self, told: Mapping[str, Any]) -> list[str]:
        """Draw a picture for each method and one of the attention where there is any, and return their names.

        Args:
            told: by target probabilities and decision.
        """
        said = "; ".join(f"{name} {_probable(entry)}" for name, entry in told.items())
        names = []
        for kind, strips in self._strips.items():
            if strips:
                title = f"{self.case_id}: {TITLES[kind]}" + (f" ({said})" if kind in METHODS else "")
                names.append(f"{self.case_id}_{kind}.png")
                with atomic_file(self.output / names[-1]) as temporary:
                    temporary.write_bytes(draw_montage(title, strips).png)
        return names

    def _measured(self, key: MapKey, values: NDArray[np.float32]) -> dict[str, Any]:
        record: dict[str, Any] = {"kind": key.kind, "stage": key.stage, "file": self._free_name(key)}
        if key.kind in METHODS:
            record |= {"target": key.target, "class": key.class_name}
        record |= {"largest": float(values.max()), "mean": float(values.mean(dtype=np.float64))}
        if record["largest"] <= 0:
            record["note"] = NO_MASS
        for name, mask in self.masks.items():
            record[f"share_in_{name}"] = share_inside(values, mask)
        return record

    def _free_name(self, key: MapKey) -> str:
        """Return the name of a map's file; two classes may differ in characters only that no file name should have."""
        name, number = map_name(self.case_id, key), 2
        while any(record["file"] == name for record in self.records):
            name = map_name(self.case_id, key._replace(class_name=f"{key.class_name}_{number}"))
            number += 1
        return name


def map_name(case_id: str, key: MapKey) -> str:
    """Return the file name of a map; what is no plain character in a target's or class's name becomes ``_``."""
    words = [case_id, key.kind, *(_plain(word) for word in (key.target, key.class_name) if word), f"stage{key.stage}"]
    return "_".join(words) + ".nii.gz"


def patterns_of(case_id: str) -> list[str]:
    """Return the beginnings of the names of all files of a case."""
    return [f"{case_id}_{kind}" for kind in KINDS]


def _plain(word: str) -> str:
    return re.sub(r"[^\w.+-]", "_", word, flags=re.ASCII)


def _probable(entry: Mapping[str, Any]) -> str:
    decision = entry["decision"]
    names = [decision] if isinstance(decision, str) else list(decision)
    said = ", ".join(f"{name} {entry['probabilities'][name]:.2f}" for name in names) or "none"
    return f"{said}, labelled {entry['label']}" if "label" in entry else said
