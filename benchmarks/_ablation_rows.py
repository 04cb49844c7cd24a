"""The rows of the ablation: one case of one run, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

RESULTS_FILE = Path(__file__).parent / "results" / "ablation_cases.csv"
TEST_FILE = RESULTS_FILE.with_name("ablation_test_cases.csv")

Run = tuple[str, str, int, int]  # cohort, variant, seed, fold


@dataclass(frozen=True)
class Row:
    """A case as a run predicted it.

    Args:
        cohort, variant, seed, fold: the run; of test cases the fold is -1, since all folds predict them together.
        case, patient: whose scan.
        positive: 1 where the case has the positive class of the cohort's target, else 0.
        probability: of the positive class; None where the variant does not classify.
        dsc: of all foreground, 0 where one of the masks is empty; None where both are.
        hd95_mm: 95th percentile Hausdorff distance, the image's diagonal where one of the masks is empty.
        volume_ml: of the predicted foreground.
    """

    cohort: str
    variant: str
    seed: int
    fold: int
    case: str
    patient: str
    positive: int
    probability: float | None
    dsc: float | None
    hd95_mm: float | None
    volume_ml: float

    @property
    def run(self) -> Run:
        """Return the run that the row belongs to."""
        return self.cohort, self.variant, self.seed, self.fold


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file, none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(cells) for cells in csv.DictReader(file)]


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add the rows of a finished run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        for row in rows:
            cells = asdict(row)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in cells.items()})


def _row(cells: dict[str, str]) -> Row:
    def number(name: str) -> float | None:
        return float(cells[name]) if cells[name] else None

    return Row(
        cells["cohort"],
        cells["variant"],
        int(cells["seed"]),
        int(cells["fold"]),
        cells["case"],
        cells["patient"],
        int(cells["positive"]),
        number("probability"),
        number("dsc"),
        number("hd95_mm"),
        float(cells["volume_ml"]),
    )
