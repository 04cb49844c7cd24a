"""A chain of commands: each is shown, logged, timed, and left out when it is finished already."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError

Show = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One command of a chain.

    Attributes:
        name: short name; the log and the record of the step are called by it.
        title: what the user is told.
        command: program and arguments.
        results: what must exist afterwards, and before the step counts as finished.
        resume: arguments to add where ``resume_from`` exists, so that an interrupted command goes on.
        resume_from: what an interrupted command has left.
        show: lines of the output that stay on the screen.
    """

    name: str
    title: str
    command: Sequence[str]
    results: Sequence[Path]
    resume: Sequence[str] = ()
    resume_from: Path | None = None
    show: str = r"(?!)"


class Chain:
    """Runs steps one after the other in a folder.

    Args:
        folder: where ``logs/`` and ``steps.json`` (the seconds that each finished step took) are written.
        environment: variables of the commands, on top of the present ones.
        write: shows a line to the user.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], write: Show) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self.write = write
        self._record_file = folder / "steps.json"
        self._seconds: dict[str, float] = read_json(self._record_file) if self._record_file.is_file() else {}

    @property
    def seconds(self) -> float:
        """Return the time that all finished steps took, those of earlier runs included."""
        return sum(self._seconds.values())

    def run(self, steps: Sequence[Step]) -> None:
        """Run the steps that are not finished. Where one has to run, those after it run too.

        Raises:
            InputError: a command failed, or did not leave its results; the log is named.
        """
        again = False
        for number, step in enumerate(steps, start=1):
            heading = f"[{number}/{len(steps)}] {step.title}"
            if not again and step.name in self._seconds and all(path.exists() for path in step.results):
                self.write(f"{heading}: finished before ({self._seconds[step.name]:.0f} s)")
                continue
            again = True
            for later in steps[number - 1 :]:
                self._seconds.pop(later.name, None)
            resumes = step.resume_from is not None and step.resume_from.exists()
            command = [*step.command, *(step.resume if resumes else ())]
            self.write(f"{heading}\n    $ {shlex.join([Path(command[0]).name, *command[1:]])}")
            self._seconds[step.name] = self._run_one(
                step, command, self.folder / "logs" / f"{number:02d}_{step.name}.log"
            )
            write_json(self._record_file, self._seconds)

    def _run_one(self, step: Step, command: Sequence[str], log: Path) -> float:
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with log.open("wb") as log_file, _started(command, self.environment) as process:
            assert process.stdout is not None
            screen = _Screen(self.write, step.show)
            for line in _lines(process.stdout, log_file):
                screen.line(line)
            screen.clear()
            status = process.wait()
        missing = [path for path in step.results if not path.exists()]
        if status != 0 or missing:
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]:
                self.write(f"    | {line}")
            what = f"the command ended with status {status}" if status else f"{missing[0]} was not written"
            raise InputError("step-failed", log, f"{step.title}: {what}", "read the log, mend the cause, run it again")
        seconds = time.monotonic() - start
        self.write(f"    done in {seconds:.0f} s")
        return seconds


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise InputError(
            "missing-command", command[0], "expected an installed command, found none", "install nnunet-multitask"
        ) from error


def _lines(stream: IO[bytes], log: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a command, those that a progress bar overwrites too, and copy all into the log."""
    rest = b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        log.write(chunk)
        log.flush()
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in whole:
            if line.strip():
                yield line.decode("utf-8", errors="replace").strip()
    if rest.strip():
        yield rest.decode("utf-8", errors="replace").strip()


class _Screen:
    """Keeps the lines that matter; of the others shows the last on a terminal, elsewhere one in a while."""

    _PAUSE_SECONDS = 15

    def __init__(self, write: Show, show: str) -> None:
        self._write = write
        self._pattern = re.compile(show)
        self._is_terminal = sys.stdout.isatty()
        self._last = time.monotonic()

    def line(self, text: str) -> None:
        match = self._pattern.search(text)
        if match:
            self.clear()
            self._write(f"    {match.group('text') if 'text' in match.groupdict() else text}")
            self._last = time.monotonic()
        elif self._is_terminal:
            width = max(os.get_terminal_size().columns - 6, 20)
            sys.stdout.write(f"\r\033[K    {text[:width]}")
            sys.stdout.flush()
        elif time.monotonic() - self._last > self._PAUSE_SECONDS:
            self._write(f"    {text[:120]}")
            self._last = time.monotonic()

    def clear(self) -> None:
        if self._is_terminal:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()
