"""The command that turns DICOM folders into NIfTI: all or nothing, everything named, no patient data."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.dicom import DicomOptions, convert
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image

PIXELS = [np.full((6, 5), 10 * index, np.int16) for index in range(4)]
NAME = f"CT_{hashlib.sha256(b'1.2.3.4').hexdigest()[:12]}"

Write = Callable[..., Path]
WriteSeries = Callable[..., list[Path]]


@pytest.fixture
def archive(tmp_path: Path, write_series: WriteSeries, write_dicom: Write) -> Path:
    """Two series of a patient, with what else lies in an archive."""
    folder = tmp_path / "archive" / "DOE^JANE"
    write_series(folder / "brain 1", PIXELS)
    write_series(folder / "brain 2", PIXELS[:3], SeriesInstanceUID="1.2.3.5", RescaleIntercept="-50")
    write_dicom(folder / "brain 1" / "scout", PIXELS[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(folder / "one", PIXELS[0], SeriesInstanceUID="1.2.3.6")
    (folder / "notes.txt").write_text("Jane")
    return tmp_path / "archive"


def run(archive: Path, **options: object) -> dict:
    settings = {"progress": False, "num_workers": 1, **options}
    return convert(archive, archive.parent / "out", DicomOptions(**settings))  # type: ignore[arg-type]


def test_every_series_becomes_a_file(archive: Path) -> None:
    report = run(archive)
    out = archive.parent / "out"
    assert len(report["series"]) == 2
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*(f"{name}.nii.gz" for name in report["series"]), "conversion_report.json"]
    )
    volume = read_image(out / f"{NAME}.nii.gz")
    assert volume.array[:, 0, 0].tolist() == [0, 10, 20, 30]
    assert volume.array.dtype == np.int16
    assert volume.sha256 == report["series"][NAME]["sha256"]
    assert volume.warnings == ()
    assert report == read_json(out / "conversion_report.json")
    assert report["counts"] == {"series": 2, "left out": 3, "unreadable files": 0}
    assert {item["code"]: item["files"] for item in report["excluded"]} == {
        "localizer": 1,
        "not-dicom": 1,
        "single-slice": 1,
    }


def test_nothing_of_the_patient_leaves_the_dicom_files(archive: Path, dicom_secrets: dict[str, str]) -> None:
    run(archive)
    secrets = [*dicom_secrets.values(), "DOE", "JANE", "Jane", "1.2.3.4"]
    for path in (archive.parent / "out").iterdir():
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        for secret in secrets:
            assert secret.encode() not in content, (path, secret)
            assert secret not in path.name


def test_input_checksums_without_paths(archive: Path) -> None:
    inputs = run(archive)["series"][NAME]["inputs"]
    files = [path for path in (archive / "DOE^JANE" / "brain 1").iterdir() if path.name != "scout"]
    assert sorted(inputs) == sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def test_names_of_folders(archive: Path) -> None:
    report = run(archive, names="folder")
    assert sorted(report["series"]) == ["DOE_JANE_brain_1", "DOE_JANE_brain_2"]
    inputs = report["series"]["DOE_JANE_brain_1"]["inputs"]
    assert "DOE^JANE/brain 1/IM0000" in inputs
    assert {item["code"]: item["paths"] for item in report["excluded"]}["localizer"] == ["DOE^JANE/brain 1/scout"]


def test_folders_that_would_give_one_name(tmp_path: Path, write_series: WriteSeries) -> None:
    for number, folder in enumerate(("a b", "a_b", "A_b", "c", "c", ".")):
        write_series(tmp_path / "in" / folder / f"{number}" / "..", PIXELS, SeriesInstanceUID=f"1.{number}")
        for path in (tmp_path / "in" / folder).glob("IM*"):
            path.rename(path.with_name(f"{number}_{path.name}"))
    report = convert(tmp_path / "in", tmp_path / "out", DicomOptions(names="folder", progress=False, num_workers=1))
    digests = [hashlib.sha256(f"1.{number}".encode()).hexdigest()[:12] for number in range(6)]
    assert sorted(report["series"]) == sorted(
        [f"{name}_CT_{digest}" for name, digest in zip(("a_b", "a_b", "A_b", "c", "c"), digests, strict=False)]
        + [f"CT_{digests[5]}"]
    )


def test_stacks_of_one_series_are_numbered(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "in" / "a", PIXELS)
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    write_series(tmp_path / "in" / "b", PIXELS, [(0, 2.0 * i, 0) for i in range(4)], coronal)
    report = convert(tmp_path / "in", tmp_path / "out", DicomOptions(progress=False, num_workers=1))
    assert list(report["series"]) == [f"{NAME}_1", f"{NAME}_2"]


def test_a_cut_file_refuses_all_and_every_fault_is_named(archive: Path) -> None:
    cut = [archive / "DOE^JANE" / f"brain {number}" / "IM0002" for number in (1, 2)]
    for path in cut:
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputErrors) as caught:
        run(archive)
    assert [(error.code, error.where) for error in caught.value.errors] == [
        ("truncated-dicom", str(path)) for path in cut
    ]
    assert not (archive.parent / "out").exists()
    assert [path.name for path in archive.parent.iterdir()] == ["archive"]


def test_faulty_series_can_be_skipped(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = archive / "DOE^JANE" / "brain 1" / "IM0002"
    path.write_bytes(path.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING):
        report = run(archive, skip_faulty=True)
    assert NAME not in report["series"]
    assert len(report["series"]) == 1
    assert {"case": NAME, "code": "truncated-dicom", "reason": "faults: truncated-dicom", "files": 4} in report[
        "excluded"
    ]
    assert f"WARN [truncated-dicom] {path}" in caplog.text
    assert not (archive.parent / "out" / f"{NAME}.nii.gz").exists()


def test_series_beside_a_file_without_readable_header_are_skipped_too(archive: Path) -> None:
    path = archive / "DOE^JANE" / "brain 1" / "IM0002"
    path.write_bytes(path.read_bytes()[:300])  # it may have been a slice of this series
    report = run(archive, skip_faulty=True)
    assert NAME not in report["series"]
    assert ("beside-faulty-file", 3) in [(item["code"], item["files"]) for item in report["excluded"]]
    assert not (archive.parent / "out" / f"{NAME}.nii.gz").exists()


def test_warnings_name_the_file_in_the_log_and_the_series_in_the_report(
    archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = archive / "DOE^JANE" / "brain 1" / "IM0001"
    (source.parent / "copy").write_bytes(source.read_bytes())
    with caplog.at_level(logging.WARNING):
        report = run(archive)
    warnings = [warning for warning in report["warnings"] if "duplicate-slice" in warning]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"[duplicate-slice] {NAME}: expected each slice once")
    assert f"WARN [duplicate-slice] {archive}" in caplog.text


def test_two_workers_write_the_same(archive: Path) -> None:
    first = run(archive)
    assert run(archive, num_workers=2, overwrite=True) == first


def test_dry_run_writes_nothing_and_says_the_same(archive: Path) -> None:
    dry = run(archive, dry_run=True)
    assert not (archive.parent / "out").exists()
    wet = run(archive)
    for facts in wet["series"].values():
        del facts["sha256"]
    assert dry == wet


def test_existing_folder(archive: Path) -> None:
    run(archive)
    (archive.parent / "out" / "mine").touch()
    with pytest.raises(InputError, match=r"\[already-exists\].*use --overwrite"):
        run(archive)
    run(archive, overwrite=True)
    assert not (archive.parent / "out" / "mine").exists()
    (archive.parent / "out" / "conversion_report.json").unlink()
    with pytest.raises(
        InputError, match="expected nothing or a folder that this command wrote, got a folder with other"
    ):
        run(archive, overwrite=True)


def test_report_of_another_converter_is_no_own_folder(archive: Path) -> None:
    out = archive.parent / "out"
    out.mkdir()
    (out / "conversion_report.json").write_text('{"converter": "folder"}')
    with pytest.raises(InputError, match=r"\[already-exists\]"):
        run(archive, overwrite=True)
    (out / "conversion_report.json").write_text("no json")
    with pytest.raises(InputError, match=r"\[(already-exists|bad-json)\]"):
        run(archive, overwrite=True)


def test_output_inside_the_input(archive: Path) -> None:
    with pytest.raises(InputError, match=r"\[bad-output\].*choose another --output"):
        convert(archive, archive / "out", DicomOptions(progress=False))


def test_no_series(tmp_path: Path, write_dicom: Write) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"\[no-series\].*found no file"):
        convert(tmp_path / "in", tmp_path / "out", DicomOptions(progress=False))
    write_dicom(tmp_path / "in" / "a", PIXELS[0], Modality="MR")
    with pytest.raises(InputError, match=r"found 1 files left out as other-modality -> check --input and --modality"):
        convert(tmp_path / "in", tmp_path / "out", DicomOptions(progress=False))


def test_input_is_not_touched(archive: Path) -> None:
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    run(archive)
    assert {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()} == before


def test_command(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", "dicom", "--input", str(archive), "--output", str(archive.parent / "out")]
    assert main([*arguments, "--json", "--num-workers", "1"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["counts"]["series"] == 2
    assert main([*arguments, "--overwrite", "--num-workers", "1", "--slice-spacing-mm", "2.5"]) == 0
    assert "counts: 2 series, 3 left out, 0 unreadable files" in capsys.readouterr().out
    assert read_image(archive.parent / "out" / f"{NAME}.nii.gz").spacing_mm[0] == pytest.approx(2.5)
    assert main(arguments) == 1
    assert "ERROR [already-exists]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--slice-spacing-mm", "0"])
    assert "expected a distance above 0 and at most 50 mm, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["hash", "folder"])
def test_a_warning_is_printed_once_with_its_file(
    archive: Path, names: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = archive / "DOE^JANE" / "brain 1" / "IM0001"
    (source.parent / "copy").write_bytes(source.read_bytes())
    command = ["convert", "dicom", "--input", str(archive), "--output", str(archive.parent / "out"), "--num-workers=1"]
    assert main([*command, "--dry-run", "--names", names]) == 0
    out = capsys.readouterr().out
    printed = [line for line in (*out.splitlines(), *caplog.messages) if line.startswith("WARN [duplicate-slice]")]
    assert len(printed) == 1
    assert "brain 1/" in printed[0]
    assert "1 file without series (no DICOM file)" in out
