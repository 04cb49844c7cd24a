"""The folds of a training: made where there are none, and checked."""

import json

import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.errors import InputError, InputErrors


def make_trainer(name="nnUNetTrainerMultiTaskShort", fold=0):
    return get_trainer_from_args("901", "3d_fullres", fold, name, "micro", device=torch.device("cpu"))


def test_folds_are_made_by_class_and_patient_where_none_exist(micro_env):
    path = micro_env.preprocessed / "splits_final.json"
    before = path.read_text()
    path.unlink()
    try:
        trainer = make_trainer("nnUNetTrainerBaselineShort")
        trainer.initialize()
        trainer.do_split()
        splits = json.loads(path.read_text())
        assert len(splits) == 5
        assert sorted(case for split in splits for case in split["val"]) == sorted(
            p.name[: -len("_0000.nii.gz")] for p in (micro_env.raw / "imagesTr").iterdir()
        )
    finally:
        path.write_text(before)


def test_folds_that_cannot_have_a_class_in_training_are_refused_and_not_written(micro_env, sidecar, edit):
    def one_ivh(document):
        for index, case in enumerate(document["cases"].values()):
            case["labels"]["subtype"] = "IPH" if index else "IVH"

    trainer = make_trainer("nnUNetTrainerBaselineShort")
    trainer.initialize()
    edit(sidecar, one_ivh)
    path = micro_env.preprocessed / "splits_final.json"
    before = path.read_text()
    path.unlink()
    try:
        with pytest.raises(InputErrors, match=r"\[class-without-training\] targets/subtype"):
            trainer.do_split()
        assert not path.exists()
    finally:
        path.write_text(before)


def test_a_patient_on_both_sides_is_refused(micro_env, sidecar, edit):
    fold = json.loads((micro_env.preprocessed / "splits_final.json").read_text())[0]
    for case in (fold["train"][0], fold["val"][0]):
        edit(sidecar, lambda document, case=case: document["cases"][case].update(group="P7"))
    trainer = make_trainer("nnUNetTrainerMultiTaskShort")
    trainer.initialize()
    with pytest.raises(InputError, match=r"\[leaking-group\] .*splits_final.json: .*training and validation: P7 -> "):
        trainer.do_split()
