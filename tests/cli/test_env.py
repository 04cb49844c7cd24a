"""``nnunet-multitask env``: the shell line, and what is found wrong with an installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_multitask import environment
from nnunet_multitask.cli import _installation
from nnunet_multitask.cli._installation import FOLDERS, Diagnosis, Finding, diagnose
from nnunet_multitask.cli.main import main
from nnunet_multitask.environment import VARIABLE, discovery_folder

OURS = str(discovery_folder())
ALL_WELL = {
    "torch": {"value": {"cuda": False, "device": None}},
    "torchvision": {"value": None},
    "timm": {"value": None},
    "nnunetv2": {"value": None},
    "trainer": {"value": "nnunet_multitask.training.trainers.nnUNetTrainerMultiTask"},
}
NMS = "RuntimeError: operator torchvision::nms does not exist"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point nnU-Net's variables at folders that exist, and unset ours."""
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)


def _answer(monkeypatch: pytest.MonkeyPatch, answers: dict, end: str = "ended with exit status 0") -> None:
    monkeypatch.setattr(_installation, "_run_probe", lambda: (answers, end))


def _failing(step: str, error: str) -> dict:
    before = list(ALL_WELL)[: list(ALL_WELL).index(step)]
    return {**{name: ALL_WELL[name] for name in before}, step: {"error": error}}


@pytest.mark.usefixtures("folders")
def test_only_the_line_goes_to_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(monkeypatch, ALL_WELL)
    assert main(["env"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"export {VARIABLE}={OURS}\n"
    assert "nnUNetTrainerMultiTask" in captured.err
    assert captured.err.endswith("ready to train and predict\n")


@pytest.mark.parametrize("folder", ["/a b/c", "/it's", '/"$HOME"', "/`id`;x"])
def test_shell_reads_back_what_was_meant(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, folder)
    program = f"{sys.executable} -m nnunet_multitask.cli.main env --line-only"
    script = f'eval "$({program})" && eval "$({program})" && printf %s "${VARIABLE}"'
    process = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == os.pathsep.join([folder, OURS])


def test_line_only_does_not_look_at_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installation, "diagnose", lambda: pytest.fail("it looked"))
    assert main(["env", "--line-only"]) == 0


def test_unset_variables_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    _answer(monkeypatch, ALL_WELL)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "absent"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    assert main(["env"]) == 0
    lines = capsys.readouterr().err.splitlines()
    warnings = [line for line in lines if line.startswith("WARN")]
    assert warnings == [
        "WARN [unset-variable] nnUNet_raw: expected an environment variable that names a folder, got none "
        "-> create the folder and name it in the shell: export nnUNet_raw=/path/to/nnUNet_raw",
        f"WARN [missing-folder] nnUNet_preprocessed: expected a folder, got {tmp_path / 'absent'} "
        "-> create the folder and name it in the shell: export nnUNet_preprocessed=/path/to/nnUNet_preprocessed",
    ]
    assert lines[-1] == "works; see the warnings above"


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("error", [NMS, "ImportError: _C.so: undefined symbol: _ZN3c10"])
def test_torchvision_that_does_not_match_is_explained(error: str, monkeypatch, capsys) -> None:
    _answer(monkeypatch, _failing("torchvision", error))
    monkeypatch.setattr(_installation, "_version", {"torch": "2.8.0", "torchvision": "0.9.0"}.get)
    monkeypatch.setattr(_installation, "PACKAGES", ("torch", "torchvision"))
    assert main(["env"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"export {VARIABLE}={OURS}\n"
    (line,) = (line for line in captured.err.splitlines() if line.startswith("ERROR"))
    assert line.startswith(
        "ERROR [torchvision-mismatch] torchvision: expected a torchvision built for torch 2.8.0, got torchvision 0.9.0"
    )
    assert error in line
    assert line.endswith("pip install --force-reinstall torch torchvision")


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        ("torch", "ImportError: libcudart.so.13: cannot open\nshared object file", "broken-import"),
        ("torchvision", "ImportError: cannot import name 'x'", "broken-import"),
        ("timm", "ModuleNotFoundError: No module named 'timm'", "broken-import"),
        ("nnunetv2", "ModuleNotFoundError: No module named 'blosc2'", "broken-import"),
        ("trainer", "ModuleNotFoundError: No module named 'theirs'", "trainer-not-found"),
    ],
)
def test_only_the_first_fault_is_told_with_a_remedy(step: str, error: str, code: str, monkeypatch) -> None:
    _answer(monkeypatch, _failing(step, error))
    diagnosis = diagnose()
    assert diagnosis.is_broken
    (finding,) = diagnosis.findings
    assert finding.code == code
    assert " ".join(error.split()) in finding.fault
    assert "reinstall" in finding.remedy
    assert "\n" not in str(finding)


@pytest.mark.usefixtures("folders")
def test_a_crash_is_put_down_to_the_step_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, {"torch": ALL_WELL["torch"]}, end="ended with exit status -11")
    (finding,) = diagnose().findings
    assert finding.where == "torchvision"
    assert finding.fault.endswith("got the process ended with exit status -11")


