"""The demonstration: the whole way from scans to report, on a synthetic cohort, with the commands that a user types."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask import environment
from nnunet_multitask.dataset_conversion.phantom_hemseg200 import PHANTOM_VERSION
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.workflows.steps import Chain, Show, Step

DATASET_ID = 900
DATASET = f"Dataset{DATASET_ID}_Phantom"
CONFIGURATION = "3d_fullres"
PLANS = "demo"
TARGET = "subtype"
MODELS = {"multitask": "nnUNetTrainerMultiTaskShort", "baseline": "nnUNetTrainerBaselineShort"}


@dataclass(frozen=True)
class DemoSettings:
    """Size of the demonstration.

    Attributes:
        num_train, num_val, num_test: scans of the cohort's three folders; train and val are trained on.
        seed: seed of the cohort.
        features, patch_size, batch_size: the network, and what it sees of a scan.
        epochs, iterations, val_iterations: the schedule, of both models.
    """

    num_train: int = 32
    num_val: int = 8
    num_test: int = 16
    seed: int = 0
    features: Sequence[int] = (8, 16, 32, 64)
    patch_size: Sequence[int] = (12, 64, 64)
    batch_size: int = 4
    epochs: int = 8
    iterations: int = 50
    val_iterations: int = 3


def run_demo(output: Path, settings: DemoSettings, device: str, write: Show) -> Path:
    """Run the demonstration, or what is left of it.

    Args:
        output: folder of everything that it writes; a second run takes up what is there.
        settings: its size.
        device: ``cpu`` or ``cuda``.
        write: shows a line to the user.

    Returns:
        The path of ``summary.json``.

    Raises:
        InputError: the folder holds another demonstration, or a step failed.
    """
    output = output.absolute()
    _claim(output, settings, device)
    variables = _environment(output)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", environment.VARIABLE):
        write(f"export {name}={shlex.quote(variables[name])}")
    chain = Chain(output, variables, write)
    chain.run(demo_steps(output, settings, device))
    comparison = read_json(output / "comparison" / "comparison.json")
    summary = _summary(comparison, chain.seconds, output / "comparison" / "report.html")
    write_json(output / "summary.json", summary)
    write("")
    for line in _table(comparison):
        write(line)
    write("")
    write("The scans are synthetic: these figures show that the way from scan to report works, nothing about patients.")
    write(f"report: {summary['report']}")
    return output / "summary.json"


def demo_steps(output: Path, settings: DemoSettings, device: str) -> list[Step]:
    """Return the commands of the demonstration in order."""
    dataset, preprocessed = output / "nnUNet_raw" / DATASET, output / "nnUNet_preprocessed" / DATASET
    comparison = output / "comparison"
    values = {
        **{name: _joined(v) if isinstance(v, Sequence) else v for name, v in vars(settings).items()},
        "id": DATASET_ID,
        "configuration": CONFIGURATION,
        "plans": PLANS,
        "device": device,
        "processes": min(os.cpu_count() or 1, 8),
        "source": output / "source",
        "dataset": dataset,
        "predictions": output / "predictions",
        "comparison": comparison,
    }
    steps = [
        Step(
            "phantom",
            "make a synthetic head-CT cohort in the layout of HemSeg-200",
            _command(
                "nnunet-multitask convert phantom --output {source} --train {num_train} --val {num_val} "
                "--test {num_test} --seed {seed} --overwrite",
                values,
            ),
            [output / "source"],
        ),
        Step(
            "convert",
            "convert it to nnU-Net's raw format with class labels",
            _command(
                "nnunet-multitask convert hemseg200 --input {source} --dataset-id {id} --dataset-name Phantom "
                "--overwrite",
                values,
            ),
            [dataset / "class_labels.json"],
        ),
        Step("verify", "verify images, masks and labels", _command("nnunet-multitask verify {id}", values), []),
        Step(
            "plan",
            "plan and preprocess",
            _command("nnUNetv2_plan_and_preprocess -d {id} -c {configuration} -np {processes}", values),
            [preprocessed / "nnUNetPlans.json", preprocessed / f"nnUNetPlans_{CONFIGURATION}"],
        ),
        Step(
            "split",
            "make folds by class and patient",
            _command("nnunet-multitask split {id} --overwrite", values),
            [preprocessed / "splits_final.json"],
        ),
        Step(
            "configure",
            "write plans of demonstration size",
            _command(
                "nnunet-multitask configure {id} --name {plans} --features {features} --patch-size {patch_size} "
                "--batch-size {batch_size} --epochs {epochs} --iterations {iterations} "
                "--val-iterations {val_iterations} --overwrite",
                values,
            ),
            [preprocessed / f"{PLANS}.json"],
        ),
    ]
    for model, trainer in MODELS.items():
        fold = output / "nnUNet_results" / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}" / "fold_0"
        steps.append(
            Step(
                f"train_{model}",
                f"train the {model} model, {settings.epochs} epochs of {settings.iterations} iterations",
                _command(
                    f"nnUNetv2_train {{id}} {{configuration}} 0 -tr {trainer} -p {{plans}} -device {{device}}", values
                ),
                [fold / "checkpoint_final.pth", fold / "validation" / "summary.json"],
                resume=["--c"],
                resume_from=fold / "checkpoint_latest.pth",
                show=r"\d: (?P<text>(Epoch \d|classification|Pseudo dice|Epoch time|Mean Valid|predicting).*)",
            )
        )
    for model, trainer in MODELS.items():
        program = "nnunet-multitask predict" if model == "multitask" else "nnUNetv2_predict"
        steps.append(
            Step(
                f"predict_{model}",
                f"predict the test cases with the {model} model",
                _command(
                    f"{program} -i {{dataset}}/imagesTs -o {{predictions}}/{model} -d {{id}} -tr {trainer} "
                    "-p {plans} -c {configuration} -f 0 -device {device} -npp 1 -nps 1 --disable_progress_bar",
                    values,
                ),
                [output / "predictions" / model / "dataset.json"],
                show=rf"^(Predicting|\S+ {TARGET}: )",
            )
        )
    steps.append(
        Step(
            "compare",
            "compare both models",
            _command(
                "nnunet-multitask compare --reference {dataset}/labelsTs --images {dataset}/imagesTs "
                "--labels {dataset}/class_labels.json --baseline baseline={predictions}/baseline "
                "--model multitask={predictions}/multitask --output {comparison}",
                values,
            ),
            [comparison / "report.html", comparison / "comparison.json"],
        )
    )
    return steps


def _command(template: str, values: Mapping[str, object]) -> list[str]:
    """Fill in a command word by word, so that blanks in a path do no harm; programs are those beside this Python."""
    program, *words = (word.format(**values) for word in template.split())
    return [str(Path(sys.executable).parent / program), *words]


def _environment(output: Path) -> dict[str, str]:
    """Return nnU-Net's variables, with its folders in ``output`` and no more workers than there are cores."""
    variables = {name: str(output / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for folder in variables.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    variables[environment.VARIABLE] = environment.ext_trainer_value(os.environ.get(environment.VARIABLE))
    workers = str(min(os.cpu_count() or 1, 8))
    for name in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):
        variables[name] = os.environ.get(name, workers)
    # waiting threads that spin keep nnU-Net's augmentation workers from the cores that they share
    variables["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "passive")
    variables["PYTHONUNBUFFERED"] = "1"
    return variables


def _claim(output: Path, settings: DemoSettings, device: str) -> None:
    """Make the folder for this demonstration; refuse one that holds something else."""
    claim = {"phantom_version": PHANTOM_VERSION, "device": device, **_as_json(settings)}
    file = output / "demo.json"
    if file.is_file():
        found = read_json(file)
        if found != claim:
            raise InputError(
                "other-demo",
                file,
                f"expected a demonstration with the settings {claim}, got {found}",
                "name another folder with --output, or remove this one",
            )
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            "not-empty", output, "expected a new or empty folder, got one with other files", "name another --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    write_json(file, claim)


def _summary(comparison: dict[str, Any], seconds: float, report: Path) -> dict[str, Any]:
    models = comparison["models"]
    return {
        "multitask": {
            "dsc": _dsc(models["multitask"])["mean"],
            "auc": models["multitask"]["classification"][TARGET]["auc"],
        },
        "baseline": {"dsc": _dsc(models["baseline"])["mean"]},
        "n_test": _dsc(models["multitask"])["n"],
        "seconds": round(seconds, 1),
        "phantom_version": PHANTOM_VERSION,
        "report": str(report),
    }


def _table(comparison: dict[str, Any]) -> list[str]:
    """Return the lines of a small table: one row a model."""
    lines = [f"{'model':<12}{'cases':>6}{'DSC':>8}{'HD95 mm':>9}{'HD mm':>8}{'accuracy':>10}{'AUC':>7}"]
    for name, model in comparison["models"].items():
        summary = model["segmentation"]["summary"]["foreground"]
        scores = model["classification"].get(TARGET, {}) if model["classification"] else {}
        cells = [f"{name:<12}", f"{_dsc(model)['n']:>6}", f"{_dsc(model)['mean']:>8.3f}"]
        cells += [f"{summary[metric]['penalised']['mean']:>{width}.1f}" for metric, width in (("hd95", 9), ("hd", 8))]
        cells += [
            f"{scores[metric]:>{width}.3f}" if scores.get(metric) is not None else f"{'-':>{width}}"
            for metric, width in (("accuracy", 10), ("auc", 7))
        ]
        lines.append("".join(cells))
    return lines


def _dsc(model: dict[str, Any]) -> dict[str, Any]:
    """Return the statistics of DSC over all cases, missed ones counted with 0."""
    statistics: dict[str, Any] = model["segmentation"]["summary"]["foreground"]["dsc"]["penalised"]
    return statistics


def _as_json(settings: DemoSettings) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(settings).items()}


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
