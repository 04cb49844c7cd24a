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

from nnunet_multitask.evaluation.volumes import bland_altman

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
    "text.parse_math": False,  # a dollar in the name of a model or class is a dollar
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


def roc_plot(curves: Mapping[str, Mapping[str, Any]], title: str, names: Sequence[str] = ()) -> Picture:
    """ROC curves of one class.

    Args:
        curves: model name to {"fpr": points, "tpr": points, "auc": area}; with "band", {"fpr", "low", "high"}, the
            pointwise interval of the sensitivity is drawn behind the curve.
        title: what is called positive.
        names: all models in the order of their colours; by default those of curves.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#8b97a3", linewidth=1, linestyle=":")
        for name, curve in curves.items():
            colour, dash = _line(name, names or list(curves))
            band = curve.get("band")
            if band:
                axes.fill_between(band["fpr"], band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)
            label = f"{name}: AUC {curve['auc']:.3f}"
            line = {"color": colour, "linestyle": dash, "linewidth": 2.2, "label": label}
            axes.plot(curve["fpr"], curve["tpr"], clip_on=False, **line)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.legend(loc="lower right", frameon=True, framealpha=0.95, edgecolor="#e3e8ed")
    areas = ", ".join(f"{name} {curve['auc']:.3f}" for name, curve in curves.items())
    return to_picture(figure, f"ROC curves, {title}. Area under the curve: {areas}.")


def reliability_plot(
    panels: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], names: Sequence[str] = ()
) -> Picture:
    """Reliability curves: what share of the cases has the class, by the probability that was said.

    Args:
        panels: title, then name of the curve, to {"probability": means of the bins, "share": of these, "n": cases}.
            The area of a point tells how many cases its bin holds.
        names: all curves in the order of their colours; by default those of each panel.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    texts = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * columns, 4.2 * rows), layout="constrained")
        for place, (title, curves) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            axes.plot([0, 1], [0, 1], color="#8b97a3", linewidth=1, linestyle=":")
            for name, curve in curves.items():
                colour, dash = _line(name, names or list(curves))
                line = {"color": colour, "linestyle": dash, "linewidth": 2, "label": name}
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


def volume_plot(volumes: Mapping[str, Sequence[tuple[float, float]]]) -> Picture:
    """Bland-Altman plots: difference of predicted and reference volume by their mean, one panel a model.

    Args:
        volumes: model name to (reference, prediction) in mL, at least one pair each.
    """
    columns = min(2, len(volumes))
    rows = -(-len(volumes) // columns)
    texts = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.7 * columns, 3.1 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in panels[len(volumes) :]:
            axes.set_axis_off()
        for index, (axes, (name, pairs)) in enumerate(zip(panels, volumes.items(), strict=False)):
            found = bland_altman([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            values = np.asarray(pairs)
            colour = PLOT_COLOURS[index % len(PLOT_COLOURS)]
            axes.scatter(values.mean(axis=1), values[:, 1] - values[:, 0], s=20, color=colour, alpha=0.7, linewidths=0)
            axes.axhline(0, color="#8b97a3", linewidth=1, linestyle=":")
            axes.axhline(found["bias"], color=colour, linewidth=1.6)
            text = f"{name}: bias {found['bias']:+.2f} mL"
            if found["limits_of_agreement"] is not None:
                low, high = found["limits_of_agreement"]
                for limit in (low, high):
                    axes.axhline(limit, color=colour, linewidth=1.2, linestyle="--")
                text += f", limits of agreement {low:+.2f} to {high:+.2f} mL"
            texts.append(text)
            axes.set_title(name)
            axes.set_xlabel("mean of both volumes, mL")
            axes.set_ylabel("prediction minus reference, mL")
            axes.label_outer()
    return to_picture(figure, f"Bland-Altman plots of {len(next(iter(volumes.values())))} cases. {'; '.join(texts)}.")


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


def gate_plot(region: Mapping[str, Any], title: str) -> Picture:
    """Healthy scans with a mask and missed scans, and the false-positive volume, by the threshold of a gate.

    Args:
        region: of a gate, as in evaluation.json, with "curve", "healthy" and "with_reference".
        title: the model.
    """
    curve = region["curve"]
    thresholds = [point["threshold"] for point in curve]
    series = {
        "healthy scans with any mask": [point["healthy_with_mask"] for point in curve],
        "missed scans": [point["missed"] for point in curve],
    }
    volumes = [point["false_positive_ml"] for point in curve]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for index, (name, values) in enumerate(series.items()):
            line = {"color": PLOT_COLOURS[index], "linestyle": DASHES[index], "linewidth": 2.2}
            left.step(thresholds, values, where="post", label=name, **line)
        left.set_ylim(-0.3, max(1, *(max(values) for values in series.values())) + 0.6)
        left.set_ylabel("scans")
        figure.legend(loc="outside upper left", ncols=len(series), frameon=False)
        right.step(thresholds, volumes, where="post", color=PLOT_COLOURS[2], linewidth=2.2)
        right.set_ylabel("false-positive volume, mL")
        right.set_ylim(0, max(volumes) * 1.08 or 1)
        for axes in (left, right):
            axes.set_xlim(0, 1)
            axes.set_xlabel("threshold of the probability to be positive")
    texts = [
        f"{name} {values[0]} of {total} at a threshold of 0, {values[len(values) // 2]} at 0.5, {values[-1]} at 1"
        for (name, values), total in zip(series.items(), (region["healthy"], region["with_reference"]), strict=True)
    ]
    volume = f"false-positive volume {volumes[0]:.2f}, {volumes[len(volumes) // 2]:.2f}, {volumes[-1]:.2f} mL"
    return to_picture(figure, f"Effect of the gate by threshold, {title}: {'; '.join(texts)}; {volume}.")


def to_picture(figure: Figure, alt: str, dpi: int = DPI) -> Picture:
    """Turn a figure into a picture for the page, with so many pixels per inch in the file."""
    FigureCanvasAgg(figure)  # no display is needed
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, alt, round(figure.get_figwidth() * PIXELS_PER_INCH))


def _line(name: str, names: Sequence[str]) -> tuple[str, Any]:
    """Return colour and dash of a model, the same in every figure."""
    index = list(names).index(name)
    return PLOT_COLOURS[index % len(PLOT_COLOURS)], DASHES[index % len(DASHES)]
