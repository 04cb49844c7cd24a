"""report.html and its twins: a comparison on one self-contained page, as Markdown, and its tables as files."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
from markupsafe import Markup

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.evaluation import report_texts
from nnunet_multitask.evaluation.aggregation import penalised
from nnunet_multitask.evaluation.case_table import write_case_table
from nnunet_multitask.evaluation.headline import headline_rows
from nnunet_multitask.evaluation.headline_files import write_headline_csv, write_headline_latex
from nnunet_multitask.evaluation.mask_agreement import mask_agreements
from nnunet_multitask.evaluation.overlays import AREA_COLOURS, choose_cases, draw_overlays
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.evaluation.report_pictures import dsc_picture, target_pictures, volume_picture
from nnunet_multitask.evaluation.reporting_guidelines import FILLED_TITLES, GUIDELINES
from nnunet_multitask.evaluation.strata import stratify
from nnunet_multitask.storage import atomic_file

REPORT_NAME = "report.html"
COMPARISON_NAME = "comparison.json"
CASES_NAME = "cases.csv"
MARKDOWN_NAME = "report.md"
HEADLINE_CSV_NAME = "headline.csv"
HEADLINE_LATEX_NAME = "headline.tex"
TEMPLATES = Path(__file__).parent / "templates"


def write_report(comparison: Mapping[str, Any], output_dir: str | Path) -> Path:
    """Write report.html and report.md, comparison.json and cases.csv, headline.csv and headline.tex.

    Args:
        comparison: what `compare_folders` returned. Images and masks of a few cases are read again from the folders
            that it names.
        output_dir: made where it is absent; files of these names are replaced.

    Returns:
        The path of report.html.

    Raises:
        InputError: an image that cannot be read, or with another geometry than its mask.
    """
    output_dir = Path(output_dir)
    page = render_report(comparison)
    write_json(output_dir / COMPARISON_NAME, comparison)
    write_case_table(comparison, output_dir / CASES_NAME)
    rows = headline_rows(comparison)
    write_headline_csv(rows, output_dir / HEADLINE_CSV_NAME)
    write_headline_latex(rows, output_dir / HEADLINE_LATEX_NAME)
    with atomic_file(output_dir / MARKDOWN_NAME) as temporary:
        temporary.write_text(render_markdown(comparison), encoding="utf-8")
    with atomic_file(output_dir / REPORT_NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output_dir / REPORT_NAME


def render_report(comparison: Mapping[str, Any]) -> str:
    """Return the page as HTML; see `write_report`."""
    environment = _environment(autoescape=True)
    content = report_content(comparison)
    cases = choose_cases(comparison, content["change_of"])
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        **content,
        script=Markup(script),  # our own file; the policy of the page lets this one run and no other
        script_hash=digest,
        dsc_picture=dsc_picture(comparison),
        volume_picture=volume_picture(comparison),
        pictures={
            target: target_pictures(target, entry["scores"], entry["classes"], content["names"])
            for target, entry in content["targets"].items()
        },
        overlays=draw_overlays(comparison, cases),
        area_colours=AREA_COLOURS,
        rows=_case_rows(comparison, content["names"]),
    )


def render_markdown(comparison: Mapping[str, Any]) -> str:
    """Return the report as Markdown, without pictures and single cases."""
    environment = _environment(autoescape=False)
    environment.filters["md"] = report_texts.markdown
    return environment.get_template("report.md.j2").render(**report_content(comparison))


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "signed", "p_value", "reason", "interval"):
        environment.filters[name] = getattr(report_texts, name)
    return environment


def report_content(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page and its Markdown twin have in common, by the names that the templates use."""
    names = report_texts.model_names(comparison)
    return {
        "comparison": comparison,
        "baseline": names[0],
        "others": names[1:],
        "change_of": names[1],
        "names": names,
        "regions": report_texts.shown_regions(comparison),
        "region_titles": {region: report_texts.region_title(region, comparison) for region in comparison["labels"]},
        "foreground": FOREGROUND,
        "metric_titles": report_texts.METRIC_TITLES,
        "class_metric_titles": report_texts.CLASS_METRIC_TITLES,
        "calibration_titles": report_texts.CALIBRATION_TITLES,
        "test_titles": report_texts.TEST_TITLES,
        "rule_titles": report_texts.RULE_TITLES,
        "headline": (rows := headline_rows(comparison)),
        "headline_groups": [(group, list(found)) for group, found in groupby(rows, key=lambda row: row.group)],
        "facts": _facts(comparison, names),
        "targets": _targets(comparison),
        "stratifications": stratify(comparison),
        "guidelines": GUIDELINES,
        "filled_titles": FILLED_TITLES,
        "run_times": {name: _run_time(Path(comparison["models"][name]["folder"])) for name in names},
    }


