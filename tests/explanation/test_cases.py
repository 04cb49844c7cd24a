"""Whole cases: geometry of the files, mass where it was planted, tiles, folds, what the record says."""

import copy
import itertools
import json

import nibabel
import numpy as np
import pytest
import torch
import toy_models
from nifti_files import oblique, save_nifti
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planted import SIZE, mass_in_corner, planted, train
from toy_models import make_images, make_model

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.explanation.gradcam import class_score, grad_cam, stage_gradients, trace
from nnunet_multitask.explanation.volumes import MapKey, Question, view_volume
from nnunet_multitask.inference.cases import predict_case
from nnunet_multitask.inference.tiles import CaseTiles, FoldTiles
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.training.trainers import nnUNetTrainerMultiTask
from nnunet_multitask.workflows.explaining import EXPLANATION_JSON, ExplainOptions, explain_model, load_predictor

QUIET = {"progress": False, "tsne": False}


def predictor_of(folder, **options):
    predictor = load_predictor(folder, ExplainOptions(**options))
    predictor.network.eval()
    return predictor


def look(predictor, data, classes, stages=(0, 1), parameters=None):
    question = Question(predictor.targets, classes, stages)
    return view_volume(predictor, predictor.network, parameters or predictor.list_of_parameters, data, question)


def test_one_tile_is_the_map_of_the_patch(toy_model):
    predictor = predictor_of(toy_model, folds=[0])
    data = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    view = look(predictor, data, {"subtype": ["SAH"]}, stages=[0])
    traced = trace(predictor.network, data[None])
    score = class_score(predictor.targets["subtype"], "SAH", traced.logits["subtype"])
    cam = grad_cam(traced.stages[0], stage_gradients(score, traced.stages)[0])
    np.testing.assert_allclose(view.maps[MapKey("gradcam", 0, "subtype", "SAH")], cam[0, 0], atol=1e-9)
    assert view.stage_shapes == ((4, 8, 8), (2, 4, 4))
    np.testing.assert_allclose(view.maps[MapKey("attention", 0)].mean(), 1, rtol=1e-5)  # 1 is even


def test_probabilities_are_those_of_the_prediction_and_folds_are_averaged(toy_model):
    predictor = predictor_of(toy_model)
    data = torch.randn(1, 6, 16, 20, generator=torch.Generator().manual_seed(0))
    prediction, _ = predictor.predict_volume("a", data)
    classes = {"ich": ["yes", "no"]}
    view = look(predictor, data, classes)
    tiles = CaseTiles(
        prediction.tiles.boxes,
        prediction.tiles.shape,
        [FoldTiles({k: v[:, None] for k, v in f.probabilities.items()}, f.weights) for f in view.folds],
    )
    again = predict_case(tiles, predictor.targets, predictor.aggregations, 0)
    for name, values in prediction.by_fold.items():
        np.testing.assert_allclose(again.by_fold[name], values, atol=1e-3)  # nnU-Net's are of half precision weights
    alone = [look(predictor, data, classes, parameters=[weights]).maps for weights in predictor.list_of_parameters]
    for key, values in view.maps.items():
        assert values.shape == (6, 16, 20)
        np.testing.assert_allclose(values, (alone[0][key] + alone[1][key]) / 2, rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(look(predictor, data, classes).maps[key], view.maps[key])


def test_untrained_networks_are_asked_for_features_alone(toy_model):
    predictor = predictor_of(toy_model, folds=[0])
    question = Question(predictor.targets, {}, (0, 1), attention=False)
    weights = copy.deepcopy(predictor.network.state_dict())
    view = view_volume(predictor, predictor.network, [weights], torch.zeros(1, 6, 16, 20), question)
    assert view.maps == {}
    assert view.folds[0].vectors.shape == (len(view.folds[0].weights.importance), 97)


@pytest.fixture(scope="module")
def planted_model(tmp_path_factory):
    """A model folder, one fold, tiles of 16 voxels: the class ich=yes is told by a corner alone."""
    folder = make_model(tmp_path_factory.mktemp("planted") / "model", folds=1, mirroring=None)
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["patch_size"] = [SIZE] * 3
    plans["multitask"]["config"] = {"pooling": "attention", "dropout": 0.0}
    (folder / "plans.json").write_text(json.dumps(plans))
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    torch.manual_seed(1)
    manager = PlansManager(plans)
    network = nnUNetTrainerMultiTask.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 2, False
    )
    checkpoint["network_weights"] = train(network).state_dict()
    checkpoint["init_args"]["plans"] = plans
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


MARGIN = 4


@pytest.fixture
def oblique_scan(tmp_path):
    """The planted patch, twice as fine in plane, with a margin of zeros that nnU-Net crops, in an oblique geometry."""
    patch = planted(torch.Generator().manual_seed(3), 2)[0][1, 0].numpy()  # (z, y, x), of class 1
    fine = 40 + 20 * patch.repeat(2, axis=1).repeat(2, axis=2)  # Hounsfield units by the plans' mean and deviation
    array = np.pad(fine, MARGIN).astype(np.float32)
    affine = oblique()
    affine[:3, :3] *= np.array([1 / 0.5, 1 / 0.6, 1.0])  # spacing 1 x 1 x 5 mm; the plans have 2 x 2 x 5
    return save_nifti(tmp_path / "p_0000.nii.gz", array.transpose(2, 1, 0), affine)


