"""Pictures of a few cases: one axial slice, and in it what every model found, missed and made up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nibabel
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import NDArray

from nnunet_multitask.datasets import list_image_channels
from nnunet_multitask.evaluation.aggregation import penalised_pairs
from nnunet_multitask.evaluation.figures import STYLE, Picture, to_picture
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.files import check_same_geometry, read_image, read_mask

logger = logging.getLogger(__name__)

BRAIN_WINDOW_HU = (0.0, 80.0)  # level 40, width 80
REFERENCE_COLOUR = "#FFFFFF"
MODEL_COLOUR = "#F5A3D0"
# Okabe and Ito's, of different lightness: they can be told apart without seeing colours, too
AREA_COLOURS = {"true positive": "#56B4E9", "false positive": "#D55E00", "false negative": "#F0E442"}
ZOOM_MARGIN_MM = 15.0
PANEL_INCHES = 3.4
PANEL_DPI = 144  # the noise of a scan does not compress: sharper panels make a page of more than 10 MB


@dataclass(frozen=True)
class Overlay:
    """A case that is shown, why, and its pictures: the whole slice, then one for each model."""

    case_id: str
    why: str
    pictures: tuple[Picture, ...]


def choose_cases(comparison: Mapping[str, Any], model: str) -> dict[str, str]:
    """Return the cases worth looking at, and why: worst, median, best DSC, largest gain and loss in foreground DSC.

    Args:
        comparison: the document of comparison.json.
        model: the model that is held against the baseline.

    Returns:
        Reason by case id, at most five; empty where no case has a DSC.
    """
    models = comparison["models"]
    diagonals = {case_id: entry["diagonal_mm"] for case_id, entry in comparison["geometry"].items()}
    pairs = penalised_pairs(
        models[model]["segmentation"]["cases"],
        models[comparison["baseline"]]["segmentation"]["cases"],
        diagonals,
        FOREGROUND,
        "dsc",
    )
    if not pairs:
        return {}
    dsc = {case_id: pair[0] for case_id, pair in pairs.items()}
    change = {case_id: pair[0] - pair[1] for case_id, pair in pairs.items()}
    ranked = sorted(dsc, key=dsc.__getitem__)
    found = [("worst DSC", ranked[0]), ("median DSC", ranked[len(ranked) // 2]), ("best DSC", ranked[-1])]
    gain, loss = max(change, key=change.__getitem__), min(change, key=change.__getitem__)
    if change[gain] > 0:
        found.append(("largest gain", gain))
    if change[loss] < 0:
        found.append(("largest loss", loss))
    reasons: dict[str, list[str]] = {}
    for reason, case_id in found:
        reasons.setdefault(case_id, []).append(reason)
    return {case_id: ", ".join(why) for case_id, why in reasons.items()}


def draw_overlays(comparison: Mapping[str, Any], cases: Mapping[str, str]) -> list[Overlay]:
    """Draw cases from the files that the comparison names; a case whose image is absent is left out with a warning."""
    if comparison["images"] is None:
        return []
    ending = comparison["file_ending"]
    images = list_image_channels(comparison["images"], ending)
    masks = {"reference": Path(comparison["reference"])}
    masks |= {name: Path(entry["folder"]) for name, entry in _baseline_first(comparison)}
    overlays = []
    for case_id, why in cases.items():
        if case_id not in images:
            logger.warning("WARN [missing-image] %s: no image of case %s: not shown", comparison["images"], case_id)
            continue
        files = {name: folder / f"{case_id}{ending}" for name, folder in masks.items()}
        present = {name: path for name, path in files.items() if path.is_file()}
        pictures = draw_case(
            images[case_id][0], present, is_ct=comparison["image_channel"] == "CT", title=case_id, names=list(masks)
        )
        overlays.append(Overlay(case_id, why, pictures))
    return overlays


def draw_case(
    image: Path, masks: Mapping[str, Path], *, is_ct: bool, title: str, names: Sequence[str]
) -> tuple[Picture, ...]:
    """Draw the axial slice of a case in which the models disagree most: the whole slice, then what each model did.

    Args:
        image: the image file.
        masks: "reference" and each model's name to its mask file; voxels above 0 are drawn.
        is_ct: show the brain window (level 40, width 80 HU); otherwise the 1st to 99th percentile of the slice.
        title: name of the case.
        names: every name that may be in masks, in the order of the pictures.

    Returns:
        The whole slice with a frame, then for each model the framed part with true positive, false positive and false
        negative areas, the contour of the reference and that of the model.

    Raises:
        InputError: a file cannot be read, or a mask has another geometry than the image.
    """
    volume = read_image(image)
    grey = to_lps(volume.array, volume.affine)
    found = {}
    for name, path in masks.items():
        mask = read_mask(path)
        check_same_geometry(volume, mask)
        found[name] = to_lps(mask.array > 0, mask.affine)
    spacing = to_lps_spacing(volume.affine)
    k = slice_of_interest(found, names)
    window = BRAIN_WINDOW_HU if is_ct else tuple(np.percentile(grey[:, :, k], (1, 99)))
    slices = {name: mask[:, :, k] for name, mask in found.items()}
    box = _zoom_box(list(slices.values()), grey.shape[:2], spacing)
    where = f"Case {title}, axial slice {k + 1} of {grey.shape[2]} seen from below"
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        pictures = [_whole_slice(grey[:, :, k], window, spacing, box, where)]
        for name in names:
            if name != "reference" and name in slices:
                areas = _areas(slices["reference"], slices[name])
                pictures.append(_framed(grey[:, :, k], window, spacing, box, areas, slices, name, where))
    return tuple(pictures)


def _whole_slice(
    grey: NDArray[Any],
    window: tuple[float, ...],
    spacing: tuple[float, ...],
    box: tuple[slice, slice],
    where: str,
) -> Picture:
    figure, axes = _panel("whole slice")
    draw_slice(axes, grey, window, spacing)
    corner, size = (
        (box[0].start - 0.5, box[1].start - 0.5),
        (box[0].stop - box[0].start, box[1].stop - box[1].start),
    )
    axes.add_patch(mpl.patches.Rectangle(corner, *size, fill=False, edgecolor="#c9d3dc", linewidth=0.8))
    for side, x, align in (("R", 0.02, "left"), ("L", 0.98, "right")):
        letter = axes.text(x, 0.5, side, transform=axes.transAxes, color="white", ha=align, va="center")
        letter.set_path_effects([withStroke(linewidth=2, foreground="black"), Normal()])
    return to_picture(figure, f"{where}: the whole slice, with a frame around the masks.", PANEL_DPI)


def _framed(
    grey: NDArray[Any],
    window: tuple[float, ...],
    spacing: tuple[float, ...],
    box: tuple[slice, slice],
    areas: Mapping[str, NDArray[np.bool_]],
    slices: Mapping[str, NDArray[np.bool_]],
    name: str,
    where: str,
) -> Picture:
    figure, axes = _panel(name)
    draw_slice(axes, grey, window, spacing)
    rgba = np.zeros((*grey.T.shape, 4))
    for area, mask in areas.items():
        rgba[mask.T] = mpl.colors.to_rgba(AREA_COLOURS[area], 0.5)
    axes.imshow(rgba, aspect=spacing[1] / spacing[0], interpolation="nearest")
    draw_contour(axes, slices["reference"], REFERENCE_COLOUR, "-")
    draw_contour(axes, slices[name], MODEL_COLOUR, "--")
    axes.set_xlim(box[0].start - 0.5, box[0].stop - 0.5)
    axes.set_ylim(box[1].stop - 0.5, box[1].start - 0.5)
    mm2 = spacing[0] * spacing[1]
    counts = ", ".join(f"{area} {np.count_nonzero(mask) * mm2:.0f} square millimetres" for area, mask in areas.items())
    return to_picture(figure, f"{where}, {name} and reference in the frame: {counts}.", PANEL_DPI)


def _panel(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(PANEL_INCHES, PANEL_INCHES + 0.28), facecolor="black")
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98 * PANEL_INCHES / (PANEL_INCHES + 0.28)))
    axes.set_title(title if len(title) < 40 else title[:37] + "...", color="white", fontsize=10)
    return figure, axes


def _areas(reference: NDArray[np.bool_], model: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    return {
        "true positive": reference & model,
        "false positive": model & ~reference,
        "false negative": reference & ~model,
    }


def to_lps(array: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Turn (Z, Y, X) into (left, posterior, superior) order.

    Drawn transposed, the nose is up and the patient's right is on the left of the picture, as radiologists look at it.
    Oblique axes go to the nearest direction; nothing is resampled.
    """
    turn = _lps_orientation(affine)
    return np.asarray(nibabel.orientations.apply_orientation(array.transpose(2, 1, 0), turn))


