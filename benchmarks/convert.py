"""Converting CT volumes, checks included, against reading and writing the same volumes by SimpleITK alone.

Synthetic CT-like volumes with masks (int16 and uint8, .nii.gz as SimpleITK writes them) go through `convert folder`,
where files that are right are copied, and through the writer with every volume written anew, as converters that make or
change images do. SimpleITK reads and writes them with its default compression and the same number of workers. Memory is
measured also where masks of doubles are repaired, and where six channels are made of each image.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from _harness import Figure, alternate, finish, make_parser, peak_memory_mib, ratio_of_medians, require_peer

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.dataset_conversion.sources import ConversionOptions, LoadedCase, Source, SourceCase
from nnunet_multitask.engines.local import available_cores, map_in_order
from nnunet_multitask.files import read_image, read_mask
from nnunet_multitask.labels import Case, Target

NAME = "convert"
MAX_RATIO = 1.3
MAX_SIZE_DIFFERENCE_PERCENT = 10.0
MAX_MEMORY_MIB = 1024.0
FIELD_OF_VIEW_MM = 230.0
DEEP_SLICES = 60  # of the volume that memory is measured with
CHANNELS = ChannelOptions(windows=("brain", "subdural", "bone"), skull_strip=True, mirror_channel=True)
TIMED = ("copied", "rewritten")
WAYS = (*TIMED, "repaired", "channels")  # of which memory is measured


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit status."""
    args = _parse(argv)
    require_peer("SimpleITK")
    with tempfile.TemporaryDirectory(prefix="benchmark-convert-") as name:
        folder = Path(name)
        source = make_source(folder / "source", args.cases, (args.slices, args.size, args.size))
        deep_shape = (DEEP_SLICES, args.size, args.size)
        deep = make_source(folder / "deep", 2, deep_shape)
        repaired = make_source(folder / "repaired", 2, deep_shape, mask_type=np.float64)
        output = folder / "output"
        variants = {
            "copied": partial(convert_folder, source, output, args.num_workers),
            "rewritten": partial(convert_anew, source, output, args.num_workers),
            "SimpleITK": partial(convert_by_simpleitk, source, output, args.num_workers),
        }
        seconds = alternate(variants, args.repeats, before=partial(shutil.rmtree, output, ignore_errors=True))
        sizes = {}
        for variant, run in variants.items():
            shutil.rmtree(output, ignore_errors=True)
            run()
            sizes[variant] = sum(path.stat().st_size for path in output.rglob("*.nii.gz"))
        memory = {
            variant: peak_memory_mib(run.func, deep, folder / f"deep-{variant}", 1) for variant, run in variants.items()
        }
        memory["repaired"] = peak_memory_mib(convert_folder, repaired, folder / "deep-repaired", 1)
        memory["channels"] = peak_memory_mib(convert_folder, deep, folder / "deep-channels", 1, CHANNELS)
    difference = max(abs(sizes[way] / sizes["SimpleITK"] - 1) for way in TIMED)
    figures = [
        *(
            Figure(f"{way} against SimpleITK", ratio_of_medians(seconds[way], seconds["SimpleITK"]), MAX_RATIO, "times")
            for way in TIMED
        ),
        Figure("difference of size", 100 * difference, MAX_SIZE_DIFFERENCE_PERCENT, "%"),
        Figure("memory of a worker", max(memory[way] for way in WAYS), MAX_MEMORY_MIB, "MiB"),
    ]
    measurements = {
        "data": f"{args.cases} synthetic volumes of {args.size}x{args.size}x{args.slices} voxels with masks",
        "workers": args.num_workers,
        "seconds": seconds,
        "bytes_written": sizes,
        f"peak_memory_mib_of_{args.size}x{args.size}x{DEEP_SLICES}": memory,
    }
    return finish(NAME, args, figures, measurements, ("numpy", "nibabel", "zlib-ng", "simpleitk"))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=int, metavar="N", help="volumes (default 16, or 4 with --quick)")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds (default 5, or 3 with --quick)")
    parser.add_argument("--slices", type=int, default=33, metavar="N", help="of a volume (default %(default)s)")
    parser.add_argument("--size", type=int, default=512, metavar="N", help="rows and columns (default %(default)s)")
    parser.add_argument("--num-workers", type=int, default=available_cores(), metavar="N", help="default: one a core")
    args = parser.parse_args(argv)
    args.cases = args.cases or (4 if args.quick else 16)
    args.repeats = args.repeats or (3 if args.quick else 5)
    return args


