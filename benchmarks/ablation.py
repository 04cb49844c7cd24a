"""What each part of the classification branch gives and costs: the defaults are chosen by these out-of-fold results.

Two cohorts: the hippocampus sample of the Medical Segmentation Decathlon (its class is its volume), and a head-CT
phantom with several tiles a case, half of them without lesion, whose classes have equal volumes. Every variant is
trained on the same folds with the same short schedule; each fold's validation cases are scored whole. Rows are kept
case by case in results/ablation_cases.csv: an interrupted run goes on where it was, and the report needs no model.

How tiles become a case is compared on the trained multi-task models. A third cohort, findings, is a phantom of CT-ICH
whose classes one slice is enough to show; it is there for that comparison, and is run where it is named.

Test cases choose nothing: with the defaults as they are, the networks of both folds predict them together.

    python benchmarks/ablation.py run --work DIR --hippocampus DIR --variants multitask vanilla --seeds 1
    python benchmarks/ablation.py report --check --save
    python benchmarks/ablation.py test --work DIR --seeds 1 2 3
    python benchmarks/ablation.py report --rows benchmarks/results/ablation_test_cases.csv
    python benchmarks/ablation.py aggregations --work DIR --cohorts hippocampus phantom findings --seeds 1 --save
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from _ablation_aggregations import compare_aggregations
from _ablation_rows import RESULTS_FILE, TEST_FILE, Row, Run, append_rows, read_rows
from _ablation_table import OURS, VANILLA, report

from nnunet_multitask import environment
from nnunet_multitask.datasets import find_dataset
from nnunet_multitask.documents import read_json
from nnunet_multitask.engines.local import available_cores
from nnunet_multitask.evaluation.aggregation import penalised
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.workflows.steps import Chain, Step

CONFIGURATION = "3d_fullres"
FOLDS = 2
FOLDS_TOGETHER = -1  # in the rows of test cases
# that of the trainers ending in Short, shorter still, and nnU-Net's mixed precision
SCHEDULE = {
    "epochs": 8,
    "val_iterations": 5,
    "features": "8,16,32,64",
    "cpu_precision": "bfloat16",
}


@dataclass(frozen=True)
class Cohort:
    """A data set that the variants are trained on.

    Args:
        dataset_id: in nnU-Net's folders.
        target: whose class is predicted, one of two.
        positive: the class whose probability is kept.
        convert: arguments of ``nnunet-multitask convert``; ``{source}`` is the folder of the data.
        configure: arguments of ``nnunet-multitask configure`` beside those of all cohorts.
        phantom: arguments of ``nnunet-multitask convert phantom`` that makes the source; None: it is given.
    """

    dataset_id: int
    target: str
    positive: str
    convert: str
    configure: str
    phantom: str | None = None


COHORTS = {
    "hippocampus": Cohort(
        904,
        "volume_class",
        "large",
        "folder --input {source} --dataset-id 904 --dataset-name Hippocampus --label-names anterior,posterior "
        "--channel-name MR",
        "--iterations 100 --batch-size 2",
    ),
    "phantom": Cohort(
        905,
        "subtype",
        "IVH",
        "hemseg200 --input {source} --dataset-id 905 --dataset-name Phantom",
        "--patch-size 12,64,64 --iterations 50 --batch-size 4",
        "phantom --train 100 --val 2 --test 40 --seed 1",
    ),
    "findings": Cohort(
        906,
        "ich",
        "hemorrhage",
        "physionet-ct-ich --input {source} --dataset-id 906 --dataset-name Findings",
        "--patch-size 12,64,64 --iterations 50 --batch-size 4",
        "phantom --layout physionet-ct-ich --scans 60 --seed 1",
    ),
}
DEFAULT_COHORTS = ["hippocampus", "phantom"]


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Args:
        trainer: its name.
        settings: of the branch, where they differ from the defaults.
        schedule: where it differs from that of the others.
    """

    trainer: str = "nnUNetTrainerMultiTaskShort"
    settings: Mapping[str, str] = field(default_factory=dict)
    schedule: Mapping[str, object] = field(default_factory=dict)


