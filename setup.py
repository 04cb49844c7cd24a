"""Refuses to build where a folder of the package is not there; everything else stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup

for name in ("dataset_conversion", "evaluation"):
    if not (Path("nnunet_multitask") / name).is_dir():
        raise SystemExit(
            f"ERROR [broken-link] nnunet_multitask/{name}: expected a symbolic link to the folder {name}, "
            "got a plain file or nothing -> clone again with links: git clone -c core.symlinks=true URL"
        )

setup()
