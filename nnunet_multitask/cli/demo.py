"""Run the whole way on synthetic data: make a cohort, convert, verify, plan, train two models, predict, compare.

Takes some minutes on two CPU cores. Everything is written into one folder, every command is shown as a user would type
it, and a second run takes up what is finished. The scans are synthetic: the figures show that the way works, and say
nothing about patients. The last line is "summary: PATH", a JSON file with the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "run the whole way on synthetic scans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of everything (default: demo)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cohort (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of its path")


def run(args: argparse.Namespace) -> int:
    """Run the demonstration and print where its summary is."""
    from nnunet_multitask.documents import read_json
    from nnunet_multitask.workflows.demo import DemoSettings, run_demo

    def show(line: str) -> None:
        print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

    summary = run_demo(args.output, DemoSettings(seed=args.seed), args.device, show)
    if args.json:
        import json

        print(json.dumps(read_json(summary)))
    else:
        print(f"summary: {summary}")
    return 0