def to_lps_spacing(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the voxel size in mm along the axes of `to_lps`."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    result = np.empty(3)
    result[_lps_orientation(affine)[:, 0].astype(int)] = spacing
    return (float(result[0]), float(result[1]), float(result[2]))


def slice_of_interest(contours: Mapping[str, NDArray[np.bool_]], names: Sequence[str]) -> int:
    """Return the index along the last axis where the models disagree most.

    Where they agree everywhere, it is the slice with most errors, then the one with most reference; else the middle.
    """
    reference = contours["reference"]
    models = [contours[name] for name in names if name != "reference" and name in contours]
    between_models = [model ^ models[0] for model in models[1:]]
    errors = [model ^ reference for model in models]
    for masks in (between_models, errors, [reference]):
        per_slice = sum((np.count_nonzero(mask, axis=(0, 1)) for mask in masks), np.zeros(reference.shape[2], int))
        if per_slice.any():
            return int(per_slice.argmax())
    return int(reference.shape[2] // 2)


def _lps_orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    here = nibabel.orientations.io_orientation(affine)
    return np.asarray(nibabel.orientations.ornt_transform(here, nibabel.orientations.axcodes2ornt(("L", "P", "S"))))


def _baseline_first(comparison: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(comparison["models"].items(), key=lambda item: item[0] != comparison["baseline"])


def draw_slice(axes: Axes, grey: NDArray[Any], window: tuple[float, ...], spacing: tuple[float, ...]) -> None:
    """Draw a slice (left, posterior) in a window of grey values, voxels as large as they are, without axes."""
    axes.imshow(
        grey.T, cmap="gray", vmin=window[0], vmax=window[1], aspect=spacing[1] / spacing[0], interpolation="bilinear"
    )
    axes.set_axis_off()


def draw_contour(axes: Axes, mask: NDArray[np.bool_], colour: str, dash: Any) -> None:
    """Draw the outline of a mask (left, posterior), dark-edged so that it shows on every ground."""
    if mask.any():
        drawn = axes.contour(mask.T, levels=[0.5], colors=[colour], linestyles=[dash], linewidths=1.5)
        drawn.set_path_effects([withStroke(linewidth=2.6, foreground="black"), Normal()])


def _zoom_box(
    masks: Sequence[NDArray[np.bool_]], shape: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[slice, slice]:
    """Return the square, in mm, around all masks of a slice with a margin; the whole slice where they are empty."""
    union = np.logical_or.reduce(list(masks))
    if not union.any():
        return slice(0, shape[0]), slice(0, shape[1])
    spans = []
    for axis in (0, 1):
        occupied = np.flatnonzero(union.any(axis=1 - axis))
        spans.append((occupied[0] * spacing[axis], (occupied[-1] + 1) * spacing[axis]))
    half = max(high - low for low, high in spans) / 2 + ZOOM_MARGIN_MM
    slices = []
    for axis, (low, high) in enumerate(spans):
        centre = (low + high) / 2
        start = int(np.clip((centre - half) / spacing[axis], 0, shape[axis]))
        stop = int(np.clip(np.ceil((centre + half) / spacing[axis]), 0, shape[axis]))
        slices.append(slice(start, stop))
    return slices[0], slices[1]
