"""Each option of nnU-Net that changes what is trained: training, final validation and prediction on micro data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from derived_dataset import derive_dataset
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import read_mask
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.training import trainers

CPU = torch.device("cpu")
REGIONS = {"background": 0, "hemorrhage": [1, 2], "core": [2]}
LOWRES = {
    "3d_lowres": {
        "inherits_from": "3d_fullres",
        "data_identifier": "nnUNetPlans_3d_lowres",
        "spacing": [5.0, 3.5, 3.5],
        "patch_size": [8, 32, 32],
        "next_stage": "3d_cascade_fullres",
    },
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
}


@pytest.fixture
def derive(micro, tmp_path, monkeypatch):
    """Return a function that makes a dataset like the micro dataset and sets its variables."""
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)  # a second of each epoch

    def make(**changes):
        for name, value in derive_dataset(micro, tmp_path, **changes).items():
            monkeypatch.setenv(name, value)
        return tmp_path

    return make


def make_trainer(folder, configuration="3d_fullres", fold=0):
    preprocessed = folder / "nnUNet_preprocessed" / "Dataset901_Micro"
    plans = json.loads((preprocessed / "micro.json").read_text())
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    kind = trainers.nnUNetTrainerMultiTaskShort
    return kind({**plans, "continue_training": False}, configuration, fold, dataset, device=CPU)


def trained(trainer):
    trainer.run_training()
    log = trainer.logger.local_logger.my_fantastic_logging
    assert np.isfinite(log["train_losses"]).all()
    assert np.isfinite(log["train_losses_classification"]).all()
    return trainer


def predict(trainer, images, output, **options):
    predictor = MultiTaskPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, trainer.fold)
    predictor.predict_from_files_sequential(str(images), str(output), **options)
    document = json.loads((output / "classification.json").read_text())
    return document, {case_id: read_mask(output / f"{case_id}.nii.gz").array for case_id in document["cases"]}


def with_core(case_id, mask):
    """Half of the blood becomes label 2."""
    blood = np.argwhere(mask == 1)
    half = mask == 1
    half[..., : int(blood[:, 2].mean())] = False
    return np.where(half, 2, mask)


def annotated_below(label):
    """Return a function that gives the upper third of the scan the ignore label."""

    def remask(case_id, mask):
        mask = with_core(case_id, mask) if label == 3 else mask.copy()
        mask[16:] = label
        return mask

    return remask


def test_regions_with_ignore_label_are_trained_validated_and_predicted(derive, micro):
    folder = derive(labels={**REGIONS, "ignore": 3}, remask=annotated_below(3), schedule={"epochs": 1})
    trainer = trained(make_trainer(folder))
    assert trainer.network.has_regions
    assert trainer.label_manager.num_segmentation_heads == 2
    trainer.perform_actual_validation(save_probabilities=True)
    validation = Path(trainer.output_folder) / "validation"
    _, val = trainer.do_split()
    assert sorted(path.stem for path in validation.glob("*.npz")) == sorted(val)
    assert len(json.loads((validation / "summary.json").read_text())["mean"]) == 2
    document, masks = predict(trainer, micro.raw / "imagesTs", folder / "out")
    assert len(masks) == 2
    for case_id, mask in masks.items():
        assert set(np.unique(mask)) <= {0, 1, 2}
        assert sum(document["cases"][case_id]["targets"]["subtype"]["probabilities"].values()) == pytest.approx(1)
        assert set(document["cases"][case_id]["labels"]) == {"1", "2"}


def test_regions_alone(derive):
    trainer = trained(make_trainer(derive(labels=REGIONS, remask=with_core)))
    assert trainer.plans_manager.plans["multitask"]["has_regions"] is True


def test_validation_knows_what_is_ignored(derive):
    """nnU-Net's validation step turns ignored voxels of its target into background; patch labels come before."""
    folder = derive(labels={"background": 0, "hemorrhage": 1, "ignore": 2}, remask=annotated_below(2))
    trainer = make_trainer(folder)
    trainer.on_train_start()
    seen, label_batch = [], trainer.patch_labels.batch
    trainer.patch_labels.batch = lambda batch, finest: (seen.append(finest.clone()), label_batch(batch, finest))[1]
    trainer.network.eval()
    with torch.no_grad():
        for _ in range(8):
            trainer.validation_step(next(trainer.dataloader_val))
    assert any((finest == 2).any() for finest in seen)
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])


