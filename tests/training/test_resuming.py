"""Trainings that end before their last epoch, and go on."""

import os
import signal
from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.training import resuming
from nnunet_multitask.training.checkpoints import plain
from nnunet_multitask.training.interruption import Terminated

BASELINE = "nnUNetTrainerBaselineShort"


def during(trainer, hook, epoch, action):
    """Run ``action`` when the trainer calls one of its methods in an epoch."""
    method = getattr(trainer, hook)

    def calling(*args):
        if trainer.current_epoch == epoch:
            action()
        return method(*args)

    setattr(trainer, hook, calling)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def files_of(trainer):
    return {path.name for path in Path(trainer.output_folder).glob("*checkpoint*")}


def log_of(trainer):
    return "".join(path.read_text() for path in sorted(Path(trainer.output_folder).glob("training_log*")))


def assert_equal_training(one, other):
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
    logs = [trainer.logger.local_logger.my_fantastic_logging for trainer in (one, other)]
    assert set(logs[0]) == set(logs[1])
    for name, values in logs[0].items():
        assert len(values) == len(logs[1][name]) == one.current_epoch == other.current_epoch
        if "timestamp" not in name:
            assert torch.equal(torch.tensor(values).nan_to_num(), torch.tensor(logs[1][name]).nan_to_num()), name


def continued(make, *args, **kwargs):
    trainer = make(*args, **kwargs, resume=True)
    maybe_load_checkpoint(trainer, True, False)
    return trainer


@pytest.mark.parametrize("balancing", ["fixed", "gradnorm"])
def test_a_training_ended_by_sigterm_goes_on_as_if_it_had_not(make, balancing):
    def make_trainer():
        config = {"loss_balancing": balancing, "learning_rate_factor": 0.5}
        return make(config=config, epochs=3, early_stopping_patience=9, decay="cosine_restarts", restart_epochs=2)

    undisturbed = make_trainer()
    undisturbed.run_training()
    trainer = make_trainer()
    steps = []
    during(trainer, "train_step", 1, lambda: steps.append(1) or (len(steps) == 2 and terminate()))
    before = signal.getsignal(signal.SIGTERM)
    (Path(trainer.output_folder) / "checkpoint_final.pth").unlink()
    with pytest.raises(Terminated) as ended:
        trainer.run_training()
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    best = {"checkpoint_best.pth", "checkpoint_best_classification.pth", "checkpoint_best_joint.pth"}
    assert files_of(trainer) == {"checkpoint_latest.pth", *best}
    assert "interrupted by SIGTERM: the state after epoch 0 is written; go on with --c" in log_of(trainer)
    again = make_trainer()
    maybe_load_checkpoint(again, True, False)
    assert again.current_epoch == 1
    again.run_training()
    assert_equal_training(again, undisturbed)
    # loss weights, stopping, best epochs, alarms; as text, since they hold tensors
    assert str(plain(again.extra_state())) == str(plain(undisturbed.extra_state()))
    rates = [[group["lr"] for group in one.optimizer.param_groups] for one in (again, undisturbed)]
    assert rates[0] == rates[1]
    assert files_of(again) == {"checkpoint_final.pth", *best}


def test_sigterm_in_the_first_epoch_leaves_nothing(make):
    trainer = make(BASELINE)
    during(trainer, "train_step", 0, terminate)
    with pytest.raises(Terminated):
        trainer.run_training()
    assert not files_of(trainer)
    assert "interrupted by SIGTERM: no epoch was finished since the start" in log_of(trainer)


def test_sigterm_while_the_epoch_is_written_waits_for_its_end(make):
    trainer = make(BASELINE, save_every=1)
    save = trainer.save_checkpoint
    trainer.save_checkpoint = lambda name: (terminate(), save(name))
    with pytest.raises(Terminated):
        trainer.run_training()
    assert files_of(trainer) == {"checkpoint_latest.pth", "checkpoint_best.pth"}
    assert "the state after epoch 0 is written" in log_of(trainer)


@pytest.mark.parametrize(("error", "name"), [(KeyboardInterrupt, "Ctrl-C"), (RuntimeError, "RuntimeError")])
def test_whatever_ends_a_training_finds_the_last_epoch(make, error, name):
    trainer = make(BASELINE)

    def fail():
        raise error

    during(trainer, "train_step", 1, fail)
    with pytest.raises(error):
        trainer.run_training()
    assert "checkpoint_latest.pth" in files_of(trainer)
    assert f"interrupted by {name}: the state after epoch 0" in log_of(trainer)


def test_a_full_disk_does_not_hide_what_ended_the_training(make, monkeypatch):
    trainer = make(BASELINE)
    during(trainer, "train_step", 1, terminate)
    fault = InputError("cannot-write", "checkpoint_latest.pth", "expected to write it, got: full", "free some space")

    def fail(name):
        raise fault

    monkeypatch.setattr(trainer, "_write_kept", fail)
    with pytest.raises(Terminated):
        trainer.run_training()
    assert f"nothing is written: {fault}" in log_of(trainer)


def test_nothing_is_written_where_checkpoints_are_disabled(make):
    trainer = make()
    trainer.disable_checkpointing = True
    during(trainer, "train_step", 1, terminate)
    with pytest.raises(Terminated):
        trainer.run_training()
    assert not files_of(trainer)
    assert "nothing is written: checkpoints are disabled" in log_of(trainer)


