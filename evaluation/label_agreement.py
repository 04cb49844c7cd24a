"""Whether reference masks and reference classes of the same case speak for each other; where not, the case is named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.aggregation import CaseScores
from nnunet_multitask.evaluation.mask_rules import regions_of_classes
from nnunet_multitask.labels import LabelSidecar

MAX_SHARE = 0.25  # of cases against it: else the class does not speak of the mask at all


def reference_contradictions(
    cases: CaseScores,
    regions: Mapping[str, Sequence[int]],
    sidecar: LabelSidecar | None,
    ignored: Collection[str] = (),
) -> Iterator[InputError]:
    """Yield a warning for each case and class that is there by the class and not by the mask, or the reverse.

    Args:
        cases: scores by case and region, with "reference_volume_ml".
        regions: mask values by name, as in evaluation.json under "labels".
        sidecar: the classes; only those of binary and multilabel targets speak of presence, by the region of their
            ``present_if_label``, that of their own name, or (binary, and where most cases agree) all foreground.
        ignored: cases with ignored voxels in the reference, which may hold what nobody has drawn.
    """
    targets = [] if sidecar is None else [t for t in sidecar.targets.values() if t.type != "multiclass"]
    for target in targets:
        for name, region in regions_of_classes(target, regions).items():
            pairs = dict(_pairs(cases, sidecar, target.name, name, region))
            wrong = [c for c, (called, drawn) in pairs.items() if called != drawn and not (called and c in ignored)]
            is_meant = region == name or name in target.present_if_label
            if not is_meant and len(wrong) > MAX_SHARE * len(pairs):
                continue
            for case_id in wrong:
                yield _contradiction(case_id, target.name, name, region, called=pairs[case_id][0])


def _pairs(
    cases: CaseScores, sidecar: LabelSidecar | None, target: str, name: str, region: str
) -> Iterator[tuple[str, tuple[bool, bool]]]:
    """Case ids with a known label, whether it has the class, and whether the reference has voxels of the region."""
    for case_id, scores in cases.items():
        label = sidecar.cases[case_id].labels.get(target) if sidecar and case_id in sidecar.cases else None
        if label is not None:
            called = name == label if isinstance(label, str) else name in label
            yield case_id, (called, (scores[region]["reference_volume_ml"] or 0) > 0)


def _contradiction(case_id: str, target: str, name: str, region: str, *, called: bool) -> InputError:
    mask = f"no voxel of {region}" if called else f"voxels of {region}"
    return InputError(
        "class-without-mask" if called else "mask-without-class",
        f"case {case_id}",
        f"expected reference mask and class to agree, got {mask} and {target} {'with' if called else 'without'} {name}",
        "correct one of them: both are scored as they are",
    )
