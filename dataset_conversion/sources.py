"""What a converter hands to the writer: the cases, how each is read, what the dataset says of itself, options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.channels import ChannelOptions, channel_names
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume
from nnunet_multitask.labels import Case, Target


@dataclass(frozen=True)
class SourceCase:
    """One case of a source data set.

    Args:
        case_id: its name in the new dataset.
        images: one file for each channel; with a ``reader`` whatever files the case is made of, possibly none.
        mask: its segmentation; None where it has none. In training such a case is label-only: its mask becomes
            nnU-Net's ignore label everywhere. A test case without mask has no file in labelsTs.
        case: labels, group and split for the sidecar.
        is_test: goes to imagesTs and labelsTs.
        reader: reads the case; None reads the files as they are.
        expects_foreground: whether the mask should hold any (its class says so), or None where nothing can be said. A
            mask that contradicts it is named in the report.
    """

    case_id: str
    images: tuple[Path, ...]
    mask: Path | None
    case: Case
    is_test: bool = False
    reader: CaseReader | None = None
    expects_foreground: bool | None = None


@dataclass(frozen=True)
class LoadedCase:
    """One case as arrays.

    Args:
        images: one for each channel of the source, on the same voxels.
        mask: on the voxels of the images, with an array of an integer type; None where there is none. Every volume that
            is not exactly what the file at its ``path`` holds has ``changed`` set, and is written anew.
        inputs: every file that was read, with the SHA-256 of its bytes.
        repairs: what was mended, a sentence each.
        warnings: what is doubtful beyond the warnings that the volumes carry.
        case: takes the place of ``SourceCase.case`` where reading taught more.
    """

    images: tuple[Volume, ...]
    mask: Volume | None
    inputs: Mapping[Path, str]
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    case: Case | None = None


CaseReader = Callable[[SourceCase], LoadedCase]
"""Reads one case in a worker process: a function of a module, or a frozen dataclass with ``__call__``; it is pickled.

It raises InputError or InputErrors; the other cases are read all the same.
"""


@dataclass(frozen=True)
class Exclusion:
    """A case of the source that was not taken, and why."""

    case: str
    code: str
    reason: str


@dataclass(frozen=True)
class Source:
    """What a converter found.

    Args:
        converter: its name.
        folder: the input; the report names files relative to it.
        cases: what is to be written.
        targets: the targets of the sidecar.
        labels: nnU-Net's labels without background: name to value, or to the list of values that make a region. The
            name ``ignore`` is nnU-Net's ignore label, the highest value.
        channel_names: a name for each channel; nnU-Net normalises by it.
        file_ending: of all images and masks.
        excluded: cases already left out.
        errors: faults found already. They refuse the whole, but only once the files of ``cases`` were checked, so that
            a user sees all faults at once.
        warnings: what a user should know.
        exclude_faults: codes of faults for which a case is left out; any other fault refuses the whole.
        expects_foreground: of the cases that do not say themselves.
        description, reference, licence: for dataset.json; an empty one is left out.
        regions_class_order: nnU-Net's order of values, one for each label, where a label is a region.
        intensities_are_hu: whether a channel named CT holds Hounsfield units.
        hyperdense_foreground: the foreground is bright on CT, as fresh blood is: masks that seem mirrored are named.
        options: what the user chose of the converter's own options, for the report.
    """

    converter: str
    folder: Path
    cases: Sequence[SourceCase]
    targets: Mapping[str, Target]
    labels: Mapping[str, int | Sequence[int]]
    channel_names: Sequence[str]
    file_ending: str = ".nii.gz"
    excluded: Sequence[Exclusion] = ()
    errors: Sequence[InputError] = ()
    warnings: Sequence[str] = ()
    exclude_faults: Collection[str] = ()
    expects_foreground: bool | None = None
    description: str = ""
    reference: str = ""
    licence: str = ""
    regions_class_order: Sequence[int] = ()
    intensities_are_hu: bool = True
    hyperdense_foreground: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def written_channels(self, options: ChannelOptions) -> list[str]:
        """Return the channel names of the new dataset: those of the source, or what is made of them."""
        return [name for source_name in self.channel_names for name in channel_names(options, source_name)]


@dataclass(frozen=True)
class ConversionOptions:
    """The options that all converters share.

    Args:
        overwrite: replace a dataset of that id and name that a converter wrote.
        dry_run: check everything, write nothing.
        link: make hard links instead of copies where a file is taken as it is: no space is taken, but who edits one of
            the two files then edits both.
        num_workers: processes, each working on one case; None for one a core.
        progress: show a progress bar.
        tolerance_mm: how far apart corresponding corners of the images and the mask of a case may lie.
        repair_geometry: give a mask, or a further channel, the geometry of the first image where the shapes agree and
            corners differ by less than half a voxel.
        channels: what is made of each image of a CT.
    """

    overwrite: bool = False
    dry_run: bool = False
    link: bool = False
    num_workers: int | None = None
    progress: bool = True
    tolerance_mm: float = 1e-3
    repair_geometry: bool = False
    channels: ChannelOptions = field(default_factory=ChannelOptions)


@dataclass(frozen=True)
class Conversion:
    """What became of it.

    Args:
        folder: the dataset; not there after a dry run.
        report: the content of conversion_report.json.
        written: False for a dry run.
    """

    folder: Path
    report: Mapping[str, Any]
    written: bool