@pytest.mark.usefixtures("folders")
def test_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, ALL_WELL)
    monkeypatch.setattr(_installation, "PACKAGES", ("no-such-package-here",))
    diagnosis = diagnose()
    assert diagnosis.packages == {"no-such-package-here": None}
    assert diagnosis.findings == (
        Finding(
            "error",
            "missing-package",
            "no-such-package-here",
            "expected an installed package, got none",
            "install it: pip install no-such-package-here",
        ),
    )


@pytest.mark.usefixtures("folders")
def test_json_holds_line_and_diagnosis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(monkeypatch, _failing("torchvision", NMS))
    assert main(["env", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 1
    assert document["export"] == f"export {VARIABLE}={OURS}"
    assert document["packages"]["nnunetv2"].startswith("2.")
    assert document["cuda"] is False
    assert document["trainer"] is None
    assert document["variables"][VARIABLE] is None
    assert [finding["code"] for finding in document["findings"]] == ["torchvision-mismatch"]
    assert set(Diagnosis.__dataclass_fields__) < set(document)


@pytest.mark.usefixtures("folders")
def test_probe_sees_a_torchvision_that_does_not_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = "class cuda:\n    is_available = staticmethod(lambda: False)\n"
    _install(tmp_path, torch=f"print('noise on stdout')\n{torch}", torchvision=f"raise RuntimeError({NMS[14:]!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    diagnosis = diagnose()
    assert diagnosis.cuda is False
    assert [finding.code for finding in diagnosis.findings] == ["torchvision-mismatch"]
    assert NMS in diagnosis.findings[0].fault


@pytest.mark.usefixtures("folders")
def test_probe_survives_a_library_that_kills_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, torch="import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    diagnosis = diagnose()
    assert diagnosis.cuda is None
    (finding,) = diagnosis.findings
    assert finding.where == "torch"
    assert finding.fault.endswith("got the process ended with exit status 3 (last words)")


@pytest.mark.usefixtures("folders")
def test_probe_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, torch="import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_installation, "PROBE_TIMEOUT_S", 1.0)
    (finding,) = diagnose().findings
    assert finding.fault.endswith("got the process took longer than 1 s")


@pytest.mark.usefixtures("folders")
def test_stock_nnunet_finds_the_trainer_in_this_installation() -> None:
    diagnosis = diagnose()
    assert diagnosis.findings == ()
    assert diagnosis.trainer is not None
    assert diagnosis.trainer.startswith("nnunet_multitask.training.")
    assert diagnosis.trainer.endswith(".nnUNetTrainerMultiTask")


def test_a_folder_that_the_variable_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(environment, "discovery_folder", lambda: Path(f"/a{os.pathsep}b"))
    assert main(["env", "--line-only"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ERROR [unusable-path] /a:b")


def _install(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
