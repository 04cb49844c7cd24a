"""The report as Markdown, made from the page itself: one source, so that neither says what the other does not.

Pictures become their texts. Bare HTML of texts cannot come through: every text is escaped again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from nnunet_multitask.evaluation.report_texts import markdown

SKIPPED = ("nav", "script", "style", "head")
VOID = ("meta", "img", "br", "link", "input", "hr")
BLOCKS = ("p", "div", "section", "figure", "figcaption", "details", "ul", "dl", "main", "header", "footer", "body")
HEADINGS = {"h1": "#", "h2": "##", "h3": "###", "h4": "####"}


def markdown_twin(page: str) -> str:
    """Return the contents of a page of ours, without its navigation, as Markdown.

    Args:
        page: HTML as `render_report` returns it.
    """
    twin = _Twin()
    twin.feed(page)
    twin.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(twin.written)).strip() + "\n"


@dataclass
class _Table:
    """Rows of cells so far; how each column is aligned is what most of its cells below the head are."""

    rows: list[list[str]] = field(default_factory=list)
    is_text: list[bool] = field(default_factory=list)

    def to_markdown(self) -> str:
        width = max(len(row) for row in self.rows)
        rows = [row + [""] * (width - len(row)) for row in self.rows]
        aligned = ["---" if place == 0 or is_text else "---:" for place, is_text in enumerate(self.is_text)]
        rules = aligned + ["---:"] * (width - len(aligned))
        return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rules, *rows[1:]])


class _Twin(HTMLParser):
    """Writes Markdown while it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.text: list[str] = []  # of the block that is being read
        self.closings: list[tuple[str, str]] = []  # open tags, each with what its end adds to the text
        self.skipping = 0
        self.table: _Table | None = None
        self.span = 1
        self.after_break = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if self.skipping or tag in SKIPPED or given.get("aria-hidden") == "true":
            self.skipping += tag not in VOID
            return
        if tag == "img":
            self._block(f"Picture: {markdown(given.get('alt') or '')}")
        elif tag == "br":
            self.text.append(" ")
            self.after_break = True
        if tag in VOID:
            return
        opening, closing = "", ""
        if tag == "span" and "sub" in classes and self.after_break:
            opening, closing = "(", ")"
        elif tag in ("strong", "summary"):
            opening, closing = "**", "**"
        if tag in BLOCKS or tag in HEADINGS or tag in ("li", "dt", "summary", "table"):
            self._flush()
        if tag == "table":
            self.table = _Table()
        elif tag == "tr" and self.table is not None:
            self.table.rows.append([])
        elif tag in ("th", "td"):
            self.text = []
            self.span = int(given.get("colspan") or 1)
            if self.table is not None and len(self.table.rows) == 1:
                self.table.is_text += ["text" in classes] * self.span
        self.after_break = False
        self.text.append(opening)
        self.closings.append((tag, closing))

    def handle_endtag(self, tag: str) -> None:
        if self.skipping:
            self.skipping -= 1
            return
        opened, closing = self.closings.pop()
        assert opened == tag  # the page is ours: its tags close in order
        self.text.append(closing)
        if tag in ("th", "td"):
            assert self.table is not None
            self.table.rows[-1] += [self._taken(), *[""] * (self.span - 1)]
        elif tag == "table":
            assert self.table is not None
            self._block(self.table.to_markdown())
            self.table = None
        elif tag in HEADINGS:
            self._flush(f"{HEADINGS[tag]} ")
        elif tag == "li":
            self._flush("- ", end="\n")
        elif tag == "dt":
            self.text.append(": ")
        elif tag == "dd":
            self._flush("- ", end="\n")
        elif tag in ("ul", "dl"):
            self.written.append("\n")
        elif tag in BLOCKS or tag == "summary":
            self._flush()

    def handle_data(self, data: str) -> None:
        if self.skipping:
            return
        if data.strip():
            self.after_break = False
        self.text.append(markdown(data) if data.strip() else " ")

    def _taken(self) -> str:
        text = re.sub(r"\s+", " ", "".join(self.text)).strip()
        self.text = []
        return text

    def _flush(self, prefix: str = "", end: str = "\n\n") -> None:
        text = self._taken()
        if text:
            # what would begin a list, or a heading underlined, is a text that begins so
            self.written.append(prefix + re.sub(r"^(\d+(?=[.)] )|(?=[-+] ))(.)", r"\1\\\2", text) + end)

    def _block(self, text: str) -> None:
        self._flush()
        self.written.append(f"{text}\n\n")
