"""report.html and its twins: a comparison on one self-contained page, as Markdown, and its tables as files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nnunet_multitask.documents import write_json
from nnunet_multitask.evaluation import report_texts
from nnunet_multitask.evaluation.case_table import write_case_table
from nnunet_multitask.evaluation.headline import headline_rows
from nnunet_multitask.evaluation.headline_files import write_headline_csv, write_headline_latex
from nnunet_multitask.evaluation.markdown_twin import markdown_twin
from nnunet_multitask.evaluation.overlays import AREA_COLOURS, choose_cases, draw_overlays
from nnunet_multitask.evaluation.report_content import report_content
from nnunet_multitask.evaluation.report_pictures import (
    calibration_pictures,
    dsc_picture,
    gate_pictures,
    target_pictures,
    volume_picture,
)
from nnunet_multitask.evaluation.run_cost import RunCost
from nnunet_multitask.storage import atomic_file

REPORT_NAME = "report.html"
COMPARISON_NAME = "comparison.json"
CASES_NAME = "cases.csv"
MARKDOWN_NAME = "report.md"
HEADLINE_CSV_NAME = "headline.csv"
HEADLINE_LATEX_NAME = "headline.tex"
FILE_NAMES = (REPORT_NAME, MARKDOWN_NAME, COMPARISON_NAME, CASES_NAME, HEADLINE_CSV_NAME, HEADLINE_LATEX_NAME)
TEMPLATES = Path(__file__).parent / "templates"
# id, which is the name of the template, and title of every section in order; one without content is left out
SECTIONS = {
    "result": "Result",
    "compared": "What was compared",
    "mapping": "Classes of another data set",
    "flow": "Case flow",
    "headline": "Headline table",
    "segmentation": "Segmentation",
    "classification": "Classification",
    "calibration": "Calibration",
    "strata": "Kinds of cases",
    "cases": "Every case",
    "pictures": "Cases in pictures",
    "agreement": "Mask and class",
    "gate": "The class as a gate",
    "triage": "Triage, simulated",
    "published": "Published results",
    "time": "Run time and memory",
    "definitions": "Definitions",
    "guidelines": "Reporting guidelines",
    "limits": "Limits",
}


@dataclass(frozen=True)
class Section:
    """A section of the page: id of its heading, title, HTML."""

    id: str
    title: str
    body: Markup


def write_report(comparison: Mapping[str, Any], output_dir: str | Path, cost: RunCost | None = None) -> Path:
    """Write report.html and report.md, comparison.json and cases.csv, headline.csv and headline.tex.

    Args:
        comparison: what `compare_folders` returned. Images and masks of a few cases are read again from the folders
            that it names.
        output_dir: made where it is absent; files of these names are replaced.
        cost: time and memory of the comparison, for the page alone: JSON and CSV of the same inputs are the same.

    Returns:
        The path of report.html.

    Raises:
        InputError: an image that cannot be read, or with another geometry than its mask.
    """
    output_dir = Path(output_dir)
    page = render_report(comparison, cost)
    write_json(output_dir / COMPARISON_NAME, comparison)
    write_case_table(comparison, output_dir / CASES_NAME)
    rows = headline_rows(comparison)
    write_headline_csv(rows, output_dir / HEADLINE_CSV_NAME)
    write_headline_latex(rows, output_dir / HEADLINE_LATEX_NAME)
    with atomic_file(output_dir / MARKDOWN_NAME) as temporary:
        temporary.write_text(markdown_twin(page), encoding="utf-8")
    with atomic_file(output_dir / REPORT_NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output_dir / REPORT_NAME


def render_report(comparison: Mapping[str, Any], cost: RunCost | None = None) -> str:
    """Return the page as HTML; see `write_report`."""
    environment = _environment()
    content = {**report_content(comparison), **_pictures(comparison), "cost": cost}
    sections: dict[str, Section] = {}
    for name, title in SECTIONS.items():
        content["present"] = {found.id: found.title for found in sections.values()} | {"limits": SECTIONS["limits"]}
        body = environment.get_template(f"sections/{name}.html.j2").render(**content).strip()
        if body:
            sections[name] = Section(name, title, Markup(body))  # escaped where the template put texts in
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        **content,
        sections=list(sections.values()),
        script=Markup(script),  # our own file; the policy of the page lets this one run and no other
        script_hash=digest,
    )


def _pictures(comparison: Mapping[str, Any]) -> dict[str, Any]:
    names = report_texts.model_names(comparison)
    targets = {target for model in comparison["models"].values() for target in model["classification"]}
    return {
        "dsc_picture": dsc_picture(comparison),
        "volume_picture": volume_picture(comparison),
        "pictures": {target: target_pictures(comparison, target) for target in sorted(targets)},
        "calibration_pictures": calibration_pictures(comparison),
        "gate_pictures": gate_pictures(comparison),
        "overlays": draw_overlays(comparison, choose_cases(comparison, names[1])),
        "area_colours": AREA_COLOURS,
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "signed", "p_value", "reason", "interval", "percent_interval", "published_title"):
        environment.filters[name] = getattr(report_texts, name)
    return environment
