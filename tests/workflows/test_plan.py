"""Planning: the stock command's files where every case has a mask, else a fingerprint of those that have one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.workflows import plan
from nnunet_multitask.workflows.annotated_cases import MaskContent, annotated_only
from nnunet_multitask.workflows.plan import PlanOptions, plan_and_preprocess

IGNORE = 2
LABEL_ONLY = ("only_1", "only_2")
SUBTYPE = {"type": "multiclass", "classes": ["IPH", "IVH"]}


@pytest.fixture
def folders(micro_env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of the micro dataset in new folders: raw and preprocessed, the latter empty."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    raw = tmp_path / "nnUNet_raw" / micro_env.name
    shutil.copytree(micro_env.raw, raw)
    return raw, tmp_path / "nnUNet_preprocessed" / micro_env.name


def add_label_only_cases(raw: Path) -> None:
    """Two scans more, whose masks are ignore everywhere."""
    document = json.loads((raw / "dataset.json").read_text())
    sidecar = json.loads((raw / "class_labels.json").read_text())
    images = sorted((raw / "imagesTr").iterdir())
    for name, image in zip(LABEL_ONLY, images, strict=False):
        shutil.copy(image, raw / "imagesTr" / f"{name}_0000.nii.gz")
        scan = nibabel.load(image)
        mask = np.full(scan.shape, IGNORE, np.uint8)
        nibabel.save(nibabel.Nifti1Image(mask, scan.affine), raw / "labelsTr" / f"{name}.nii.gz")
        sidecar["cases"][name] = {"labels": {"subtype": "IPH"}}
    document["labels"]["ignore"] = IGNORE
    document["numTraining"] += len(LABEL_ONLY)
    (raw / "dataset.json").write_text(json.dumps(document))
    (raw / "class_labels.json").write_text(json.dumps(sidecar))


def test_without_label_only_cases_everything_is_the_stock_commands(folders, micro_env, monkeypatch, capfd):
    _, preprocessed = folders
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")  # planning alone would stop at this
    assert main("plan -d 901 -c 3d_fullres -np 1 -npfp 1 --no_pp".split()) == 0
    out = capfd.readouterr().out
    assert f"{micro_env.name}: 6 training cases planned as {preprocessed / 'nnUNetPlans.json'}" in out
    assert out.splitlines()[-4:] == [
        "next:",
        "  nnUNetv2_preprocess -d 901 -plans_name nnUNetPlans -c 3d_fullres",
        "  nnunet-multitask split 901",
        "  nnunet-multitask train 901 3d_fullres 0",
    ]
    for name in ("dataset_fingerprint.json", "nnUNetPlans.json", "dataset.json"):
        assert (preprocessed / name).read_bytes() == (micro_env.preprocessed / name).read_bytes(), name
    assert (preprocessed / "class_labels.json").is_file()


def test_label_only_cases_stay_out_of_the_fingerprint_and_are_preprocessed(folders, micro_env, caplog):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    raw, preprocessed = folders
    add_label_only_cases(raw)
    stale = preprocessed / "dataset_fingerprint.json"
    stale.parent.mkdir()
    stale.write_text(
        json.dumps({"spacings": [[1, 1, 1]] * 8, "what": "a fingerprint of all eight by the stock command"})
    )
    options = PlanOptions(fingerprint_processes=1, configurations=("3d_fullres",), processes=(1,), progress=False)
    with caplog.at_level("INFO", logger="nnunet_multitask"):
        (planned,) = plan_and_preprocess(["901"], options)
    assert (planned.num_cases, planned.label_only) == (8, LABEL_ONLY)
    assert "2 cases without mask are left out of the fingerprint" in caplog.text
    assert "is of other cases: it is extracted anew" in caplog.text
    stock = micro_env.preprocessed / "dataset_fingerprint.json"
    assert stale.read_bytes() == stock.read_bytes()  # as if the two were not there
    ours, stocks = (
        nnUNetDatasetBlosc2(str(f / "nnUNetPlans_3d_fullres")) for f in (preprocessed, micro_env.preprocessed)
    )
    assert set(ours.identifiers) == {*stocks.identifiers, *LABEL_ONLY}
    for case_id in stocks.identifiers:  # normalised by the same figures
        assert np.array_equal(ours.load_case(case_id)[0], stocks.load_case(case_id)[0])
    assert (np.asarray(ours.load_case(LABEL_ONLY[0])[1]) == IGNORE).all()


def test_what_the_stock_fingerprint_would_be(folders):
    """The mean intensity of nnU-Net's foreground with one label-only case among the annotated ones, and without."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    raw, _ = folders
    add_label_only_cases(raw)
    dataset = DatasetFingerprintExtractor("901").dataset
    seen = annotated_only(DatasetFingerprintExtractor, {c for c in dataset if c not in LABEL_ONLY})("901").dataset
    assert set(dataset) - set(seen) == set(LABEL_ONLY)
    means = {}
    for case_id in (LABEL_ONLY[0], *sorted(seen)[:2]):
        files = dataset[case_id]
        intensities = DatasetFingerprintExtractor.analyze_case(files["images"], files["label"], SimpleITKIO)[2]
        means[case_id] = float(np.mean(intensities[0]))
    label_only, *annotated = means.values()
    assert all(40 < mean < 90 for mean in annotated), means  # blood, HU
    assert label_only < -100, means  # mostly air


