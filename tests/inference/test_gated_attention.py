import math

import numpy as np
import pytest

from nnunet_multitask.inference.aggregation import TileWeights, aggregate, maximum
from nnunet_multitask.inference.attention_fit import Cases, _parts, fit_gated_attention
from nnunet_multitask.inference.gated_attention import GatedAttention, GatedHead, tile_features
from nnunet_multitask.labels import Target

ICH = Target("ich", "binary", ("no", "yes"))
KINDS = Target("subtype", "multiclass", ("IPH", "IVH", "SAH"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH"))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def logit(p):
    return math.log(p / (1 - p))


def weights(foreground, importance=None):
    return TileWeights(np.array(foreground), np.array(importance or [9.0] * len(foreground)))


def head(outputs=1, hidden=2, width=4, seed=0):
    random = np.random.default_rng(seed)
    return GatedHead(
        *random.normal(size=(2, hidden, width)), random.normal(size=hidden), random.normal(size=(outputs, width))
    )


def test_gate_of_three_tiles_by_hand():
    # one feature and one hidden unit: a_t = softmax_t(w tanh(v h_t) sigm(u h_t))
    gate = GatedHead(np.array([[0.5]]), np.array([[2.0]]), np.array([3.0]), np.array([[4.0]]))
    h = [-1.0, 0.0, 2.0]
    scores = [3 * math.tanh(0.5 * x) * sigmoid(2 * x) for x in h]
    expected = [math.exp(s) / sum(math.exp(t) for t in scores) for s in scores]
    found = gate.attention(np.array(h)[:, None])
    assert found.tolist() == pytest.approx(expected)
    assert sum(expected) == pytest.approx(1)
    assert expected[2] > 0.8
    assert expected[0] < 0.1
    pooled = sum(a * x for a, x in zip(expected, h, strict=True))
    assert gate.logits(np.array(h)[:, None]).tolist() == pytest.approx([4 * pooled])


def test_features_are_logits_and_sizes_by_hand():
    found = tile_features(ICH, np.array([[0.8], [0.0]]), weights([99.0, 0.0], [9.0, 999.0]))
    assert found[0].tolist() == pytest.approx([math.log(4), 2.0, 1.0])
    assert found[1].tolist() == pytest.approx([math.log(5e-7 / (1 - 5e-7)), 0.0, 3.0])  # a written 0 is finite
    exclusive = tile_features(KINDS, np.array([[0.5, 0.25, 0.25]]), weights([0.0]))
    assert exclusive[0, :3].tolist() == pytest.approx([math.log(0.5), math.log(0.25), math.log(0.25)])


def test_case_of_two_tiles_by_hand():
    # the gate sees the foreground alone: tile 2 has standardised 1, tile 1 has 0, and v = u = 1 on it
    v = np.array([[0.0, 1, 0, 0]])
    gate = GatedAttention(
        ICH, np.zeros(3), np.array([1.0, 2, 1]), [GatedHead(v, v, np.array([2.0]), np.array([[1.0, 0, 0, 0.5]]))], "max"
    )
    score = 2 * math.tanh(1) * sigmoid(1)
    attention = math.exp(score) / (1 + math.exp(score))
    expected = sigmoid((1 - attention) * logit(0.3) + attention * logit(0.9) + 0.5)
    found = gate(np.array([[0.3], [0.9]]), weights([0.0, 99.0]))
    assert found.tolist() == pytest.approx([expected])


@pytest.mark.parametrize(("target", "heads"), [(ICH, 1), (KINDS, 1), (FINDINGS, 2)])
def test_order_of_tiles_does_not_matter_and_json_keeps_everything(target, heads):
    width = target.num_outputs + 3
    outputs = 3 if target is KINDS else 1
    fitted = GatedAttention(
        target,
        np.full(width - 1, 0.5),
        np.full(width - 1, 2.0),
        [head(outputs, 4, width, s) for s in range(heads)],
        "max",
    )
    random = np.random.default_rng(1)
    p = random.dirichlet(np.ones(max(target.num_outputs, 2)), 7)[:, : target.num_outputs]
    given = TileWeights(random.uniform(0, 100, 7), random.uniform(1, 50, 7))
    found = fitted(p, given)
    assert found.shape == (target.num_outputs,)
    order = random.permutation(7)
    turned = TileWeights(given.foreground_voxels[order], given.importance[order])
    assert fitted(p[order], turned).tolist() == pytest.approx(found.tolist())
    assert GatedAttention.from_json(target, fitted.to_json())(p, given).tolist() == found.tolist()
    if target is KINDS:
        assert found.sum() == pytest.approx(1)


def test_class_without_attention_has_the_aggregation_of_the_model():
    fitted = GatedAttention(FINDINGS, np.zeros(4), np.ones(4), [None, head(width=5)], "max")
    p = np.array([[0.1, 0.2], [0.7, 0.4]])
    assert fitted(p, weights([1.0, 2.0]))[0] == maximum(p, weights([1.0, 2.0]))[0]


def test_arrays_that_do_not_belong_together_are_refused():
    document = GatedAttention(ICH, np.zeros(3), np.ones(3), [head()], "max").to_json()
    with pytest.raises(ValueError, match="arrays of other shapes"):
        GatedAttention.from_json(ICH, {**document, "heads": [head(width=5).__dict__]})
    with pytest.raises(ValueError, match="expected 2 heads"):
        GatedAttention.from_json(FINDINGS, {**document, "heads": []})
    with pytest.raises(ValueError, match="without its head"):
        GatedAttention.from_json(ICH, {**document, "heads": [None]})


def test_name_takes_what_was_fitted_for_the_target():
    fitted = GatedAttention(ICH, np.zeros(3), np.ones(3), [head()], "max")
    p, given = np.array([[0.3], [0.9]]), TileWeights(np.array([0.0, 5]), np.ones(2), fitted={"ich": fitted})
    assert aggregate("gated_attention", ICH, p, given).tolist() == fitted(p, given).tolist()
    first = given.select(np.array([True, False]))
    assert aggregate("gated_attention", ICH, p[:1], first).tolist() == fitted(p[:1], first).tolist()


def planted(num_cases, seed):
    """Cases of which one tile, the one with the most foreground, knows the class, and the others are noise."""
    random = np.random.default_rng(seed)
    truth = np.arange(num_cases) % 2
    tiles = []
    for label in truth:
        logits, foreground = random.normal(0, 3, 12), random.uniform(0, 20, 12)
        place = random.integers(12)
        logits[place], foreground[place] = (1.5 if label else -1.5) + random.normal(0, 0.7), 500
        tiles.append((1 / (1 + np.exp(-logits[:, None])), TileWeights(foreground, np.full(12, 9.0))))
    bags = [tile_features(ICH, *tile) for tile in tiles]
    return tiles, Cases(bags, np.stack([truth == 0, truth == 1], axis=1), np.arange(num_cases))


def auc(scores, truth):
    pairs = [(p > n) + (p == n) / 2 for p in scores[truth] for n in scores[~truth]]
    return np.mean(pairs)


def test_attention_finds_the_one_tile_that_knows():
    _, cases = planted(40, 0)
    fitted, (steps,) = fit_gated_attention(ICH, cases, "max")
    assert steps > 0
    tiles, unseen = planted(60, 1)
    truth = unseen.truth[:, 1]
    found = {name: auc(np.array([aggregate(name, ICH, *tile)[0] for tile in tiles]), truth) for name in ("mean", "max")}
    gated = auc(np.array([fitted(*tile)[0] for tile in tiles]), truth)
    assert gated > 0.95
    assert max(found.values()) < 0.8


def test_fit_is_the_same_each_time_and_starts_as_the_mean_of_the_logits(monkeypatch):
    tiles, cases = planted(20, 0)
    one, other = (fit_gated_attention(ICH, cases, "max")[0].to_json() for _ in range(2))
    assert one == other
    monkeypatch.setattr("nnunet_multitask.inference.attention_fit.MAX_STEPS", 0)
    start, steps = fit_gated_attention(ICH, cases, "max")
    assert steps == [0]
    p, given = tiles[0]
    assert start(p, given)[0] == pytest.approx(sigmoid(np.mean([logit(x) for x in p[:, 0]])))


def test_rare_class_of_several_gets_no_head():
    tiles, cases = planted(20, 0)
    bags = [tile_features(FINDINGS, np.concatenate([p, 1 - p], axis=1), given) for p, given in tiles]
    fitted, steps = fit_gated_attention(FINDINGS, Cases(bags, cases.truth, cases.patients), "max", ["SAH"])
    assert fitted.heads[0] is None
    assert fitted.heads[1] is not None
    assert steps[0] == 0


def test_patients_stay_together():
    patients = np.array([0, 0, 1, 2, 2, 3, 4, 5, 5])
    part = _parts(np.array([0, 1, 0, 1, 1, 0, 1, 0, 0]), patients)
    assert all(len(set(part[patients == patient])) == 1 for patient in range(6))
    assert set(part) == {0, 1, 2}
