"""The report in a real browser: nothing is fetched, nothing fails, tables sort, no serious fault of accessibility.

It needs playwright and axe-playwright-python (both in the extra "dev"), and Chromium: the one of the system, or the one
that `playwright install chromium` fetches. Where one is missing, the tests are skipped and say which.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.report import render_report, write_report
from nnunet_multitask.labels import read_sidecar

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

EVIL = "<script>document.title = 'run'</script>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        path = next((found for name in BROWSERS if (found := shutil.which(name))), playwright.chromium.executable_path)
        if not Path(path).is_file():
            pytest.skip("no Chromium: install it (Debian: apt install chromium), or run playwright install chromium")
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root has none
        found = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield found
        found.close()


@pytest.fixture
def report(cohort: Path, tmp_path: Path) -> Path:
    """A report of three cases of which one has markup for a name, and lacks a score."""
    (cohort / "model" / "c3.nii.gz").unlink()
    (cohort / "baseline" / "c3.nii.gz").unlink()
    document = compare_folders(
        cohort / "labels",
        {"base": cohort / "baseline", "multi": cohort / "model"},
        "base",
        labels={"background": 0, "IPH": 1, "IVH": 2},
        sidecar=read_sidecar(cohort / "class_labels.json"),
        images_dir=cohort / "images",
    )
    return write_report(json.loads(json.dumps(document).replace('"c2"', json.dumps(EVIL))), tmp_path / "out")


def test_the_report_in_a_browser(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(report.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]

    assert page.title() == "multi against base"  # the name of the case did not run
    table = page.get_by_role("region", name="Table of every case").locator("table")
    names = table.locator("tbody th")
    assert names.all_text_contents() == ["c1", EVIL, "c3"]

    # by mouse: rising, falling; a case without a score stays last
    header = table.locator("thead th", has_text="HD95 mm").first
    button = header.get_by_role("button")
    button.click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert names.all_text_contents()[-1] == "c3"
    button.click()
    assert header.get_attribute("aria-sort") == "descending"
    assert names.all_text_contents()[-1] == "c3"
    # by keyboard, by another column, which takes the arrow over
    volume = table.locator("thead th", has_text="reference")
    volume.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert names.all_text_contents() == ["c1", EVIL, "c3"]
    page.keyboard.press("Space")
    assert names.all_text_contents() == ["c3", EVIL, "c1"]
    assert table.locator("th[aria-sort]").count() == 1
    assert volume.get_attribute("aria-sort") == "descending"

    for picture in page.locator("img").all():
        assert len(picture.get_attribute("alt") or "") > 20
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    assert not faults
    assert _serious(page) == []
    page.close()


def test_a_narrow_screen_scrolls_tables_and_says_so(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".scroll", has=page.get_by_role("region", name="Table of every case"))
    assert box.locator(".cue").is_visible()
    assert "end" not in (box.get_attribute("class") or "")
    box.get_by_role("region").evaluate("region => { region.scrollLeft = region.scrollWidth; }")
    page.wait_for_function("element => element.classList.contains('end')", arg=box.element_handle())
    assert _serious(page) == []
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_with_everything_in_it(browser: Any, whole_comparison: str, tmp_path: Path, width: int) -> None:
    path = write_report(json.loads(whole_comparison), tmp_path / "out")
    page = browser.new_page(viewport={"width": width, "height": 900})
    requests: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert not faults
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator(".scroll").all():  # what is wider than the screen says so
        if box.is_visible() and box.evaluate(
            "e => e.firstElementChild.scrollWidth > e.firstElementChild.clientWidth + 1"
        ):
            assert box.locator(".cue").is_visible()
    assert _serious(page) == []
    page.close()


def _serious(page: Any) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]


def test_three_models_fit_a_desktop_screen(browser: Any, cohort: Path, tmp_path: Path) -> None:
    for name in ("second", "third"):
        shutil.copytree(cohort / "model", cohort / name)
    folders = {name: cohort / name for name in ("baseline", "second", "third")}
    document = compare_folders(
        cohort / "labels",
        folders,
        "baseline",
        labels={"background": 0, "IPH": 1, "IVH": 2},
        sidecar=read_sidecar(cohort / "class_labels.json"),
        images_dir=cohort / "images",
    )
    (tmp_path / "three.html").write_text(render_report(document))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "three.html").as_uri())
    assert page.evaluate("(t => t.scrollWidth <= t.parentElement.clientWidth)(document.querySelector('table.cases'))")
    tops = page.evaluate("[...document.querySelector('.panels').children].map(picture => picture.offsetTop)")
    assert len(tops) == 4
    assert len(set(tops)) == 1  # the slice and three models side by side, no black row
