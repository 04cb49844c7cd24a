"""Which files make the image of each scan of HemSeg: a NIfTI file, or the DICOM slices of its list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnunet_multitask.dataset_conversion.hemseg_lists import LIST_PATTERN, ListedScan
from nnunet_multitask.dataset_conversion.sources import Exclusion
from nnunet_multitask.datasets import list_cases
from nnunet_multitask.errors import InputError

ENDING = ".nii.gz"

Images = tuple[dict[str, tuple[Path, ...]], list[Exclusion], list[InputError]]


_LEAVE_OUT = "or leave the scans out by --allow-missing"


def find_images(folder: Path, masks: Mapping[str, Path], *, allow_missing: bool = False) -> Images:
    """Return the image of each scan of a split.

    Args:
        folder: ``{train,val,test}/image``.
        masks: the masks of the split by scan.
        allow_missing: leave out masks without an image, instead of calling them errors.

    Returns:
        The files by scan, what is left out, above all images without a mask, and masks without an image.
    """
    split = folder.parent.name
    images = list_cases(folder, ENDING) if folder.is_dir() else {}
    build = f"build {split}/image/SCAN{ENDING} from the RSNA 2019 DICOM files, or name them: --rsna-dicom DIR"
    remedy = f"{build}; {_LEAVE_OUT}"
    if masks and not images and not allow_missing:
        fault = f"expected the images of {len(masks)} masks, found none"
        return {}, [], [InputError("missing-images", folder, fault, remedy)]
    missing = sorted(set(masks) - set(images))
    errors = [
        InputError("missing-image", folder / f"{scan}{ENDING}", "expected an image, found none", remedy)
        for scan in missing
        if not allow_missing
    ]
    excluded = [
        Exclusion(f"HEM_{scan}", "missing-image", f"there is no {split}/image/{scan}{ENDING}")
        for scan in missing
        if allow_missing
    ]
    excluded += [
        Exclusion(f"HEM_{scan}", "missing-mask", f"there is no {split}/label/{scan}{ENDING}")
        for scan in sorted(set(images) - set(masks))
    ]
    return {scan: (path,) for scan, path in images.items()}, excluded, errors


def find_slices(
    masks: Mapping[str, Path], lists: Mapping[str, ListedScan], folder: Path, *, allow_missing: bool = False
) -> Images:
    """Return the slices of each scan of a split.

    Args:
        masks: the masks of the split by scan.
        lists: what the lists say.
        folder: holds ``ID_SLICE.dcm``.
        allow_missing: leave out scans whose slices are not all there, or not listed, instead of calling them errors.

    Returns:
        The files by scan, what is left out, and scans without a list or with slices that are not there; these are not
        among the files.
    """
    images: dict[str, tuple[Path, ...]] = {}
    excluded, errors = [], []

    def lacks(scan: str, error: InputError) -> None:
        if allow_missing:
            excluded.append(Exclusion(f"HEM_{scan}", error.code, error.fault))
        else:
            errors.append(error)

    for scan, mask in masks.items():
        if scan not in lists or not lists[scan].slices:
            fault = f"expected a line with the slices of {scan} in {LIST_PATTERN}, found none"
            lacks(scan, InputError("missing-slice-list", mask, fault, f"add the list of this release, {_LEAVE_OUT}"))
            continue
        paths = tuple(folder / f"ID_{name}.dcm" for name in lists[scan].slices)
        missing = [path.name for path in paths if not path.exists()]
        if missing:
            fault = f"expected {len(paths)} slices in {folder}, {len(missing)} are not there, the first {missing[0]}"
            remedy = f"copy them into the folder, {_LEAVE_OUT}"
            lacks(scan, InputError("missing-slices", lists[scan].place, fault, remedy))
            continue
        images[scan] = paths
    return images, excluded, errors


def check_rebuild(folder: Path, annotations: Path, lists: Mapping[str, ListedScan]) -> None:
    """Check what a rebuild needs as a whole: the folder of the DICOM files, and lists.

    Raises:
        InputError: one of the two is not there.
    """
    if not folder.is_dir():
        fault = "expected the DICOM files of RSNA 2019, found no such folder"
        raise InputError("missing-folder", folder, fault, "check --rsna-dicom")
    if not lists:
        fault = f"expected {LIST_PATTERN} with the slices of each scan, found none"
        raise InputError("missing-file", annotations, fault, "add the list, or name its folder: --annotations DIR")
