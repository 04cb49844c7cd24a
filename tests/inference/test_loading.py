"""Model folders whose checkpoints are damaged, of something else, or of different models."""

import json
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from payloads import poison
from toy_models import DATASET_JSON, TARGETS, make_model, toy_plans

from nnunet_multitask.cli.main import main
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.loading import check_images_alone, load_model_folder
from nnunet_multitask.inference.predictor import MultiTaskPredictor

CPU = torch.device("cpu")
FINAL = "checkpoint_final.pth"


@pytest.fixture
def model(toy_model, tmp_path):
    return shutil.copytree(toy_model, tmp_path / toy_model.name)


@pytest.fixture
def refused(model, toy_images, capfd):
    """A function that predicts with the damaged model, and returns the one line of the refusal."""

    def predict(*options):
        argv = ["predict", "-m", model, "-i", toy_images, "-o", model.parent / "out", "-device", "cpu"]
        threads = torch.get_num_threads()
        capfd.readouterr()
        status = main([str(word) for word in (*argv, *options)])
        torch.set_num_threads(threads)
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR")]
        assert status == 1
        assert not (model.parent / "out").exists()
        return line

    return predict


def edit(path, change):
    checkpoint = torch.load(path, weights_only=False)
    change(checkpoint)
    torch.save(checkpoint, path)


def initialize(model, **options):
    predictor = MultiTaskPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, **options)
    return predictor


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("content", ["truncated", "random", "empty"])
def test_damaged_files(model, refused, fold, content):
    path = model / f"fold_{fold}" / FINAL
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "random": random.Random(0).randbytes(5000), "empty": b""}[content]
    )
    assert (
        f"ERROR [unreadable-checkpoint] {path}: expected a file that torch.save wrote, got a damaged one" in refused()
    )


@pytest.mark.parametrize("fold", [0, 1])
def test_a_stock_checkpoint_among_the_folds(model, refused, fold):
    def without_branch(checkpoint):
        weights = checkpoint["network_weights"]
        checkpoint["network_weights"] = {k: v for k, v in weights.items() if not k.startswith(("fusion.", "heads."))}
        checkpoint["trainer_name"] = "nnUNetTrainer"
        del checkpoint["init_args"]["plans"]["multitask"]

    edit(model / f"fold_{fold}" / FINAL, without_branch)
    for options in ([], ["-f", str(fold)]):
        line = refused(*options)
        assert f"[no-classification-heads] {model / f'fold_{fold}'}: expected a model with classification heads" in line


def test_folds_of_other_trainers(model, refused):
    edit(model / "fold_1" / FINAL, lambda found: found.update(trainer_name="nnUNetTrainerMultiTask_ResNet3D"))
    line = refused()
    assert f"[mixed-folds] {model / 'fold_1' / FINAL}: expected the trainer nnUNetTrainerMultiTask as in fold 0" in line
    assert "got nnUNetTrainerMultiTask_ResNet3D -> predict with -f the folds of one model" in line


def test_a_trainer_that_is_not_found(model, refused):
    for fold in (0, 1):
        edit(model / f"fold_{fold}" / FINAL, lambda found: found.update(trainer_name="Mine"))
    line = refused()
    assert f"[unknown-trainer] {model / 'fold_0' / FINAL}: expected its trainer Mine in nnU-Net or in a folder" in line
    assert line.endswith("-> name the folder of its file in nnUNet_extTrainer")


def test_a_stock_checkpoint_under_our_trainers_name(model, refused):
    def lose_heads(checkpoint):
        for name in [name for name in checkpoint["network_weights"] if name.startswith("heads.")]:
            del checkpoint["network_weights"][name]

    edit(model / "fold_1" / FINAL, lose_heads)
    line = refused()
    assert f"[other-network] {model / 'fold_1' / FINAL}: expected the weights of the network" in line
    assert "without heads." in line
    edit(model / "fold_0" / FINAL, lose_heads)
    assert f"[other-network] {model / 'fold_0' / FINAL}: " in refused()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[5.0, 1.0, 1.0]),
            "spacing [5.0, 2.0, 2.0]",
        ),
        (
            lambda plans: plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(
                features_per_stage=[2, 8]
            ),
            "architecture.arch_kwargs.features_per_stage [2, 4]",
        ),
        (
            lambda plans: plans["foreground_intensity_properties_per_channel"]["0"].update(mean=10.0),
            "foreground_intensity_properties_per_channel.0.mean 40.0",
        ),
        (lambda plans: plans["multitask"].update(config={"pooling": "average"}), "pooling guided"),
    ],
)
def test_folds_of_other_plans(model, refused, change, words):
    edit(model / "fold_1" / FINAL, lambda checkpoint: change(checkpoint["init_args"]["plans"]))
    assert f"[mixed-folds] {model / 'fold_1' / FINAL}: expected {words} as in fold 0, got " in refused()
    initialize(model, use_folds=(0,))


