"""Scores of one pair of masks against medpy, surface-distance and MONAI: CPU time, memory, and whether values agree.

Six pairs of synthetic hematomas: 5, 20 and 60 mL and 20 mL with a false positive far away in 512x512x33 voxels of
0.45x0.45x5 mm; 30 mL without and with one in 512x512x256 voxels of 0.45x0.45x0.625 mm. A peer computes DSC, HD95 and
HD; `segmentation_metrics` computes these and everything else that it knows.

medpy comes with the development dependencies. MONAI: `pip install monai`. surface-distance: the release in the package
index fails with numpy 2, its repository (google-deepmind/surface-distance on GitHub) works: pip installs it from there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _harness import Figure, alternate, finish, make_parser, peak_memory_mib, require_peer
from numpy.typing import NDArray

from nnunet_multitask.evaluation.segmentation import segmentation_metrics

NAME = "surface"
# how many times less CPU time than each peer, on every pair
MIN_RATIO = {"medpy": 100.0, "surface-distance": 3.0, "MONAI": 30.0}
MODULES = {"medpy": "medpy.metric", "surface-distance": "surface_distance", "MONAI": "monai.metrics"}
MAX_MS = {"thick": 50.0, "thin": 150.0}
MAX_MB = {"thick": 10.0, "thin": 50.0}
OWN_CALLS = 5  # in a round: one takes milliseconds
BLOBS = 6  # that a hematoma is made of

Mask = NDArray[np.bool_]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Pair:
    """A reference and a prediction to score.

    Args:
        name: for the report.
        kind: thick or thin slices.
        shape, spacing_mm: (z, y, x).
        volume_ml: of the reference.
        far_false_positive: a second, small lesion on the other side of the prediction.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    volume_ml: float
    far_false_positive: bool = False


