"""Where the classes of a case and its mask say different things: warnings that name the case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from nnunet_multitask.dataset_conversion.case_checks import MaskContent
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Label, LabelSidecar, Target

CLEAR_MAJORITY = 0.75  # share of a class's masks that tells what a mask of the class is like
MIN_CASES = 4  # of a class, before it tells anything

_NAMED_SLICES = 10
_REMEDY = "correct the class or the mask"


def contradictions(sidecar: LabelSidecar, masks: Mapping[str, MaskContent], where: Path) -> list[InputError]:
    """Return a warning for each case whose class and mask contradict each other.

    With ``present_if_label`` the rule decides, for cases and for slices: the class is there, and none of its labels is
    in the mask; or the reverse. Without it the other cases do: a class most of whose masks hold foreground (three
    quarters of at least four) speaks for foreground, one most of whose masks are empty speaks against it. A target that
    has classes of both kinds tells bleeding from no finding, and its classes are compared with the masks; where no
    target has, a class that speaks for foreground is still compared with the masks, since some rare empty mask in a
    cohort of lesions is more likely missing than true. Parts of a mask that are ignored excuse a class without
    foreground.

    Args:
        sidecar: classes of the cases.
        masks: content by case id; cases that the sidecar does not list are passed over.
        where: the sidecar's file, for messages.
    """
    warnings: list[InputError] = []
    for case_id in sorted(set(masks) & set(sidecar.cases)):
        for target in sidecar.targets.values():
            place = f"{where}: cases/{case_id}"
            label = sidecar.cases[case_id].labels.get(target.name)
            if label is not None:
                warnings += _by_rule(target, label, masks[case_id], f"{place}/labels/{target.name}")
            slices = sidecar.cases[case_id].slices.get(target.name, ())
            warnings += _by_rule_in_slices(target, slices, masks[case_id], f"{place}/slices/{target.name}")
    return [*warnings, *_by_majority(sidecar, masks, where)]


def slice_contradictions(sidecar: LabelSidecar, where: Path) -> list[InputError]:
    """Return a warning for each case whose own label and whose labels of slices contradict each other.

    Every class of a slice must be a class of the case, and where all slices are known, the reverse. Multiclass targets
    are not compared: their slices may differ.
    """
    warnings = []
    for case_id, case in sorted(sidecar.cases.items()):
        for name, slices in case.slices.items():
            target, label = sidecar.targets[name], case.labels.get(name)
            if label is None or target.type == "multiclass" or not slices:
                continue
            of_case = set(target.present_classes(label))
            of_slices = {c for part in slices if part is not None for c in target.present_classes(part)}
            missing = of_case - of_slices if None not in slices else set()
            if of_slices - of_case or missing:
                fault = f"expected the classes of the case, {_listed(of_case)}, got {_listed(of_slices)} in its slices"
                place = f"{where}: cases/{case_id}/slices/{name}"
                warnings.append(InputError("slices-contradict-case", place, fault, "correct one of them"))
    return warnings


def _by_rule(target: Target, label: Label, mask: MaskContent, place: str) -> Iterator[InputError]:
    present = target.present_classes(label)
    for name, values in target.present_if_label.items():
        voxels = mask.total(values)
        rule = f"the mask labels {', '.join(map(str, values))} (present_if_label of {name})"
        if name in present and voxels == 0 and not _ignored(mask):
            yield InputError("class-without-mask", place, f"expected voxels of {rule}, got none", _REMEDY)
        elif name not in present and voxels:
            yield InputError("mask-without-class", place, f"expected no voxel of {rule}, got {voxels}", _REMEDY)


def _by_rule_in_slices(
    target: Target, slices: tuple[Label | None, ...], mask: MaskContent, place: str
) -> Iterator[InputError]:
    if len(slices) != mask.num_slices:
        return  # an error already
    for name, values in target.present_if_label.items():
        without_mask, without_class = [], []
        for z, label in enumerate(slices):
            if label is None:
                continue
            voxels = sum(mask.voxels[value][z] for value in values if value in mask.voxels)
            ignored = mask.ignore is not None and mask.ignore in mask.voxels and mask.voxels[mask.ignore][z]
            present = name in target.present_classes(label)
            if present and not voxels and not ignored:
                without_mask.append(z)
            elif voxels and not present:
                without_class.append(z)
        rule = f"the mask labels {', '.join(map(str, values))} (present_if_label of {name})"
        if without_mask:
            fault = f"expected voxels of {rule}, got none in slice {_slices(without_mask)}"
            yield InputError("class-without-mask", place, fault, _REMEDY)
        if without_class:
            fault = f"expected no voxel of {rule}, got some in slice {_slices(without_class)}"
            yield InputError("mask-without-class", place, fault, _REMEDY)


def _by_majority(sidecar: LabelSidecar, masks: Mapping[str, MaskContent], where: Path) -> Iterator[InputError]:
    kinds = {case_id: mask.kind for case_id, mask in masks.items() if mask.kind in ("foreground", "empty")}
    counts: dict[tuple[str, str], Counter[str]] = {}
    classes: dict[str, dict[str, str]] = {}  # case to target to class
    for case_id, kind in kinds.items():
        labels = sidecar.cases[case_id].labels if case_id in sidecar.cases else {}
        for name, label in labels.items():
            if not sidecar.targets[name].present_if_label:
                classes.setdefault(case_id, {})[name] = _one_class(label)
                counts.setdefault((name, _one_class(label)), Counter())[kind] += 1
    usual = {key: most for key, count in counts.items() if (most := _usual_kind(count)) is not None}
    telling = {name for name in sidecar.targets if len({kind for key, kind in usual.items() if key[0] == name}) == 2}
    for case_id in sorted(classes):
        for name, class_name in classes[case_id].items():
            expected, got = usual.get((name, class_name), ""), kinds[case_id]
            if expected in ("", got) or (telling and name not in telling) or (not telling and expected == "empty"):
                continue
            count = counts[name, class_name]
            others = f"{count[expected]} of {count.total()} cases of {class_name}"
            place = f"{where}: cases/{case_id}/labels/{name}"
            if expected == "foreground":
                fault = f"expected foreground in the mask, as in {others}, got an empty one"
                yield InputError("class-without-mask", place, fault, _REMEDY)
            else:
                fault = f"expected an empty mask, as in {others}, got foreground"
                yield InputError("mask-without-class", place, fault, _REMEDY)
            if not telling:
                break  # other targets would say the same of the case


def _one_class(label: Label) -> str:
    """Return the class of a case; of a multilabel target whether it has any."""
    return label if isinstance(label, str) else "any class" if label else "no class"


def _usual_kind(count: Counter[str]) -> str | None:
    kind, number = count.most_common(1)[0]
    return kind if count.total() >= MIN_CASES and number >= CLEAR_MAJORITY * count.total() else None


def _ignored(mask: MaskContent) -> bool:
    return mask.ignore is not None and mask.total((mask.ignore,)) > 0


def _slices(indices: list[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:_NAMED_SLICES])
    return shown if len(indices) <= _NAMED_SLICES else f"{shown} and {len(indices) - _NAMED_SLICES} more"


def _listed(classes: set[str]) -> str:
    return ", ".join(sorted(classes)) or "none"
