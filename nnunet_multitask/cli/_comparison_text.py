"""A comparison as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_multitask.cli._classes import describe_calibration, describe_gate, p_text
from nnunet_multitask.cli._scoring import text_of


def describe(comparison: Mapping[str, Any]) -> str:
    """Return the differences of a comparison as tables for the terminal."""
    from nnunet_multitask.evaluation.report_texts import region_title

    baseline, primary = comparison["baseline"], comparison["test_options"]["primary"]
    width = max(5, *(len(name) for name in comparison["models"]))
    lines = [
        f"{'model':{width}}  {'DSC':>6}  {'HD95 mm':>8}  {'DSC difference':>14}  {'95 % interval':>18}  "
        f"{f'p ({primary})':>15}  {'p (Holm)':>8}  AUC"
    ]
    for name, model in sorted(comparison["models"].items(), key=lambda item: item[0] != baseline):
        summary = model["segmentation"]["summary"]["foreground"]
        auc = ", ".join(f"{target} {text_of(score['auc'])}" for target, score in model["classification"].items())
        difference, interval, p, p_holm = "baseline", "", "", ""
        if name != baseline:
            test = comparison["comparisons"][name]["foreground"]["dsc"]
            difference, interval = text_of(test["mean_difference"], 4), _interval_text(test["interval"])
            p, p_holm = text_of(test["primary"]["p"], 4), text_of(test["primary"]["p_holm"], 4)
        lines.append(
            f"{name:{width}}  {text_of(summary['dsc']['penalised']['mean']):>6}  "
            f"{text_of(summary['hd95']['penalised']['mean'], 2):>8}  {difference:>14}  {interval:>18}  {p:>15}  "
            f"{p_holm:>8}  {auc or '-'}"
        )
    lines.append(f"DSC and HD95: {region_title('foreground', comparison)}")
    lines.append("missed and false positive cases count with DSC 0 and the diagonal of the image")
    lines += [line for name in comparison["comparisons"] for line in _verdicts(comparison, name)]
    for name, model in comparison["models"].items():
        if model["calibration"] is not None:
            lines.append(f"{name}: {describe_calibration(model['calibration'])}")
        if model["gate"] is not None:
            first, *rest = describe_gate(model["gate"])
            lines += [f"{name}: {first}", *rest]
    mapping = comparison.get("class_mapping", {"not_covered": {"labels": []}})
    if mapping["not_covered"]["labels"]:
        names = ", ".join(mapping["not_covered"]["labels"])
        lines.append(f"no model knows the labels {names}: where the reference has them, they count as not found")
    case_set = comparison["case_set"]
    if case_set["rule"] == "intersection":
        left_out = len({case_id for cases in case_set["left_out"].values() for case_id in cases})
        lines.append(f"over the {case_set['scored']} cases that every model predicted: {left_out} others are left out")
    if "triage" in comparison:
        lines += _triage(comparison["triage"])
    for document in comparison.get("published", {}).values():
        lines += _published(document)
    return "\n".join(lines)


def _verdicts(comparison: Mapping[str, Any], name: str) -> Iterator[str]:
    """What the table has no column for: non-inferiority, and the tests of the classes."""
    verdict = comparison["comparisons"][name]["foreground"]["dsc"].get("non_inferiority")
    if verdict is not None:
        word = {True: "non-inferior", False: "not shown to be non-inferior", None: "no verdict"}[
            verdict["non_inferior"]
        ]
        reason = f" ({verdict['reason']})" if "reason" in verdict else ""
        yield (
            f"{name}: DSC {word} at a margin of {verdict['margin']:g}{reason}, "
            f"lower bound of the difference {text_of(verdict['bound'], 4)}"
        )
    for target, tests in comparison["class_comparisons"][name].items():
        for label, auc in tests["auc"].items():
            ends = "" if auc["low"] is None else f" {_interval_text(auc)}"
            yield (
                f"{name}: {target} AUC of {label} {text_of(auc['auc'])} against {text_of(auc['baseline_auc'])}, "
                f"difference {text_of(auc['difference'])}{ends}, p (DeLong) {p_text(auc)}"
            )
        accuracy = tests["accuracy"]
        is_multilabel = comparison["models"][name]["classification"][target]["type"] == "multilabel"
        title = "subset accuracy (all classes right)" if is_multilabel else "accuracy"
        yield (
            f"{name}: {target} {title} {text_of(accuracy['model'])} against {text_of(accuracy['baseline'])}, "
            f"p (McNemar) {p_text(accuracy['mcnemar'])}"
        )


def _interval_text(interval: Mapping[str, Any]) -> str:
    return "n/a" if interval["low"] is None else f"{interval['low']:.4f} to {interval['high']:.4f}"


def _triage(triage: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"triage by {triage['target']}: {triage['class']} (simulated; {triage['arrivals_per_hour']:g} scans per hour, "
        f"{triage['minutes_per_scan']:g} min each, reader busy {100 * triage['utilisation']:.0f} % of the time):"
    )
    for name, found in triage["models"].items():
        first, urgent = found["first_come_first_served_min"], found["by_probability_min"]
        yield (
            f"  {name}: median wait of {found['positives']} positive scans {text_of(urgent, 1)} min by probability, "
            f"{text_of(first, 1)} min first come, first served"
        )


def _published(document: Mapping[str, Any]) -> Iterator[str]:
    """The tables of a paper, the user's models below its systems."""
    yield f"\n{document['title']}\nsource: {document['source']}"
    for table in document["tables"]:
        metrics = list(table["metrics"])
        rows = {row["system"]: row["values"] for row in table["rows"]} | {
            f"yours: {name}": values for name, values in table["yours"].items()
        }
        widths = [max(7, len(metric)) for metric in metrics]
        first = max(len(name) for name in rows)
        yield f"{table['title']} (level: {table['level']})"
        yield "  ".join([" " * first, *(f"{name:>{width}}" for name, width in zip(metrics, widths, strict=True))])
        for name, values in rows.items():
            cells = [_cell(values.get(metric)) for metric in metrics]
            yield "  ".join([f"{name:{first}}", *(f"{c:>{width}}" for c, width in zip(cells, widths, strict=True))])
        yield from (f"  ! {warning}" for warning in table["warnings"])
    yield from (f"  ! {note}" for note in document["read_with_care"])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
