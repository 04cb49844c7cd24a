"""The table of the ablation from rows made by hand, and its rows on the disk."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("_ablation_rows", "_ablation_table", "ablation")
    helpers = ("_ablation_aggregations", "_harness")
    yield [importlib.import_module(name) for name in names]
    for name in (*names, *helpers):
        sys.modules.pop(name)


def make_rows(rows, variant, dsc, probabilities=None, *, seed=1, cases=12):
    """Twelve cases of twelve patients, every other one positive, volume growing with the case."""
    return [
        rows.Row(
            "phantom", variant, seed, index % 2, f"case_{index:02d}", f"P{index}", index % 2,
            None if probabilities is None else probabilities[index % 2], dsc + index / 1000, 1.5, float(index),
        )
        for index in range(cases)
    ]  # fmt: skip


def test_entries_by_hand(parts):
    rows, table, _ = parts
    entries = table.make_table(
        make_rows(rows, "vanilla", 0.80)
        + make_rows(rows, "multitask", 0.83, (0.2, 0.9))
        + make_rows(rows, "multitask", 0.81, (0.6, 0.4), seed=2)
        + make_rows(rows, "detached", 0.80, (0.6, 0.4))
    )
    vanilla, ours, detached = entries
    assert (vanilla["variant"], vanilla["auc"], vanilla["dsc_difference"]) == ("vanilla", None, None)
    assert vanilla["dsc"] == pytest.approx(0.8055)
    assert ours["auc_by_seed"] == [1.0, 0.0]
    assert ours["auc"] == 0.5
    assert ours["dsc_by_seed"] == pytest.approx([0.8355, 0.8155])
    # paired with the one seed that both have
    assert ours["dsc_difference"]["seeds"] == 1
    assert ours["dsc_difference"]["difference"] == pytest.approx(0.03)
    assert detached["auc_difference"] == {"difference": -1.0, "interval": [None, None], "seeds": 1}
    assert (vanilla["auc_difference"], ours["auc_difference"]) == (None, None)
    again = table.make_table(  # the mean of the probabilities would have an AUC of 1
        make_rows(rows, "multitask", 0.8, (0.6, 0.4))
        + make_rows(rows, "multitask", 0.8, (0.6, 0.4), seed=2)
        + make_rows(rows, "weight 1", 0.8, (0.1, 0.9))
        + make_rows(rows, "weight 1", 0.8, (0.6, 0.4), seed=2)
    )[1]
    assert (again["auc"], again["auc_difference"]["difference"]) == (0.5, 0.5)
    # positives are 1, 3, ... 11: of 36 pairs 21 are in order
    assert ours["auc_of_predicted_volume"] == pytest.approx(21 / 36)
    assert ours["difference_to_volume"]["difference"] == pytest.approx(0.5 - 21 / 36)
    low, high = ours["difference_to_volume"]["interval"]
    assert low < 0.5 - 21 / 36 < high


def test_the_volume_is_taken_in_the_direction_that_fits(parts):
    rows, table, _ = parts
    small = [replace(row, volume_ml=-row.volume_ml) for row in make_rows(rows, "multitask", 0.8, (0.2, 0.9))]
    (entry,) = table.make_table(small)
    assert entry["auc_of_predicted_volume"] == pytest.approx(21 / 36)
    assert entry["difference_to_volume"]["difference"] == pytest.approx(1 - 21 / 36)
    line = table.as_text([{**entry, "auc_interval": [0.7, 0.9]}])[-1]
    assert line.startswith("phantom: AUC of multitask 1.000 (0.700 to 0.900), minus that of volume +0.417 (")


def test_a_network_without_masks_has_no_dsc(parts):
    rows, table, _ = parts
    empty = [replace(row, volume_ml=0.0) for row in make_rows(rows, "classification only", 0.0, (0.2, 0.9))]
    entry = table.make_table(make_rows(rows, "vanilla", 0.80) + empty)[1]
    assert entry["auc"] == 1.0
    assert [entry[name] for name in ("dsc", "dsc_difference", "auc_of_predicted_volume")] == [None, None, None]
    assert table.as_text([entry])[1].split()[-5:] == ["1.000", "-", "-", "-", "-"]


def test_a_seed_without_all_folds_is_left_out(parts):
    rows, table, _ = parts
    found = make_rows(rows, "vanilla", 0.8) + make_rows(rows, "multitask", 0.8, (0.2, 0.9), cases=8)
    assert [entry["variant"] for entry in table.make_table(found)] == ["vanilla"]


@pytest.mark.parametrize("file", ["RESULTS_FILE", "TEST_FILE"])
def test_the_documented_tables_are_those_of_the_rows(parts, file):
    rows, table, _ = parts
    page = (BENCHMARKS.parent / "docs" / "training.md").read_text(encoding="utf-8")
    assert "\n".join(table.as_text(table.make_table(rows.read_rows(getattr(rows, file))))) in page


def test_rows_are_read_as_they_were_written(parts, tmp_path):
    rows, _, _ = parts
    path = tmp_path / "results" / "cases.csv"
    written = make_rows(rows, "vanilla", 0.8), make_rows(rows, "multitask", 0.8, (0.25, 0.75))
    for part in written:
        rows.append_rows(path, part)
    assert rows.read_rows(path) == [*written[0], *written[1]]
    assert rows.read_rows(tmp_path / "none.csv") == []


def test_a_missed_target_is_said(parts, tmp_path, capsys):
    rows, _, ablation = parts
    path = tmp_path / "cases.csv"
    rows.append_rows(path, make_rows(rows, "vanilla", 0.8))
    rows.append_rows(path, make_rows(rows, "multitask", 0.7, (0.2, 0.9)))
    assert ablation.main(["report", "--rows", str(path), "--check"]) == 1
    assert "DSC difference, phantom -0.1 (target at least -0.01, missed)" in capsys.readouterr().out


def test_test_cases_are_predicted_by_all_folds_and_scored(parts, tmp_path, monkeypatch, capsys):
    rows, _, ablation = parts
    raw = tmp_path / "nnUNet_raw" / "Dataset904_Hippocampus"
    raw.mkdir(parents=True)
    commands = []
    monkeypatch.setattr(
        ablation.subprocess, "run", lambda words, **_: commands.append([Path(words[0]).name, *words[1:]])
    )

    def score(cohort, variant, seed, fold, masks, predictions):
        assert (cohort, masks) == ("hippocampus", raw / "labelsTs")
        assert str(predictions) == commands[-1][commands[-1].index("-o") + 1]
        probabilities = None if variant == "vanilla" else (0.2, 0.9)
        found = make_rows(rows, variant, 0.8, probabilities, seed=seed)
        return [replace(row, cohort=cohort, fold=fold) for row in found]

    monkeypatch.setattr(ablation, "_score", score)
    command = ["test", "--work", str(tmp_path), "--rows", str(tmp_path / "rows.csv"), "--seeds", "1"]
    assert [ablation.main(command), ablation.main(command)] == [0, 0]  # the second has nothing left to do
    assert [words[0] for words in commands] == ["nnunet-multitask", "nnUNetv2_predict_from_modelfolder"]
    assert all(words[words.index("-f") + 1 : words.index("-device")] == ["0", "1"] for words in commands)
    assert {row.fold for row in rows.read_rows(tmp_path / "rows.csv")} == {-1}
    assert ablation.main(["report", "--rows", str(tmp_path / "rows.csv")]) == 0
    assert "ablation_test: AUC, hippocampus 1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no rows in"):
        ablation.main(["report", "--rows", str(tmp_path / "none.csv")])


def test_finished_runs_are_not_run_again(parts, tmp_path, capsys):
    rows, _, ablation = parts
    path = tmp_path / "cases.csv"
    rows.append_rows(path, make_rows(rows, "vanilla", 0.8))
    command = ["run", "--work", str(tmp_path), "--cohorts", "phantom", "--variants", "vanilla", "--rows", str(path)]
    assert ablation.main(command) == 0
    assert "2 of 2 runs are finished" in capsys.readouterr().out


def test_aggregations_of_every_seed_are_shown(parts, tmp_path, capsys, monkeypatch):
    answers = {
        f"multitask_{seed}": {"own": "mean", "aggregations": {"mean": {"auc": auc, "log_loss": 0.5}}}
        for seed, auc in ((1, 0.8), (2, 0.9))
    }

    def fit_aggregation(command, **_):
        assert command[command.index("-f") + 1 : command.index("--leave-out-rare")] == ["0", "1"]
        plans = Path(command[command.index("-m") + 1]).name.split("__")[1]
        return SimpleNamespace(stdout=json.dumps({"targets": {"subtype": answers[plans]}}))

    monkeypatch.setattr(sys.modules["_ablation_aggregations"].subprocess, "run", fit_aggregation)
    (tmp_path / "nnUNet_raw" / "Dataset905_Phantom").mkdir(parents=True)
    command = ["aggregations", "--work", str(tmp_path), "--cohorts", "phantom", "--seeds", "1", "2"]
    assert parts[2].main(command) == 0
    assert "phantom, subtype, 2 repeats; the model's own: mean" in (shown := capsys.readouterr().out)
    assert "mean              AUC 0.850 (0.800 0.900)  log loss 0.500" in shown


def test_variants_are_settings_and_trainers_of_the_package(parts):
    from nnunet_multitask.config import MultiTaskConfig, parse_value, settings_from
    from nnunet_multitask.discovery import multitask_trainers

    default = MultiTaskConfig()
    for name, variant in parts[2].VARIANTS.items():
        assert hasattr(multitask_trainers, variant.trainer)
        values = {setting: parse_value(default, setting, text) for setting, text in variant.settings.items()}
        assert (settings_from(default, values, name) == default) == (not values)
