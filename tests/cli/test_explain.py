"""``explain`` on untrained models of the micro dataset, and what it refuses; nothing is trained."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import toy_models
from nnunetv2.run.run_training import get_trainer_from_args
from PIL import Image

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import check_schema, write_json
from nnunet_multitask.explanation.choices import chosen_classes
from nnunet_multitask.workflows.explaining import ExplainOptions, load_predictor
from nnunet_multitask.workflows.untrained import untrained_network

CPU = torch.device("cpu")


def make_model(trainer_name="nnUNetTrainerMultiTaskShort", plans="micro", folds=(0, 1), shift=0.0):
    """Write what a finished training leaves, its weights shifted from the initial ones, and return its folder."""
    for fold in folds:
        trainer = get_trainer_from_args("901", "3d_fullres", fold, trainer_name, plans, device=CPU)
        trainer.initialize()
        with torch.no_grad():
            for weights in trainer.network.parameters():
                weights.add_(shift * torch.randn_like(weights))
        folder = Path(trainer.output_folder_base)
        write_json(folder / "plans.json", trainer.plans_manager.plans)
        write_json(folder / "dataset.json", trainer.dataset_json)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return folder


@pytest.fixture
def results(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    return tmp_path


def explain(*argv):
    return main(["explain", "-step_size", "1", *map(str, argv), "-device", "cpu", "--disable_progress_bar"])


def test_test_images_by_all_folds_with_tsne(results, micro_env, capsys):
    model, output = make_model(shift=0.05), results / "out"
    images = results / "images"
    images.mkdir()
    for path in sorted((micro_env.raw / "imagesTr").iterdir())[:5]:  # t-SNE wants five
        (images / path.name).symlink_to(path)
    assert explain("-i", images, "-o", output, "-m", model, "--stages", 1, 2, "--method", "hirescam", "gradcam") == 0
    said = capsys.readouterr().out
    document = json.loads((output / "explanation.json").read_text())
    check_schema(document, "explanation.json", "x")
    assert document["model"]["folds"] == [0, 1]
    assert len(document["cases"]) == 5
    for case_id, case in document["cases"].items():
        decision = case["targets"]["subtype"]["decision"]
        assert f"{case_id} gradcam subtype={decision}: share in prediction, by stage: " in said
        image = nibabel.load(images / f"{case_id}_0000.nii.gz")
        assert len(case["maps"]) == 8  # two methods, attention and guidance, of two stages
        for entry in case["maps"]:
            written = nibabel.load(output / entry["file"])
            assert written.shape == image.shape
            np.testing.assert_allclose(written.affine, image.affine, atol=1e-4)
        for name in case["pictures"]:
            with Image.open(output / name) as picture:
                assert min(picture.size) > 300
    rows = list(csv.DictReader((output / "tsne.csv").open()))
    assert [row["network"] for row in rows] == ["before"] * 5 + ["after"] * 5
    assert {row["subtype"] for row in rows} <= {"IPH", "IVH"}
    assert document["tsne"]["cases"] == 5
    assert document["tsne"]["unlabelled"] == {"subtype": 0}
    assert (output / "tsne.png").stat().st_size > 1000


def test_validation_cases_of_a_fold_with_their_masks(results, micro_env, capsys):
    make_model(folds=(0,))
    output = results / "out"
    chosen = ["-d", 901, "-c", "3d_fullres", "-tr", "nnUNetTrainerMultiTaskShort", "-p", "micro", "-f", 0]
    assert explain("-o", output, *chosen, "--stages", 2, "--class", "all", "--control") == 0
    assert "share in reference" in capsys.readouterr().out
    document = json.loads((output / "explanation.json").read_text())
    splits = json.loads((micro_env.preprocessed / "splits_final.json").read_text())
    assert list(document["cases"]) == splits[0]["val"]
    assert document["tsne"] is None  # three cases
    for case in document["cases"].values():
        assert case["targets"]["subtype"]["label"] in ("IPH", "IVH")
        for entry in case["maps"]:
            if entry["kind"] == "gradcam" and entry["largest"] > 0:  # this model is the untrained one
                assert entry["rank_correlation_with_untrained"] == pytest.approx(1, abs=1e-6)
    # an explanation is not replaced unless that was asked for
    assert explain("-o", output, *chosen) == 1
    assert "[already-exists]" in capsys.readouterr().err
    stale = output / f"{next(iter(document['cases']))}_gradcam_subtype_old_stage0.nii.gz"
    stale.touch()
    assert explain("-o", output, *chosen, "--stages", 1, "--overwrite") == 0
    assert not stale.exists()


@pytest.mark.parametrize("trainer", ["nnUNetTrainerMultiTaskShort", "nnUNetTrainerResNet3D"])
def test_untrained_network_has_the_weights_that_training_began_from(results, trainer):
    model = make_model(trainer, folds=(0,))
    predictor = load_predictor(model, ExplainOptions(device=CPU))
    torch.manual_seed(77)
    before = torch.get_rng_state()
    weights = untrained_network(predictor).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in predictor.list_of_parameters[0].items():
        assert torch.equal(value, weights[name]), name


def test_a_network_without_attention_or_masks_says_so(results, micro_env):
    model, output = make_model("nnUNetTrainerResNet3D", folds=(0,)), results / "out"
    assert explain("-i", micro_env.raw / "imagesTs", "-o", output, "-m", model, "--stages", 0, 3) == 0
    document = json.loads((output / "explanation.json").read_text())
    assert document["attention"] == "the network has none"
    for case in document["cases"].values():
        assert [entry["stage"] for entry in case["maps"]] == [0, 3]
        assert case["shares_of_image"] == {}
        assert case["pictures"] == [f"{case['maps'][0]['file'].split('_gradcam')[0]}_gradcam.png"]


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test


def refused(capsys, *argv):
    assert explain(*argv) == 1
    return " ".join(line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model of two folds that nobody trained, and two images for it."""
    folder = tmp_path_factory.mktemp("toy")
    toy_models.make_images(folder / "images")
    return toy_models.make_model(folder / "model"), folder / "images"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--targets", "stage"], ["unknown-target", "subtype", "stage"]),
        (["--class", "SDH"], ["unknown-class", "subtype=IPH, IVH, SAH", "SDH"]),
        (["--class", "ich=SAH"], ["unknown-class"]),
        (["--stages", "0", "2"], ["unknown-stage", "0 (finest) to 1", "got 2"]),
        (["-f", "4"], ["missing-checkpoint", "fold_4"]),
        (["-f", "x"], ["bad-fold"]),
        (["--tsne"], ["too-few-cases", "got 2", "--no-tsne"]),
        (["--labels", "none.json"], ["none.json"]),
        (["-step_size", "0"], ["bad-step-size"]),
    ],
)
def test_refusals(toy, tmp_path, capsys, options, words):
    model, images = toy
    said = refused(capsys, "-i", images, "-o", tmp_path / "out", "-m", model, *options)
    assert all(word in said for word in words), said
    assert not (tmp_path / "out").exists()


