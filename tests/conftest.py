"""A tiny preprocessed dataset, made once with the commands that a user types, for tests that train or predict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask import environment

# a shell without job control starts background commands deaf to Ctrl-C, and so would be what the tests interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# before torch is loaded: threads that wait must not spin, since trainings and test processes share the cores
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@dataclass(frozen=True)
class MicroDataset:
    """Eight phantom scans as dataset 901: six to train on, two to test, plans ``nnUNetPlans`` and ``micro``."""

    folder: Path
    variables: Mapping[str, str]
    name: str = "Dataset901_Micro"

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw" / self.name

    @property
    def preprocessed(self) -> Path:
        return self.folder / "nnUNet_preprocessed" / self.name

    @property
    def results(self) -> Path:
        return self.folder / "nnUNet_results" / self.name

    def run(self, *command: str, status: int = 0, **variables: str) -> str:
        """Run an installed command and return what it printed."""
        program = Path(sys.executable).with_name(command[0])
        done = subprocess.run(
            [program, *command[1:]],
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> MicroDataset:
    folder = tmp_path_factory.mktemp("micro")
    variables = {name: str(folder / name) for name in VARIABLES}
    for path in variables.values():
        Path(path).mkdir()
    variables |= {
        environment.VARIABLE: environment.ext_trainer_value(os.environ.get(environment.VARIABLE)),
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    dataset = MicroDataset(folder, variables)
    source = str(folder / "source")
    dataset.run("nnunet-multitask", *"convert phantom --train 4 --val 2 --test 2 --output".split(), source)
    dataset.run("nnunet-multitask", *"convert hemseg200 --dataset-id 901 --dataset-name Micro --input".split(), source)
    dataset.run("nnunet-multitask", "verify", "901")
    dataset.run("nnUNetv2_plan_and_preprocess", *"-d 901 -c 3d_fullres 2d -np 1 1".split(), nnUNet_n_proc_DA="1")
    dataset.run("nnunet-multitask", *"split 901 --folds 2".split())
    sizes = "--features 4,8,8 --batch-size 2 --epochs 2 --iterations 2 --val-iterations 2 --name micro".split()
    dataset.run("nnunet-multitask", "configure", "901", *sizes, "--patch-size", "8,64,64")
    dataset.run(
        "nnunet-multitask", "configure", "901", "--from", "micro", "--name", "micro2d", "--configuration", "2d",
        "--features", "4,8,8", "--batch-size", "4", "--patch-size", "128,128",
    )  # fmt: skip
    return dataset


@pytest.fixture
def micro_env(micro: MicroDataset, monkeypatch: pytest.MonkeyPatch) -> MicroDataset:
    """The micro dataset, with its variables set in this process."""
    for name, value in micro.variables.items():
        monkeypatch.setenv(name, value)
    return micro


@pytest.fixture
def sidecar(micro_env: MicroDataset) -> Iterator[Path]:
    """The class labels of the micro dataset, for a test to damage; put back afterwards."""
    path = micro_env.raw / "class_labels.json"
    before = path.read_text()
    yield path
    path.write_text(before)
    (micro_env.preprocessed / "class_labels.json").unlink(missing_ok=True)


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], Any]], None]:
    """Return a function that changes a JSON file."""

    def edit_file(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit_file