THICK = ("thick", (33, 512, 512), (5.0, 0.45, 0.45))
THIN = ("thin", (256, 512, 512), (0.625, 0.45, 0.45))
PAIRS = (
    Pair("5 mL", *THICK, 5.0),
    Pair("20 mL", *THICK, 20.0),
    Pair("60 mL", *THICK, 60.0),
    Pair("20 mL + far", *THICK, 20.0, far_false_positive=True),
    Pair("thin 30 mL", *THIN, 30.0),
    Pair("thin 30 mL + far", *THIN, 30.0, far_false_positive=True),
)


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit status."""
    args = _parse(argv)
    require_peer(*(MODULES[peer] for peer in args.peers))
    ratios: dict[str, dict[str, float]] = {peer: {} for peer in args.peers}
    own_ms: dict[str, float] = {}
    differences: dict[str, float] = {}
    for pair in PAIRS:
        reference, prediction = make_masks(pair)
        peers = [peer for peer in args.peers if not (args.quick and pair.kind == "thin" and peer == "medpy")]
        found: dict[str, Values] = {}
        variants: dict[str, Callable[[], object]] = {
            peer: partial(_remember, found, peer, COMPUTE[peer](reference, prediction, pair.spacing_mm))
            for peer in peers
        }
        variants["ours"] = partial(_own_calls, reference, prediction, pair.spacing_mm)
        seconds = alternate(variants, args.repeats, clock=time.process_time)
        own = statistics.median(seconds["ours"]) / OWN_CALLS
        own_ms[pair.name] = 1000 * own
        for peer in peers:
            ratios[peer][pair.name] = statistics.median(seconds[peer]) / own
        ours = segmentation_metrics(reference, prediction, spacing_mm=pair.spacing_mm)
        for peer, values in found.items():
            difference = max(abs(value - getattr(ours, name)) for name, value in values.items())
            differences[peer] = max(differences.get(peer, 0.0), difference)
        line = "  ".join(f"{peer} {ratios[peer][pair.name]:.1f} times" for peer in peers)
        print(f"{pair.name:18} {own_ms[pair.name]:6.1f} ms   {line}", flush=True)
    memory = {pair.kind: _memory_mb(pair) for pair in PAIRS if pair.far_false_positive}
    figures = [
        *(
            Figure(f"CPU time of {peer} by ours", min(ratios[peer].values()), MIN_RATIO[peer], "times", at_least=True)
            for peer in args.peers
        ),
        *(Figure(f"CPU time, {kind} slices", _worst(own_ms, kind), MAX_MS[kind], "ms") for kind in memory),
        *(Figure(f"memory, {kind} slices", value, MAX_MB[kind], "MB") for kind, value in memory.items()),
        *(Figure(f"difference from {name}", value, MAX_DIFFERENCE[name], "mm") for name, value in differences.items()),
    ]
    measurements = {"own_cpu_ms": own_ms, "cpu_time_ratio": ratios, "memory_mb": memory}
    return finish(NAME, args, figures, measurements, ("numpy", "scipy", *(DISTRIBUTIONS[peer] for peer in args.peers)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--peers", nargs="+", choices=tuple(MODULES), default=tuple(MODULES), help="whom to compare with (default: all)"
    )
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds (default 3, or 1 with --quick)")
    args = parser.parse_args(argv)
    args.repeats = args.repeats or (1 if args.quick else 3)
    return args


def make_masks(pair: Pair) -> tuple[Mask, Mask]:
    """Return reference and prediction: a bulgy hematoma, and the same with every bulge a little elsewhere."""
    random = np.random.default_rng(0)
    radius = (pair.volume_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    centre = np.array(pair.shape) * pair.spacing_mm * (0.5, 0.45, 0.6)
    offsets = random.normal(0, 0.45 * radius, (BLOBS, 3))
    radii = radius * random.uniform(0.45, 0.75, BLOBS)
    scale = 1.0
    for _ in range(8):  # until the volume is right
        reference = _blobs(pair, centre + scale * offsets, scale * radii)
        volume_ml = np.count_nonzero(reference) * np.prod(pair.spacing_mm) / 1000
        scale *= (pair.volume_ml / volume_ml) ** (1 / 3)
    moved = centre + scale * offsets + random.normal(0, 1.5, (BLOBS, 3)) + (2.0, 1.0, -1.0)
    prediction = _blobs(pair, moved, scale * radii * random.uniform(0.93, 1.05, BLOBS))
    if pair.far_false_positive:  # 0.3 mL
        prediction |= _blobs(pair, np.array([np.array(pair.shape) * pair.spacing_mm * (0.15, 0.8, 0.2)]), [4.15])
    return reference, prediction


def _blobs(pair: Pair, centres_mm: NDArray[np.float64], radii_mm: Any) -> Mask:
    """Balls, seen only in the box around each: a whole volume of distances would take gigabytes."""
    mask = np.zeros(pair.shape, dtype=bool)
    spacing = np.array(pair.spacing_mm)
    for centre, radius in zip(centres_mm, radii_mm, strict=True):
        low = np.maximum(((centre - radius) / spacing).astype(int), 0)
        high = np.minimum(((centre + radius) / spacing).astype(int) + 2, pair.shape)
        axes = np.ogrid[tuple(slice(*edges) for edges in zip(low, high, strict=True))]
        squared = sum((axis * step - middle) ** 2 for axis, step, middle in zip(axes, spacing, centre, strict=True))
        mask[tuple(slice(*edges) for edges in zip(low, high, strict=True))] |= squared < radius**2
    return mask


def by_medpy(reference: Mask, prediction: Mask, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    """Return what scores a pair by medpy."""
    from medpy.metric import binary

    return lambda: {
        "dsc": binary.dc(prediction, reference),
        "hd95": binary.hd95(prediction, reference, spacing_mm),
        "hd": binary.hd(prediction, reference, spacing_mm),
    }


def by_surface_distance(reference: Mask, prediction: Mask, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    """Return what scores a pair by surface-distance. Its surfaces run between voxels: its HD95 and HD are others."""
    import surface_distance

    def compute() -> Values:
        distances = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
        surface_distance.compute_robust_hausdorff(distances, 95.0)
        surface_distance.compute_robust_hausdorff(distances, 100.0)
        return {"dsc": surface_distance.compute_dice_coefficient(reference, prediction)}

    return compute


def by_monai(reference: Mask, prediction: Mask, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    """Return what scores a pair by MONAI, on one core."""
    import torch
    from monai import metrics

    torch.set_num_threads(1)
    pair = [torch.from_numpy(mask[None, None]) for mask in (prediction, reference)]
    hausdorff = partial(metrics.compute_hausdorff_distance, *pair, include_background=True, spacing=spacing_mm)
    return lambda: {
        "dsc": metrics.compute_dice(*pair, include_background=True).item(),
        "hd95_directed": hausdorff(percentile=95).item(),
        "hd": hausdorff().item(),
    }


COMPUTE = {"medpy": by_medpy, "surface-distance": by_surface_distance, "MONAI": by_monai}
DISTRIBUTIONS = {"medpy": "MedPy", "surface-distance": "surface-distance", "MONAI": "monai"}
MAX_DIFFERENCE = {"medpy": 0.0, "surface-distance": 0.0, "MONAI": 1e-3}  # MONAI computes in single precision


def _own_calls(reference: Mask, prediction: Mask, spacing_mm: tuple[float, ...]) -> None:
    for _ in range(OWN_CALLS):
        segmentation_metrics(reference, prediction, spacing_mm=spacing_mm)


def _remember(found: dict[str, Values], peer: str, compute: Callable[[], Values]) -> None:
    found[peer] = compute()


def _worst(own_ms: Mapping[str, float], kind: str) -> float:
    return max(own_ms[pair.name] for pair in PAIRS if pair.kind == kind)


def _memory_mb(pair: Pair) -> float:
    """Peak memory of a fresh process that scores a pair, above that of one that only loads it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-surface-") as folder:
        path = Path(folder) / "masks.npy"
        np.save(path, np.stack(make_masks(pair)))
        loading, scoring = (
            statistics.median(peak_memory_mib(_load_and_score, path, pair.spacing_mm, score) for _ in range(3))
            for score in (False, True)
        )
    return (scoring - loading) * 1.048576


def _load_and_score(path: Path, spacing_mm: tuple[float, float, float], score: bool) -> None:
    reference, prediction = np.load(path)
    tiny = np.ones((2, 2, 2), dtype=bool)
    segmentation_metrics(tiny, tiny, spacing_mm=spacing_mm)  # so that everything is imported in either case
    if score:
        segmentation_metrics(reference, prediction, spacing_mm=spacing_mm)


if __name__ == "__main__":
    sys.exit(main())
