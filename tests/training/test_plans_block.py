"""Which targets a network that was made for others cannot serve."""

from nnunet_multitask.training.plans_block import changed_targets

KIND = {"type": "multiclass", "classes": ["IPH", "IVH"]}
SEX = {"type": "binary", "classes": ["f", "m"]}


def test_a_description_may_change():
    assert changed_targets({"kind": KIND}, {"kind": {**KIND, "description": "of bleeding"}}) is None


def test_other_targets_and_classes_are_shown_by_their_classes():
    reverse = {**KIND, "classes": ["IVH", "IPH"]}
    assert changed_targets({"kind": KIND}, {"kind": reverse}) == ({"kind": ["IPH", "IVH"]}, {"kind": ["IVH", "IPH"]})
    before, now = changed_targets({"kind": KIND}, {"kind": KIND, "sex": SEX}) or ({}, {})
    assert (before, now) == ({"kind": ["IPH", "IVH"]}, {"kind": ["IPH", "IVH"], "sex": ["f", "m"]})


def test_a_target_that_keeps_its_classes_is_shown_whole():
    multilabel = {**KIND, "type": "multilabel"}
    assert changed_targets({"kind": KIND}, {"kind": multilabel}) == ({"kind": KIND}, {"kind": multilabel})
