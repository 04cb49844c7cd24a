"""The main job through the commands that a user types: stock training and prediction, joint prediction, comparison."""

import csv
import hashlib
import json

import pytest

TRAINER, BASELINE = "nnUNetTrainerMultiTaskShort", "nnUNetTrainerBaselineShort"


@pytest.fixture(scope="module")
def trained(micro):
    for trainer in (TRAINER, BASELINE):
        log = micro.run("nnUNetv2_train", *f"901 3d_fullres 0 -tr {trainer} -p micro -device cpu".split())
        assert "Mean Validation Dice" in log
    return micro


@pytest.fixture(scope="module")
def cross_validated(trained):
    """The dataset with both folds of both trainers."""
    for trainer in (TRAINER, BASELINE):
        trained.run("nnUNetv2_train", *f"901 3d_fullres 1 -tr {trainer} -p micro -device cpu".split())
    return trained


@pytest.fixture(scope="module")
def predicted(trained):
    images = str(trained.raw / "imagesTs")
    common = "-d 901 -c 3d_fullres -p micro -device cpu -npp 1 -nps 1".split()
    out = {name: trained.folder / "predictions" / name for name in ("joint", "stock", "baseline")}
    trained.run("nnunet-multitask", "predict", "-i", images, "-o", str(out["joint"]), "-tr", TRAINER, *common)
    for name, trainer in (("stock", TRAINER), ("baseline", BASELINE)):
        trained.run("nnUNetv2_predict", "-i", images, "-o", str(out[name]), "-tr", trainer, "-f", "0", *common)
    return out


def test_training_leaves_what_nnunet_leaves_and_its_own_curves(trained):
    fold = trained.results / f"{TRAINER}__micro__3d_fullres" / "fold_0"
    for name in ("checkpoint_final.pth", "progress.png", "classification_progress.png", "validation/summary.json"):
        assert (fold / name).is_file(), name
    assert not list(fold.glob("*.unfinished"))
    plans = json.loads((fold.parent / "plans.json").read_text())
    assert plans["multitask"]["targets"] == {
        "subtype": json.loads((trained.raw / "class_labels.json").read_text())["targets"]["subtype"]
    }
    assert (trained.preprocessed / "class_labels.json").is_file()


def test_masks_are_those_of_the_stock_command(trained, predicted):
    cases = sorted(path.name for path in predicted["stock"].glob("*.nii.gz"))
    assert len(cases) == 2
    for name in cases:
        assert (predicted["joint"] / name).read_bytes() == (predicted["stock"] / name).read_bytes()


def test_classification_of_every_case(trained, predicted):
    document = json.loads((predicted["joint"] / "classification.json").read_text())
    assert document["model"]["trainer"] == TRAINER
    assert document["model"]["plans"] == "micro"
    assert document["model"]["folds"] == [0]
    assert len(document["model"]["checkpoint_sha256"]["0"]) == 64
    assert len(document["cases"]) == 2
    for case in document["cases"].values():
        subtype = case["targets"]["subtype"]
        assert sum(subtype["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert subtype["decision"] == max(subtype["probabilities"], key=subtype["probabilities"].get)
        assert set(case["labels"]) == {"1"}
    with (predicted["joint"] / "classification.csv").open(newline="") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert {case_id: row["subtype_decision"] for case_id, row in rows.items()} == {
        case_id: case["targets"]["subtype"]["decision"] for case_id, case in document["cases"].items()
    }


def test_second_prediction_continues_only_what_lacks_mask_or_classification(trained, predicted):
    folder = predicted["joint"]
    document = json.loads((folder / "classification.json").read_text())
    first, second = sorted(document["cases"])
    before = (folder / f"{second}.nii.gz").stat().st_mtime_ns
    masks = {case_id: (folder / f"{case_id}.nii.gz").read_bytes() for case_id in (first, second)}
    (folder / f"{first}.nii.gz").unlink()
    log = trained.run(
        "nnunet-multitask", "predict", "-i", str(trained.raw / "imagesTs"), "-o", str(folder), "--continue_prediction",
        *f"-d 901 -c 3d_fullres -p micro -tr {TRAINER} -device cpu -npp 0 -nps 0".split(),
    )  # fmt: skip
    assert "1 of 2 cases are finished, 1 to go" in log
    assert (folder / f"{second}.nii.gz").stat().st_mtime_ns == before
    assert {case_id: (folder / f"{case_id}.nii.gz").read_bytes() for case_id in (first, second)} == masks
    again = json.loads((folder / "classification.json").read_text())
    assert again["cases"][second] == document["cases"][second]
    assert again["cases"][first]["targets"] == document["cases"][first]["targets"]


def test_a_truncated_image_is_refused_before_anything_is_predicted(trained, tmp_path):
    for path in (trained.raw / "imagesTs").iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2])
    log = trained.run(
        "nnunet-multitask", "predict", "-i", str(tmp_path), "-o", str(tmp_path / "out"),
        *f"-d 901 -c 3d_fullres -p micro -tr {TRAINER} -device cpu -npp 0 -nps 0".split(), status=1,
    )  # fmt: skip
    assert log.count("ERROR [damaged-gzip]") == 2
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_comparison_writes_a_report(trained, predicted):
    output = trained.folder / "comparison"
    trained.run(
        "nnunet-multitask", "compare", "--reference", str(trained.raw / "labelsTs"),
        "--baseline", f"baseline={predicted['baseline']}", "--model", f"multitask={predicted['joint']}",
        "--labels", str(trained.raw / "class_labels.json"), "--images", str(trained.raw / "imagesTs"),
        "--output", str(output),
    )  # fmt: skip
    comparison = json.loads((output / "comparison.json").read_text())
    assert set(comparison["models"]) == {"baseline", "multitask"}
    assert comparison["models"]["multitask"]["segmentation"]["summary"]["foreground"]["dsc"]["penalised"]["n"] == 2
    page = (output / "report.html").read_text()
    assert "multitask" in page
    assert "data:image/png;base64," in page


