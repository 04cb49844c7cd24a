"""The environment variable through which nnU-Net finds the trainers of this package."""

from __future__ import annotations

import os
from pathlib import Path

from nnunet_multitask.errors import InputError

VARIABLE = "nnUNet_extTrainer"


def activate() -> None:
    """Let nnU-Net find the trainers in this process and in the processes that it starts.

    Folders that the variable already names stay, in front of ours. Calling it twice changes nothing.

    Raises:
        InputError: the package lies in a folder that the variable cannot hold.
    """
    os.environ[VARIABLE] = ext_trainer_value(os.environ.get(VARIABLE))


def ext_trainer_value(existing: str | None) -> str:
    """Return the value of ``nnUNet_extTrainer`` that names our folder too.

    Args:
        existing: the present value, folders separated by ``os.pathsep``; None or empty where it is unset.

    Returns:
        The folders of ``existing`` in their order, empty ones dropped, with ours appended unless it is among them.

    Raises:
        InputError: our own folder has the separator in its path, so that nnU-Net would take it for two folders.
    """
    ours = discovery_folder()
    if os.pathsep in str(ours):
        raise InputError(
            "unusable-path",
            ours,
            f"expected a path without {os.pathsep!r}, because {VARIABLE} separates folders by it",
            "install nnunet-multitask in another folder",
        )
    folders = [folder for folder in (existing or "").split(os.pathsep) if folder.strip()]
    if not any(Path(folder).resolve() == ours for folder in folders):
        folders.append(str(ours))
    return os.pathsep.join(folders)


def discovery_folder() -> Path:
    """Return the absolute path of the folder whose one file re-exports the trainers.

    nnU-Net imports every module of the folder as a top-level name. The folder of the package itself would give a
    second, unpicklable copy of each class; a folder with one re-exporting file gives the very same class objects.
    """
    return Path(__file__).resolve().parent / "discovery"