def test_lowres_of_fold_all_and_the_cascade_on_it(derive, micro):
    folder = derive(configurations=LOWRES, preprocess=("3d_fullres", "3d_lowres"), schedule={"epochs": 1})
    with pytest.raises(
        InputError, match=r"\[missing-previous-stage\] .*of 3d_lowres for every case, got none for HEM_"
    ):
        make_trainer(folder, "3d_cascade_fullres")
    assert not any(folder.glob("nnUNet_results/*/*"))  # no folder of a fold that was never trained
    lowres = trained(make_trainer(folder, "3d_lowres", "all"))
    lowres.perform_actual_validation()
    log = Path(lowres.log_file).read_text()
    assert "WARN fold all: the validation cases are the training cases" in log
    assert "calibration and thresholds from it cannot be judged" in log

    cascade = trained(make_trainer(folder, "3d_cascade_fullres"))
    assert cascade.num_input_channels == 2  # the scan, and the previous stage's hemorrhage as a channel of its own
    channel = next(cascade.dataloader_val)["data"][:, 1]
    assert set(channel.unique().tolist()) <= {0, 1}
    cascade.perform_actual_validation()
    for trainer in (lowres, cascade):
        _, val = trainer.do_split()
        validated = Path(trainer.output_folder) / "validation" / "classification.json"
        assert sorted(json.loads(validated.read_text())["cases"]) == sorted(val)

    images, masks = folder / "images", folder / "lowres"
    images.mkdir()
    image = min((micro.raw / "imagesTs").iterdir())  # one is enough
    (images / image.name).symlink_to(image)
    with pytest.raises(InputError, match=r"\[missing-previous-stage\] -prev_stage_predictions: .*3d_lowres first"):
        predict(cascade, images, folder / "refused")
    assert not (folder / "refused").exists()
    predict(lowres, images, masks)
    document, found = predict(cascade, images, folder / "out", folder_with_segs_from_prev_stage=str(masks))
    assert document["model"]["configuration"] == "3d_cascade_fullres"
    assert len(found) == 1
    next(masks.glob("*.nii.gz")).unlink()
    with pytest.raises(InputError, match=r"\[missing-previous-stage\] .*lowres: .*got none for HEM_\w+\.nii\.gz -> "):
        predict(cascade, images, folder / "again", folder_with_segs_from_prev_stage=str(masks))


def test_masks_alone_labels_alone_and_both_train_together(derive, micro, edit):
    """Three training cases of a fold: one without mask, one of unknown class, one with both."""
    train = json.loads((micro.preprocessed / "splits_final.json").read_text())[0]["train"]
    label_only, mask_only, *both = train

    def remask(case_id, mask):
        return np.full_like(mask, 2) if case_id == label_only else mask

    folder = derive(labels={"background": 0, "hemorrhage": 1, "ignore": 2}, remask=remask)
    sidecar = folder / "nnUNet_raw" / micro.name / "class_labels.json"
    content = sidecar.read_text()
    sidecar.unlink()  # a link to that of the micro dataset
    sidecar.write_text(content)

    def change(document):
        for case_id, kind in ((label_only, "IPH"), (both[0], "IVH")):
            document["cases"][case_id]["labels"]["subtype"] = kind
        document["cases"][mask_only]["labels"] = {}

    edit(sidecar, change)
    trainer = make_trainer(folder)
    seen, step = set(), trainer.train_step
    trainer.train_step = lambda batch: (seen.update(batch["keys"].tolist()), step(batch))[1]
    trainer.num_iterations_per_epoch = 4
    trained(trainer)
    assert {label_only, mask_only} <= seen
    assert ", unknown 1" in Path(trainer.log_file).read_text()
    labels = trainer.case_labels.batch(train)["subtype"][:, 0].tolist()
    assert labels[:3] == [0, -1, 1]
    assert trainer.current_epoch == 2
