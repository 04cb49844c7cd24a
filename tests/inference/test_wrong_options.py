"""Options that cannot be meant get one line that says what can, before anything is written."""

import pytest
import torch

from nnunet_multitask.cli.main import main


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-step_size", "0"], ["[bad-step-size] -step_size", "above 0 and up to 1, got 0"]),
        (["-step_size", "nan"], ["[bad-step-size] -step_size", "got nan"]),
        (["-npp", "-1"], ["[bad-processes] -npp -nps", "both above 0, or both 0", "got -1 and 3"]),
        (["-num_parts", "0"], ["[bad-part] -num_parts", "1 or more, got 0"]),
        (["-f", "9"], ["[missing-checkpoint]", "fold 9", "there are checkpoint_final.pth of fold 0, 1", "-f"]),
        (["-f", "-1"], ["[bad-fold] -f", "numbers or 'all', got '-1'"]),
        (
            ["-chk", "best.pth"],
            ["[missing-checkpoint]", "with best.pth, got none; there are checkpoint_final.pth"],
        ),
        (["--gate", "nothing"], ["[bad-gate]", "ich, subtype"]),
        (["--aggregation", "median"], ["[unknown-aggregation]", "mean, gaussian, lesion, max, noisy_or, topk"]),
        (["--worklist", "subtype"], ["[missing-class]", "subtype:SAH"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_wrong_options(toy_model, toy_images, tmp_path, capfd, options, words):
    argv = ["predict", "-i", toy_images, "-o", tmp_path / "out", "-m", toy_model, "-device", "cpu", *options]
    capfd.readouterr()
    assert main([str(word) for word in argv]) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_an_unset_results_folder_is_named(toy_images, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    argv = ["predict", "-i", str(toy_images), "-o", str(tmp_path / "out"), "-d", "901", "-c", "3d_fullres"]
    assert main(argv) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "[unset-variable] environment variable nnUNet_results" in line
    assert "export nnUNet_results=" in line


def test_images_without_channel_numbers_are_named(toy_model, toy_images, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "scan.nii.gz").write_bytes((toy_images / "a_0000.nii.gz").read_bytes())
    argv = ["predict", "-i", tmp_path / "in", "-o", tmp_path / "out", "-m", toy_model, "-device", "cpu"]
    threads = torch.get_num_threads()
    assert main([str(word) for word in argv]) == 1
    torch.set_num_threads(threads)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]
    assert "[bad-image-name]" in line
    assert "scan.nii.gz: expected CASE_0000.nii.gz, got no channel number -> rename it" in line
