import hashlib
import json

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.model import (
    check_model_folder,
    check_same_targets,
    finished_folds,
    sha256_of,
    targets_of_plans,
)

TARGETS = {"subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}}
PLANS = {"plans_name": "p", "multitask": {"targets": TARGETS}}
CHECKPOINT = "checkpoint_final.pth"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plans.json").write_text(json.dumps(PLANS))
    for fold in ("0", "2", "all"):
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / CHECKPOINT).write_bytes(b"weights")
    (tmp_path / "fold_1").mkdir()
    return tmp_path


def test_finished_folds_are_those_with_the_checkpoint(folder):
    assert finished_folds(folder, CHECKPOINT) == [0, 2]
    assert finished_folds(folder, "checkpoint_best.pth") == []


def test_folder_with_its_folds_is_accepted(folder):
    check_model_folder(folder, [0, 2, "all"], CHECKPOINT)


def test_folder_without_model_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"\[missing-model\] {tmp_path}.*plans.json.*-tr"):
        check_model_folder(tmp_path, [0], CHECKPOINT)


def test_stock_model_is_refused(folder):
    (folder / "plans.json").write_text(json.dumps({"plans_name": "nnUNetPlans"}))
    with pytest.raises(InputError, match=r"\[no-classification-heads\] .*plans.json: .*stock.*nnUNetv2_predict"):
        check_model_folder(folder, [0], CHECKPOINT)


def test_untrained_fold_is_named(folder):
    with pytest.raises(InputError, match=r"\[missing-checkpoint\] .*fold_1/checkpoint_final.pth.*-f"):
        check_model_folder(folder, [0, 1], CHECKPOINT)
    with pytest.raises(InputError, match=r"at least one fold with other\.pth"):
        check_model_folder(folder, [], "other.pth")
    (folder / "fold_all").mkdir(exist_ok=True)
    (folder / "fold_all" / "other.pth").touch()
    with pytest.raises(InputError, match=r"got only fold all -> name it: -f all"):
        check_model_folder(folder, [], "other.pth")


def test_folds_with_another_order_of_classes_are_refused(folder):
    other = json.loads(json.dumps(PLANS))
    other["multitask"]["targets"]["subtype"]["classes"] = ["IVH", "IPH"]
    targets = targets_of_plans(PLANS, "plans")
    check_same_targets(folder, targets, {"0": PLANS})
    with pytest.raises(InputError, match=r"\[mixed-folds\] .*fold_2: .*subtype: IPH, IVH.*subtype: IVH, IPH"):
        check_same_targets(folder, targets, {"0": PLANS, "2": other})


def test_sha256(folder):
    assert sha256_of(folder / "fold_0" / CHECKPOINT) == hashlib.sha256(b"weights").hexdigest()
