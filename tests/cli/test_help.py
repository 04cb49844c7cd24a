"""What every subcommand owes its user: help that helps and comes at once, exit statuses, errors of one line."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nnunet_multitask.cli import env
from nnunet_multitask.cli.main import SUBCOMMANDS, build_parser, main
from nnunet_multitask.errors import InputError, InputErrors

HEAVY = ("torch", "nnunetv2", "pandas", "scipy", "sklearn", "matplotlib", "SimpleITK")

UNKNOWN_CLASS = InputError("unknown-class", "a/class_labels.json: case x", "expected IPH, got ABC", "mend the class")
UNSET = InputError("unset-variable", "nnUNet_raw", "expected a folder, got none", "export nnUNet_raw=FOLDER")


@pytest.mark.parametrize("arguments", [[], *([name] for name in SUBCOMMANDS)], ids=lambda words: " ".join(words) or "-")
def test_help_comes_at_once(arguments: list[str]) -> None:
    snippet = (
        "import json, sys\n"
        "from nnunet_multitask.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(json.dumps(sorted(name for name in sys.modules if '.' not in name)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", snippet, *arguments, "--help"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: nnunet-multitask")
    assert not set(HEAVY) & set(json.loads(process.stderr))


def test_program_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "nnunet_multitask.cli.main", "--help"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert set(SUBCOMMANDS) <= {line.split()[0] for line in process.stdout.splitlines() if line.startswith("    ")}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_argument_has_help_that_shows(name: str) -> None:
    parsers = list(_walk(_subparsers(build_parser())[name]))
    for parser in parsers:
        assert parser.description, f"{parser.prog} says nothing about itself"
        text = parser.format_help()  # fails on a help text with a stray percent sign
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                listed = [choice.dest for choice in action._choices_actions if choice.help]
                assert listed == list(action.choices), f"a subcommand of {parser.prog} has no help"
                continue
            label = "/".join(action.option_strings) or action.dest
            assert action.help, f"{parser.prog} {label} has no help"
            assert action.help != argparse.SUPPRESS, f"{parser.prog} {label} is hidden"
            assert not action.option_strings or action.option_strings[-1] in text


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_subcommand_describes_itself_in_one_line(name: str) -> None:
    top_level = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    (entry,) = (choice for choice in top_level._choices_actions if choice.dest == name)
    assert entry.help
    assert "\n" not in entry.help
    assert 15 <= len(entry.help) <= 100


@pytest.mark.parametrize("arguments", [[], ["cure"], ["env", "--cure"], ["env", "cure"], ["env", "--json=1"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.startswith("usage: nnunet-multitask")


def test_refused_input_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(env, "run", _raising(UNKNOWN_CLASS))
    assert main(["env"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    line = "ERROR [unknown-class] a/class_labels.json: case x: expected IPH, got ABC -> mend the class\n"
    assert captured.err == line


def test_several_refusals_are_a_line_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(env, "run", _raising(InputErrors([UNKNOWN_CLASS, UNSET])))
    assert main(["env"]) == 1
    assert capsys.readouterr().err == f"ERROR {UNKNOWN_CLASS}\nERROR {UNSET}\n"


@pytest.mark.parametrize("error", [UNSET, InputErrors([UNSET])])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(env, "run", _raising(error))
    with pytest.raises(type(error), match=r"\[unset-variable\]"):
        main(["env", "--debug"])


def test_debug_exits_with_1_all_the_same() -> None:
    snippet = (
        "import sys\n"
        "from nnunet_multitask.cli import env, main\n"
        "from nnunet_multitask.errors import InputError\n"
        "def run(args): raise InputError('code', 'where', 'fault', 'remedy')\n"
        "env.run = run\n"
        "sys.exit(main.main(['env', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", snippet]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stderr) == (1, "ERROR [code] where: fault -> remedy\n")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert "[code] where: fault -> remedy" in debug.stderr


def test_interruption_gives_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(env, "run", _raising(KeyboardInterrupt()))
    assert main(["env"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def _raising(error: BaseException):
    def run(_: argparse.Namespace) -> int:
        raise error

    return run


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for child in _subparsers(parser).values():
        yield from _walk(child)
