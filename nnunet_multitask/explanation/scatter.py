"""The picture of a t-SNE: a dot a case, coloured by class, before training and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_multitask.evaluation.figures import STYLE, Picture, to_picture
from nnunet_multitask.explanation.embedding import AFTER, BEFORE, Points

# Okabe and Ito's palette without the yellow, which is lost on white; shapes tell the classes apart once more
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "os^Dvp*"
UNKNOWN_COLOUR = "#9AA5B1"
UNKNOWN = "unknown"
OTHERS = "other sets"
TITLES = {BEFORE: "before training", AFTER: "after training"}
PANEL_INCHES = 3.6
LEGEND_INCHES = 1.9


def draw_points(points: Points, labels: Mapping[str, Sequence[str]], note: str) -> Picture:
    """Draw a row for each target, and in it a panel for each network.

    Args:
        points: by network (N, 2).
        labels: by target the N labels; an empty text is unknown, and grey. Without targets all dots are grey.
        note: below the panels: how the points were made.
    """
    rows = dict(labels) or {"": [""] * len(next(iter(points.values())))}
    size = (len(points) * PANEL_INCHES + LEGEND_INCHES, len(rows) * PANEL_INCHES + 0.5)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=size, facecolor="white")
        for row, (target, texts) in enumerate(rows.items()):
            looks = class_looks(texts)
            for column, (network, found) in enumerate(points.items()):
                place = (
                    (column * PANEL_INCHES + 0.2) / size[0],
                    (size[1] - (row + 1) * PANEL_INCHES + 0.1) / size[1],
                    (PANEL_INCHES - 0.3) / size[0],
                    (PANEL_INCHES - 0.5) / size[1],
                )
                axes = figure.add_axes(place)
                _draw_dots(axes, found, texts, looks)
                axes.set_title(f"{target}, {TITLES[network]}" if target else TITLES[network], fontsize=10)
            axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9)
        figure.text(0.2 / size[0], 0.14 / size[1], note, fontsize=8)
        return to_picture(figure, f"t-SNE of fused features of {len(next(iter(points.values())))} cases. {note}")


def class_looks(texts: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return name, colour and marker of each label that occurs; the seventh and later ones share the last.

    Args:
        texts: labels; an empty text is unknown.
    """
    known = sorted({text for text in texts if text})
    last = len(COLOURS) - 1
    many = len(known) > len(COLOURS)
    looks = {
        text: (OTHERS if many and index >= last else text, COLOURS[min(index, last)], MARKERS[min(index, last)])
        for index, text in enumerate(known)
    }
    return looks | ({"": (UNKNOWN, UNKNOWN_COLOUR, "x")} if "" in texts else {})


def _draw_dots(axes: Axes, found: np.ndarray, texts: Sequence[str], looks: Mapping[str, tuple[str, str, str]]) -> None:
    for name, colour, marker in dict.fromkeys(looks.values()):
        here = np.array([looks[text][0] == name for text in texts])
        axes.scatter(
            found[here, 0], found[here, 1], s=34, c=colour, marker=marker, alpha=0.85, linewidths=0.8,
            label=f"{name} ({int(here.sum())})",
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