VARIANTS = {
    "multitask": Variant(),
    "vanilla": Variant("nnUNetTrainerBaselineShort"),
    # its loss is the only one; with the learning rate of the others it ends at one probability for all cases
    "classification only": Variant(
        "nnUNetTrainerResNet3D", {"classification_weight": "1"}, {"learning_rate": 5e-4, "weight_decay": 1e-4}
    ),
    "pooling average": Variant(settings={"pooling": "average"}),
    "pooling attention": Variant(settings={"pooling": "attention"}),
    "detached": Variant(settings={"detach_features": "true"}),
    "patch weight 0": Variant(settings={"empty_patch_weight": "0"}),
    "patch weight 1": Variant(settings={"empty_patch_weight": "1"}),
    "weight 0.1": Variant(settings={"classification_weight": "0.1"}),
    "weight 1": Variant(settings={"classification_weight": "1"}),
    "uncertainty": Variant(settings={"loss_balancing": "uncertainty"}),
    "gradnorm": Variant(settings={"loss_balancing": "gradnorm"}),
    "pcgrad": Variant(settings={"loss_balancing": "pcgrad"}),
    "weight decay 0.0001": Variant(schedule={"weight_decay": 1e-4}),
}


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    args = _parse(argv)
    if args.action == "report":
        return report(args)
    if args.action == "aggregations":
        models = {cohort: {seed: _model(cohort, OURS, seed, args) for seed in args.seeds} for cohort in args.cohorts}
        return compare_aggregations(args, models, FOLDS, _variables(args))
    if args.action == "test":
        wanted = [("hippocampus", variant, seed, FOLDS_TOGETHER) for seed in args.seeds for variant in (OURS, VANILLA)]
        for run in _unfinished(wanted, args):
            append_rows(args.rows, _predict_test_cases(*run, args))
        return 0
    wanted = [
        (cohort, variant, seed, fold)
        for seed in args.seeds
        for fold in args.folds
        for variant in args.variants
        for cohort in args.cohorts
    ]
    unfinished = _unfinished(wanted, args)
    for cohort in {run[0] for run in unfinished}:
        _prepare(cohort, args)
    with ThreadPoolExecutor(args.jobs) as pool:
        for finished_run in as_completed([pool.submit(_run, *run, args) for run in unfinished]):
            append_rows(args.rows, finished_run.result())
    return 0


def _unfinished(wanted: list[Run], args: argparse.Namespace) -> list[Run]:
    """Return the runs that have no rows yet, and say how many have."""
    finished = {row.run for row in read_rows(args.rows)}
    unfinished = [run for run in wanted if run not in finished]
    print(f"{len(wanted) - len(unfinished)} of {len(wanted)} runs are finished", flush=True)
    return unfinished


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="train and score what has no rows yet")
    run.add_argument("--hippocampus", type=Path, metavar="DIR", help="images/, labels/ and classes.csv of the sample")
    run.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    run.add_argument("--folds", nargs="+", type=int, default=list(range(FOLDS)), choices=range(FOLDS))
    run.add_argument("--jobs", type=int, default=available_cores(), help="trainings at a time (default: one a core)")
    table = actions.add_parser("report", help="compute the table from the rows")
    table.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    test = actions.add_parser("test", help="score the test cases of hippocampus with the trained defaults and vanilla")
    tiles = actions.add_parser("aggregations", help="compare the aggregations on the multi-task models that were run")
    tiles.set_defaults(check=False)
    for parser_of_action in (run, tiles):
        parser_of_action.add_argument("--cohorts", nargs="+", default=DEFAULT_COHORTS, choices=COHORTS)
    for parser_of_action in (run, test, tiles):
        parser_of_action.add_argument("--work", type=Path, required=True, metavar="DIR", help="of data and models")
        parser_of_action.add_argument("--seeds", nargs="+", type=int, default=[1])
    for parser_of_action, name in ((table, "ablation"), (tiles, "aggregation")):
        parser_of_action.add_argument("--save", action="store_true", help=f"write benchmarks/results/{name}.json")
    for parser_of_action, file in ((run, RESULTS_FILE), (table, RESULTS_FILE), (test, TEST_FILE)):
        parser_of_action.add_argument("--rows", type=Path, default=file, help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.action == "run" and "hippocampus" in args.cohorts and args.hippocampus is None:
        parser.error("the cohort hippocampus needs --hippocampus DIR, or name others with --cohorts")
    return args


def _prepare(cohort_name: str, args: argparse.Namespace) -> None:
    """Convert, plan and split a cohort, where that is not finished."""
    cohort = COHORTS[cohort_name]
    folder = args.work.absolute() / cohort_name
    folder.mkdir(parents=True, exist_ok=True)
    source = args.hippocampus if cohort.phantom is None else folder / "source"
    number = str(cohort.dataset_id)
    commands = {
        "convert": f"nnunet-multitask convert {cohort.convert} --overwrite",
        "plan": f"nnUNetv2_plan_and_preprocess -d {number} -c {CONFIGURATION} -np 2",
        "split": f"nnunet-multitask split {number} --folds {FOLDS} --overwrite",
    }
    if cohort.phantom is not None:
        commands = {"phantom": f"nnunet-multitask convert {cohort.phantom} --output {{source}} --overwrite"} | commands
    steps = [Step(name, f"{cohort_name}: {name}", _command(text, source=source), []) for name, text in commands.items()]
    Chain(folder, _variables(args), lambda line: print(line, flush=True)).run(steps)


def _run(cohort_name: str, variant_name: str, seed: int, fold: int, args: argparse.Namespace) -> list[Row]:
    """Train one fold of a variant and score its validation cases; return one row a case."""
    cohort, variant = COHORTS[cohort_name], VARIANTS[variant_name]
    plans, number = _plans_name(variant_name, seed), str(cohort.dataset_id)
    schedule = {**SCHEDULE, **variant.schedule}
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in schedule.items())
    settings = " ".join(f"--set {name}={value}" for name, value in variant.settings.items())
    configure = f"{number} --name {plans} --overwrite {options} {cohort.configure} {settings} --seed {seed}"
    raw = find_dataset(args.work.absolute() / "nnUNet_raw", number)
    model = _model(cohort_name, variant_name, seed, args)
    steps = [
        Step("configure", "write the plans", _command(f"nnunet-multitask configure {configure}"), []),
        Step(
            "train",
            f"{cohort_name}, {variant_name}, seed {seed}, fold {fold}",
            _command(
                f"nnunet-multitask train {number} {CONFIGURATION} {fold} -tr {variant.trainer} -p {plans} -device cpu"
            ),
            [model / f"fold_{fold}" / "validation" / "summary.json"],
            resume=["--c"],
            resume_from=model / f"fold_{fold}" / "checkpoint_latest.pth",
        ),
    ]
    folder = args.work.absolute() / "runs" / f"{cohort_name}_{plans}_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    Chain(folder, _variables(args, args.jobs), lambda line: print(line, flush=True)).run(steps)
    return list(_score(cohort_name, variant_name, seed, fold, raw / "labelsTr", model / f"fold_{fold}" / "validation"))


