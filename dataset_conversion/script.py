"""What the converters share as programs: options, output, errors in one line each."""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.channels import WINDOWS, ChannelOptions
from nnunet_multitask.dataset_conversion.sources import Conversion, ConversionOptions
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.wording import counted

_SHOWN_WARNINGS = 10  # of the printed summary


def add_dataset_arguments(parser: argparse.ArgumentParser, dataset_name: str | None) -> None:
    """Declare the options of every converter that writes a dataset into ``$nnUNet_raw``."""
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="folder of the source data set")
    parser.add_argument("--dataset-id", type=int, required=True, metavar="N", help="nnU-Net's dataset id, 1 to 999")
    parser.add_argument(
        "--dataset-name",
        default=dataset_name,
        required=dataset_name is None,
        metavar="NAME",
        help="the dataset becomes DatasetNNN_NAME" + (f" (default {dataset_name})" if dataset_name else ""),
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset of that id and name that a converter wrote"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything and write nothing")
    parser.add_argument(
        "--link",
        action="store_true",
        help="make hard links instead of copies; who edits one of the two files then edits both",
    )
    parser.add_argument(
        "--num-workers", type=positive, metavar="N", help="cases worked on at a time (default: one a core)"
    )
    parser.add_argument(
        "--geometry-tolerance-mm",
        type=_tolerance,
        default=ConversionOptions.tolerance_mm,
        metavar="MM",
        help="how far apart corresponding corners of images and mask may lie (default %(default)s)",
    )
    parser.add_argument(
        "--repair-geometry",
        action="store_true",
        help="give a mask the geometry of its image where shapes agree and corners differ by less than half a voxel",
    )
    add_channel_arguments(parser)


def add_channel_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that make channels of a CT."""
    parser.add_argument(
        "--windows",
        type=comma_list,
        default=(),
        metavar="A,B",
        help=f"a channel for each window of a CT: {', '.join(WINDOWS)}, or NAME=CENTRE/WIDTH in HU",
    )
    parser.add_argument("--skull-strip", action="store_true", help="make air of what is outside the skull")
    parser.add_argument(
        "--mirror-channel", action="store_true", help="add a left-right mirrored copy of each channel: asymmetry shows"
    )


def channels_from(args: argparse.Namespace) -> ChannelOptions:
    """Return what the options of ``add_channel_arguments`` say."""
    return ChannelOptions(args.windows, args.skull_strip, args.mirror_channel)


def options_from(args: argparse.Namespace) -> ConversionOptions:
    """Return what the options of ``add_dataset_arguments`` say."""
    return ConversionOptions(
        overwrite=args.overwrite,
        dry_run=args.dry_run,
        link=args.link,
        num_workers=args.num_workers,
        tolerance_mm=args.geometry_tolerance_mm,
        repair_geometry=args.repair_geometry,
        channels=channels_from(args),
    )


def summarize(conversion: Conversion) -> dict[str, Any]:
    """Return what a user wants to know of a conversion, from its report."""
    report = conversion.report
    return {
        "dataset": str(conversion.folder),
        "written": conversion.written,
        "counts": report["counts"],
        "classes": report["classes"]["training"],
        "excluded": [{key: item[key] for key in ("case", "code", "reason")} for item in report["excluded"]],
        "warnings": report["warnings"],
    }


def format_summary(summary: Mapping[str, Any], as_json: bool) -> str:
    """Return a converter's summary as JSON, or as lines: one for each entry, target and warning (the first ten)."""
    if as_json:
        return json.dumps(summary, allow_nan=False)
    lines = []
    for key, value in summary.items():
        if key == "classes":
            lines += [f"{target} (training): {_describe(counts)}" for target, counts in value.items()]
        elif key == "warnings":
            shown = _SHOWN_WARNINGS if summary.get("written", True) else len(value)  # there is no report to look into
            lines += [f"WARN {text}" for text in value[:shown]]
            if len(value) > shown:
                more = counted(len(value) - shown, "more warning")
                verb = "is" if len(value) - shown == 1 else "are"
                lines.append(f"{more} {verb} in conversion_report.json")
        else:
            lines.append(f"{key.replace('_', ' ')}: {_describe(value)}")
    return "\n".join(lines)


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no (dry run)"
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, list):
        return "; ".join(f"{item['case']} ({item['reason']})" for item in value) or "none"
    return str(value)


def comma_list(text: str) -> tuple[str, ...]:
    """Parse A,B for argparse; blanks around a part and empty parts are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def positive(text: str) -> int:
    """Parse a number from 1 on for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text}")
    return number


def _tolerance(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of millimetres from 0 on, got {text}")
    return number


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that nothing half-written is left; the exit status is 143.

    Outside the main thread, which alone may handle signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, _: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the clearing away
    raise SystemExit(128 + number)


def run_script(
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], Mapping[str, Any]],
    argv: Sequence[str] | None = None,
) -> int:
    """Run a converter as a program of its own.

    Returns:
        0 where all went well, 1 where an input was refused, 130 after Ctrl-C. Wrong usage exits with 2, as argparse
        does, and SIGTERM with 143.

    Raises:
        InputError, InputErrors: with ``--debug``, for its traceback.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error, and debug messages")
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nnunet_multitask").setLevel(logging.DEBUG if args.debug else logging.INFO)
    try:
        with terminable():
            summary = run(args)
        sys.stdout.write(format_summary(summary, args.json) + "\n")
    except InputErrors as errors:
        if args.debug:
            raise
        sys.stderr.writelines(f"ERROR {error}\n" for error in errors.errors)
        return 1
    except InputError as error:
        if args.debug:
            raise
        sys.stderr.write(f"ERROR {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0
