"""The cases of a call: what they are called, and which are left."""

import pytest

from nnunet_multitask.inference.choosing import case_lists, image_lists

INPUTS = [["in/a_0000.nii.gz", "in/a_0001.nii.gz"], ["in/b_0000.nii.gz", "in/b_0001.nii.gz"]]


@pytest.mark.parametrize(("writes", "case_ids"), [(True, ["one", "two"]), (False, ["a", "b"])])
def test_cases_are_called_by_what_is_written(writes, case_ids):
    cases = case_lists((INPUTS, ["out/one", "out/two"], [None, None]), ".nii.gz", writes)
    assert cases.case_ids == case_ids
    assert [path.name for path in cases.paths] == ["one", "two"]
    assert case_lists((INPUTS, None, [None, None]), ".nii.gz", writes).case_ids == ["a", "b"]


def test_what_is_done_is_left_out_of_every_list():
    cases = case_lists((INPUTS, ["out/a", "out/b"], ["before/a.nii.gz", "before/b.nii.gz"]), ".nii.gz", True)
    assert cases.without({0}).lists == (INPUTS[1:], ["out/b"], ["before/b.nii.gz"])
    assert cases.without({0}).case_ids == ["b"]
    assert cases.without(()) == cases
    returned = case_lists((INPUTS, None, [None, None]), ".nii.gz", False).without({1})
    assert returned.lists == (INPUTS[:1], None, [None])
    assert returned.paths == []


def test_a_folder_becomes_the_channels_of_its_cases(tmp_path):
    names = ["b_0001.nii.gz", "a_0000.nii.gz", "b_0000.nii.gz", "a_0001.nii.gz"]
    for name in names:
        (tmp_path / name).touch()
    expected = [[str(tmp_path / f"{case_id}_000{channel}.nii.gz") for channel in (0, 1)] for case_id in "ab"]
    assert image_lists(str(tmp_path), ".nii.gz") == expected
    assert image_lists(INPUTS, ".nii.gz") is INPUTS