def make_source(folder: Path, num_cases: int, shape: tuple[int, int, int], mask_type: type = np.uint8) -> Path:
    """Write images/, labels/ and classes.csv as `convert folder` reads them.

    Args:
        shape: (z, y, x) of each volume: a noisy round field of view with a head inside, about as hard to compress as a
            head CT.
        mask_type: of the masks' voxels; floating types get values beside integers, which have to be repaired.
    """
    import SimpleITK as sitk

    random = np.random.default_rng(0)
    z, y, x = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    image = np.full(shape, -1024.0, np.float32)
    image[np.broadcast_to(x**2 + y**2 < 1, shape)] = -1000
    image[(x / 0.6) ** 2 + (y / 0.75) ** 2 + (z / 1.4) ** 2 < 1] = 900
    image[(x / 0.54) ** 2 + (y / 0.69) ** 2 + (z / 1.3) ** 2 < 1] = 35
    mask = (((x - 0.2) / 0.15) ** 2 + (y / 0.2) ** 2 + (z / 0.5) ** 2 < 1).astype(mask_type)
    image[mask > 0] = 70
    if np.issubdtype(mask_type, np.floating):
        mask *= 1.0001
    image += (image > -1024) * random.normal(0, 6, shape).astype(np.float32)
    for number in range(num_cases):
        for name, array in (("images", image.astype(np.int16)), ("labels", mask)):
            volume = sitk.GetImageFromArray(np.roll(array, 7 * number, axis=2))
            volume.SetSpacing((FIELD_OF_VIEW_MM / shape[2], FIELD_OF_VIEW_MM / shape[1], 5.0))
            (folder / name).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(volume, str(folder / name / f"case_{number:03d}.nii.gz"), useCompression=True)
    rows = "".join(f"case_{number:03d},{'ab'[number % 2]}\n" for number in range(num_cases))
    (folder / "classes.csv").write_text("case,kind\n" + rows)
    return folder


def convert_folder(source: Path, output: Path, num_workers: int, channels: ChannelOptions | None = None) -> None:
    """Convert by the converter that users call; a file that is right is copied, unless channels are made."""
    output.mkdir()
    options = ConversionOptions(num_workers=num_workers, progress=False, channels=channels or ChannelOptions())
    settings = FolderSettings(class_columns=["kind"], label_names=["blood"])
    convert(source, output, dataset_id=1, dataset_name="Own", settings=settings, options=options)


def convert_anew(source: Path, output: Path, num_workers: int) -> None:
    """Convert with every volume written anew."""
    cases = [
        SourceCase(path.name.split(".")[0], (path,), source / "labels" / path.name, Case(), reader=read_as_new)
        for path in sorted((source / "images").iterdir())
    ]
    target = Target("kind", "binary", ("a", "b"))
    dataset = Source("benchmark", source, cases, {"kind": target}, {"blood": 1}, ("CT",))
    write_dataset(dataset, output, ConversionOptions(num_workers=num_workers, progress=False))


def read_as_new(case: SourceCase) -> LoadedCase:
    """Read a case as if its volumes were made here."""
    assert case.mask is not None
    image, mask = read_image(case.images[0]), read_mask(case.mask)
    inputs = {volume.path: volume.sha256 for volume in (image, mask)}
    return LoadedCase((replace(image, changed=True),), replace(mask, changed=True), inputs)


def convert_by_simpleitk(source: Path, output: Path, num_workers: int) -> None:
    """Read and write every file, nothing else."""
    files = sorted(source.glob("*/*.nii.gz"))
    for name in ("images", "labels"):
        (output / name).mkdir(parents=True)
    copy = partial(_copy_by_simpleitk, source, output)
    list(map_in_order(copy, files, num_workers=num_workers, description="SimpleITK", progress=False))


def _copy_by_simpleitk(source: Path, output: Path, path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.ReadImage(str(path)), str(output / path.relative_to(source)), useCompression=True)


if __name__ == "__main__":
    sys.exit(main())
