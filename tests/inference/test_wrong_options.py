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
        (["-f", "0", "1", "0"], ["[given-twice] -f", "got 0 1 0"]),
        (["-f", "-1"], ["[bad-fold] -f", "numbers or 'all', got '-1'"]),
        (
            ["-chk", "best.pth"],
            ["[missing-checkpoint]", "with best.pth, got none; there are checkpoint_final.pth"],
        ),
        (["-prev_stage_predictions", "masks"], ["[needless-option] -prev_stage_predictions", "sees images alone"]),
        (["-d", "901"], ["[contradiction] -m", "or by -d -p -tr -c, got -m and -d"]),
        (["-c", "2d", "-p", "nnUNetPlans"], ["[contradiction] -m", "got -m and -c -p", "leave one of both out"]),
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


@pytest.mark.parametrize("processes", ["0", "1"])
def test_refused_images_leave_an_earlier_prediction_as_it_was(toy_model, toy_images, tmp_path, capfd, processes):
    (tmp_path / "in").mkdir()
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "a_0002.nii.gz"):
        (tmp_path / "in" / name).write_bytes((toy_images / "a_0000.nii.gz").read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plans.json").write_text("of an earlier one")
    argv = ["predict", "-i", tmp_path / "in", "-o", tmp_path / "out", "-m", toy_model, "-device", "cpu"]
    threads = torch.get_num_threads()
    assert main([str(word) for word in [*argv, "-npp", processes, "-nps", processes]]) == 1
    torch.set_num_threads(threads)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]
    assert "[wrong-channels] case a: expected" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plans.json"]
    assert (tmp_path / "out" / "plans.json").read_text() == "of an earlier one"


def test_masks_are_not_written_among_the_images(toy_model, toy_images, capfd):
    before = sorted(toy_images.iterdir())
    argv = ["predict", "-i", toy_images, "-o", f"{toy_images}/../{toy_images.name}", "-m", toy_model, "-device", "cpu"]
    assert main([str(word) for word in argv]) == 1
    assert "[same-folder] -o: expected another folder than that of the images" in capfd.readouterr().err
    assert sorted(toy_images.iterdir()) == before
