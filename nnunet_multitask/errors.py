"""Errors that tell a user what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(Exception):
    """Input that cannot be used: a file, a class table, a model or the environment.

    Args:
        code: short, stable, kebab-case name of the fault, for example ``"unknown-class"``.
        where: the file, variable or place in a file that is at fault.
        fault: what was expected and what came.
        remedy: what the user can do.

    The command line prints it as ``ERROR [code] where: fault -> remedy`` and exits with status 1.
    """

    def __init__(self, code: str, where: str | Path, fault: str, remedy: str) -> None:
        super().__init__(code, str(where), fault, remedy)  # the four arguments, so that it pickles
        self.code = code
        self.where = str(where)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"[{self.code}] {self.where}: {self.fault} -> {self.remedy}"


class InputErrors(Exception):
    """Several faults found in one go, so that a user can mend them all at once."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


@contextmanager
def collecting(errors: list[InputError]) -> Iterator[None]:
    """Run the block up to its first fault, and note its faults instead of raising them.

    Args:
        errors: gets what the block raises as InputError or InputErrors; stays as it is where it raises neither.
    """
    try:
        yield
    except InputErrors as several:
        errors.extend(several.errors)
    except InputError as error:
        errors.append(error)