def test_vanilla_checkpoint_is_refused_by_joint_prediction(trained):
    log = trained.run(
        "nnunet-multitask", "predict", "-i", str(trained.raw / "imagesTs"), "-o", str(trained.folder / "refused"),
        *f"-d 901 -c 3d_fullres -p micro -tr {BASELINE} -device cpu".split(), status=1,
    )  # fmt: skip
    lines = [line for line in log.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("ERROR [no-classification-heads]")
    assert "plans.json" in lines[0]
    assert "nnUNetv2_predict" in lines[0]
    assert not (trained.folder / "refused").exists()


def test_both_folds_become_one_table_a_comparison_and_the_refusal_of_a_calibration(cross_validated):
    micro = cross_validated
    model = micro.results / f"{TRAINER}__micro__3d_fullres"
    named = f"-d 901 -c 3d_fullres -p micro -tr {TRAINER}".split()
    assert "6 cases of the folds 0, 1\nsubtype: n = 6, 0 without a label; AUC " in micro.run(
        "nnunet-multitask", "collect", *named
    )
    table = json.loads((model / "classification_out_of_fold.json").read_text())
    splits = json.loads((micro.preprocessed / "splits_final.json").read_text())
    home = {case_id: fold for fold, split in enumerate(splits) for case_id in split["val"]}
    sidecar = json.loads((micro.raw / "class_labels.json").read_text())
    assert {case_id: case["fold"] for case_id, case in table["cases"].items()} == home
    assert all(case["reference"] == sidecar["cases"][case_id]["labels"] for case_id, case in table["cases"].items())
    for fold, digest in table["model"]["checkpoint_sha256"].items():
        assert digest == hashlib.sha256((model / f"fold_{fold}" / "checkpoint_final.pth").read_bytes()).hexdigest()

    output = micro.folder / "out_of_fold"
    models = [f"--trained=stock={BASELINE}__micro__3d_fullres", f"--trained=ours={TRAINER}__micro__3d_fullres"]
    log = micro.run(
        "nnunet-multitask", "compare", "--dataset", "901", *models, "--gate", "subtype=IPH", "--output", str(output)
    )
    assert "ours: gate: masks of " in log
    comparison = json.loads((output / "comparison.json").read_text())
    assert sorted(comparison["geometry"]) == sorted(home)
    assert comparison["models"]["ours"]["model"]["checkpoint_sha256"] == table["model"]["checkpoint_sha256"]
    assert comparison["models"]["ours"]["model"]["out_of_fold"]
    scored = comparison["models"]["ours"]["classification"]["subtype"]["cases"]
    assert {c: found["probabilities"] for c, found in scored.items()} == {
        c: case["targets"]["subtype"]["probabilities"] for c, case in table["cases"].items()
    }
    assert "classification" in (output / "report.html").read_text()

    scores = micro.folder / "out_of_fold.json"
    micro.run(
        "nnunet-multitask", "evaluate", "--reference", str(micro.raw / "labelsTr"), "--prediction",
        str(output / "out_of_fold" / "ours"), "--labels", str(micro.raw / "class_labels.json"), "--output", str(scores),
    )  # fmt: skip
    assert json.loads(scores.read_text())["classification"]["subtype"]["n"] == 6
    refusal = micro.run("nnunet-multitask", "calibrate", *named, status=1)
    assert f"ERROR [too-few-cases] {model}: target subtype" in refusal
    assert not (model / "calibration.json").exists()


def test_training_continues_where_it_stopped(cross_validated):
    trained = cross_validated
    fold = trained.results / f"{TRAINER}__micro__3d_fullres" / "fold_1"
    common = f"901 3d_fullres 1 -tr {TRAINER} -device cpu".split()
    trained.run("nnunet-multitask", "configure", "901", "--from", "micro", "--name", "longer", "--epochs", "3")
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    fold.parent.rename(fold.parent.with_name(f"{TRAINER}__longer__3d_fullres"))
    log = trained.run("nnunet-multitask", "train", *common, "-p", "longer", "--c")
    assert "Epoch 2" in log
    assert "Epoch 1\n" not in log
    best = trained.run("nnUNetv2_train", *common, "-p", "longer", "--val", "--val_best", "--npz")
    assert "Epoch" not in best
    assert "Mean Validation Dice" in best
    validation = fold.parent.with_name(f"{TRAINER}__longer__3d_fullres") / "fold_1" / "validation"
    assert len(list(validation.glob("*.npz"))) == 3
    about = json.loads((validation / "classification.json").read_text())["model"]
    assert (about["plans"], about["checkpoint"], about["folds"]) == ("longer", "checkpoint_best.pth", [1])
