"""What ``nnunet-multitask env`` finds out about the installation."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._import_steps import STEPS, TRAINER
from nnunet_multitask.environment import VARIABLE, ext_trainer_value

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
PACKAGES = ("nnunet-multitask", "nnunetv2", "torch", "torchvision", "timm", "numpy", "scikit-learn", "simpleitk")
PROBE_TIMEOUT_S = 600.0  # the first import on a slow network drive takes minutes

_REINSTALL_TORCH = "reinstall both together and from the same index: pip install --force-reinstall torch torchvision"
_REMEDIES = {
    "torch": "reinstall torch: pip install --force-reinstall torch torchvision",
    "torchvision": _REINSTALL_TORCH,
    "timm": "reinstall it in the version that nnU-Net's networks ask for: "
    "pip install --force-reinstall --no-deps 'timm<1.0.23'",
    "nnunetv2": "reinstall nnU-Net: pip install --force-reinstall --no-deps 'nnunetv2>=2.8.1,<3'",
    "trainer": f"reinstall nnunet-multitask, and check that every folder that {VARIABLE} names can be imported",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (``error``), or that may be (``warning``)."""

    severity: str
    code: str
    where: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        label = {"error": "ERROR", "warning": "WARN"}[self.severity]
        return f"{label} [{self.code}] {self.where}: {self.fault} -> {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """The state of the installation.

    Attributes:
        python: version of the interpreter.
        executable: path of the interpreter.
        packages: version by distribution name; None where it is not installed.
        cuda: whether torch can use a GPU; None where torch could not be asked.
        device: name of the first GPU, or None.
        trainer: module and name of the trainer that nnU-Net finds; None where it finds none.
        variables: value of each of nnU-Net's environment variables; None where it is unset.
        findings: what is wrong; empty where all is well.
    """

    python: str
    executable: str
    packages: Mapping[str, str | None]
    cuda: bool | None
    device: str | None
    trainer: str | None
    variables: Mapping[str, str | None]
    findings: tuple[Finding, ...]

    @property
    def is_broken(self) -> bool:
        """Whether anything is found that training cannot do without."""
        return any(finding.severity == "error" for finding in self.findings)


def diagnose() -> Diagnosis:
    """Look at versions and variables, and import in a process of its own what training needs (some seconds)."""
    packages = {name: _version(name) for name in PACKAGES}
    answers, end = _run_probe()
    torch = answers.get("torch", {}).get("value", {})
    return Diagnosis(
        python=platform.python_version(),
        executable=sys.executable,
        packages=packages,
        cuda=torch.get("cuda"),
        device=torch.get("device"),
        trainer=answers.get("trainer", {}).get("value"),
        variables={name: os.environ.get(name) for name in (*FOLDERS, VARIABLE)},
        findings=(*_missing_packages(packages), *_probe_faults(answers, end, packages), *_folder_warnings(os.environ)),
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _run_probe() -> tuple[dict[str, dict[str, Any]], str]:
    """Return the answer by step, and in words how the process ended."""
    # like the console scripts of nnU-Net, the process must not find modules in the present folder
    environment = {**os.environ, VARIABLE: ext_trainer_value(os.environ.get(VARIABLE)), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "nnunet_multitask.cli._import_steps"]
    try:
        process = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        stdout = output.decode() if isinstance(output, bytes) else output
        end = f"took longer than {PROBE_TIMEOUT_S:.0f} s"
    else:
        stdout = process.stdout
        last_words = process.stderr.strip().splitlines()[-1:]
        end = f"ended with exit status {process.returncode}" + "".join(f" ({line})" for line in last_words)
    answers = [json.loads(line) for line in stdout.splitlines()]
    return {answer["step"]: answer for answer in answers}, end


def _missing_packages(packages: Mapping[str, str | None]) -> Iterator[Finding]:
    for name, version in packages.items():
        if version is None:
            fault = "expected an installed package, got none"
            yield Finding("error", "missing-package", name, fault, f"install it: pip install {name}")


def _probe_faults(
    answers: Mapping[str, Mapping[str, Any]], end: str, packages: Mapping[str, str | None]
) -> Iterator[Finding]:
    """Yield the first step that failed: those after it need it, and would only repeat its fault."""
    for step in STEPS:
        if "value" in answers.get(step, {}):
            continue
        error = answers[step]["error"] if step in answers else f"the process {end}"
        if step == "torchvision" and ("torchvision::nms" in error or "undefined symbol" in error):
            fault = (
                f"expected a torchvision built for torch {packages['torch']}, got torchvision "
                f"{packages['torchvision']} ({_one_line(error)}); nnU-Net imports it whenever it looks for a trainer"
            )
            yield Finding("error", "torchvision-mismatch", step, fault, _REINSTALL_TORCH)
        elif step == "trainer":
            fault = f"expected nnU-Net to find {TRAINER} through {VARIABLE}, got {_one_line(error)}"
            yield Finding("error", "trainer-not-found", TRAINER, fault, _REMEDIES[step])
        else:
            fault = f"expected that it can be imported, got {_one_line(error)}"
            yield Finding("error", "broken-import", step, fault, _REMEDIES[step])
        return


def _folder_warnings(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in FOLDERS:
        value = environment.get(name)
        remedy = f"create the folder and name it in the shell: export {name}=/path/to/{name}"
        if not value:
            fault = "expected an environment variable that names a folder, got none"
            yield Finding("warning", "unset-variable", name, fault, remedy)
        elif not Path(value).is_dir():
            yield Finding("warning", "missing-folder", name, f"expected a folder, got {value}", remedy)


def _one_line(text: str) -> str:
    return " ".join(text.split())
