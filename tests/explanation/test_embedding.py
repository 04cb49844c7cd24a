"""t-SNE of features: the weights of the tiles, what is deterministic, the table, the picture."""

import csv

import numpy as np
import pytest
from PIL import Image

from nnunet_multitask.errors import InputError
from nnunet_multitask.explanation.embedding import (
    AFTER,
    BEFORE,
    case_vector,
    check_enough,
    embed,
    perplexity_of,
    write_points,
)
from nnunet_multitask.explanation.scatter import COLOURS, UNKNOWN_COLOUR, class_looks, draw_points
from nnunet_multitask.explanation.volumes import FoldView
from nnunet_multitask.inference.aggregation import AGGREGATIONS, TileWeights


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("mean", 0.5), ("gaussian", 0.75), ("lesion", 0.2), ("max", 0.75), ("noisy_or", 0.75), ("topk", 0.75)],
)
def test_features_of_tiles_are_weighted_as_their_probabilities(aggregation, expected):
    weights = TileWeights(foreground_voxels=np.array([7.0, 1.0]), importance=np.array([1.0, 3.0]))
    vectors = np.array([[0.0, 2.0], [1.0, 2.0]])
    view = FoldView({}, vectors, weights)
    np.testing.assert_allclose(case_vector(view, aggregation), [expected, 2.0])
    assert set(AGGREGATIONS) == {"mean", "gaussian", "lesion", "max", "noisy_or", "topk"}
    if aggregation in ("mean", "gaussian", "lesion"):
        np.testing.assert_allclose(AGGREGATIONS[aggregation](vectors, weights), [expected, 2.0])


def test_two_heaps_stay_apart_and_points_repeat():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(24, 6)) + np.repeat([0.0, 20.0], 12)[:, None]
    vectors = np.concatenate([vectors, np.ones((24, 1))], axis=1)  # a constant feature has no standard deviation
    points = embed(vectors)
    assert points.shape == (24, 2)
    centres = points[:12].mean(axis=0), points[12:].mean(axis=0)
    to_own, to_other = (
        [np.linalg.norm(p - centres[(i >= 12) ^ other]) for i, p in enumerate(points)] for other in (0, 1)
    )
    assert all(own < other for own, other in zip(to_own, to_other, strict=True))
    np.testing.assert_array_equal(embed(vectors), points)


def test_few_cases():
    assert perplexity_of(7) == 2
    assert perplexity_of(1000) == 30
    assert embed(np.random.default_rng(0).normal(size=(5, 3))).shape == (5, 2)
    assert np.isfinite(embed(np.zeros((6, 1)))).all()
    with pytest.raises(InputError, match=r"\[too-few-cases\] --tsne: expected 5 cases or more for t-SNE, got 4"):
        check_enough(4, "--tsne")
    with pytest.raises(InputError, match="too-few-cases"):
        embed(np.zeros((4, 3)))


def test_table_has_a_row_for_each_case_and_network(tmp_path):
    points = {BEFORE: np.array([[-1.5, 2.0], [0.0, 1.0]]), AFTER: np.array([[3.0, 4.0], [5.0, 6.0]])}
    write_points(tmp_path / "t.csv", ["a", "b"], {"subtype": ["IPH", ""]}, points)
    rows = list(csv.reader((tmp_path / "t.csv").open()))
    assert rows[0] == ["case_id", "network", "x", "y", "subtype"]
    assert rows[1:] == [
        ["a", "before", "-1.5", "2.0", "IPH"],
        ["b", "before", "0.0", "1.0", ""],
        ["a", "after", "3.0", "4.0", "IPH"],
        ["b", "after", "5.0", "6.0", ""],
    ]


def test_classes_have_colours_and_the_unknown_are_grey():
    looks = class_looks(["IVH", "", "IPH", "IVH"])
    assert list(looks) == ["IPH", "IVH", ""]
    assert looks[""][:2] == ("unknown", UNKNOWN_COLOUR)
    assert len({look[1] for look in looks.values()}) == len({look[2] for look in looks.values()}) == 3
    many = class_looks([f"set {number:02d}" for number in range(20)])
    assert len(set(many.values())) == len(COLOURS)
    assert many["set 19"][0] == many["set 06"][0] == "other sets"
    assert class_looks([]) == {}


def test_picture_shows_the_colours_of_the_classes(tmp_path):
    points = {BEFORE: np.random.default_rng(0).normal(size=(6, 2)), AFTER: np.zeros((6, 2))}
    picture = draw_points(points, {"subtype": ["IPH", "IVH", "", "IPH", "IVH", ""]}, "note")
    (tmp_path / "t.png").write_bytes(picture.png)
    pixels = np.asarray(Image.open(tmp_path / "t.png").convert("RGB")).astype(int)
    for colour in (*COLOURS[:2], UNKNOWN_COLOUR):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - wanted).sum(axis=2) < 100).sum() > 50, colour
    assert draw_points(points, {}, "note").alt.startswith("t-SNE of fused features of 6 cases")