def test_images_that_do_not_fit_are_refused(toy, tmp_path, capsys):
    model, images = toy
    empty, two, other = (tmp_path / name for name in ("empty", "two", "other"))
    for folder in (empty, two, other):
        folder.mkdir()
    for number in range(2):
        (two / f"a_{number:04d}.nii.gz").symlink_to(images / "a_0000.nii.gz")
    start = ["-o", tmp_path / "out", "-m", model]
    assert "[no-images]" in refused(capsys, "-i", empty, *start)
    assert "[same-folder] -o" in refused(capsys, "-i", images, "-m", model, "-o", images)
    assert "[missing-folder]" in refused(capsys, "-i", tmp_path / "nowhere", *start)
    assert "[wrong-channels] case a: expected 1 channels (CT), got 2" in refused(capsys, "-i", two, *start)
    assert "[missing-images]" in refused(capsys, *start)  # of two folds, which one's validation cases?
    assert "[missing-masks]" in refused(capsys, "-i", images, *start, "--masks", other)
    (two / "a_0001.nii.gz").unlink()
    (two / "a_0000.nii.gz").unlink()
    (two / "a_0000.nii.gz").write_bytes((images / "a_0000.nii.gz").read_bytes()[:-30])
    assert "[damaged-gzip]" in refused(capsys, "-i", two, *start)
    assert not (tmp_path / "out").exists()


def test_stock_models_and_missing_ones_are_refused(results, micro_env, capsys):
    model = make_model("nnUNetTrainer", folds=(0,))
    start = ["-i", micro_env.raw / "imagesTs", "-o", results / "out"]
    assert "[no-classification-heads]" in refused(capsys, *start, "-m", model)
    assert "[missing-model]" in refused(capsys, *start, "-m", results / "nowhere")


def test_classes_are_found_by_name_and_by_target():
    from nnunet_multitask.labels import Target

    targets = {
        "ich": Target("ich", "binary", ("no", "yes")),
        "old": Target("old", "binary", ("no", "yes")),
        "kind": Target("kind", "multilabel", ("IPH", "a=b")),
    }
    assert chosen_classes(["yes"], targets) == {"ich": ["yes"], "old": ["yes"]}
    assert chosen_classes(["old=no", "old=yes", "old=no"], targets) == {"old": ["no", "yes"]}
    assert chosen_classes(["a=b", "kind=IPH"], targets) == {"kind": ["a=b", "IPH"]}
    assert chosen_classes(["all"], targets)["kind"] == ["IPH", "a=b"]
    assert chosen_classes([], targets) == {}
