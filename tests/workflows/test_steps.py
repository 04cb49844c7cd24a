import sys

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.workflows.steps import Chain, Step


@pytest.fixture
def screen():
    return []


@pytest.fixture
def chain(tmp_path, screen):
    return Chain(tmp_path, {"GREETING": "hello"}, screen.append)


def python(name, code, results=(), **options):
    return Step(name, f"do {name}", [sys.executable, "-c", code], results, **options)


def touch(path):
    return f"open({str(path)!r}, 'a').write('x')"


def test_steps_run_in_order_and_leave_logs_and_times(chain, tmp_path, screen):
    chain.run([python("a", "import os; print(os.environ['GREETING'])"), python("b", touch(tmp_path / "b"))])
    assert (tmp_path / "logs" / "01_a.log").read_text() == "hello\n"
    assert (tmp_path / "b").read_text() == "x"
    assert screen[0].startswith("[1/2] do a\n    $ ")
    assert chain.seconds > 0


def test_second_run_takes_up_what_is_finished(chain, tmp_path, screen):
    steps = [python("a", touch(tmp_path / "a"), [tmp_path / "a"]), python("b", touch(tmp_path / "b"), [tmp_path / "b"])]
    chain.run(steps)
    again = Chain(tmp_path, {}, screen.append)
    again.run(steps)
    assert (tmp_path / "a").read_text() == "x"
    assert "[1/2] do a: finished before (0 s)" in screen
    assert again.seconds == pytest.approx(chain.seconds)


def test_step_without_its_result_runs_again_with_all_that_follow(chain, tmp_path, screen):
    steps = [python("a", touch(tmp_path / "a"), [tmp_path / "a"]), python("b", touch(tmp_path / "b"), [tmp_path / "b"])]
    chain.run(steps)
    (tmp_path / "a").unlink()
    Chain(tmp_path, {}, screen.append).run(steps)
    assert (tmp_path / "a").read_text() == "x"
    assert (tmp_path / "b").read_text() == "xx"


def test_interrupted_step_gets_the_argument_to_resume(chain, tmp_path):
    (tmp_path / "half").touch()
    code = f"import sys; open({str(tmp_path / 'out')!r}, 'w').write(' '.join(sys.argv[1:]))"
    chain.run([python("a", code, resume=["--c"], resume_from=tmp_path / "half")])
    assert (tmp_path / "out").read_text() == "--c"


def test_failure_shows_the_end_of_the_log_and_is_not_finished(chain, tmp_path, screen):
    step = python("a", "print('the cause'); raise SystemExit(3)")
    with pytest.raises(InputError, match=r"\[step-failed\] .*01_a.log: do a: the command ended with status 3"):
        chain.run([step])
    assert "    | the cause" in screen
    with pytest.raises(InputError, match="step-failed"):
        Chain(tmp_path, {}, screen.append).run([step])


def test_missing_result_is_a_failure(chain, tmp_path):
    with pytest.raises(InputError, match="nothing was not written"):
        chain.run([python("a", "pass", [tmp_path / "nothing"])])


def test_missing_command_is_named(chain):
    with pytest.raises(InputError, match=r"\[missing-command\] no-such-program"):
        chain.run([Step("a", "do a", ["no-such-program"], [])])


def test_lines_that_matter_stay_on_the_screen(chain, screen):
    code = "print('noise'); print('12: Epoch 3'); print('10%\\r20%\\r', end='')"
    chain.run([python("a", code, show=r"\d: (?P<text>Epoch.*)")])
    assert "    Epoch 3" in screen
    assert not any("noise" in line for line in screen[1:])  # the first shows the command
