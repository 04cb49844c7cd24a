"""Which training cases have a mask, and which only a class: their mask is nnU-Net's ignore label everywhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError


@dataclass(frozen=True)
class MaskContent:
    """How many voxels of a mask are ignored, how many are labelled foreground, and how many there are."""

    ignored: int
    foreground: int
    voxels: int

    @property
    def is_label_only(self) -> bool:
        """Whether the mask is the ignore label everywhere."""
        return self.ignored == self.voxels


def mask_contents(folder: Path, num_workers: int, progress: bool) -> dict[str, MaskContent]:
    """Return the content of each training mask by case id; none is read where the dataset has no ignore label.

    Args:
        folder: the raw dataset.
        num_workers: processes.
        progress: show a progress bar.

    Raises:
        InputError: no training case, or a mask that cannot be read.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    document = read_json(folder / "dataset.json")
    ignore_label = document["labels"].get("ignore")
    dataset = get_filenames_of_train_images_and_targets(str(folder), document)
    if not dataset:
        raise InputError("no-training-case", folder, "expected training cases, found none", "add images and masks")
    if ignore_label is None:
        return {case_id: MaskContent(0, 0, 1) for case_id in dataset}
    example = next(iter(dataset.values()))["images"][0]
    reader = determine_reader_writer_from_dataset_json(document, example, verbose=False)
    contents = map_in_order(
        partial(mask_content, ignore_label=ignore_label, reader=reader),
        [files["label"] for files in dataset.values()],
        num_workers=num_workers,
        description="Looking for masks that are ignored everywhere",
        progress=progress,
    )
    return dict(zip(dataset, contents, strict=True))


def label_only_cases(contents: Mapping[str, MaskContent]) -> tuple[str, ...]:
    """Return the cases whose mask is the ignore label everywhere, sorted."""
    return tuple(sorted(case_id for case_id, content in contents.items() if content.is_label_only))


def mask_content(path: str, ignore_label: int, reader: type[Any]) -> MaskContent:
    """Count the voxels of a mask.

    Args:
        path: the mask.
        ignore_label: nnU-Net's ignore label.
        reader: nnU-Net's class for such files.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        mask, _ = reader().read_seg(path)
    except Exception as error:  # whatever the library behind the reader raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(
            "unreadable-mask", path, f"expected a mask, got: {reason}", "run `nnunet-multitask verify`"
        ) from error
    ignored = int((mask == ignore_label).sum())
    return MaskContent(ignored, int((mask > 0).sum()) - ignored, mask.size)


def annotated_only(extractor: Callable[..., Any], annotated: Collection[str]) -> Callable[..., Any]:
    """Return what makes fingerprint extractors that see only some cases.

    Args:
        extractor: nnU-Net's ``DatasetFingerprintExtractor``, or a class derived from it.
        annotated: ids of the cases to see.
    """

    def make(*args: Any, **kwargs: Any) -> Any:
        made = extractor(*args, **kwargs)
        made.dataset = {case_id: files for case_id, files in made.dataset.items() if case_id in annotated}
        return made

    return make