def test_a_dataset_without_any_mask_is_refused(folders):
    raw, _ = folders
    add_label_only_cases(raw)
    for path in (raw / "labelsTr").iterdir():
        shutil.copy(raw / "labelsTr" / f"{LABEL_ONLY[0]}.nii.gz", path) if path.name[:4] != "only" else None
    with pytest.raises(InputError, match=r"\[no-annotated-case\] .*got 8 whose mask is the ignore label everywhere"):
        plan_and_preprocess(["901"], PlanOptions(fingerprint_processes=1, progress=False))


def test_a_damaged_mask_is_named(folders):
    raw, _ = folders
    add_label_only_cases(raw)
    (raw / "labelsTr" / f"{LABEL_ONLY[1]}.nii.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(InputError, match=r"\[unreadable-mask\] .*only_2.nii.gz: expected a mask, got: .*verify"):
        plan_and_preprocess(["901"], PlanOptions(fingerprint_processes=1, progress=False))


def test_faults_come_before_the_work(folders, micro_env, monkeypatch, edit):
    raw, preprocessed = folders
    micro_plans = micro_env.preprocessed / "nnUNetPlans.json"
    with pytest.raises(InputError, match=r"\[bad-option\] -np: expected one number, or one for each of 2d 3d_fullres"):
        plan_and_preprocess(["901"], PlanOptions(configurations=("2d", "3d_fullres", "x"), processes=(1, 2)))
    for option, name in (("fingerprint_extractor", "-fpe"), ("planner", "-pl"), ("preprocessor", "-preprocessor_name")):
        with pytest.raises(InputError, match=rf"\[unknown-class-name\] {name}: .* found no Nonsense"):
            plan_and_preprocess(["901"], PlanOptions(**{option: "Nonsense"}))
    for numbers, option in (
        ({"processes": (0,)}, "-np"),
        ({"fingerprint_processes": -1}, "-npfp"),
        ({"gpu_memory_target_gb": float("nan")}, "-gpu_memory_target"),
        ({"target_spacing": (5.0, 0.0, 1.0)}, "-overwrite_target_spacing"),
    ):
        with pytest.raises(InputError, match=rf"\[bad-option\] {option}: expected numbers above 0, got"):
            plan_and_preprocess(["901"], PlanOptions(**numbers))
    for name in ("a__b", "../x", "splits_final"):
        with pytest.raises(InputError, match=r"\[bad-name\] -overwrite_plans_name: "):
            plan_and_preprocess(["901"], PlanOptions(plans_name=name))
    with pytest.raises(InputError, match=r"\[missing-configuration\] .*some of 2d, 3d_fullres, got 3dfullres;"):
        plan._check_configurations(micro_plans, ["3dfullres"])
    (preprocessed.parent / "Dataset901_Other").mkdir()
    with pytest.raises(InputError, match=r"\[duplicate-dataset-id\] .*Dataset901_Micro, Dataset901_Other -> rename"):
        plan_and_preprocess(["901"], PlanOptions())
    (preprocessed.parent / "Dataset901_Other").rmdir()
    edit(raw / "class_labels.json", lambda document: document["targets"]["subtype"].update(type="ordinal"))
    with pytest.raises(InputErrors, match=r"class_labels.json: targets/subtype/type: 'ordinal'"):
        plan_and_preprocess(["901"], PlanOptions())
    rule = {"type": "binary", "classes": ["no", "yes"], "present_if_label": {"yes": [2]}}
    edit(raw / "class_labels.json", lambda document: document["targets"].update(subtype=SUBTYPE, seen=rule))
    with pytest.raises(InputErrors, match=r"\[unknown-mask-label\] .*present_if_label/yes: .* among \[1\], got \[2\]"):
        plan_and_preprocess(["901"], PlanOptions())
    regions = {"background": 0, "whole": [1, 2], "core": 1}
    edit(raw / "dataset.json", lambda document: document.update(labels=regions, regions_class_order=[2, 1]))
    with pytest.raises(InputErrors, match=r"\[rule-without-region\] .*one region, \[1, 2\] or \[1\], got"):
        plan_and_preprocess(["901"], PlanOptions())
    assert not preprocessed.exists()
    monkeypatch.delenv("nnUNet_preprocessed")
    with pytest.raises(InputError, match=r"\[unset-variable\] environment variable nnUNet_preprocessed"):
        plan_and_preprocess(["901"], PlanOptions())


def test_partly_ignored_masks_are_warned_about(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(
        "nnunetv2.experiment_planning.plan_and_preprocess_api.extract_fingerprint_dataset", lambda *_: 0
    )
    contents = {"a": MaskContent(30, 10, 48), "b": MaskContent(0, 10, 48)}
    plan._extract_fingerprint(object, tmp_path / "Dataset001_X", 1, contents, PlanOptions())
    assert "WARN [partly-ignored] Dataset001_X: expected more labelled than ignored voxels" in caplog.text
    assert "got 20 and 30" in caplog.text
