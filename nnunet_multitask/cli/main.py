"""Entry point of ``nnunet-multitask``: parses arguments, runs a subcommand, turns errors into one line each."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from nnunet_multitask import __version__
from nnunet_multitask.errors import InputError, InputErrors

# in the order in which a user meets them
SUBCOMMANDS = (
    "env",
    "convert",
    "labels",
    "verify",
    "plan",
    "split",
    "configure",
    "pretrain-from",
    "train",
    "collect",
    "probe",
    "fit-aggregation",
    "calibrate",
    "predict",
    "ensemble",
    "explain",
    "export",
    "volumes",
    "evaluate",
    "compare",
    "demo",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nnunet-multitask`` and return its exit status.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        0 where all went well, 1 where an input was refused. Wrong usage exits with 2, as argparse does.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nnunet_multitask").setLevel(logging.DEBUG if args.debug else logging.INFO)
    try:
        return int(args.run(args) or 0)
    except InputErrors as errors:
        if args.debug:
            raise
        for error in errors.errors:
            print(f"ERROR {error}", file=sys.stderr)
    except InputError as error:
        if args.debug:
            raise
        print(f"ERROR {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog="nnunet-multitask",
        description="Joint segmentation and classification on nnU-Net's self-configured plans.",
    )
    parser.add_argument("--version", action="version", version=f"nnunet-multitask {__version__}")
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"nnunet_multitask.cli.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        subparser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error, and debug messages"
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
