"""The map over many items, in one process and in several."""

from __future__ import annotations

import os

import pytest

from nnunet_multitask.engines.local import available_cores, map_in_order


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("expected another number than 3")
    return number


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_results_come_in_order(num_workers: int, count: int) -> None:
    results = map_in_order(square, range(count), num_workers=num_workers, description="square", progress=False)
    assert list(results) == [number * number for number in range(count)]


def test_one_worker_works_here_and_several_elsewhere() -> None:
    here = set(map_in_order(process_id, range(4), num_workers=1, description="here", progress=False))
    elsewhere = set(map_in_order(process_id, range(8), num_workers=2, description="there", progress=False))
    assert here == {os.getpid()}
    assert os.getpid() not in elsewhere


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_arrives(num_workers: int) -> None:
    results = map_in_order(refuse_three, range(6), num_workers=num_workers, description="refuse", progress=False)
    with pytest.raises(ValueError, match="another number than 3"):
        list(results)


def test_progress_bar_names_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(map_in_order(square, [1, 2], num_workers=1, description="square", unit="number")) == [1, 4]
    assert "square: 100%" in capsys.readouterr().err


def test_there_is_a_core() -> None:
    assert available_cores() >= 1