def test_folds_may_differ_in_how_they_were_trained(model):
    edit(
        model / "fold_1" / FINAL,
        lambda found: found["init_args"]["plans"]["multitask"].update(
            config={"classification_weight": 0.5}, schedule={"epochs": 7}
        ),
    )
    assert initialize(model).model["folds"] == [0, 1]


@pytest.mark.parametrize("folds", [(0,), (0, 1)])
def test_targets_of_another_training(model, folds):
    """The plans of the folder name three subtypes, all checkpoints were trained for two."""
    targets = {**TARGETS, "subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}}
    for fold in (0, 1):
        edit(
            model / f"fold_{fold}" / FINAL,
            lambda found: found["init_args"]["plans"]["multitask"].update(targets=targets),
        )
    with pytest.raises(
        InputError, match=r"\[mixed-folds\].*subtype: IPH, IVH, SAH of plans.json, got .*IPH, IVH in the"
    ):
        initialize(model, use_folds=folds)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("labels", {"background": 0, "blood": 1, "edema": 2}, "labels of dataset.json, background: 0, blood: 1, got"),
        ("channel_names", {"0": "CT", "1": "CT"}, "input channels of dataset.json, 0: CT, got 0: CT, 1: CT"),
    ],
)
def test_another_number_of_labels_or_channels(model, key, value, words):
    edit(model / "fold_0" / FINAL, lambda found: found["init_args"].update(dataset_json={**DATASET_JSON, key: value}))
    with pytest.raises(InputError, match=rf"\[other-dataset\].*fold_0.*{words}.*of one training"):
        initialize(model)


def test_labels_under_other_names_are_the_same(model):
    other = {**DATASET_JSON, "labels": {"background": 0, "haemorrhage": 1}}
    edit(model / "fold_0" / FINAL, lambda found: found["init_args"].update(dataset_json=other))
    initialize(model)


def test_weights_of_another_size(model):
    """dataset.json and plans are changed alike, the weights are those of before."""
    document = json.loads((model / "dataset.json").read_text())
    document["labels"]["edema"] = 2
    (model / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(
        InputError, match=r"\[other-network\] .*fold_0/checkpoint_final.pth: .*size mismatch for decoder"
    ):
        initialize(model)


def test_weights_alone(model):
    edit(model / "fold_1" / FINAL, lambda found: found.pop("init_args"))
    with pytest.raises(InputError, match=r"\[incomplete-checkpoint\] .*fold_1.*without init_args"):
        initialize(model)


def test_trust_is_an_argument_in_python(model, tmp_path, caplog):
    poison(model / "fold_1" / FINAL, tmp_path / "made")
    with pytest.raises(InputError, match=r"\[unsafe-checkpoint\].*fold_1.*trust_checkpoint=True"):
        initialize(model)
    assert not (tmp_path / "made").exists()
    assert initialize(model, trust_checkpoint=True).model["folds"] == [0, 1]
    assert (tmp_path / "made").exists()
    assert "with your rights" in caplog.text


def test_a_stock_model_where_heads_are_not_needed(tmp_path):
    model = make_model(tmp_path / "nnUNetTrainer__toy__3d_fullres", folds=1)
    plans = toy_plans()
    del plans["multitask"]
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(InputError, match=r"\[no-classification-heads\]"):
        load_model_folder(nnUNetPredictor(device=CPU), model)

    def strip(checkpoint):
        weights = checkpoint["network_weights"]
        checkpoint["network_weights"] = {k: v for k, v in weights.items() if not k.startswith(("fusion.", "heads."))}
        checkpoint.update(trainer_name="nnUNetTrainer", init_args={"configuration": "3d_fullres", "plans": plans})

    edit(model / "fold_0" / FINAL, strip)
    found = load_model_folder(nnUNetPredictor(device=CPU), model, with_heads=False)
    assert (found["trainer"], found["folds"], found["configuration"]) == ("nnUNetTrainer", [0], "3d_fullres")


def test_a_network_that_sees_masks_is_refused_where_images_are_all(tmp_path):
    def predictor(previous):
        return SimpleNamespace(configuration_manager=SimpleNamespace(previous_stage_name=previous))

    check_images_alone(predictor(None), tmp_path)
    with pytest.raises(InputError, match=r"\[cascade\].*masks of 3d_lowres -> name another configuration with -c"):
        check_images_alone(predictor("3d_lowres"), tmp_path)
