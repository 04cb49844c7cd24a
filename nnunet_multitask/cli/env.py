"""Print the shell line that lets nnU-Net's own commands find the trainers, and diagnose the installation.

    eval "$(nnunet-multitask env)"
    nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerMultiTask

Only the line goes to stdout; the diagnosis goes to stderr. The exit status is 1 where something is broken that
training needs; an unset nnUNet_raw, nnUNet_preprocessed or nnUNet_results is only a warning.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from nnunet_multitask.environment import VARIABLE, ext_trainer_value

if TYPE_CHECKING:
    from nnunet_multitask.cli._installation import Diagnosis

HELP = "print the shell line that lets nnU-Net find the trainers, and diagnose the installation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``env``."""
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print line and diagnosis as one JSON document on stdout")
    output.add_argument(
        "--line-only", action="store_true", help="print the line without the diagnosis: at once, for a start-up file"
    )


def run(args: argparse.Namespace) -> int:
    """Print the line and the diagnosis; return 1 where something is broken."""
    from nnunet_multitask.cli._installation import diagnose

    line = f"export {VARIABLE}={shlex.quote(ext_trainer_value(os.environ.get(VARIABLE)))}"
    if not args.json:
        print(line, flush=True)
    if args.line_only:
        return 0
    print("checking the installation, which takes some seconds ...", file=sys.stderr, flush=True)
    diagnosis = diagnose()
    if args.json:
        print(json.dumps({"version": 1, "export": line, **asdict(diagnosis)}, indent=2, allow_nan=False))
    else:
        print(describe(diagnosis), file=sys.stderr)
    return int(diagnosis.is_broken)


def describe(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as text for people: a table, then one line for each finding."""
    gpu = diagnosis.device or "no GPU found: add -device cpu to the commands"
    rows = [
        ("python", f"{diagnosis.python} ({diagnosis.executable})"),
        *((name, version or "not installed") for name, version in diagnosis.packages.items()),
        ("CUDA", "unknown" if diagnosis.cuda is None else gpu),
        *((name, value or "unset") for name, value in diagnosis.variables.items()),
        ("trainer", diagnosis.trainer or "not found"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines += [str(finding) for finding in diagnosis.findings]
    if diagnosis.is_broken:
        lines.append("broken: see the errors above")
    else:
        lines.append("works; see the warnings above" if diagnosis.findings else "ready to train and predict")
    return "\n".join(lines)
