"""Which class of a model is which class of a data set: for a model that is scored on a data set with other classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Label, Target

NOWHERE = "-"  # a class that the data set does not have
REMEDY = 'write the mapping as JSON: {"labels": {A: B}, "targets": {T: {"target": U, "classes": {A: B}}}}'

Labels = Mapping[str, int | list[int]]


@dataclass(frozen=True)
class TargetMapping:
    """A target of the model: name of the data set's target, and its class (or "-") by class of the model."""

    target: str
    classes: Mapping[str, str]


@dataclass(frozen=True)
class ClassMapping:
    """Names of the data set by names of the model.

    Args:
        labels: label of the masks of the data set (or "-": background) by label of the model.
        targets: by target of the model; a target that is not named is not scored.
    """

    labels: Mapping[str, str]
    targets: Mapping[str, TargetMapping]

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as it stands in a file."""
        targets = {name: {"target": to.target, "classes": dict(to.classes)} for name, to in self.targets.items()}
        return {"labels": dict(self.labels), "targets": targets}


def read_class_mapping(
    text: str, model_labels: Labels, labels: Labels, model_targets: Mapping[str, Target], targets: Mapping[str, Target]
) -> ClassMapping:
    """Read and check a mapping.

    Args:
        text: "A=B,C=D", class of the model = class of the data set, for labels and targets alike; or the path of a
            JSON file with {"labels": {A: B}, "targets": {T: {"target": U, "classes": {A: B}}}}.
        model_labels, labels: labels of the model's and of the data set's dataset.json.
        model_targets, targets: what the model predicts and what the data set knows; empty where nothing.

    Raises:
        InputError: no such file, or another form.
        InputErrors: every name that is unknown, missing, or could mean several things; targets whose types do not
            allow it.
    """
    if "=" not in text and not text.endswith(".json") and not Path(text).is_file():
        fault = f"expected A=B,C=D (class of the model = class of the data set) or a JSON file, got {text!r}"
        raise InputError("bad-mapping", "--map-classes", fault, REMEDY)
    if text.endswith(".json") or "=" not in text:
        mapping = _from_file(Path(text))
    else:
        mapping = _from_pairs(text, model_labels, labels, model_targets, targets)
    errors = [
        *_label_faults(mapping, model_labels, labels),
        *(error for name, to in mapping.targets.items() for error in _target_faults(name, to, model_targets, targets)),
        *_shared_target_faults(mapping),
    ]
    if errors:
        raise InputErrors(errors)
    return mapping


def restrict_sidecar(sidecar: LabelSidecar, mapping: ClassMapping) -> LabelSidecar:
    """Return the labels of a data set without the classes that the model cannot know.

    Of a multilabel target the other classes are taken out of every label; cases with another class of an exclusive
    target have no label then. Targets that nothing is mapped to are left out.
    """
    kept = {to.target: covered_classes(to, sidecar.targets[to.target]) for to in mapping.targets.values()}
    targets = {
        name: replace(
            sidecar.targets[name],
            classes=classes,
            present_if_label={k: v for k, v in sidecar.targets[name].present_if_label.items() if k in classes},
        )
        for name, classes in kept.items()
    }
    return LabelSidecar(targets, {case_id: _restrict_case(case, kept) for case_id, case in sidecar.cases.items()})


def covered_classes(to: TargetMapping, target: Target) -> tuple[str, ...]:
    """Return the classes of a target of the data set that a class of the model is mapped to, in their order."""
    return tuple(name for name in target.classes if name in to.classes.values())


def _restrict_case(case: Case, kept: Mapping[str, tuple[str, ...]]) -> Case:
    labels = {name: _restrict(label, kept[name]) for name, label in case.labels.items() if name in kept}
    slices = {
        name: tuple(None if label is None else _restrict(label, kept[name]) for label in values)
        for name, values in case.slices.items()
        if name in kept
    }
    return replace(case, labels={k: v for k, v in labels.items() if v is not None}, slices=slices)


def _restrict(label: Label, classes: tuple[str, ...]) -> Label | None:
    if isinstance(label, str):
        return label if label in classes else None
    return tuple(name for name in label if name in classes)


def _from_file(path: Path) -> ClassMapping:
    document = read_json(path)
    try:
        targets = {
            name: TargetMapping(str(entry["target"]), dict(entry["classes"]))
            for name, entry in document.get("targets", {}).items()
        }
        return ClassMapping(dict(document.get("labels", {})), targets)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("bad-mapping", path, "expected labels and targets, got another form", REMEDY) from error


def _from_pairs(
    text: str, model_labels: Labels, labels: Labels, model_targets: Mapping[str, Target], targets: Mapping[str, Target]
) -> ClassMapping:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, separator, to = (piece.strip() for piece in part.partition("="))
        if not (name and separator and to) or name in pairs:
            raise InputError("bad-mapping", text, f"expected A=B once for each A, got {part!r}", REMEDY)
        pairs[name] = to
    known = {*model_labels, *(label for target in model_targets.values() for label in target.classes)}
    unknown = [name for name in pairs if name not in known]
    if unknown:
        fault = f"expected classes of the model ({', '.join(sorted(known))}), got {', '.join(unknown)}"
        raise InputError("unknown-class", text, fault, "name its classes before the =")
    mapped = {}
    for name, target in model_targets.items():
        classes = {label: pairs[label] for label in target.classes if label in pairs}
        wanted = set(classes.values()) - {NOWHERE}
        homes = [other for other, candidate in targets.items() if wanted and wanted <= set(candidate.classes)]
        if len(homes) > 1:
            fault = f"expected one target with the classes {', '.join(sorted(wanted))}, got {', '.join(homes)}"
            raise InputError("ambiguous-mapping", f"{text}: target {name}", fault, REMEDY)
        if homes:
            mapped[name] = TargetMapping(homes[0], classes)
    return ClassMapping({name: to for name, to in pairs.items() if name in model_labels}, mapped)


def _label_faults(mapping: ClassMapping, model_labels: Labels, labels: Labels) -> Iterator[InputError]:
    ours = {name: value for name, value in model_labels.items() if name not in ("background", "ignore")}
    theirs = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    for name in [name for name in mapping.labels if name not in ours]:
        fault = f"expected a label of the model ({', '.join(ours)}), got {name}"
        yield InputError("unknown-class", "labels", fault, "name its labels before the =")
    for name, value in ours.items():
        to = mapping.labels.get(name)
        where = f"labels: {name}"
        if to is None:
            fault = f"expected a label of the data set ({', '.join(theirs)}) for each of the model, got none"
            yield InputError("missing-mapping", where, fault, f'map it, to "{NOWHERE}" where there is none')
        elif to != NOWHERE and to not in theirs:
            fault = f"expected a label of the data set ({', '.join(theirs)}), got {to}"
            yield InputError("unknown-class", where, fault, f'choose one, or "{NOWHERE}"')
        elif isinstance(value, list) or isinstance(theirs.get(to), list):
            fault = "expected labels of one mask value, got a region: its voxels could be several labels"
            yield InputError("ambiguous-mapping", where, fault, "map predictions with labels instead of regions")


def _target_faults(
    name: str, to: TargetMapping, model_targets: Mapping[str, Target], targets: Mapping[str, Target]
) -> Iterator[InputError]:
    where = f"target {name}"
    if name not in model_targets or to.target not in targets:
        known = (
            (model_targets, "the model", name) if name not in model_targets else (targets, "the data set", to.target)
        )
        fault = f"expected a target of {known[1]} ({', '.join(known[0]) or 'none'}), got {known[2]}"
        yield InputError("unknown-target", where, fault, "name one that is there")
        return
    source, target = model_targets[name], targets[to.target]
    unknown = [label for label in to.classes if label not in source.classes]
    unknown += [label for label in to.classes.values() if label not in (*target.classes, NOWHERE)]
    absent = [label for label in source.classes if label not in to.classes]
    found = [label for label in to.classes.values() if label != NOWHERE]
    if unknown:
        yield InputError("unknown-class", where, f"expected classes of both targets, got {', '.join(unknown)}", REMEDY)
    if absent:
        fault = f"expected a class of the data set for each of the model, got none of {', '.join(absent)}"
        yield InputError("missing-mapping", where, fault, f'map them, to "{NOWHERE}" where there is none')
    if source.type == "multilabel" and target.type != "multilabel":
        fault = f"expected a multilabel target for a multilabel one, got {target.type}: several classes may be present"
        yield InputError("ambiguous-mapping", where, fault, "leave this target out")
    if source.type == "multilabel" and len(set(found)) < len(found):
        fault = "expected another class for each class of a multilabel target, got one twice: their joint probability "
        yield InputError("ambiguous-mapping", where, fault + "is unknown", f'map one of them to "{NOWHERE}"')
    if target.type != "multilabel" and NOWHERE in to.classes.values():
        fault = f'expected a class for each class, got "{NOWHERE}": its probability would be lost'
        yield InputError("ambiguous-mapping", where, fault, "map it to a class, or leave the target out")
    needed = set(target.classes) if target.type == "binary" else set()
    if len(set(found)) < 2 or needed - set(found):
        fault = f"expected two classes of {to.target} or more (both of a binary one), got {', '.join(found) or 'none'}"
        yield InputError("too-few-classes", where, fault, "map more, or leave the target out")


def _shared_target_faults(mapping: ClassMapping) -> Iterator[InputError]:
    homes: dict[str, str] = {}
    for name, to in mapping.targets.items():
        if to.target in homes:
            fault = f"expected one target of the model for {to.target}, got {homes[to.target]} and {name}"
            yield InputError("ambiguous-mapping", f"target {name}", fault, "leave one of them out (as JSON)")
        homes[to.target] = name
