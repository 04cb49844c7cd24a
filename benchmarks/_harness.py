"""What the benchmarks share: options, alternating repeats, peak memory in a fresh process, the verdict.

A benchmark compares something of this project with a peer on the same data, on the same machine, in the same run: what
counts is the ratio, since seconds differ from machine to machine. Each ends in a line with its figures and targets, and
with --check in an exit status: 0 where all targets are met, 1 where one is missed, 3 where the peer is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.engines.local import available_cores

RESULTS = Path(__file__).parent / "results"
MISSED, NO_PEER = 1, 3


@dataclass(frozen=True)
class Figure:
    """One measured number beside its target.

    Args:
        name: what was measured.
        value: the number.
        target: what it should be at most, or at least where ``at_least`` is set.
        unit: of both.
    """

    name: str
    value: float
    target: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; a value that is no number never is."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        unit = f" {self.unit}" if self.unit else ""
        verdict = "" if self.is_met else ", missed"
        return f"{self.name} {self.value:.3g}{unit} (target {bound} {self.target:g}{unit}{verdict})"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data and fewer repeats, about a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed, 3 without the peer")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.json")
    return parser


def require_peer(*modules: str) -> None:
    """Leave with status 3 and a line that says so where a module to compare with is not installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"not measured: the peer {module} is not installed ({error})")
            raise SystemExit(NO_PEER) from error


def alternate(
    variants: Mapping[str, Callable[[], object]],
    repeats: int,
    before: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time the variants in turn, so that what else the machine does falls on all of them alike.

    Args:
        variants: name to what is timed.
        repeats: rounds, from 1 on; every other round goes backwards.
        before: called before each, untimed, for example to clear away what the last one wrote.
        clock: ``time.process_time`` for the CPU time of this process instead of the time that passes.

    Returns:
        Name to the seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(repeats):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            before()
            start = clock()
            variants[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratio_of_medians(ours: Sequence[float], peers: Sequence[float]) -> float:
    """Return how many times the peer's median time ours is."""
    return statistics.median(ours) / statistics.median(peers)


def peak_memory_mib(function: Callable[..., object], *args: Any) -> float:
    """Return the most memory (resident, MiB) that a fresh process holds which calls ``function(*args)`` and ends.

    Args:
        function: of a module or a script, so that it pickles, as its arguments.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_call_and_measure, function, args).result()


def _call_and_measure(function: Callable[..., object], args: tuple[Any, ...]) -> float:
    function(*args)
    # not getrusage: its maximum is inherited from the parent process
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def finish(
    name: str,
    args: argparse.Namespace,
    figures: Sequence[Figure],
    measurements: Mapping[str, Any],
    packages: Iterable[str] = (),
    script: str | None = None,
) -> int:
    """Print the verdict as the last line, save the result where asked for, and return the exit status.

    Args:
        name: of the benchmark; names the file of results.
        args: from ``make_parser``.
        figures: with their targets.
        measurements: anything else worth keeping, as JSON.
        packages: distributions whose versions matter.
        script: its name where it is not that of the benchmark.
    """
    if args.save:
        options = ["DIR" if Path(word).is_absolute() else word for word in sys.argv[1:]]
        document = {
            "benchmark": name,
            "command": " ".join(["python", f"benchmarks/{script or name}.py", *options]),
            "figures": [{**asdict(figure), "is_met": figure.is_met} for figure in figures],
            "measurements": measurements,
            "cores": available_cores(),
            "versions": {
                "python": platform.python_version(),
                **{package: importlib.metadata.version(package) for package in ("nnunet-multitask", *packages)},
            },
        }
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(document, indent=2, allow_nan=False)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    is_met = all(figure.is_met for figure in figures)
    print(f"{name}: {'; '.join(map(str, figures))}")
    return MISSED if args.check and not is_met else 0
