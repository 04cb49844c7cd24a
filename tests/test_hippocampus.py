"""The main job in miniature on real MR volumes, with the stock commands and no edit of code."""

import csv
import json
import shutil
from pathlib import Path

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "hippocampus"
TRAINER = "nnUNetTrainerMultiTaskShort"

pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the sample of real MR volumes is absent: {SAMPLE}")


@pytest.fixture
def source(tmp_path):
    """Eight cases to train on and two to test, of both classes, copied out of the sample."""
    with (SAMPLE / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = []
    for split, count in (("train", 4), ("test", 1)):
        for volume_class in ("small", "large"):
            matching = [row for row in rows if (row["split"], row["volume_class"]) == (split, volume_class)]
            chosen += matching[:count]
    folder = tmp_path / "source"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        for row in chosen:
            shutil.copy(SAMPLE / part / f"{row['case_id']}.nii.gz", folder / part)
    with (folder / "classes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    return folder


def test_real_volumes_from_folder_to_report(micro, source):
    raw = micro.folder / "nnUNet_raw" / "Dataset904_Hippocampus"
    micro.run(
        "nnunet-multitask", "convert", "folder", "--input", str(source), "--dataset-id", "904",
        "--dataset-name", "Hippocampus", "--label-names", "anterior,posterior", "--channel-name", "MR",
    )  # fmt: skip
    micro.run("nnunet-multitask", "verify", "904")
    micro.run("nnUNetv2_plan_and_preprocess", *"-d 904 -c 3d_fullres -np 1".split(), nnUNet_n_proc_DA="1")
    micro.run("nnunet-multitask", *"split 904 --folds 2".split())
    sizes = "--features 4,8,8 --batch-size 2 --epochs 1 --iterations 2 --val-iterations 1".split()
    micro.run("nnunet-multitask", "configure", "904", "--name", "tiny", *sizes)
    for trainer in (TRAINER, "nnUNetTrainerBaselineShort"):
        micro.run("nnUNetv2_train", *f"904 3d_fullres 0 -tr {trainer} -p tiny -device cpu".split())
    joint, baseline, output = (micro.folder / "hippocampus" / name for name in ("joint", "baseline", "comparison"))
    common = f"-i {raw / 'imagesTs'} -d 904 -c 3d_fullres -p tiny -device cpu -npp 1 -nps 1".split()
    micro.run("nnunet-multitask", "predict", *common, "-o", str(joint), "-tr", TRAINER)
    micro.run("nnUNetv2_predict", *common, *f"-o {baseline} -tr nnUNetTrainerBaselineShort -f 0".split())
    labels = str(raw / "class_labels.json")
    micro.run(
        "nnunet-multitask", "compare", "--reference", str(raw / "labelsTs"), "--images", str(raw / "imagesTs"),
        "--labels", labels, "--baseline", str(baseline), "--model", str(joint), "--output", str(output),
    )  # fmt: skip
    comparison = json.loads((output / "comparison.json").read_text())
    assert comparison["image_channel"] == "MR"
    assert comparison["models"]["joint"]["classification"]["volume_class"]["n"] == 2
    assert set(comparison["comparisons"]["joint"]) == {"anterior", "posterior", "foreground"}
    assert comparison["models"]["baseline"]["model"]["trainer"] == "nnUNetTrainerBaselineShort"
    assert (output / "report.html").stat().st_size > 10_000