def test_the_latest_checkpoint_is_never_older_than_a_quarter_of_an_hour(make, monkeypatch):
    minutes = iter(range(0, 1000, 8))  # each look at the clock is 8 minutes after the one before
    monkeypatch.setattr(resuming, "monotonic", lambda: 60.0 * next(minutes))
    trainer = make(BASELINE, epochs=4)
    written = []
    save = trainer._write_kept
    trainer._write_kept = lambda name: (written.append((trainer.current_epoch - 1, name)), save(name))
    trainer.run_training()
    # clock: start 0, epoch 0 8, epoch 1 16 (written, at 24), epoch 2 32, epoch 3 40
    assert written == [(1, "checkpoint_latest.pth"), (3, "checkpoint_latest.pth")]


def test_early_stopping_stops_and_stays_stopped(make):
    trainer = make(BASELINE, epochs=6, early_stopping_patience=2)
    values = iter([3.0, 1.0, 2.0, 1.0, 0.0])
    trainer.stopping_criterion = lambda: next(values)
    trainer.run_training()
    assert trainer.current_epoch == 4
    assert "not been below 1.0000 of epoch 1 for 2 epochs (early_stopping_patience 2); 4 of 6 epochs" in log_of(trainer)
    assert files_of(trainer) == {"checkpoint_final.pth", "checkpoint_best.pth"}
    again = continued(make, BASELINE, epochs=6, early_stopping_patience=2)
    assert again.stopping == trainer.stopping
    again.run_training()
    assert again.current_epoch == 4
    assert_equal_training(again, trainer)
    further = continued(make, BASELINE, epochs=6, early_stopping_patience=5)
    further.run_training()
    assert further.current_epoch == 6


def test_the_criterion_of_two_tasks_is_the_weighted_sum(make):
    trainer = make(config={"classification_weight": 2.0})
    trainer.initialize()
    trainer.logger.log("val_losses", 0.25, 0)
    trainer.logger.log("val_losses_classification", 0.5, 0)
    assert trainer.stopping_criterion() == 1.25


def test_the_seed_fixes_the_weights(make):
    weights = []
    for seed in (1, 1, 2):
        trainer = make(BASELINE, epochs=1, seed=seed)
        trainer.run_training()
        weights.append(torch.cat([value.flatten() for value in trainer.network.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_continued_training_does_not_repeat_the_first_epochs_numbers(make):
    drawn = []
    for epoch in (0, 1):
        trainer = make(BASELINE)
        trainer.current_epoch = epoch
        trainer.seed_epoch()
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] != drawn[1]


def test_the_best_dice_of_a_continued_training_is_that_of_its_log(make):
    trainer = make(BASELINE, epochs=1, save_every=1)
    trainer.run_training()
    path = f"{trainer.output_folder}/checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["logging"]["ema_fg_dice"] = [0.75]
    checkpoint["_best_ema"] = 0.5
    torch.save(checkpoint, path)
    assert continued(make, BASELINE)._best_ema == 0.75


def test_a_training_that_went_on_after_its_end_is_continued(make):
    trainer = make(BASELINE, epochs=1)
    trainer.run_training()
    longer = continued(make, BASELINE, epochs=4)
    during(longer, "train_step", 2, terminate)
    with pytest.raises(Terminated):
        longer.run_training()
    assert {"checkpoint_final.pth", "checkpoint_latest.pth"} < files_of(longer)
    assert continued(make, BASELINE, epochs=4).current_epoch == 2
    validating = make(BASELINE, epochs=4)
    maybe_load_checkpoint(validating, False, True)  # --val is of the finished one
    assert validating.current_epoch == 1


def test_leftovers_go_and_an_older_training_is_named(make):
    trainer = make(BASELINE, epochs=1)
    folder = Path(trainer.output_folder)
    (folder / "checkpoint_latest.pth.unfinished").write_bytes(b"half")
    (folder / "checkpoint_final.pth").write_bytes(b"older")
    trainer.on_train_start()
    assert files_of(trainer) == {"checkpoint_final.pth"}
    assert "removed checkpoint_latest.pth.unfinished" in log_of(trainer)
    assert "WARN checkpoint_final.pth of an earlier training" in log_of(trainer)


def test_a_damaged_case_is_named(make):
    trainer = make(BASELINE, epochs=20)
    trainer.initialize()
    victim = trainer.do_split()[0][0]
    file = Path(trainer.preprocessed_dataset_folder) / f"{victim}.b2nd"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        with pytest.raises(InputErrors, match=rf"\[unreadable-case\] .*{victim}: .* -> .*nnUNetv2_preprocess -d 901 "):
            trainer.run_training()  # its cases are drawn: within 80 draws from 2 cases, the damaged one is
    finally:
        file.write_bytes(content)


def test_an_error_of_loading_that_no_case_explains_stays(make):
    trainer = make(BASELINE)

    def starve(*args):
        raise RuntimeError("One or more background workers are no longer alive")

    starve.__globals__["__name__"], name = "batchgenerators.dataloading.nondet", starve.__globals__["__name__"]
    trainer.train_step = starve
    try:
        with pytest.raises(RuntimeError, match="no longer alive"):
            trainer.run_training()
    finally:
        starve.__globals__["__name__"] = name
    assert "every case can be read; " in log_of(trainer)


def test_an_unset_results_folder_is_named(make, monkeypatch):
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(InputError, match=r"\[unset-variable\] environment variable nnUNet_results"):
        make(BASELINE)


def test_a_half_written_plans_json_of_a_killed_start_is_written_again(make):
    trainer = make()
    path = Path(trainer.output_folder_base) / "plans.json"
    path.write_text('{"dataset_name": "Dat')
    trainer.on_train_start()
    assert path.read_text().endswith("}")
    assert f"WARN {path}" in log_of(trainer)
