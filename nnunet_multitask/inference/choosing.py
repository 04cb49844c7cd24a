"""The cases of one call of a prediction: nnU-Net's lists of them, and what is left of these where some are finished."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.datasets import list_image_channels

# nnU-Net's: the channels of each case; where its mask is written, without ending, or None; its previous mask, or None
Lists = tuple[list[Any], list[Any] | None, list[Any]]


@dataclass(frozen=True)
class CaseLists:
    """Cases in the order in which they are predicted.

    Attributes:
        case_ids: their names.
        inputs: the files of the channels of each.
        outputs: the path of each mask, without its ending; None where masks are returned.
        previous: the mask of each by the previous stage of a cascade, None without one.
    """

    case_ids: list[str]
    inputs: list[Any]
    outputs: list[Any] | None
    previous: list[Any]

    @property
    def paths(self) -> list[Path]:
        """The outputs as paths; none where masks are returned."""
        return [Path(output) for output in self.outputs or ()]

    @property
    def lists(self) -> Lists:
        """What nnU-Net works through."""
        return self.inputs, self.outputs, self.previous

    def without(self, numbers: Container[int]) -> CaseLists:
        """Return the other cases than those of these numbers, in the same order."""
        keep = [number for number in range(len(self.inputs)) if number not in numbers]
        return CaseLists(
            [self.case_ids[number] for number in keep],
            [self.inputs[number] for number in keep],
            [self.outputs[number] for number in keep] if self.outputs else self.outputs,
            [self.previous[number] for number in keep],
        )


def image_lists(source: Any, ending: str) -> Any:
    """Return the channels of each case of a folder; lists of files as they are.

    nnU-Net would fork processes to look into the folder, of a process that may have threads by now.

    Args:
        source: a folder by its name, or the files of each case.
        ending: of the images.

    Raises:
        InputError, InputErrors: images that are not named as nnU-Net wants them, channels that are missing.
    """
    if not isinstance(source, str):
        return source
    return [list(map(str, files)) for _, files in sorted(list_image_channels(source, ending).items())]


def case_lists(lists: Lists, ending: str, writes: bool) -> CaseLists:
    """Return the cases of nnU-Net's lists.

    Args:
        lists: nnU-Net's.
        ending: of the images.
        writes: the cases are called by their masks, which a caller may name; else by their images.
    """
    inputs, outputs, previous = lists
    if writes and outputs:
        case_ids = [Path(output).name for output in outputs]
    else:
        case_ids = [_case_id(files, ending) for files in inputs]
    return CaseLists(case_ids, inputs, outputs, previous)


def _case_id(files: Sequence[str], ending: str) -> str:
    return Path(files[0]).name[: -len(ending) - len("_0000")]
