"""Draw one converted case of each converter, with its mask and its classes, for the pages of this folder.

    python docs/make_pictures.py --dicom DIR     writes docs/pictures/*.png

The scans are phantoms in the layout of each data set, made and converted by the commands that a user types; the DICOM
series is the one of the folder that is named (left out without it).
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunet_multitask.documents import read_json
from nnunet_multitask.evaluation.overlays import BRAIN_WINDOW_HU, to_lps, to_lps_spacing
from nnunet_multitask.files import Volume, read_image, read_mask
from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar

RAW_VARIABLE = "nnUNet_raw"
PICTURES = Path(__file__).parent / "pictures"
COLOURS = ("#56B4E9", "#FF9D2E", "#00D9A0", "#F0A6D0", "#F0E442")  # light enough for a dark picture


def main() -> None:
    """Make the sources, convert them, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path, metavar="DIR", help="a head-CT series (default: no picture of it)")
    args = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = folder / "nnUNet_raw"
        raw.mkdir()
        os.environ[RAW_VARIABLE] = str(raw)
        run("convert", "phantom", "--output", folder / "hemseg", "--train", 4, "--val", 0, "--test", 0, "--seed", 3)
        run("convert", "phantom", "--layout", "physionet-ct-ich", "--output", folder / "ich", "--scans", 12)
        run(
            *("convert", "physionet-ct-ich", "--input", folder / "ich"),
            *("--dataset-id", 201, "--dataset-name", "ICH", "--labels", "subtype"),
        )
        draw_dataset(raw / "Dataset201_ICH", "physionet-ct-ich.png")
        arrange_as_folder(folder / "hemseg", folder / "folder")
        run(
            *("convert", "folder", "--input", folder / "folder", "--dataset-id", 202, "--dataset-name", "Folder"),
            *("--label-names", "hemorrhage", "--windows", "brain,subdural,bone", "--skull-strip"),
        )
        draw_dataset(raw / "Dataset202_Folder", "folder.png")
        run("convert", "hemseg200", "--input", folder / "hemseg", "--dataset-id", 200, "--labels", "subtype")
        draw_dataset(raw / "Dataset200_HemSeg200", "hemseg200.png")
        if args.dicom is not None:
            run("convert", "dicom", "--input", args.dicom, "--output", folder / "nifti")
            draw_dicom(folder / "nifti", "dicom.png")


def run(*arguments: Any) -> None:
    """Run a command of the package as a user would."""
    subprocess.run([sys.executable, "-m", "nnunet_multitask.cli.main", *map(str, arguments)], check=True)


def arrange_as_folder(source: Path, folder: Path) -> None:
    """Lay scans of the phantom out as images, labels and a table."""
    for name, original in (("images", "image"), ("labels", "label")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(source / "train" / original)
    with (source / "train_set.csv").open() as file:
        rows = [(row["filename"], ("IPH", "IVH")[int(row["label"])]) for row in csv.DictReader(file)]
    with (folder / "classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case_id", "subtype"), *rows])


def draw_dataset(dataset: Path, file_name: str) -> None:
    """Draw the case with the most labels, and of these the largest mask."""
    labels = {value: name for name, value in read_json(dataset / "dataset.json")["labels"].items() if value != 0}
    masks = {path.name.removesuffix("".join(path.suffixes)): path for path in (dataset / "labelsTr").iterdir()}
    volumes = {case_id: read_mask(path) for case_id, path in masks.items()}
    case_id = max(volumes, key=lambda c: (len(np.unique(volumes[c].array)), np.count_nonzero(volumes[c].array), c))
    images = [read_image(path) for path in sorted((dataset / "imagesTr").glob(f"{case_id}_*"))]
    case = read_sidecar(dataset / SIDECAR_NAME).cases[case_id]
    classes = ", ".join(
        f"{name}: {label if isinstance(label, str) else ' + '.join(label)}" for name, label in case.labels.items()
    )
    mask = volumes[case_id]
    ordered = to_lps(mask.array, mask.affine)
    k = int(np.count_nonzero(ordered, axis=(0, 1)).argmax())
    panels = [(to_lps(image.array, image.affine)[:, :, k], ordered[:, :, k], image) for image in images]
    if len(images) == 1:  # room for a second view
        i = int(np.count_nonzero(ordered, axis=(1, 2)).argmax())
        panels.append((to_lps(images[0].array, mask.affine)[i, :, ::-1], ordered[i, :, ::-1], images[0]))
    figure = Figure(figsize=(4 * len(panels), 4.6), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    x, y, z = to_lps_spacing(mask.affine)
    colours = {value: COLOURS[index % len(COLOURS)] for index, value in enumerate(labels)}
    for index, (axes, (grey, contour, image)) in enumerate(
        zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True)
    ):
        sagittal = len(images) == 1 and index == 1
        show(axes, grey, z / y if sagittal else y / x, image)
        for value, colour in colours.items():
            if (contour == value).any():
                axes.contour((contour == value).T, levels=[0.5], colors=[colour], linewidths=1.2)
    present = [value for value in labels if (ordered == value).any()]
    handles = [Line2D([], [], color=colours[value], label=labels[value]) for value in present]
    figure.suptitle(f"{case_id}   {classes}", color="white", fontsize=11)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor="white")
    figure.savefig(PICTURES / file_name, dpi=90)


def draw_dicom(folder: Path, file_name: str) -> None:
    """Draw the three middle planes of the first volume."""
    image = read_image(min(folder.rglob("*.nii.gz")))
    array = to_lps(image.array, image.affine)
    x, y, z = to_lps_spacing(image.affine)
    middle = [size // 2 for size in array.shape]
    planes = [
        (array[:, :, middle[2]], y / x),
        (array[:, middle[1], ::-1], z / x),
        (array[middle[0], :, ::-1], z / y),
    ]
    figure = Figure(figsize=(11, 4), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (plane, aspect) in zip(figure.subplots(1, 3), planes, strict=True):
        show(axes, plane, aspect, image)
    figure.savefig(PICTURES / file_name, dpi=90)


def show(axes: Any, grey: np.ndarray, aspect: float, image: Volume) -> None:
    """Show a plane of a CT in the brain window, and one of another channel over its own range."""
    is_hu = image.array.min() < -100
    low, high = BRAIN_WINDOW_HU if is_hu else (float(image.array.min()), float(image.array.max()))
    axes.imshow(grey.T, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
