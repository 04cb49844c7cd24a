"""JSON documents: read strictly, checked against the schemas that ship with the package, written all or nothing."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.storage import atomic_file, read_bytes


def read_json(path: str | Path) -> Any:
    """Read strict JSON: UTF-8, no NaN, no key twice in one object.

    Raises:
        InputError: the file is missing, unreadable or no such JSON; the message gives line and column.
    """
    path = Path(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InputError("bad-json", path, f"expected strict JSON, got: {error}", "correct the file") from error


def write_json(path: str | Path, document: Any) -> None:
    """Write strict JSON (no NaN, indent 2, trailing newline), all or nothing.

    Raises:
        ValueError: the document holds NaN or infinity.
    """
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_schema(document: Any, schema_name: str, where: str | Path) -> None:
    """Check a JSON document against a JSON Schema that ships with the package.

    Args:
        document: the parsed JSON.
        schema_name: file name in ``nnunet_multitask/schemas``.
        where: the file, for messages.

    Raises:
        InputErrors: every place that does not fit.
    """
    import jsonschema

    schema_file = resources.files("nnunet_multitask") / "schemas" / schema_name
    validator = jsonschema.Draft202012Validator(json.loads(schema_file.read_text("utf-8")))
    errors = [_schema_error(error, schema_name, where) for error in validator.iter_errors(document)]
    if errors:
        raise InputErrors(errors)


def _schema_error(error: Any, schema_name: str, where: str | Path) -> InputError:
    place = "/".join(str(part) for part in error.absolute_path)
    fault = error.message if len(error.message) <= 300 else error.message[:300] + " ..."
    remedy = f"follow the schema {schema_name}"
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(error.schema.get("properties", {}))
        near = [
            f"{key!r}: did you mean {match!r}?"
            for key in error.instance
            if key not in known
            for match in difflib.get_close_matches(str(key), known, 1)
        ]
        remedy = " ".join(near) or f"known keys are {', '.join(known)}"
    return InputError("bad-document", f"{where}: {place}" if place else where, fault, remedy)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the constant {name}, which is no JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return result
