"""The Markdown twin says what the page says: every section, every row, every word."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from nnunet_multitask.evaluation.markdown_twin import markdown_twin
from nnunet_multitask.evaluation.report import SECTIONS, render_report
from nnunet_multitask.evaluation.run_cost import RunCost


class Words(HTMLParser):
    """All words of a page but its navigation and script; of pictures their texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.skipping = 0
        self.feed(html[html.index("<body") :])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.found += (given["alt"] or "").split()
        elif tag not in ("br", "meta") and (self.skipping or tag in ("nav", "script") or "aria-hidden" in given):
            self.skipping += 1

    def handle_endtag(self, tag: str) -> None:
        self.skipping = max(0, self.skipping - 1)

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.found += data.split()


@pytest.fixture(scope="module")
def page(whole_comparison: str) -> str:
    return render_report(json.loads(whole_comparison), RunCost(2, 1.5, 200.0))


def test_every_section_is_on_the_page_and_in_its_twin(page: str) -> None:
    twin = markdown_twin(page)
    for name, title in SECTIONS.items():
        assert f'<h2 id="{name}">{title}</h2>' in page
        assert f'<a href="#{name}">{title}</a>' in page
    assert re.findall("^## (.*)$", twin, re.MULTILINE) == list(SECTIONS.values())
    assert len(re.findall("^### ", twin, re.MULTILINE)) == page.count("<h3>")


def test_every_row_and_every_word_of_the_page_is_in_its_twin(page: str) -> None:
    twin = markdown_twin(page)
    rows = re.findall(r"^\|.*\|$", twin, re.MULTILINE)
    assert len(rows) == page.count("<tr") + page.count("<table")  # one more a table: the rule below its head
    written = re.sub(r"\\(.)", r"\1", twin)
    for word in set(Words(page).found):
        assert word in written, word


def test_every_table_has_as_many_cells_in_each_row(page: str) -> None:
    for table in re.findall(r"(?:^\|.*\|\n)+", markdown_twin(page), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_marks_of_markdown_and_html_stay_text() -> None:
    twin = markdown_twin(
        "<body><h1>a_b</h1><p>1. one</p><p>- two</p><p>0.756</p><p>-1</p><p>&lt;script&gt;</p>"
        "<table><thead><tr><th>M</th>"
        '<th class="text">T</th></tr></thead><tbody><tr><th>a|b</th><td colspan="2">1<br><span class="sub">n = 2</span>'
        "</td></tr></tbody></table><ul><li>x</li><li>y</li></ul><dl><dt>d</dt><dd>e</dd></dl></body>"
    )
    assert twin.splitlines() == [
        *("# a\\_b", "", "1\\. one", "", "\\- two", "", "0.756", "", "-1", "", "\\<script\\>", ""),
        *("| M | T |  |", "| --- | --- | ---: |", "| a\\|b | 1 (n = 2) |  |", ""),
        *("- x", "- y", "", "- d: e"),
    ]
