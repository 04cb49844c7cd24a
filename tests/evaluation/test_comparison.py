"""Comparing folders: differences and tests by hand, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.comparison import ComparisonOptions, compare_folders
from nnunet_multitask.evaluation.report import write_report
from nnunet_multitask.evaluation.run_cost import RunCost
from nnunet_multitask.labels import read_sidecar

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def compare(cohort: Path, *names: str, **options: Any) -> dict[str, Any]:
    models = {name: cohort / name for name in names or ("baseline", "model")}
    return compare_folders(cohort / "labels", models, "baseline", labels=LABELS, **options)


def test_differences_by_hand(cohort: Path) -> None:
    document = compare(cohort, sidecar=read_sidecar(cohort / "class_labels.json"))
    json.dumps(document, allow_nan=False)
    dsc = document["comparisons"]["model"]["IPH"]["dsc"]
    # rows of 5, 6 and 7 voxels shifted by one
    expected = [4 / 5, 5 / 6, 6 / 7]
    assert dsc["baseline_mean"] == pytest.approx(sum(expected) / 3)
    assert dsc["model_mean"] == 1.0
    assert dsc["mean_difference"] == pytest.approx(1 - sum(expected) / 3)
    assert (dsc["n"], dsc["wins"], dsc["ties"], dsc["losses"]) == (3, 3, 0, 0)
    assert dsc["wilcoxon"]["p"] == pytest.approx(0.25)
    hd = document["comparisons"]["model"]["foreground"]["hd"]
    assert (hd["mean_difference"], hd["wins"], hd["higher_is_better"]) == (-2.0, 3, False)
    assert hd["paired_t"] == {"statistic": None, "p": None, "n": 3, "reason": "all_differences_equal"}
    assert document["models"]["model"]["classification"]["subtype"]["auc"] == 1.0
    assert document["models"]["baseline"]["classification"] == {}
    assert document["models"]["model"]["model"] == {"trainer": "T"}
    assert document["patients"] == 3
    assert document["image_channel"] == "CT"


def test_a_missed_case_stays_in_the_paired_test(cohort: Path) -> None:
    for model in ("baseline", "model"):
        (cohort / model / "c2.nii.gz").unlink()
    document = compare(cohort)
    dsc = document["comparisons"]["model"]["foreground"]["dsc"]
    assert (dsc["n"], dsc["ties"]) == (3, 1)
    assert document["models"]["model"]["segmentation"]["summary"]["foreground"]["dsc"]["penalised"]["min"] == 0.0
    assert document["comparisons"]["model"]["foreground"]["hd95"]["n"] == 3


def test_a_case_without_a_drawn_mask_is_in_no_pair_and_the_report_says_so(
    cohort: Path, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    write_nifti(cohort / "labels" / "c1.nii.gz", np.full((6, 20, 24), 3, np.uint8))
    models = {name: cohort / name for name in ("baseline", "model")}
    document = compare_folders(cohort / "labels", models, "baseline", labels={**LABELS, "ignore": 3})
    assert document["comparisons"]["model"]["IPH"]["dsc"]["n"] == 2
    page = write_report(document, tmp_path / "report").read_text()
    assert "1 of the references are ignored everywhere: of these cases the classes are scored, and no mask." in page
    assert "not_annotated" not in page  # in words for readers


def test_a_model_against_itself_has_no_p(cohort: Path) -> None:
    shutil.copytree(cohort / "baseline", cohort / "twin")
    dsc = compare(cohort, "baseline", "twin")["comparisons"]["twin"]["foreground"]["dsc"]
    assert (dsc["mean_difference"], dsc["ties"]) == (0.0, 3)
    assert dsc["paired_t"]["reason"] == dsc["wilcoxon"]["reason"] == "all_differences_zero"


def test_one_case_has_no_p(cohort: Path) -> None:
    for folder in ("labels", "baseline", "model"):
        for name in ("c2", "c3"):
            (cohort / folder / f"{name}.nii.gz").unlink()
    dsc = compare(cohort)["comparisons"]["model"]["foreground"]["dsc"]
    assert dsc["wilcoxon"] == {"statistic": None, "p": None, "n": 1, "reason": "n_below_2"}


def test_several_models(cohort: Path) -> None:
    shutil.copytree(cohort / "model", cohort / "other")
    document = compare(cohort, "baseline", "model", "other", model_metadata={"baseline": {"trainer": "B"}})
    assert list(document["comparisons"]) == ["model", "other"]
    assert document["comparisons"]["model"] == document["comparisons"]["other"]
    assert document["models"]["baseline"]["model"] == {"trainer": "B"}


def test_different_case_sets_are_refused_with_the_cases(cohort: Path) -> None:
    (cohort / "model" / "c2.nii.gz").unlink()
    with pytest.raises(
        InputErrors, match=r"\[different-case-sets\] .*model: .* 3 cases .*, 1 are absent: c2 -> predict"
    ):
        compare(cohort)


def test_unknown_baseline_a_single_model_and_absent_images_are_refused(cohort: Path) -> None:
    with pytest.raises(InputError, match=r"\[unknown-baseline\].*expected one of model, twin, got baseline"):
        compare(cohort, "model", "twin")
    with pytest.raises(InputError, match=r"\[one-model\]"):
        compare(cohort, "baseline")
    with pytest.raises(InputError, match=r"\[missing-folder\] .*nowhere"):
        compare(cohort, images_dir=cohort / "nowhere")


def test_plans_beside_the_masks_tell_the_trainer(cohort: Path) -> None:
    plans = {"dataset_name": "Dataset001_X", "plans_name": "p", "multitask": {"model": {"trainer": "B"}}}
    (cohort / "baseline" / "plans.json").write_text(json.dumps(plans))
    model = compare(cohort)["models"]["baseline"]["model"]
    assert model == {"dataset_name": "Dataset001_X", "plans_name": "p", "trainer": "B"}


def test_the_intersection_is_compared_where_asked_for(cohort: Path) -> None:
    (cohort / "model" / "c2.nii.gz").unlink()
    document = compare(cohort, intersection=True)
    assert document["case_set"] == {"rule": "intersection", "scored": 2, "left_out": {"model": ["c2"]}}
    assert list(document["geometry"]) == ["c1", "c3"]
    assert document["comparisons"]["model"]["IPH"]["dsc"]["n"] == 2
    assert document["models"]["baseline"]["case_flow"]["reference"] == 2


def test_classes_of_two_models_are_compared(cohort: Path) -> None:
    shutil.copytree(cohort / "model", cohort / "twin")
    path = cohort / "twin" / "classification.json"
    document = json.loads(path.read_text())
    document["cases"]["c3"]["targets"]["subtype"] = {"probabilities": {"IPH": 0.1, "IVH": 0.9}, "decision": "IVH"}
    path.write_text(json.dumps(document))
    models = {name: cohort / name for name in ("model", "twin", "baseline")}
    sidecar = read_sidecar(cohort / "class_labels.json")
    compared = compare_folders(cohort / "labels", models, "model", labels=LABELS, sidecar=sidecar)["class_comparisons"]
    assert compared["baseline"] == {}
    accuracy = compared["twin"]["subtype"]["accuracy"]
    assert (accuracy["model"], accuracy["baseline"]) == (1.0, pytest.approx(2 / 3))
    assert compared["twin"]["subtype"]["auc"]["IVH"]["difference"] == 0.0


def test_primary_test_family_and_margin_are_written_down(cohort: Path) -> None:
    options = ComparisonOptions(primary="permutation", family=("dsc", "nsd"), dsc_margin=0.02)
    document = compare(cohort, options=options)
    assert document["test_options"] == {"primary": "permutation", "family": ["dsc", "nsd"], "dsc_margin": 0.02}
    dsc = document["comparisons"]["model"]["IPH"]["dsc"]
    # three differences of one sign: 2 of 8 patterns; two metrics in the family, the other without a smaller p
    assert dsc["primary"]["p"] == 0.25
    assert dsc["primary"]["p_holm"] in (0.25, 0.5)
    assert dsc["non_inferiority"]["margin"] == 0.02
    assert "non_inferiority" not in document["comparisons"]["model"]["IPH"]["nsd"]
    assert document["comparisons"]["model"]["IPH"]["hd"]["primary"]["reason"] == "not_in_family"


def test_unknown_tests_metrics_and_margins_are_refused_together(cohort: Path) -> None:
    with pytest.raises(InputErrors) as caught:
        compare(cohort, options=ComparisonOptions(primary="z", family=("dice",), dsc_margin=2.0))  # type: ignore[arg-type]
    assert [error.code for error in caught.value.errors] == ["unknown-test", "unknown-metric", "bad-margin"]


def test_the_same_inputs_give_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    options = {"sidecar": read_sidecar(cohort / "class_labels.json"), "images_dir": cohort / "images"}
    folders = tmp_path / "first", tmp_path / "second"
    for workers, folder in enumerate(folders, 1):  # one process, and two; what it cost differs, too
        write_report(compare(cohort, **options, num_workers=workers), folder, RunCost(workers, workers / 3, None))
    names = {path.name for path in folders[0].iterdir()} - {"report.html", "report.md"}
    assert names == {"comparison.json", "cases.csv", "headline.csv", "headline.tex"}
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
