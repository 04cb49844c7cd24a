"""Scores by kind of case: by volume, by largest diameter, by class, and by whatever else is known of the cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from nnunet_multitask.evaluation.aggregation import annotated, penalised
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.evaluation.report_texts import model_names

VOLUME_EDGES_ML = (1.0, 5.0, 30.0)
SMALL_DIAMETER_MM = 10.0
MAX_GROUPS = 8  # a text with more values is a name, not a stratum


@dataclass(frozen=True)
class StratumScore:
    """One model over the cases of a stratum: n scored cases, means under the empty policy, missed cases."""

    n: int
    dsc: float | None
    hd95_mm: float | None
    missed: int


@dataclass(frozen=True)
class Stratum:
    """A group of cases, and its scores by model."""

    title: str
    cases: int
    scores: Mapping[str, StratumScore]

    def change(self, model: str, baseline: str) -> float | None:
        """Return the difference of the mean DSC, model minus baseline."""
        ours, theirs = self.scores[model].dsc, self.scores[baseline].dsc
        return None if ours is None or theirs is None else ours - theirs


@dataclass(frozen=True)
class Stratification:
    """One way to group the cases; a note where the groups overlap or leave cases out."""

    title: str
    strata: tuple[Stratum, ...]
    note: str = ""


def stratify(comparison: Mapping[str, Any]) -> list[Stratification]:
    """Group the cases of a comparison in every way that the document allows; a way of one group is left out.

    Args:
        comparison: the document of comparison.json; "attributes" by case id is used where it stands there.
    """
    found = []
    for title, groups, note in (
        _by_volume(comparison),
        _by_diameter(comparison),
        *_by_class(comparison),
        *_by_attribute(comparison),
    ):
        strata = tuple(_stratum(comparison, name, cases) for name, cases in groups.items() if cases)
        if len(strata) > 1:
            found.append(Stratification(title, strata, note))
    return found


_Groups = tuple[str, dict[str, list[str]], str]


def _by_volume(comparison: Mapping[str, Any]) -> _Groups:
    small, middle, large = (f"{edge:g}" for edge in VOLUME_EDGES_ML)
    titles = ("no reference", f"< {small} mL", f"{small} to {middle} mL", f"{middle} to {large} mL", f"> {large} mL")
    groups: dict[str, list[str]] = {title: [] for title in titles}
    for case_id, score in _reference_scores(comparison).items():
        volume = score["reference_volume_ml"]
        if not volume:
            place = 0
        elif volume > VOLUME_EDGES_ML[-1]:
            place = 4
        else:
            place = 1 + sum(volume >= edge for edge in VOLUME_EDGES_ML[:2])
        groups[titles[place]].append(case_id)
    return "Volume of the reference", groups, ""


def _by_diameter(comparison: Mapping[str, Any]) -> _Groups:
    limit = f"{SMALL_DIAMETER_MM:g} mm"
    groups: dict[str, list[str]] = {f"{limit} or less": [], f"more than {limit}": []}
    small, large = groups.values()
    for case_id, score in _reference_scores(comparison).items():
        diameter = score.get("reference_largest_diameter_mm")
        if diameter:
            (small if diameter <= SMALL_DIAMETER_MM else large).append(case_id)
    return "Largest diameter of the reference", groups, "Cases without reference voxels are left out."


def _by_class(comparison: Mapping[str, Any]) -> Iterator[_Groups]:
    references: dict[str, dict[str, Any]] = {}
    classes: dict[str, Sequence[str]] = {}
    for model in comparison["models"].values():
        for target, score in model["classification"].items():
            classes[target] = score["classes"]
            known = {case_id: entry["reference"] for case_id, entry in score["cases"].items()}
            references[target] = known | references.get(target, {})
    for target, known in references.items():
        groups: dict[str, list[str]] = {name: [] for name in classes[target]}
        several = any(not isinstance(label, str) for label in known.values())
        if several:
            groups["none of them"] = []
        for case_id, label in known.items():
            names = (label,) if isinstance(label, str) else tuple(label) or ("none of them",)
            for name in names:
                groups[name].append(case_id)
        note = "A case with several classes stands in each of their rows." if several else ""
        yield f"Class: {target}", groups, note


def _by_attribute(comparison: Mapping[str, Any]) -> Iterator[_Groups]:
    attributes: Mapping[str, Mapping[str, Any]] = comparison.get("attributes") or {}
    for key in dict.fromkeys(key for entry in attributes.values() for key in entry):
        known = {case_id: entry[key] for case_id, entry in attributes.items() if entry.get(key) is not None}
        values = [value for value in known.values() if isinstance(value, (str, int, float, bool))]
        if len(values) < len(known) or not values:
            continue
        absent = [case_id for case_id in comparison["geometry"] if case_id not in known]
        groups: dict[str, list[str]] = {}
        numbers = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) == len(values) and len(set(numbers)) > 2:
            middle = median(numbers)
            groups = {f"up to {middle:g} (median)": [], f"more than {middle:g}": []}
            low, high = groups.values()
            for case_id, value in known.items():
                (low if float(value) <= middle else high).append(case_id)
        elif len(set(map(str, values))) <= MAX_GROUPS:
            for case_id, value in sorted(known.items(), key=lambda item: str(item[1])):
                groups.setdefault(str(value), []).append(case_id)
        groups["not recorded"] = absent
        yield key.replace("_", " "), groups, ""


def _reference_scores(comparison: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    cases = comparison["models"][comparison["baseline"]]["segmentation"]["cases"]
    return annotated({case_id: cases[case_id] for case_id in comparison["geometry"]}, FOREGROUND)


def _stratum(comparison: Mapping[str, Any], title: str, cases: Sequence[str]) -> Stratum:
    return Stratum(title, len(cases), {name: _score(comparison, name, cases) for name in model_names(comparison)})


def _score(comparison: Mapping[str, Any], model: str, cases: Sequence[str]) -> StratumScore:
    scores = {c: comparison["models"][model]["segmentation"]["cases"][c][FOREGROUND] for c in cases}
    diagonals = {c: comparison["geometry"][c]["diagonal_mm"] for c in cases}
    dsc, hd95 = (
        [v for c, s in scores.items() if (v := penalised(s, metric, diagonals[c])) is not None]
        for metric in ("dsc", "hd95")
    )
    return StratumScore(
        len(dsc),
        fmean(dsc) if dsc else None,
        fmean(hd95) if hd95 else None,
        sum(score["status"] == "missed" for score in scores.values()),
    )