def test_mass_lies_in_the_planted_corner_of_the_file(planted_model, oblique_scan, tmp_path):
    output = tmp_path / "out"
    options = ExplainOptions(**QUIET, classes=["ich=yes"], methods=["gradcam", "hirescam"])
    document = explain_model(planted_model, {"p": [oblique_scan]}, output, options)
    assert document["cases"]["p"]["targets"]["ich"]["decision"] == "yes"
    before = nibabel.load(oblique_scan)
    shares = {}
    for method, stage in itertools.product(options.methods, (0, 1)):
        written = nibabel.load(output / f"p_{method}_ich_yes_stage{stage}.nii.gz")
        assert written.shape == before.shape == (40, 40, 24)
        assert written.get_data_dtype() == np.float32
        np.testing.assert_allclose(written.affine, before.affine, atol=1e-5)
        array = written.get_fdata()
        inside = array[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert np.isclose(inside.sum(), array.sum())  # 0 where the image was cropped
        shares[method, stage] = mass_in_corner(inside)
    assert min(shares.values()) > 0.8, shares  # 0.125 by chance; resampling blurs the border of the octant
    names = {path.name for path in output.iterdir()}
    assert {
        "p_attention_stage0.nii.gz",
        "p_attention_stage1.nii.gz",
        "p_gradcam.png",
        "p_hirescam.png",
        EXPLANATION_JSON,
    } <= names
    assert not any("guidance" in name or name.startswith(".") for name in names)  # pooling is attention


def test_record_measures_the_files(planted_model, oblique_scan, tmp_path):
    array = np.zeros((40, 40, 24), np.uint8)
    array[:20, :20, :12] = 1
    mask = save_nifti(tmp_path / "p.nii.gz", array, nibabel.load(oblique_scan).affine)
    options = ExplainOptions(**QUIET, targets=["ich"], stages=[1], control=True, classes=["all"])
    document = explain_model(planted_model, {"p": [oblique_scan]}, tmp_path / "out", options, masks={"p": mask})
    assert read_json(tmp_path / "out" / EXPLANATION_JSON) == document
    check_schema(document, "explanation.json", "x")
    case = document["cases"]["p"]
    assert case["shares_of_image"]["reference"] == 20 * 20 * 12 / array.size
    assert [(m["kind"], m.get("class"), m["stage"]) for m in case["maps"]] == [
        ("gradcam", "no", 1), ("gradcam", "yes", 1), ("attention", None, 1),
    ]  # fmt: skip
    for entry in case["maps"]:
        values = nibabel.load(tmp_path / "out" / entry["file"]).get_fdata()
        assert entry["largest"] == pytest.approx(values.max())
        assert entry["mean"] == pytest.approx(values.mean(), rel=1e-4)
        if values.any():
            assert entry["share_in_reference"] == pytest.approx(values[array > 0].sum() / values.sum(), rel=1e-4)
        else:
            assert entry["share_in_reference"] is None
            assert entry["note"] == "the map is 0 everywhere"
    assert case["maps"][1]["share_in_reference"] > 0.8
    assert -1 <= case["maps"][1]["rank_correlation_with_untrained"] < 0.9
    assert "rank_correlation_with_untrained" not in case["maps"][2]
    assert len(case["stage_weights"]["0"]) == 2
    assert len(case["channel_gate"]["0"]) == 32
    assert document["stages"][1] == {"stage": 1, "tile_grid": [8, 8, 8]}


def test_2d_models_are_explained_slice_by_slice(tmp_path):
    model = make_model(tmp_path / "model", dimensions=2, folds=1)
    images = {"a": [make_images(tmp_path / "images", ("a",)) / "a_0000.nii.gz"]}
    document = explain_model(model, images, tmp_path / "out", ExplainOptions(**QUIET))
    assert document["stages"] == [{"stage": 0, "tile_grid": [8, 8]}, {"stage": 1, "tile_grid": [4, 4]}]
    for entry in document["cases"]["a"]["maps"]:
        assert nibabel.load(tmp_path / "out" / entry["file"]).shape == (20, 16, 6)


def test_multilabel_targets_have_a_map_for_each_class_and_no_file_is_lost(tmp_path, monkeypatch):
    target = {"type": "multilabel", "classes": ["a b", "a_b", "c/d"]}
    monkeypatch.setattr(toy_models, "TARGETS", {"findings": target})
    model = make_model(tmp_path / "model", folds=1)
    images = {"a": [make_images(tmp_path / "images", ("a",)) / "a_0000.nii.gz"]}
    labels = LabelSidecar(
        {"findings": Target("findings", "multilabel", tuple(target["classes"]))},
        {"a": Case({"findings": ("a b", "c/d")})},
    )
    options = ExplainOptions(**QUIET, stages=[1])
    document = explain_model(model, images, tmp_path / "out", options, sidecar=labels)
    case = document["cases"]["a"]
    assert case["targets"]["findings"]["label"] == "a b+c/d"
    assert [(m["class"], m["file"]) for m in case["maps"] if m["kind"] == "gradcam"] == [
        ("a b", "a_gradcam_findings_a_b_stage1.nii.gz"),
        ("a_b", "a_gradcam_findings_a_b_2_stage1.nii.gz"),
        ("c/d", "a_gradcam_findings_c_d_stage1.nii.gz"),
    ]
    assert all((tmp_path / "out" / entry["file"]).is_file() for entry in case["maps"])
