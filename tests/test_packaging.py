"""The wheel holds what the tree holds, and the files around the package agree with each other."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import nnunet_multitask

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nnunet_multitask"
LINKED = ("dataset_conversion", "evaluation")
BUILT_FROM = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

PLACES = {
    "a path of some machine": re.compile(r"(?<![\w.~}-])/(root|work|home/\w+|Users/\w+|mnt/\w+|opt/pypi\S*)(/|\b)"),
    "the host of a package registry": re.compile(
        r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs|anaconda\.org|(127\.0\.0\.1|localhost):\d"
    ),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what a build needs, links kept as links."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    for name in (PACKAGE, *LINKED):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_wheel_holds_the_files_of_the_tree(checkout: Path) -> None:
    _build(checkout, "--wheel")
    content = _wheel_content(checkout / "dist")
    assert {name for name in content if name.endswith(".py")} == {name for name in _tree() if name.endswith(".py")}
    assert content == _tree()
    assert f"{PACKAGE}/py.typed" in content
    assert f"{PACKAGE}/schemas/class_labels.json" in content


def test_wheel_from_sdist_holds_the_same(checkout: Path) -> None:
    _build(checkout)  # an sdist, and the wheel from that sdist
    assert len(list((checkout / "dist").glob("*.tar.gz"))) == 1
    assert _wheel_content(checkout / "dist") == _tree()


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("content", ["../{name}", None], ids=["plain file", "nothing"])
def test_build_without_link_says_what_to_do(checkout: Path, name: str, content: str | None) -> None:
    link = checkout / PACKAGE / name
    link.unlink()
    if content is not None:
        link.write_text(content.format(name=name))
    process = _run_build(checkout, "--wheel")
    assert process.returncode != 0
    assert f"ERROR [broken-link] nnunet_multitask/{name}: expected a symbolic link" in process.stdout + process.stderr
    assert "git clone -c core.symlinks=true" in process.stdout + process.stderr


def test_links_are_relative() -> None:
    assert {name: os.readlink(ROOT / PACKAGE / name) for name in LINKED} == {name: f"../{name}" for name in LINKED}


def test_version_is_the_same_everywhere() -> None:
    assert _first_match("CITATION.cff", r"(?m)^version: (\S+)$") == nnunet_multitask.__version__
    assert _first_match("CHANGELOG.md", r"(?m)^## \[(\d\S*)\]") == nnunet_multitask.__version__
    date = _first_match("CITATION.cff", r"(?m)^date-released: (\S+)$")
    assert _first_match("CHANGELOG.md", r"(?m)^## \[\d\S*\] - (\S+)$") == date


def test_python_versions_agree() -> None:
    first, below = map(int, _all_matches("pyproject.toml", r'requires-python = ">=3\.(\d+),<3\.(\d+)"')[0])
    assert _all_matches("Makefile", r"not \(3, (\d+)\) <= .* <= \(3, (\d+)\)") == [(str(first), str(below - 1))]
    tested = _first_match(".github/workflows/test.yml", r"(?m)^ *python: \[(.*)\]$")
    assert tested.replace('"', "").split(", ") == [f"3.{minor}" for minor in range(first, below)]
    assert _first_match("pyproject.toml", r'target-version = "py3(\d+)"') == str(first)


def test_licence_is_the_unmodified_apache_2() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_SHA256


def test_the_extra_brings_no_gpl() -> None:
    """What a user gets with ``nnunet-multitask[pcgrad]`` beside what nnU-Net needs anyway: torch and its own."""
    pytest.importorskip("torchjd")
    extras = _first_match("pyproject.toml", r"(?m)^pcgrad = \[(.*)\]$")
    assert re.findall(r'"([\w.-]+)[^"]*"', extras) == ["torchjd"]
    needed = [line for line in metadata.requires("torchjd") or [] if "extra ==" not in line]
    assert {re.split(r"[^\w.-]", line)[0] for line in needed} <= {"torch"}
    about = metadata.metadata("torchjd")
    licence = [str(about.get(key)) for key in ("License-Expression", "License", "Classifier")]
    assert "GPL" not in " ".join(licence)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_no_text_names_a_machine_or_a_registry() -> None:
    faults = []
    for path in _project_files():
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        for number, line in enumerate(lines, start=1):
            faults += [f"{path.relative_to(ROOT)}:{number}: {place}" for place in _places(line)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("see " + "/".join(["", "root", "x"]), "a path of some machine"),
        ("cd " + "/".join(["", "home", "ann", "x"]), "a path of some machine"),
        ("--index-url https://" + ".".join(["pypi", "org"]), "the host of a package registry"),
        ("http://" + ":".join(["localhost", "3141"]), "the host of a package registry"),
    ],
)
def test_a_named_place_is_found(line: str, place: str) -> None:
    assert list(_places(line)) == [place]


@pytest.mark.parametrize("line", ["export nnUNet_raw=/path/to/nnUNet_raw", "a/root/b", "https://doi.org/10.1038/x"])
def test_other_text_passes(line: str) -> None:
    assert not _places(line)


def _places(line: str) -> list[str]:
    return [place for place, pattern in PLACES.items() if pattern.search(line)]


def _build(checkout: Path, *options: str) -> None:
    process = _run_build(checkout, *options)
    assert process.returncode == 0, process.stdout + process.stderr


def _run_build(checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "--no-isolation", *options]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def _wheel_content(folder: Path) -> set[str]:
    """Return the files of the one wheel in ``folder``, those of its metadata left out."""
    (wheel,) = folder.glob("*.whl")
    metadata = f"{PACKAGE}-{nnunet_multitask.__version__}.dist-info/"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert f"{metadata}licenses/LICENSE" in names
    return {name for name in names if not name.startswith(metadata)}


def _tree() -> set[str]:
    """Return the files of the package, through its links."""
    return {
        Path(folder, file).relative_to(ROOT).as_posix()
        for folder, _, files in os.walk(ROOT / PACKAGE, followlinks=True)
        for file in files
        if "__pycache__" not in folder
    }


def _project_files() -> list[Path]:
    """Return the files that git tracks or would track; without git, every file outside hidden and built folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        ignored = {"__pycache__", ".venv", ".git", "build", "dist", "demo"}
        paths = [path for path in ROOT.rglob("*") if not ignored & set(path.relative_to(ROOT).parts)]
    files = [path for path in paths if path.is_file()]
    assert ROOT / "pyproject.toml" in files
    return files


def _first_match(file: str, pattern: str) -> str:
    return str(_all_matches(file, pattern)[0])


def _all_matches(file: str, pattern: str) -> list:
    matches = re.findall(pattern, (ROOT / file).read_text("utf-8"))
    assert matches, f"{file} has nothing like {pattern}"
    return matches