def _facts(comparison: Mapping[str, Any], names: list[str]) -> dict[str, list[str | None]]:
    """What is known of each model: title, then one text a model, None where nothing is recorded."""
    facts: dict[str, list[str | None]] = {
        "Role": ["baseline" if n == comparison["baseline"] else "model" for n in names]
    }
    models = [comparison["models"][name]["model"] for name in names]
    for title, keys in {
        "Dataset": ("dataset", "dataset_name"),
        "Trainer": ("trainer",),
        "Plans": ("plans", "plans_name"),
        "Configuration": ("configuration",),
        "Folds": ("folds",),
        "Seed": ("seed",),
        "Code (git)": ("git_hash", "git"),
        "Checkpoints (SHA-256)": ("checkpoint_sha256",),
    }.items():
        values = [
            next((model[key] for key in keys if model.get(key) not in (None, [], {}, "")), None) for model in models
        ]
        if title not in ("Seed", "Code (git)") or any(value is not None for value in values):
            facts[title] = [None if value is None else _text(value) for value in values]
    facts["Predictions"] = [comparison["models"][name]["folder"] for name in names]
    return facts


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"fold {key}: {str(entry)[:16]}…" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(entry) for entry in value)
    return str(value)


def _targets(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each target its classes, its scores by model, the rules of the mask by model, and how both agree."""
    targets: dict[str, dict[str, Any]] = {}
    for name, model in comparison["models"].items():
        for target, score in model["classification"].items():
            targets.setdefault(target, {"scores": {}, "classes": score["classes"]})["scores"][name] = score
    for target, entry in targets.items():
        entry["rules"] = {
            name: found["rules"]
            for name, model in comparison["models"].items()
            if (found := (model.get("mask_classification") or {}).get(target)) and found["rules"]
        }
        entry["agreements"] = mask_agreements(comparison, target)
        entry["compared"] = {
            name: found[target] for name, found in comparison["class_comparisons"].items() if target in found
        }
    return targets


def _run_time(folder: Path) -> dict[str, float] | None:
    """Seconds of the network by case, where the predictions tell it: number, median, sum."""
    path = folder / CLASSIFICATION_NAME
    document = read_json(path) if path.is_file() else {}
    cases = document.get("cases", {}) if isinstance(document, dict) else {}
    seconds = [float(entry["seconds"]) for entry in cases.values() if entry.get("seconds") is not None]
    return {"n": len(seconds), "median": median(seconds), "sum": sum(seconds)} if seconds else None


def _case_rows(comparison: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """One row a case of the table per case: scores of all foreground by model, decisions by target."""
    models = comparison["models"]
    rows = []
    for case_id in comparison["geometry"]:
        scores = {name: models[name]["segmentation"]["cases"][case_id][FOREGROUND] for name in names}
        baseline_dsc, model_dsc = (penalised(scores[name], "dsc", 0.0) for name in names[:2])
        decisions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for name in names:
            for target, entry in models[name]["classification"].items():
                if case_id in entry["cases"]:
                    decisions[target].append({"model": name, **_decision(entry["cases"][case_id])})
        rows.append(
            {
                "case": case_id,
                "scores": scores,
                "change": None if baseline_dsc is None or model_dsc is None else model_dsc - baseline_dsc,
                "decisions": decisions,
            }
        )
    return rows


def _decision(found: Mapping[str, Any]) -> dict[str, Any]:
    """Reference and decision of a case as texts, and the probability of a single class."""
    reference, decision = found["reference"], found["decision"]
    if isinstance(decision, str):
        right, probability = decision == reference, found["probabilities"][decision]
        return {"reference": reference, "decision": decision, "right": right, "probability": probability}
    return {
        "reference": ", ".join(reference) or "none",
        "decision": ", ".join(decision) or "none",
        "right": set(decision) == set(reference),
        "probability": None,
    }
