"""Options for all targets or for one."""

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.options import by_target, choose_aggregations
from nnunet_multitask.labels import Target

TARGETS = {"ich": Target("ich", "binary", ("no", "yes")), "kind": Target("kind", "multiclass", ("IPH", "IVH"))}
DEFAULT = {"ich": "max", "kind": "lesion"}


def test_a_value_alone_is_for_every_target_that_has_no_other():
    assert by_target([], TARGETS, "--x") == {}
    assert by_target(["kind=b"], TARGETS, "--x") == {"kind": "b"}
    assert by_target(["a", "kind=b"], TARGETS, "--x") == {"ich": "a", "kind": "b"}


def test_aggregations_are_those_of_the_model_where_no_other_is_named():
    assert choose_aggregations([], TARGETS, DEFAULT) == DEFAULT
    assert choose_aggregations(["ich=topk"], TARGETS, DEFAULT) == {"ich": "topk", "kind": "lesion"}
    assert choose_aggregations(["mean"], TARGETS, DEFAULT) == {"ich": "mean", "kind": "mean"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ihc=mean"], r"\[unknown-target\] --aggregation ihc=mean: .*ich, kind, got ihc -> did you mean ich\?"),
        (["mean", "max"], r"\[given-twice\] .*all targets"),
        (["ich=mean", "ich=max"], r"\[given-twice\] .*the target ich"),
        (
            ["noisyor"],
            r"\[unknown-aggregation\] .*mean, gaussian, .*topk, gated_attention, got noisyor.*noisy_or\?",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(texts, message):
    with pytest.raises(InputError, match=message):
        choose_aggregations(texts, TARGETS, DEFAULT)
