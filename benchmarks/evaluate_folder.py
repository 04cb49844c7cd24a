"""Scoring a folder of masks, checks included, against only reading the same files with as many workers.

Synthetic hematomas of 1 to 60 mL in 512x512x33 voxels: references int16, predictions uint8, .nii.gz as SimpleITK writes
them. A few distinct pairs stand under many names (hard links), since what is on the disk does not matter here. The
files are read by SimpleITK, as nnU-Net does, and by nibabel; the target is held against the faster of the two. Reading
by this project's own reader, which compares checksums and looks at every voxel, is measured beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from _harness import Figure, alternate, finish, make_parser, peak_memory_mib, ratio_of_medians, require_peer
from surface import THICK, Mask, Pair, make_masks

from nnunet_multitask.engines.local import available_cores, map_in_order
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.files import read_mask

NAME = "evaluate_folder"
MIN_SPEED_PERCENT = 60.0
MAX_MEMORY_MIB = 512.0  # of the process that scores alone, everything that is imported among it
FOLDERS = ("reference", "prediction")


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit status."""
    args = _parse(argv)
    require_peer("SimpleITK", "nibabel")
    with tempfile.TemporaryDirectory(prefix="benchmark-evaluate-") as name:
        folder = Path(name)
        make_folders(folder, args.cases, args.distinct)
        variants = {
            "SimpleITK": partial(read_all, folder, read_by_simpleitk, args.num_workers),
            "nibabel": partial(read_all, folder, read_by_nibabel, args.num_workers),
            "read_mask": partial(read_all, folder, read_mask, args.num_workers),
            "evaluate": partial(evaluate, folder, args.num_workers),
        }
        seconds = alternate(variants, args.repeats)
        few, many = (folder / f"{cases} cases" for cases in (args.distinct, 4 * args.distinct))
        for copy, cases in ((few, args.distinct), (many, 4 * args.distinct)):
            make_folders(copy, cases, args.distinct)
        memory = {copy.name: peak_memory_mib(evaluate, copy, 1) for copy in (few, many)}
    speed = {
        peer: 100 / ratio_of_medians(seconds["evaluate"], seconds[peer])
        for peer in ("SimpleITK", "nibabel", "read_mask")
    }
    slowest = min(speed["SimpleITK"], speed["nibabel"])
    figures = [
        Figure("speed against only reading", slowest, MIN_SPEED_PERCENT, "%", at_least=True),
        Figure("memory", max(memory.values()), MAX_MEMORY_MIB, "MiB"),
        Figure("memory of four times the cases", memory[many.name] - memory[few.name], 10.0, "MiB more"),
    ]
    for variant, rounds in seconds.items():
        share = f"   evaluate has {speed[variant]:.0f} % of that" if variant in speed else ""
        print(f"{variant:10} {args.cases / statistics.median(rounds):6.1f} cases a second{share}")
    measurements = {
        "data": f"{args.cases} cases of 512x512x33 voxels, {args.distinct} of them distinct",
        "workers": args.num_workers,
        "seconds": seconds,
        "speed_percent": speed,
        "peak_memory_mib": memory,
    }
    return finish(NAME, args, figures, measurements, ("numpy", "scipy", "nibabel", "simpleitk"))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=int, metavar="N", help="default 1000, or 200 with --quick")
    parser.add_argument("--distinct", type=int, metavar="N", help="of them (default 20, or 8 with --quick)")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds (default 3, or 2 with --quick)")
    parser.add_argument("--num-workers", type=int, default=available_cores(), metavar="N", help="default: one a core")
    args = parser.parse_args(argv)
    args.cases = args.cases or (200 if args.quick else 1000)
    args.distinct = args.distinct or (8 if args.quick else 20)
    args.repeats = args.repeats or (2 if args.quick else 3)
    return args


def make_folders(folder: Path, cases: int, distinct: int) -> None:
    """Write reference/ and prediction/ with masks of so many cases."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    for number, volume_ml in enumerate(np.geomspace(1, 60, distinct)):
        pair = Pair("", *THICK, float(volume_ml), far_false_positive=number % 4 == 3)
        for name, mask, dtype in zip(FOLDERS, make_masks(pair), (np.int16, np.uint8), strict=True):
            path = folder / name / f"case_{number:04d}.nii.gz"
            _write(path, mask.astype(dtype))
            for other in range(number + distinct, cases, distinct):
                os.link(path, path.with_name(f"case_{other:04d}.nii.gz"))


def _write(path: Path, mask: Mask) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(THICK[2][::-1])
    sitk.WriteImage(image, str(path), useCompression=True)


def evaluate(folder: Path, num_workers: int) -> None:
    """Score the folder with everything that `nnunet-multitask evaluate` computes."""
    evaluate_folders(*(folder / name for name in FOLDERS), labels={"blood": 1}, num_workers=num_workers)


def read_all(folder: Path, read: object, num_workers: int) -> None:
    """Read every file of the folder, nothing else."""
    paths = list(zip(*(sorted((folder / name).iterdir()) for name in FOLDERS), strict=True))
    for _ in map_in_order(partial(_read_pair, read), paths, num_workers=num_workers, description="", progress=False):
        pass


def _read_pair(read: object, paths: tuple[Path, ...]) -> None:
    assert callable(read)
    for path in paths:
        read(path)


def read_by_nibabel(path: Path) -> Mask:
    """Return the voxels of a mask, unchecked."""
    import nibabel

    return np.asanyarray(nibabel.load(path).dataobj)


def read_by_simpleitk(path: Path) -> Mask:
    """Return the voxels of a mask, unchecked."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


if __name__ == "__main__":
    sys.exit(main())