def _predict_test_cases(cohort: str, variant: str, seed: int, fold: int, args: argparse.Namespace) -> list[Row]:
    """Predict the test cases by the networks of all folds together and score them; return one row a case."""
    model, output = _model(cohort, variant, seed, args), args.work.absolute() / "test" / _plans_name(variant, seed)
    raw = args.work.absolute() / "nnUNet_raw" / model.parent.name
    program = "nnUNetv2_predict_from_modelfolder" if variant == VANILLA else "nnunet-multitask predict"
    folds = " ".join(map(str, range(FOLDS)))
    command = f"{program} -i {{images}} -o {{output}} -m {{model}} -f {folds} -device cpu"
    words = _command(command, images=raw / "imagesTs", output=output, model=model)
    subprocess.run(words, env={**os.environ, **_variables(args)}, check=True)
    return list(_score(cohort, variant, seed, fold, raw / "labelsTs", output))


def _plans_name(variant: str, seed: int) -> str:
    return f"{variant.replace(' ', '_').replace('.', '')}_{seed}"


def _model(cohort: str, variant: str, seed: int, args: argparse.Namespace) -> Path:
    work = args.work.absolute()
    raw = find_dataset(work / "nnUNet_raw", str(COHORTS[cohort].dataset_id))
    name = f"{VARIANTS[variant].trainer}__{_plans_name(variant, seed)}__{CONFIGURATION}"
    return work / "nnUNet_results" / raw.name / name


def _score(cohort_name: str, variant: str, seed: int, fold: int, masks: Path, predictions: Path) -> Iterator[Row]:
    cohort, raw = COHORTS[cohort_name], masks.parent
    dataset, sidecar = read_json(raw / "dataset.json"), read_sidecar(raw / "class_labels.json")
    case_ids = [path.name.removesuffix(".nii.gz") for path in sorted(predictions.glob("*.nii.gz"))]
    scores = evaluate_folders(masks, predictions, labels=dataset["labels"], case_ids=case_ids)
    classes = predictions / "classification.json"
    predicted = read_json(classes)["cases"] if classes.is_file() else {}
    for case_id in case_ids:
        score = scores["cases"][case_id][FOREGROUND]
        diagonal = scores["geometry"][case_id]["diagonal_mm"]
        probability = None
        if predicted:
            probability = predicted[case_id]["targets"][cohort.target]["probabilities"][cohort.positive]
        yield Row(
            cohort=cohort_name,
            variant=variant,
            seed=seed,
            fold=fold,
            case=case_id,
            patient=sidecar.cases[case_id].group or case_id,
            positive=int(sidecar.cases[case_id].labels[cohort.target] == cohort.positive),
            probability=probability,
            dsc=penalised(score, "dsc", diagonal),
            hd95_mm=penalised(score, "hd95", diagonal),
            volume_ml=score["volume_ml"],
        )


def _variables(args: argparse.Namespace, jobs: int = 1) -> dict[str, str]:
    """Return the variables of nnU-Net; trainings at the same time share the cores."""
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    variables = {name: str(args.work.absolute() / name) for name in folders}
    for path in variables.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    variables[environment.VARIABLE] = environment.ext_trainer_value(os.environ.get(environment.VARIABLE))
    threads = max(available_cores() // jobs, 1)
    return variables | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "nnUNet_n_proc_DA": str(threads if threads > 1 else 0),
        "nnUNet_def_n_proc": str(threads),
    }


def _command(text: str, **values: object) -> list[str]:
    program, *words = (word.format(**values) for word in text.split())
    return [str(Path(sys.executable).parent / program), *words]


if __name__ == "__main__":
    sys.exit(main())
