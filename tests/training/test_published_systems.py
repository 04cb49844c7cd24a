"""The trainers of published systems on a small variant of their recipe: trained, predicted with, and refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_multitask.config import schedule_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import read_mask
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.networks.resnet3d import ResNet3D
from nnunet_multitask.networks.xiao2025 import FusedScales, ReleasedBranch
from nnunet_multitask.training import trainers
from nnunet_multitask.training.best_loss import BEST_LOSS

CPU = torch.device("cpu")
XIAO, RESNET = "nnUNetTrainerMultiTask_Xiao2025", "nnUNetTrainerResNet3D"
SMALL = "--patch-size 32,32,32 --features 4,6,8,8,8 --batch-size 2 --micro-batch-size 1 --epochs 2 --iterations 2"


@pytest.fixture(scope="module")
def recipe(micro):
    """The micro dataset with plans ``xiao2025`` of 32 voxels, whose scans the stock command has preprocessed."""
    said = micro.run("nnunet-multitask", *f"configure 901 --recipe xiao2025 --name xiao2025 {SMALL}".split())
    preprocess = next(line for line in said.splitlines() if "nnUNetv2_preprocess" in line).split()
    micro.run(*preprocess, "-np", "1")
    return micro


@pytest.fixture
def environment(recipe, micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)
    return recipe


def make_trainer(name, plans="xiao2025", configuration="3d_fullres"):
    return get_trainer_from_args("901", configuration, 0, name, plans, device=CPU)


def predict(trainer, images, output):
    """Predict with the joint predictor and with nnU-Net's own; return the masks and the classification."""
    masks = []
    for kind, folder in ((MultiTaskPredictor, output / "joint"), (nnUNetPredictor, output / "stock")):
        folder.mkdir(parents=True)
        predictor = kind(device=CPU, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
        predictor.predict_from_files_sequential(str(images), str(folder))
        masks.append({path.name: read_mask(path).array for path in sorted(folder.glob("*.nii.gz"))})
    joint, stock = masks
    assert len(joint) == 2
    assert all(np.array_equal(joint[name], stock[name]) for name in joint)
    return joint, json.loads((output / "joint" / "classification.json").read_text())


def test_scans_fill_the_patch_and_never_exceed_it(environment):
    trainer = make_trainer(XIAO)
    trainer.initialize()
    sizes = []
    for case_id in trainer.dataset_class.get_identifiers(trainer.preprocessed_dataset_folder):
        data, *_ = trainer.dataset_class(trainer.preprocessed_dataset_folder, [case_id]).load_case(case_id)
        sizes.append(data.shape[1:])
    assert np.max(sizes, axis=0).tolist() == [24, 32, 32]
    assert (environment.preprocessed / "nnUNetPlans_3d_fullres").is_dir()  # those of the other plans are there still


def test_xiao_trains_and_predicts(environment, tmp_path):
    trainer = make_trainer(XIAO)
    trainer.run_training()
    assert isinstance(trainer.network.fusion, FusedScales)
    assert not trainer.network.decoder.deep_supervision
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert not isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.stopping.patience == 50
    best = torch.load(f"{trainer.output_folder}/{BEST_LOSS}", weights_only=False)
    assert best["current_epoch"] == trainer.stopping.best_epoch + 1
    log = trainer.logger.local_logger.my_fantastic_logging
    assert all(math.isfinite(v) for v in log["train_losses_classification"] + log["val_losses_classification"])
    _, document = predict(trainer, environment.raw / "imagesTs", tmp_path / "out")
    assert document["model"]["trainer"] == XIAO
    for case in document["cases"].values():
        assert sum(case["targets"]["subtype"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_segmentation_loss_is_dice_alone(environment):
    trainer = make_trainer(XIAO)
    trainer.initialize()
    target = torch.zeros(1, 1, 8, 8, 8)
    target[..., :4] = 1
    sure = torch.cat((1 - 2 * target, 2 * target - 1), dim=1)
    # Dice forgets how sure a right answer is once the softmax is saturated; cross-entropy never adds to it
    assert float(trainer.loss(100 * sure, target)) == pytest.approx(-1, abs=1e-4)
    assert float(trainer.loss(-100 * sure, target)) == pytest.approx(0, abs=1e-4)  # cross-entropy would say 200


def test_segmentation_loss_is_dice_alone_beside_an_ignore_label(environment, edit):
    path = environment.preprocessed / "dataset.json"
    before = path.read_text()
    edit(path, lambda document: document["labels"].update(ignore=2))
    try:
        trainer = make_trainer(XIAO)
    finally:
        path.write_text(before)
    trainer.initialize()
    target = torch.ones(2, 1, 8, 8, 8)
    target[0, ..., :4] = 0
    target[1] = 2  # a scan without mask leaves the loss of its neighbour alone
    sure = torch.cat((1 - 2 * target, 2 * target - 1), dim=1)
    assert float(trainer.loss(100 * sure, target)) == pytest.approx(-1, abs=1e-4)
    assert float(trainer.loss(-100 * sure, target)) == pytest.approx(0, abs=1e-4)


def test_scans_are_turned_within_their_plane_only(environment):
    trainer = make_trainer(XIAO)
    rotation, within_plane, initial, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert within_plane is True
    assert rotation == pytest.approx((-math.pi / 12, math.pi / 12))
    assert mirror_axes is None
    reach = 32 * (math.cos(math.pi / 12) + math.sin(math.pi / 12)) / 0.85
    assert list(initial) == [32, int(reach), int(reach)]


def test_whole_scan_is_in_every_batch(environment):
    trainer = make_trainer(XIAO)
    trainer.on_train_start()
    for _ in range(3):
        batch = next(trainer.dataloader_val)
        for case_id, data, target in zip(batch["keys"], batch["data"], batch["target"], strict=True):
            case = trainer.dataset_class(trainer.preprocessed_dataset_folder, [case_id]).load_case(case_id)
            assert data.shape == (1, 32, 32, 32)
            assert (target == 1).sum() == (np.asarray(case[1][:]) == 1).sum()


def test_released_code_has_its_own_branch(environment, edit, tmp_path):
    path = environment.preprocessed / "xiao2025.json"
    before = path.read_text()
    try:
        edit(path, lambda plans: plans["multitask"].update(recipe="xiao2025-released"))
        trainer = make_trainer(XIAO)
    finally:
        path.write_text(before)
    trainer.on_train_start()
    assert isinstance(trainer.network.fusion, ReleasedBranch)
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["train_losses_classification"])


def test_xiao_refuses_other_plans_before_it_writes(environment, tmp_path):
    remedy = "configure Dataset901_Micro --recipe xiao2025"
    with pytest.raises(InputError, match=rf"\[other-recipe\] plans micro: .*{remedy}"):
        make_trainer(XIAO, plans="micro")
    assert list(tmp_path.iterdir()) == []


def test_the_project_s_own_trainers_take_the_recipe_too(environment):
    for name in ("nnUNetTrainerMultiTask", "nnUNetTrainerBaseline"):
        trainer = make_trainer(name)
        assert trainer.schedule == make_trainer(XIAO).schedule
        assert trainer.do_split() == make_trainer(XIAO).do_split()


def test_resnet_on_whole_scans(environment, tmp_path):
    trainer = make_trainer(RESNET)
    trainer.num_epochs = 1
    trainer.schedule = replace(trainer.schedule, micro_batch_size=0)  # of one small scan no voxel is left to normalise
    trainer.run_training()
    assert isinstance(trainer.network, ResNet3D)
    log = trainer.logger.local_logger.my_fantastic_logging
    assert log["train_losses"] == log["val_losses"] == [0]
    assert all(math.isfinite(v) for v in log["train_losses_classification"] + log["val_losses_classification"])
    masks, document = predict(trainer, environment.raw / "imagesTs", tmp_path / "out")
    assert not any(mask.any() for mask in masks.values())
    assert document["model"]["trainer"] == RESNET
    for case in document["cases"].values():
        assert sum(case["targets"]["subtype"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert case["labels"] == {}  # it says nothing of volumes, least of all that they are 0 mL


def test_resnet_on_patches_of_ordinary_plans(environment, tmp_path):
    trainer = make_trainer(RESNET, plans="micro")
    trainer.on_train_start()
    weights = [p.detach().clone() for p in trainer.network.encoder.parameters()]
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["train_losses_classification"])
    assert any(not torch.equal(a, b) for a, b in zip(weights, trainer.network.encoder.parameters(), strict=True))
    trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    predictor = MultiTaskPredictor(device=CPU, allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    volume = torch.randn(1, 8, 64, 96)
    predictor.predict_logits_from_preprocessed_data(volume)
    network = trainer.network.eval()
    with torch.no_grad():
        logits = [network(volume[None, ..., x : x + 64], classify=True)[1]["subtype"][0] for x in (0, 32)]
    tiles = [torch.softmax(values, dim=0).numpy() for values in logits]
    (case,) = predictor.cases.values()
    assert case.probabilities["subtype"] == pytest.approx(np.mean(tiles, axis=0), abs=1e-5)  # every tile counts alike


def test_resnet_refuses_slices_before_it_writes(environment, tmp_path):
    with pytest.raises(InputError, match=r"\[not-three-dimensional\] plans micro2d, 2d: .*got 128x128 -> .*3d_fullres"):
        make_trainer(RESNET, plans="micro2d", configuration="2d")
    assert list(tmp_path.iterdir()) == []


def test_resnet_has_no_second_loss_to_balance(environment, edit):
    path = environment.preprocessed / "xiao2025.json"
    before = path.read_text()
    try:
        edit(path, lambda plans: plans["multitask"]["config"].update(loss_balancing="uncertainty"))
        trainer = make_trainer(RESNET)
    finally:
        path.write_text(before)
    with pytest.raises(InputError, match=r"\[contradiction\] plans xiao2025, loss_balancing: .*one loss"):
        trainer.initialize()


def test_stock_search_finds_the_very_classes(environment):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    for name in (XIAO, RESNET):
        assert recursive_find_trainer_class_by_name(name) is getattr(trainers, name)


def test_schedule_of_the_variant_is_the_recipe_s_apart_from_its_sizes(environment):
    plans = json.loads((environment.preprocessed / "xiao2025.json").read_text())
    schedule = schedule_from_plans(plans, trainers.nnUNetTrainerMultiTask.default_schedule)
    assert (schedule.learning_rate, schedule.decay, schedule.early_stopping_patience) == (5e-4, "cosine_restarts", 50)
