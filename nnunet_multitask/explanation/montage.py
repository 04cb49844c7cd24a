"""Pictures of maps: slices of a case, and over them what each stage attends to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import NDArray

from nnunet_multitask.evaluation.figures import STYLE, Picture, to_picture
from nnunet_multitask.evaluation.overlays import (
    BRAIN_WINDOW_HU,
    MODEL_COLOUR,
    REFERENCE_COLOUR,
    draw_contour,
    draw_slice,
    to_lps,
    to_lps_spacing,
)
from nnunet_multitask.files import Volume

NUM_SLICES = 3
APART_MM = 10.0  # neighbouring slices show the same
PANEL_INCHES = 1.9
HEAD_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.26, 0.4, 0.6
DPI = 110
COLOURS = "inferno"  # of even steps in lightness: it reads without colours, too
NOWHERE = "0 everywhere"
CONTOURS: Mapping[str, tuple[str, Any]] = {"reference": (REFERENCE_COLOUR, "-"), "prediction": (MODEL_COLOUR, "--")}


@dataclass(frozen=True)
class Scan:
    """An image and its masks, turned so that the nose is up and the patient's right on the left.

    Attributes:
        grey: (left, posterior, superior).
        spacing_mm: along these axes.
        window: grey values of black and white; None: the 1st to 99th percentile of each slice.
        prediction, reference: masks, None where there is none.
    """

    grey: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    window: tuple[float, float] | None
    prediction: NDArray[np.bool_] | None
    reference: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Strip:
    """One row of panels: a slice as it is, then with each map.

    Attributes:
        label: what the maps explain; shown where it differs from that of the strip above.
        number: of the slice.
        grey: (left, posterior).
        spacing_mm: along these axes.
        window: of its grey values.
        masks: contours by name.
        heats: by title a map of the slice, scaled by its largest value in the case; None where that is 0.
    """

    label: str
    number: int
    grey: NDArray[Any]
    spacing_mm: tuple[float, float]
    window: tuple[float, ...]
    masks: Mapping[str, NDArray[np.bool_]]
    heats: Mapping[str, NDArray[np.floating] | None]


def scan_of(image: Volume, prediction: NDArray[Any] | None, reference: NDArray[Any] | None, is_ct: bool) -> Scan:
    """Turn an image and masks on its voxels, (Z, Y, X), for drawing; CT gets the brain window (0 to 80 HU)."""
    masks = [None if mask is None else to_lps(mask > 0, image.affine) for mask in (prediction, reference)]
    return Scan(
        to_lps(image.array, image.affine),
        to_lps_spacing(image.affine),
        BRAIN_WINDOW_HU if is_ct else None,
        masks[0],
        masks[1],
    )


def strips_of(label: str, scan: Scan, maps: Mapping[str, NDArray[np.floating]], slices: Sequence[int]) -> list[Strip]:
    """Cut maps (left, posterior, superior) into strips of these slices.

    Args:
        label: what they explain.
        scan: what they lie on.
        maps: by title.
        slices: their numbers.
    """
    largest = {title: float(values.max()) for title, values in maps.items()}
    strips = []
    for k in slices:
        grey = scan.grey[:, :, k]
        low, high = (float(value) for value in np.percentile(grey, (1, 99)))
        masks = {"prediction": scan.prediction, "reference": scan.reference}
        strips.append(
            Strip(
                label,
                k,
                grey,
                scan.spacing_mm[:2],
                scan.window or (low, max(high, low + 1e-6)),
                {name: mask[:, :, k] for name, mask in masks.items() if mask is not None},
                {
                    _titled(title, largest[title]): values[:, :, k] / largest[title] if largest[title] > 0 else None
                    for title, values in maps.items()
                },
            )
        )
    return strips


def chosen_slices(maps: Sequence[NDArray[np.floating]], scan: Scan) -> list[int]:
    """Return up to three slices with most mass, every map counting alike, ten millimetres apart; in order.

    Where all maps are 0 it is the slice with most of a mask, else the middle one.
    """
    depth = scan.grey.shape[2]
    masses = [values.sum(axis=(0, 1), dtype=np.float64) for values in maps]
    total = sum((mass / mass.sum() for mass in masses if mass.sum() > 0), np.zeros(depth))
    if not total.any():
        for mask in (scan.prediction, scan.reference):
            if mask is not None and mask.any():
                return [int(np.count_nonzero(mask, axis=(0, 1)).argmax())]
        return [depth // 2]
    chosen: list[int] = []
    for k in np.argsort(-total, kind="stable"):
        if total[k] > 0 and all(abs(k - other) * scan.spacing_mm[2] >= APART_MM for other in chosen):
            chosen.append(int(k))
    return sorted(chosen[:NUM_SLICES])


def draw_montage(title: str, strips: Sequence[Strip]) -> Picture:
    """Draw strips below each other: colour is the map, scaled by its largest value; outlines are the masks.

    Args:
        title: above all.
        strips: at least one; all of one scan, with as many maps each.
    """
    size_mm = [length * mm for length, mm in zip(strips[0].grey.shape, strips[0].spacing_mm, strict=True)]
    panel = PANEL_INCHES * min(max(size_mm[1] / size_mm[0], 0.3), 3)  # height
    headed = [index == 0 or strip.label != strips[index - 1].label for index, strip in enumerate(strips)]
    width = PANEL_INCHES * (1 + max(len(strip.heats) for strip in strips))
    height = TOP_INCHES + BOTTOM_INCHES + len(strips) * panel + sum(headed) * HEAD_INCHES
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(width, height), facecolor="black")
        figure.text(0.06 / width, 1 - 0.26 / height, title, color="white", fontsize=10)
        y = height - TOP_INCHES
        for strip, head in zip(strips, headed, strict=True):
            y -= panel + (HEAD_INCHES if head else 0)
            for column, (name, heat) in enumerate([(strip.label, None), *strip.heats.items()]):
                place = (column * PANEL_INCHES / width, y / height, 0.98 * PANEL_INCHES / width, 0.98 * panel / height)
                axes = figure.add_axes(place)
                _draw_panel(axes, strip, heat, plain=column == 0)
                if head:
                    axes.set_title(name, color="white", fontsize=8, pad=3)
        _draw_key(figure, [name for name in CONTOURS if name in strips[0].masks])
        return to_picture(figure, f"{title}: {', '.join(dict.fromkeys(strip.label for strip in strips))}", DPI)


def _draw_panel(axes: Axes, strip: Strip, heat: NDArray[np.floating] | None, plain: bool) -> None:
    draw_slice(axes, strip.grey, strip.window, strip.spacing_mm)
    if heat is not None:
        coloured = mpl.colormaps[COLOURS](heat.T)
        coloured[..., 3] = 0.7 * np.sqrt(np.clip(heat.T, 0, 1))
        axes.imshow(coloured, aspect=strip.spacing_mm[1] / strip.spacing_mm[0], interpolation="bilinear")
    for name, (colour, dash) in CONTOURS.items():
        if name in strip.masks:
            draw_contour(axes, strip.masks[name], colour, dash)
    if plain:
        edge = [withStroke(linewidth=2, foreground="black"), Normal()]
        for text, x, y, align in (
            ("R", 0.03, 0.5, "left"),
            ("L", 0.97, 0.5, "right"),
            (f"slice {strip.number + 1}", 0.03, 0.05, "left"),
        ):
            axes.text(
                x, y, text, transform=axes.transAxes, color="white", ha=align, va="center", size=8, path_effects=edge
            )


def _draw_key(figure: Figure, masks: Sequence[str]) -> None:
    """Draw what colours and outlines mean, along the lower edge."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.1 / width, 0.34 / height, 1.5 / width, 0.12 / height))
    ramp = np.linspace(0, 1, 256)[None]
    axes.imshow(ramp, cmap=COLOURS, aspect="auto")
    axes.set_axis_off()
    figure.text(0.1 / width, 0.14 / height, "0", color="white", fontsize=8)
    figure.text(1.6 / width, 0.14 / height, "largest value of the map", color="white", fontsize=8, ha="right")
    for index, name in enumerate(masks):
        x = 1.95 + 1.25 * index
        colour, dash = CONTOURS[name]
        line = Line2D([x / width, (x + 0.3) / width], [0.4 / height] * 2, color=colour, linestyle=dash, linewidth=1.5)
        figure.add_artist(line)
        figure.text((x + 0.36) / width, 0.35 / height, name, color="white", fontsize=8)


def _titled(title: str, largest: float) -> str:
    return f"{title}, {NOWHERE}" if largest <= 0 else f"{title}, max {largest:.2g}"
