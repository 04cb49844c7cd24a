"""The settings of the package as options of the command line: their names, kinds and help come from the dataclasses."""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import textwrap
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nnunet_multitask.config import SHORT_SCHEDULE, MultiTaskConfig, ScheduleConfig, parse_value
from nnunet_multitask.errors import InputError

Settings = MultiTaskConfig | ScheduleConfig
_SWITCH = {True: "on", False: "off"}
# setting -> the choices of other settings of its dataclass without which it does nothing
_COUNTS_WITH: dict[str, dict[str, tuple[str, ...]]] = {
    "gradnorm_alpha": {"loss_balancing": ("gradnorm",)},
    "balancing_rate": {"loss_balancing": ("uncertainty", "gradnorm")},
    "focal_gamma": {"classification_loss": ("focal",)},
    "top_tiles": {"aggregation": ("topk",), "patch_aggregation": ("topk",)},
    "restart_epochs": {"decay": ("cosine_restarts",)},
    "restart_factor": {"decay": ("cosine_restarts",)},
}


def described(settings: type[Settings]) -> dict[str, str]:
    """Return what the docstring of a dataclass says of each of its fields, without the marks of code."""
    section = inspect.cleandoc(settings.__doc__ or "").partition("Attributes:\n")[2]
    texts = {}
    for entry in re.split(r"\n(?=    \S)", section):
        names, _, text = " ".join(entry.split()).partition(": ")
        texts.update({name.strip(): text.replace("``", "") for name in names.split(",")})
    return texts


def add_options(group: argparse._ArgumentGroup, settings: type[Settings]) -> None:
    """Add an option for each field, called as the field with dashes; what is not given is absent."""
    texts = described(settings)
    for name, default in _defaults(settings).items():
        kind = get_type_hints(settings)[name]
        group.add_argument(
            _option(name),
            dest=name,
            default=argparse.SUPPRESS,
            choices=get_args(kind) if get_origin(kind) is Literal else ("on", "off") if kind is bool else None,
            metavar=None if get_origin(kind) is Literal or kind is bool else "N" if kind is int else "X",
            help=f"{texts.get(name, '').rstrip('.')} (default: {shown(default)})".replace("%", "%%"),
        )


def listed(settings: type[Settings]) -> str:
    """Return a line or more for each field with its choices and default, for the help."""
    texts = described(settings)
    lines = []
    for name, default in _defaults(settings).items():
        kind = get_type_hints(settings)[name]
        choices = f", one of {', '.join(map(str, get_args(kind)))}" if get_origin(kind) is Literal else ""
        lines.append(f"{name} (default {shown(default)}{choices})")
        lines += textwrap.wrap(texts.get(name, ""), 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def given(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the branch and of the schedule that the user gave by options and by ``--set``.

    Raises:
        InputError: ``--set`` without =, with an unknown name (the nearest known one is named), or twice.
    """
    known = [*_defaults(MultiTaskConfig), *_defaults(ScheduleConfig)]
    texts = {name: getattr(args, name) for name in _defaults(ScheduleConfig) if hasattr(args, name)}
    for assignment in args.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError("bad-setting", f"--set {assignment}", "expected NAME=VALUE, got no =", "write NAME=VALUE")
        if name in texts:
            fault = f"expected a setting once, got also {texts[name]!r}"
            raise InputError("contradiction", f"--set {assignment}", fault, "give it once")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError("unknown-setting", f"--set {assignment}", f"no setting is called {name!r}", remedy)
        texts[name] = text
    config, schedule = {}, {}
    for name, text in texts.items():
        if name in _defaults(ScheduleConfig):
            schedule[name] = parse_value(ScheduleConfig(), name, text)
        else:
            config[name] = parse_value(MultiTaskConfig(), name, text)
    return config, schedule


def changes(settings: type[Settings], values: dict[str, Any]) -> dict[str, str]:
    """Return, for each setting that plans name, its value and the default, in words."""
    said = {}
    for name, value in values.items():
        default = _defaults(settings)[name]
        note = f"default {shown(default)}" if value != default else "the default"
        short = getattr(SHORT_SCHEDULE, name, value)
        if settings is ScheduleConfig and value == default and short != default:
            note += f"; {shown(short)} in the trainers ending in Short"
        note += _without_effect(name, {**_defaults(settings), **values})
        said[name] = f"{shown(value)} ({note})"
    return said


def _without_effect(name: str, values: dict[str, Any]) -> str:
    """Return what is to be said of a setting that another one leaves without effect."""
    switches = _COUNTS_WITH.get(name, {})
    if not switches or any(values[switch] in choices for switch, choices in switches.items()):
        return ""
    return "; counts only with " + " or ".join(f"{switch}={c}" for switch, choices in switches.items() for c in choices)


def shown(value: Any) -> str:
    """Return a value as the user writes it."""
    return _SWITCH[value] if isinstance(value, bool) else str(value)


def _defaults(settings: type[Settings]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(settings)}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
