"""Faults that a user meets first: one clear line, a status that is not 0, and no traceback without --debug."""

import pytest

from nnunet_multitask.cli.main import main

TRAIN = "train 901 3d_fullres 0 -tr nnUNetTrainerMultiTaskShort -p micro -device cpu".split()


def refused(capfd, argv):
    """Run a command that must refuse its input, and return its error lines."""
    capfd.readouterr()
    assert main(argv) == 1
    err = capfd.readouterr().err
    assert "Traceback" not in err
    return [line for line in err.splitlines() if line.startswith("ERROR ")]


def first_training_case(micro):
    return sorted(path.name for path in (micro.raw / "labelsTr").iterdir())[0].removesuffix(".nii.gz")


def test_unset_raw_folder(micro_env, monkeypatch, capfd):
    monkeypatch.delenv("nnUNet_raw")
    for argv in (["verify", "901"], "convert folder --input . --dataset-id 5 --dataset-name New".split()):
        (line,) = refused(capfd, argv)
        assert "[unset-variable] environment variable nnUNet_raw" in line
        assert "export nnUNet_raw=" in line


@pytest.mark.parametrize("argv", [TRAIN, ["verify", "901"]], ids=["train", "verify"])
def test_missing_sidecar(micro_env, sidecar, capfd, argv):
    (micro_env.preprocessed / sidecar.name).unlink(missing_ok=True)
    hidden = sidecar.rename(sidecar.with_suffix(".hidden"))
    try:
        (line,) = refused(capfd, argv)
    finally:
        hidden.rename(sidecar)
    assert "class_labels.json" in line
    assert " -> " in line


@pytest.mark.parametrize("argv", [TRAIN, ["verify", "901"]], ids=["train", "verify"])
def test_case_without_entry(micro_env, sidecar, capfd, argv, edit):
    case = first_training_case(micro_env)
    edit(sidecar, lambda document: document["cases"].pop(case))
    (line,) = refused(capfd, argv)
    assert case in line
    assert "class_labels.json" in line


@pytest.mark.parametrize("argv", [TRAIN, ["verify", "901"]], ids=["train", "verify"])
def test_unknown_class(micro_env, sidecar, capfd, argv, edit):
    case = first_training_case(micro_env)
    edit(sidecar, lambda document: document["cases"][case]["labels"].update(subtype="SDH"))
    (line,) = refused(capfd, argv)
    assert all(word in line for word in ("class_labels.json", case, "SDH", "IPH", "IVH")), line


@pytest.mark.parametrize("argv", [TRAIN, ["verify", "901"]], ids=["train", "verify"])
def test_target_with_one_class(micro_env, sidecar, capfd, argv, edit):
    def only_iph(document):
        for case in document["cases"].values():
            case["labels"]["subtype"] = "IPH"

    edit(sidecar, only_iph)
    (line,) = refused(capfd, argv)
    assert all(word in line for word in ("class_labels.json", "subtype", "IVH")), line


def test_debug_shows_the_traceback(micro_env, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(Exception, match="unset-variable"):
        main(["verify", "--debug", "901"])
