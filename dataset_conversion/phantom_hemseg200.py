"""A synthetic head-CT cohort in exactly the source layout of HemSeg-200."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_multitask.dataset_conversion.phantom_readme import README_NAME, is_cohort, write_readme
from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import atomic_directory

if TYPE_CHECKING:  # scipy behind it is not needed for --help
    from nnunet_multitask.dataset_conversion.phantom_kinds import Kind
    from nnunet_multitask.dataset_conversion.phantom_scan import HeadScan

PHANTOM_VERSION = 1  # goes up whenever the same seed gives other files

SPLITS = ("train", "val", "test")
KINDS: tuple[Kind, Kind] = ("IPH", "IVH")  # the CSV files write them as 0 and 1

_FILES = """{train,val,test}/image/SCAN.nii.gz   Hounsfield units, int16
{train,val,test}/label/SCAN.nii.gz   0 background, 1 blood
{train,val,test}_set.csv             filename,label (0 = IPH, intraparenchymal; 1 = IVH, intraventricular)
annotion_file_info.jsonl             patient and slice names of each scan"""


@dataclass(frozen=True)
class CohortCase:
    """One scan of the cohort, before it is drawn.

    Args:
        split: train, val or test.
        scan: file name without ending, ten hexadecimal digits.
        patient: name of the patient; a few patients have two scans, always in one split.
        kind: IPH or IVH.
        patient_seed: seed of the head.
        scan_seed: seed of everything else.
    """

    split: str
    scan: str
    patient: str
    kind: Kind
    patient_seed: np.random.SeedSequence
    scan_seed: np.random.SeedSequence

    def draw(self) -> HeadScan:
        """Return the images."""
        from nnunet_multitask.dataset_conversion.phantom_scan import make_head_scan

        return make_head_scan(self.kind, self.patient_seed, self.scan_seed)

    def slice_names(self, num_slices: int) -> list[str]:
        """Return a name of nine hexadecimal digits for each slice, as DICOM files of the source are named."""
        words = np.random.default_rng(self.scan_seed.spawn(1)[0]).bytes(5 * num_slices)
        return [words[5 * i : 5 * i + 5].hex()[:9] for i in range(num_slices)]


def plan_split(split: str, count: int, seed: int = 0) -> Iterator[CohortCase]:
    """Yield the cases of one split.

    Case k depends on seed, split and k only: it is the same whatever the size of the cohort. Two consecutive cases are
    of different kinds, in random order.
    """
    split_index = SPLITS.index(split)
    for index in range(count):
        pair, block = index // 2, index // 4
        swapped = np.random.default_rng([seed, split_index, 0, pair]).integers(2)
        kind = KINDS[(index + int(swapped)) % 2]
        # in four blocks out of five the four scans are of four patients; in the fifth, two of one kind are of one
        shared = np.random.default_rng([seed, split_index, 1, block]).integers(10)
        patient_index = index
        if shared < 2 and kind == KINDS[shared] and pair % 2 == 1:
            first_swapped = np.random.default_rng([seed, split_index, 0, pair - 1]).integers(2)
            patient_index = 2 * (pair - 1) + (int(shared) + int(first_swapped)) % 2
        yield CohortCase(
            split=split,
            scan=np.random.default_rng([seed, split_index, 2, index]).bytes(5).hex(),
            patient=f"ID_{np.random.default_rng([seed, split_index, 3, patient_index]).bytes(4).hex()}",
            kind=kind,
            patient_seed=np.random.SeedSequence([seed, split_index, 3, patient_index]),
            scan_seed=np.random.SeedSequence([seed, split_index, 4, index]),
        )


def generate_cohort(
    output_dir: str | Path,
    *,
    num_train: int,
    num_val: int,
    num_test: int,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write a cohort, all or nothing.

    Args:
        output_dir: the folder to make.
        num_train, num_val, num_test: scans of each split; 0 gives empty folders, but not all three may be 0.
        seed: equal seeds give equal cohorts; the first cases of a larger cohort are those of a smaller one.
        overwrite: replace an existing folder that is empty or holds such a cohort.
        progress: show a progress bar.

    Returns:
        ``output_dir``.

    Raises:
        InputError: the folder exists and may not be replaced, a count or the seed is negative, or there is no scan.
    """
    from tqdm import tqdm

    counts = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
    negative = [f"--{name} {value}" for name, value in {**counts, "seed": seed}.items() if value < 0]
    if negative:
        fault = f"expected numbers of scans and a seed from 0 on, got {', '.join(negative)}"
        raise InputError("bad-number", "phantom", fault, "give numbers from 0 on")
    if not any(counts.values()):
        fault = "expected one scan or more, got --train 0 --val 0 --test 0"
        raise InputError("bad-number", "phantom", fault, "ask for one scan or more")
    expected = f"a phantom cohort ({README_NAME} that names the phantom and its version)"
    check_replaceable(Path(output_dir), overwrite, expected, is_cohort)
    cases = [case for split, count in counts.items() for case in plan_split(split, count, seed)]
    with atomic_directory(output_dir, overwrite) as folder:
        for split in SPLITS:
            (folder / split / "image").mkdir(parents=True)
            (folder / split / "label").mkdir()
            rows = sorted((case.scan, KINDS.index(case.kind)) for case in cases if case.split == split)
            with (folder / f"{split}_set.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("filename", "label"), *rows])
        lines = []
        for case in tqdm(cases, desc="phantom", unit="scan", disable=not progress):
            scan = case.draw()
            _save(scan, folder / case.split, case.scan)
            entry = {"patient": case.patient, "scan_": case.scan, "slice_list": case.slice_names(len(scan.image))}
            lines.append(json.dumps(entry) + "\n")
        (folder / "annotion_file_info.jsonl").write_text("".join(sorted(lines)), encoding="utf-8")
        text = ", ".join(f"{count} {split}" for split, count in counts.items())
        write_readme(folder, version=PHANTOM_VERSION, seed=seed, counts=text, layout="HemSeg-200", files=_FILES)
    return Path(output_dir)


def _save(scan: HeadScan, folder: Path, name: str) -> None:
    import nibabel

    for kind, array in (("image", scan.image), ("label", scan.mask.astype(np.int16))):
        nifti = nibabel.Nifti1Image(array.T, None)
        nifti.header.set_xyzt_units("mm")
        nifti.set_qform(scan.affine, code=1)
        nifti.set_sform(
            None if scan.parameters.qform_only else nifti.get_qform(), code=int(not scan.parameters.qform_only)
        )
        nibabel.save(nifti, folder / kind / f"{name}.nii.gz")
