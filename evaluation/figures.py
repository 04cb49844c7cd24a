"""Pictures of the report, as PNG bytes with a text that says the same."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; the baseline comes first
PLOT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000")
DASHES: tuple[Any, ...] = ("--", "-", "-.", ":", "-")
PIXELS_PER_INCH = 96
DPI = 2 * PIXELS_PER_INCH
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#51606e",
    "axes.labelcolor": "#1b2733",
    "xtick.color": "#3c4a57",
    "ytick.color": "#3c4a57",
    "text.color": "#1b2733",
    "axes.grid": True,
    "grid.color": "#e3e8ed",
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Picture:
    """A picture for the page.

    Args:
        uri: the PNG as a data URI.
        alt: what it shows, in words.
        width: pixels on the page; the file holds twice as many, for sharp screens.
    """

    uri: str
    alt: str
    width: int

    @property
    def png(self) -> bytes:
        """The bytes of the PNG."""
        return base64.b64decode(self.uri.partition(",")[2])


def dsc_plot(values: Mapping[str, Mapping[str, float]]) -> Picture:
    """Box plot of the DSC of every case for each model, with the cases joined by lines.

    Args:
        values: model name to DSC (0 to 1) by case id; the baseline first, the same cases in each.
    """
    names = list(values)
    cases = list(values[names[0]])
    height = 1.1 + 0.7 * len(names)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, height), layout="constrained")
        axes = figure.add_subplot()
        rng = np.random.default_rng(0)  # the same scatter each time
        positions = -np.arange(len(names), dtype=float)
        scatter = np.clip(rng.normal(0, 0.06, len(cases)), -0.16, 0.16)
        points = np.array([[values[name][case] for case in cases] for name in names])  # (models, cases)
        for case in range(len(cases)):
            axes.plot(points[:, case], positions + scatter[case], color="#b5c0ca", linewidth=0.7, zorder=1)
        for index, name in enumerate(names):
            colour = PLOT_COLOURS[index % len(PLOT_COLOURS)]
            axes.boxplot(
                list(values[name].values()),
                positions=[positions[index]],
                orientation="horizontal",
                widths=0.5,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": colour + "22", "edgecolor": colour},
                medianprops={"color": colour, "linewidth": 2},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            axes.scatter(points[index], positions[index] + scatter, s=20, color=colour, linewidths=0, zorder=3)
        axes.set_yticks(positions, names)
        axes.set_ylim(positions[-1] - 0.5, 0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("DSC of a case (missed or false alarm: 0)")
        axes.set_xlim(min(0.5, float(points.min())) - 0.03, 1.02)
    medians = ", ".join(f"{name} {np.median(points[index]):.3f}" for index, name in enumerate(names))
    alt = f"Box plot of the Dice coefficient of {len(cases)} cases for each model. Medians: {medians}."
    return to_picture(figure, alt)


def roc_plot(curves: Mapping[str, Mapping[str, Any]], title: str) -> Picture:
    """ROC curves of one class.

    Args:
        curves: model name to {"fpr": points, "tpr": points, "auc": area}.
        title: what is called positive.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#8b97a3", linewidth=1, linestyle=":")
        for index, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve["fpr"],
                curve["tpr"],
                color=PLOT_COLOURS[(index + 1) % len(PLOT_COLOURS)],
                linestyle=DASHES[(index + 1) % len(DASHES)],
                linewidth=2.2,
                label=f"{name}: AUC {curve['auc']:.3f}",
                clip_on=False,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.legend(loc="lower right", frameon=True, framealpha=0.95, edgecolor="#e3e8ed")
    areas = ", ".join(f"{name} {curve['auc']:.3f}" for name, curve in curves.items())
    return to_picture(figure, f"ROC curves, {title}. Area under the curve: {areas}.")


def reliability_plot(panels: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> Picture:
    """Reliability curves: what share of the cases has the class, by the probability that was said.

    Args:
        panels: title, then name of the curve, to {"probability": means of the bins, "share": of these, "n": cases}.
            The area of a point tells how many cases its bin holds.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    texts = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * columns, 4.2 * rows), layout="constrained")
        for place, (title, curves) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            axes.plot([0, 1], [0, 1], color="#8b97a3", linewidth=1, linestyle=":")
            for index, (name, curve) in enumerate(curves.items()):
                colour = PLOT_COLOURS[index % len(PLOT_COLOURS)]
                line = {"color": colour, "linestyle": DASHES[index % len(DASHES)], "linewidth": 2, "label": name}
                axes.plot(curve["probability"], curve["share"], **line)
                sizes = 160 * np.asarray(curve["n"]) / max(curve["n"])
                axes.scatter(curve["probability"], curve["share"], s=sizes, color=colour, alpha=0.6, linewidths=0)
                gap = np.average(np.abs(np.subtract(curve["probability"], curve["share"])), weights=curve["n"])
                texts.append(f"{title}, {name}: mean distance from the diagonal {gap:.3f}")
            axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", title=title)
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("share of cases with the class")
            axes.legend(loc="upper left", frameon=True, framealpha=0.95, edgecolor="#e3e8ed")
    return to_picture(figure, f"Reliability curves. {'; '.join(texts)}.")


def confusion_plot(matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Picture:
    """Confusion matrix with counts.

    Args:
        matrix: counts, rows the reference, columns the decision.
        classes: names in that order.
        title: which model and target.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.3 + 0.62 * len(classes)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(size + 0.3, size), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "#1b2733"
            text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=11)
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("decision")
        axes.set_ylabel("reference")
        axes.set_title(title)
    rows = "; ".join(
        f"of {int(counts[i].sum())} {name}: "
        + ", ".join(f"{n} called {c}" for n, c in zip(counts[i], classes, strict=True))
        for i, name in enumerate(classes)
    )
    return to_picture(figure, f"Confusion matrix, {title}. {rows}.")


def to_picture(figure: Figure, alt: str) -> Picture:
    """Turn a figure into a picture for the page."""
    FigureCanvasAgg(figure)  # no display is needed
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, alt, round(figure.get_figwidth() * PIXELS_PER_INCH))
