"""Which labels a training has: where they are read, how classes are weighed, what is refused."""

import json
from pathlib import Path

import nibabel
import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.training.supervision import load_sidecar


def make_trainer(name="nnUNetTrainerMultiTaskShort", fold=0):
    return get_trainer_from_args("901", "3d_fullres", fold, name, "micro", device=torch.device("cpu"))


def test_class_weights_come_from_the_training_fold_only(micro_env):
    trainer = make_trainer()
    trainer.initialize()
    trainer.get_tr_and_val_datasets()
    train, _ = trainer.do_split()
    kinds = [trainer.sidecar.cases[case].labels["subtype"] for case in train]
    expected = [len(kinds) / (2 * kinds.count(name)) for name in ("IPH", "IVH")]
    assert trainer.classification_loss.class_weights["subtype"].tolist() == pytest.approx(expected)


def test_unknown_labels_leave_the_heads_alone(micro_env, sidecar):
    trainer = make_trainer()
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    trainer.case_labels._labels = {case: {} for case in trainer.case_labels._labels}
    heads = [p.detach().clone() for p in trainer.network.heads.parameters()]
    for group in trainer.optimizer.param_groups:
        group["weight_decay"] = 0
    assert float(trainer.train_step(batch)["train_losses_classification"]) == 0
    assert all(torch.equal(a, b) for a, b in zip(heads, trainer.network.heads.parameters(), strict=True))


def test_missing_sidecar_is_named_before_a_folder_is_made(micro_env, sidecar, tmp_path, monkeypatch):
    hidden = sidecar.with_suffix(".hidden")
    sidecar.rename(hidden)
    (micro_env.preprocessed / sidecar.name).unlink(missing_ok=True)
    try:
        monkeypatch.setenv("nnUNet_results", str(tmp_path))
        with pytest.raises(InputError, match=r"\[missing-sidecar\] .*class_labels\.json: .*nnunet-multitask convert"):
            make_trainer()
        assert not list(tmp_path.iterdir())  # nnU-Net has not made the folder of the fold yet
    finally:
        hidden.rename(sidecar)


def test_preprocessed_copy_of_the_sidecar_is_enough(micro_env, sidecar, monkeypatch):
    make_trainer().initialize()
    monkeypatch.delenv("nnUNet_raw")
    trainer = make_trainer()
    trainer.initialize()
    assert list(trainer.targets) == ["subtype"]


def test_case_without_entry_is_named(micro_env, sidecar, edit):
    victim = sorted(json.loads(sidecar.read_text())["cases"])
    trained = {p.name[: -len("_0000.nii.gz")] for p in (micro_env.raw / "imagesTr").iterdir()}
    victim = next(case for case in victim if case in trained)
    edit(sidecar, lambda document: document["cases"].pop(victim))
    trainer = make_trainer()
    trainer.initialize()
    with pytest.raises(InputErrors, match=rf"\[case-without-entry\] .*{victim}: expected an entry"):
        trainer.get_tr_and_val_datasets()


def test_target_with_one_class_is_refused(micro_env, sidecar, edit):
    def change(document):
        for case in document["cases"].values():
            case["labels"]["subtype"] = "IPH"

    edit(sidecar, change)
    trainer = make_trainer()
    trainer.initialize()
    with pytest.raises(InputErrors, match=r"\[class-without-case\] .*subtype: .*IVH 0"):
        trainer.get_tr_and_val_datasets()


def test_labels_of_slices_that_the_image_has_not_are_named(micro_env, sidecar, edit):
    cases = sorted(json.loads(sidecar.read_text())["cases"])
    trained = {p.name[: -len("_0000.nii.gz")] for p in (micro_env.raw / "imagesTr").iterdir()}
    first, second = [case for case in cases if case in trained][:2]
    right, other = (
        nibabel.load(micro_env.raw / "imagesTr" / f"{case}_0000.nii.gz").shape[2] for case in (first, second)
    )

    def change(document):
        document["cases"][first]["slices"] = {"subtype": [None] * right}
        document["cases"][second]["slices"] = {"subtype": [None] * (other + 1)}

    edit(sidecar, change)
    trainer = make_trainer()
    trainer.initialize()
    with pytest.raises(InputErrors, match=r"\[slice-count\] ") as caught:
        trainer.get_tr_and_val_datasets()
    (error,) = caught.value.errors
    assert error.where == f"{sidecar}: cases/{second}/slices/subtype"  # the file to mend, not its copy
    assert error.fault == f"expected a label for each of the {other} axial slices, got {other + 1}"


def test_other_targets_than_the_folds_before_are_refused(micro_env, sidecar, edit, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trainer = make_trainer()
    trainer.on_train_start()
    edit(sidecar, lambda document: document["targets"]["subtype"]["classes"].reverse())
    make_trainer(fold=1).initialize()  # a start without a checkpoint has trained nothing
    (Path(trainer.output_folder) / "checkpoint_latest.pth").touch()
    with pytest.raises(InputError, match=r"(?s)\[targets-changed\] .*'IPH', 'IVH'.*'IVH', 'IPH'"):
        make_trainer(fold=1).initialize()


def test_a_damaged_copy_of_the_sidecar_is_written_again(micro_env, sidecar):
    copy = micro_env.preprocessed / sidecar.name
    for damaged in ("{}", "half a fi"):
        copy.write_text(damaged)
        assert list(load_sidecar(micro_env.raw, micro_env.preprocessed).targets) == ["subtype"]
        assert read_sidecar(copy) == read_sidecar(sidecar)
