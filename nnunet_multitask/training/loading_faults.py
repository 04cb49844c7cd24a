"""Which preprocessed case made the loading of data fail: nnU-Net's error does not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any

from nnunet_multitask.errors import InputError, InputErrors

_LOADING = ("nnunetv2.training.dataloading", "batchgenerators.dataloading")


def explain_loading_error(error: BaseException, trainer: Any) -> None:
    """Name the cases that cannot be read, where an error came out of loading data.

    nnU-Net's loaders raise what the file format raises, or tell that one of their processes has died; neither names
    the case. Looking for it afterwards costs nothing as long as all is well.

    Args:
        error: what ended the training.
        trainer: nnU-Net's trainer.

    Raises:
        InputErrors: the cases of the fold that cannot be read. Where all can, the caller raises its own error on.
    """
    if not isinstance(error, Exception) or isinstance(error, (InputError, InputErrors)):
        return
    if not any(frame.f_globals.get("__name__", "").startswith(_LOADING) for frame, _ in walk_tb(error.__traceback__)):
        return
    case_ids = sorted({case_id for part in trainer.do_split() for case_id in part})
    trainer.print_to_log_file(f"loading data failed; reading the {len(case_ids)} preprocessed cases to find out why")
    again = (
        f"preprocess again: nnUNetv2_preprocess -d {int(trainer.plans_manager.dataset_name[7:10])} "
        f"-plans_name {trainer.plans_manager.plans_name} -c {trainer.configuration_name}"
    )
    errors = [
        InputError("unreadable-case", where, f"expected preprocessed case {case_id}, got: {fault}", again)
        for case_id, where, fault in unreadable_cases(trainer.dataset_class, trainer, case_ids)
    ]
    if errors:
        raise InputErrors(errors) from error
    trainer.print_to_log_file(
        "every case can be read; where processes of the loader die, memory may be short: set nnUNet_n_proc_DA lower"
    )


def unreadable_cases(dataset_class: Any, trainer: Any, case_ids: list[str]) -> Iterator[tuple[str, Path, str]]:
    """Read cases to their last voxel; yield case id, folder and message of each that fails.

    Args:
        dataset_class: nnU-Net's class for the format of the preprocessed files.
        trainer: nnU-Net's trainer.
        case_ids: the cases to read.
    """
    folder = trainer.preprocessed_dataset_folder
    dataset = dataset_class(
        folder, case_ids, folder_with_segs_from_previous_stage=trainer.folder_with_segs_from_previous_stage
    )
    if hasattr(dataset, "mmap_kwargs"):
        dataset.mmap_kwargs = {}  # a truncated file that is mapped ends the process instead of raising an error
    for case_id in case_ids:
        try:
            for array in dataset.load_case(case_id)[:3]:
                if array is not None:
                    array[:]
        except Exception as error:  # whatever the file format raises
            yield case_id, Path(folder) / case_id, f"{type(error).__name__}: {error}"
