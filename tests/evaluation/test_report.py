"""The report: every branch renders, nothing is fetched, text stays text, tables are strict."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.published_results import beside_published, published_names
from nnunet_multitask.evaluation.report import render_report, write_report
from nnunet_multitask.evaluation.run_cost import RunCost
from nnunet_multitask.evaluation.triage import triage_models
from nnunet_multitask.labels import read_sidecar

LABELS = {"background": 0, "IPH": 1, "IVH": 2}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, checks that they close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def compare(cohort: Path, models: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    folders = {name: cohort / folder for name, folder in (models or {"base": "baseline", "multi": "model"}).items()}
    options = {
        "labels": LABELS,
        "sidecar": read_sidecar(cohort / "class_labels.json"),
        "images_dir": cohort / "images",
        **options,
    }
    return compare_folders(cohort / "labels", folders, next(iter(folders)), **options)


@pytest.fixture
def html(cohort: Path) -> str:
    return render_report(compare(cohort, command="nnunet-multitask compare"))


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    page = Page(html)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == len(page.all("script")) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert all((anchor["href"] or "").startswith("#") for anchor in page.all("a"))
    assert not re.search(r"url\(|@import|https?://", html)


def test_pictures_have_words_and_headers_a_scope(html: str) -> None:
    page = Page(html)
    # DSC, ROC, confusion matrix and at least one case
    assert len(page.all("img")) >= 4
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert page.all("th")
    assert all(header.get("scope") in ("col", "row", "colgroup", "rowgroup") for header in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {anchor["href"][1:] for anchor in page.all("a")} <= set(ids)


def test_every_part_is_there(html: str) -> None:
    for title in ("Result", "What was compared", "Case flow", "Headline table", "Segmentation", "Classification"):
        assert f">{title}</h2>" in html
    for title in ("Kinds of cases", "Every case", "Cases in pictures", "Run time and memory", "Definitions", "Limits"):
        assert f">{title}</h2>" in html
    for text in ("HD95, directed", "Balanced accuracy", "does not classify", "worst-value", "Limits", "Brain window"):
        assert text in html
    for case_id in ("c1", "c2", "c3"):
        assert f'<th scope="row">{case_id}</th>' in html


def test_text_from_files_stays_text(cohort: Path) -> None:
    evil = "<script>alert(1)</script>"
    document = json.loads(json.dumps(compare(cohort)).replace('"c1"', json.dumps(evil)).replace('"multi"', '"<b>&m"'))
    document["images"] = None  # no file of that name
    html = render_report(document)
    assert html.count("<script>") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>&m" not in html
    Page(html)


def test_files_beside_the_page_are_strict_and_complete(cohort: Path, tmp_path: Path) -> None:
    document = compare(cohort)
    path = write_report(document, tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    names = ["cases.csv", "comparison.json", "headline.csv", "headline.tex", "report.html", "report.md"]
    assert sorted(file.name for file in path.parent.iterdir()) == names
    assert json.loads((path.parent / "comparison.json").read_text()) == document
    with (path.parent / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2  # cases, regions, models
    first = next(row for row in rows if (row["case"], row["region"], row["model"]) == ("c1", "IPH", "base"))
    assert float(first["dsc"]) == document["models"]["base"]["segmentation"]["cases"]["c1"]["IPH"]["dsc"]
    assert (first["status"], first["subtype_decision"]) == ("ok", "")
    multi = next(row for row in rows if (row["case"], row["model"]) == ("c3", "multi"))
    assert (multi["subtype_reference"], multi["subtype_decision"], multi["subtype_p_IVH"]) == ("IVH", "IPH", "0.4")


def test_csv_cells_are_no_formulas(cohort: Path, tmp_path: Path) -> None:
    document = json.loads(json.dumps(compare(cohort, images_dir=None)).replace('"c1"', '"=cmd()"'))
    write_report(document, tmp_path / "out")
    text = (tmp_path / "out" / "cases.csv").read_text()
    assert "\n'=cmd()," in text
    assert "\n=cmd()" not in text


def test_missed_cases_three_models_a_single_case_and_no_classes(cohort: Path) -> None:
    shutil.copytree(cohort / "model", cohort / "third")
    for folder in ("baseline", "model", "third"):
        (cohort / folder / "c2.nii.gz").unlink()
    html = render_report(compare(cohort, {"base": "baseline", "multi": "model", "third": "third"}))
    assert "Missing predictions" in html
    assert html.count('class="flag">missed') >= 3
    Page(html)
    for folder in ("labels", "baseline", "model", "third"):
        for name in ("c2", "c3"):
            (cohort / folder / f"{name}.nii.gz").unlink(missing_ok=True)
    html = render_report(compare(cohort, sidecar=None, images_dir=None))
    assert "n/a (fewer than 2 cases)" in html
    assert ">Classification</h2>" not in html
    Page(html)


def test_a_multilabel_target_and_one_of_three_classes(cohort: Path) -> None:
    sidecar = json.loads((cohort / "class_labels.json").read_text())
    classification = json.loads((cohort / "model" / "classification.json").read_text())
    targets = {
        "findings": {"type": "multilabel", "classes": ["IPH", "IVH"]},
        "side": {"type": "multiclass", "classes": ["left", "right", "both"]},
        "blood": {"type": "binary", "classes": ["no", "yes"]},
    }
    sidecar["targets"] = classification["targets"] = targets
    sides = {"c1": "left", "c2": "right", "c3": "both"}
    for case_id, entry in sidecar["cases"].items():
        entry["labels"] = {"findings": ["IPH"] if case_id != "c2" else [], "side": sides[case_id], "blood": "yes"}
    for entry in classification["cases"].values():
        entry["targets"] = {
            "findings": {"probabilities": {"IPH": 0.8, "IVH": 0.6}, "decision": ["IPH", "IVH"]},
            "side": {"probabilities": {"left": 0.5, "right": 0.3, "both": 0.2}, "decision": "left"},
            "blood": {"probabilities": {"no": 0.1, "yes": 0.9}, "decision": "yes"},
        }
    (cohort / "class_labels.json").write_text(json.dumps(sidecar))
    (cohort / "model" / "classification.json").write_text(json.dumps(classification))
    html = render_report(compare(cohort))
    assert 'n/a <span class="sub">(one class only)</span>' in html
    assert "averaged" not in re.findall(r"<h3>.*?</h3>", html)
    assert "as the mean over the classes, each against the rest (macro)" in html
    assert "IPH, IVH wrong" in html
    Page(html)


def test_the_same_comparison_gives_the_same_page(cohort: Path) -> None:
    document = compare(cohort)
    assert render_report(document) == render_report(document)


def test_ink_has_contrast_enough() -> None:
    css = (Path(__file__).parents[2] / "evaluation" / "templates" / "style.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css))

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ink in ("ink", "soft", "accent", "good", "bad"):
        for paper in ("#ffffff", colours["wash"]):
            assert (luminance(paper) + 0.05) / (luminance(colours[ink]) + 0.05) >= 4.5, (ink, paper)


def test_200_cases_of_full_size_fit_into_10_megabytes(
    cohort: Path, tmp_path: Path, write_nifti: Callable[..., Path]
) -> None:
    document = compare(cohort)
    rng = np.random.default_rng(0)
    mask = np.zeros((2, 512, 512), np.uint8)
    mask[:, 100:400, 150:380] = 1
    slices = {"images": rng.normal(40, 15, mask.shape).astype(np.int16), "labels": mask}
    slices |= {"baseline": np.roll(mask, 5, axis=2), "model": np.roll(mask, 2, axis=1)}
    names = [f"patient_{index:04d}" for index in range(200)]
    for folder, array in slices.items():
        channel = "_0000" if folder == "images" else ""
        first = write_nifti(tmp_path / "big" / folder / f"{names[0]}{channel}.nii.gz", array)
        for name in names[1:]:
            (first.parent / f"{name}{channel}.nii.gz").symlink_to(first)
    document["geometry"] = dict.fromkeys(names, document["geometry"]["c1"])
    document["reference"], document["images"] = str(tmp_path / "big" / "labels"), str(tmp_path / "big" / "images")
    for (name, model), folder in zip(document["models"].items(), ("baseline", "model"), strict=True):
        model["folder"] = str(tmp_path / "big" / folder)
        for score in model["classification"].values():
            score["cases"] = dict.fromkeys(names, score["cases"]["c1"])
        regions = model["segmentation"]["cases"]["c1"]
        model["segmentation"]["cases"] = {
            case_id: {
                region: {**score, "dsc": 0.5 + index / 1000 + (name == "multi") * rng.normal() / 10}
                for region, score in regions.items()
            }
            for index, case_id in enumerate(names)
        }
    page = write_report(document, tmp_path / "out")
    assert page.read_text().count("<figure>") >= 5
    assert page.stat().st_size < 10e6


def test_attributes_of_the_sidecar_group_the_cases(cohort: Path) -> None:
    sidecar = json.loads((cohort / "class_labels.json").read_text())
    for case_id, scanner in {"c1": "A", "c2": "B", "c3": "A"}.items():
        sidecar["cases"][case_id]["attributes"] = {"scanner_vendor": scanner}
    sidecar["cases"]["elsewhere"] = {**sidecar["cases"]["c1"], "attributes": {"scanner_vendor": "C"}}
    (cohort / "class_labels.json").write_text(json.dumps(sidecar))
    document = compare(cohort)
    assert document["attributes"] == {
        "c1": {"scanner_vendor": "A"},
        "c2": {"scanner_vendor": "B"},
        "c3": {"scanner_vendor": "A"},
    }
    assert "scanner vendor" in render_report(document)
    assert compare(cohort, sidecar=None)["attributes"] == {}


def test_every_part_that_was_asked_for_is_on_the_page(whole_comparison: str) -> None:
    html = render_report(json.loads(whole_comparison), RunCost(3, 12.34, 210.0))
    Page(html)
    for text in (
        "Dataset042_Blood</td><td",  # of both: the second classifies
        "only the 14 cases that every model predicted",
        "absent from base: case_98; multi: x_99",
        "No model knows the labels</span> IVH",
        "none: background",
        "patient, any slice",
        "every axial slice with a known label",
        "decisions: youden",
        "Quality of the probabilities of these cases before and after",
        "behind the gate",
        "Healthy scans with any mask",
        "This comparison: 12.3 s for scoring and tests, with 3 workers; at most 210 MiB",
        "median 2.65 s of the network a case, 37.1 s for 14 cases",
        "run time of the network not recorded",
        "of base they are not known here",
        "Brier score",
        "Effect of the gate by threshold, multi",
        "Every test, and effect sizes",
        "[mask-without-class] case case_00: expected reference mask and class to agree",
        "all labels together, 14 (base 14, multi 11)",
        "Relative volume difference",
        "The rule ABC/2 against voxels",
        "weighted mean",
        "Specificity at sensitivity 0.95",
        "nnunet-multitask compare ...",
    ):
        assert text in html, text
    assert "not recorded" not in re.search(r"Dataset</th>.*?</tr>", html).group()


def test_an_item_of_a_guideline_is_filled_only_by_a_section_that_is_there(cohort: Path) -> None:
    html = render_report(compare(cohort, images_dir=None, sidecar=None))
    for number in ("12f", "15"):  # calibration, classification
        assert f"{number}</th>" in html
        row = re.search(rf'"row">{number}</th>.*?</tr>', html).group()
        assert "the author</td>" in row
        assert "href" not in row


def test_published_tables_and_triage_stand_on_the_page_only_where_they_were_asked_for(
    cohort: Path, tmp_path: Path
) -> None:
    document = compare(cohort, images_dir=None)
    assert not re.search('id="(triage|published)"', render_report(document))
    document["published"] = {name: beside_published(name, document) for name in published_names()}
    document["triage"] = triage_models(document, "subtype:IVH", arrivals_per_hour=6.0, minutes_per_scan=15.0)
    html = render_report(document)
    (tmp_path / "page.html").write_text(html)
    Page(html)
    assert "The reader cannot keep up" in html
    assert "MultiHem multi-task" in html
    assert "yours: multi" in html
    assert "a difference is no test" in html
