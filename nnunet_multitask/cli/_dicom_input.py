"""What ``predict`` does where its input is DICOM: images of the series for the time of the prediction."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError

CONVERTED = ".converted"  # folder in the output, hidden and gone at the end


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Add the options for DICOM input."""
    dicom = parser.add_argument_group("DICOM", "where -i holds series: one in each subfolder, which names the case")
    dicom.add_argument(
        "--series", nargs="+", default=[], metavar="UID", help="of folders with several series, those to predict"
    )
    dicom.add_argument("--keep-converted", type=Path, metavar="DIR", help="keep the images that are made of the series")


@contextmanager
def predictable(args: argparse.Namespace, model: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the folder of images that nnU-Net can read: that of ``-i``, or one made of its DICOM series.

    Args:
        args: of ``predict``.
        model: folder of the model, whose channels are made.

    Yields:
        The folder, and by case what is recorded of its series.

    Raises:
        InputError, InputErrors: neither images nor DICOM files, or both together; options for DICOM without it; series
            that cannot be converted, or not for this model; a folder that may not be replaced.
    """
    from nnunet_multitask.dataset_conversion import dicom_cases
    from nnunet_multitask.dataset_conversion.conversion_report import REPORT_NAME
    from nnunet_multitask.dataset_conversion.prediction_images import recipe_of_model
    from nnunet_multitask.dataset_conversion.replacing import check_replaceable
    from nnunet_multitask.storage import atomic_directory

    source, output = Path(args.i), Path(args.o)
    ending = read_json(model / "dataset.json")["file_ending"]
    if not dicom_cases.holds_dicom(source, ending):
        if not any(path.name.endswith(ending) for path in source.iterdir()):
            fault = f"expected images, named CASE_0000{ending} and so on, or DICOM series, got none"
            raise InputError("missing-images", source, fault, "correct -i")
        if args.series or args.keep_converted:
            option = "--series" if args.series else "--keep-converted"
            raise InputError("needless-option", option, f"expected DICOM series in {source}, got none", "leave it out")
        yield source, {}
        return
    recipe = recipe_of_model(model)
    cases = dicom_cases.find_cases(source, dicom_cases.check_recipe(recipe, model), args.series)
    # of this part of the work alone: others may run beside it
    folder = args.keep_converted or output / (CONVERTED + (f"_{args.part_id}" if args.num_parts > 1 else ""))

    def is_own(path: Path) -> bool:
        report = path / REPORT_NAME
        return report.is_file() and read_json(report).get("converter") == dicom_cases.CONVERTER

    check_replaceable(folder, True, f"images that this command kept ({REPORT_NAME})", is_own)
    is_new = not output.exists()
    try:
        with atomic_directory(folder, overwrite=True) as temporary:
            sources, report = dicom_cases.write_cases(
                cases, temporary, recipe, num_workers=max(args.npp, 1), progress=not args.disable_progress_bar
            )
            write_json(temporary / REPORT_NAME, report)
        yield folder, sources
    finally:
        if folder != args.keep_converted:
            shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # not empty
                output.rmdir()
