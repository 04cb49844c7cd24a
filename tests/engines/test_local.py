"""The map over many items, in one process and in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nnunet_multitask.engines.local import available_cores, map_in_order
from nnunet_multitask.errors import InputError


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("expected another number than 3")
    return number


def end_at_once(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def answer_to_ctrl_c(_: int) -> bool:
    os.kill(os.getpid(), signal.SIGINT)
    return True


def name_yourself_and_sleep(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


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


def test_killed_worker_is_an_error_of_one_line() -> None:
    results = map_in_order(end_at_once, range(3), num_workers=2, description="convert", progress=False)
    with pytest.raises(InputError, match=r"\[worker-killed\] convert: .*want of memory -> use fewer workers"):
        list(results)


def test_workers_leave_ctrl_c_to_the_parent() -> None:
    results = map_in_order(answer_to_ctrl_c, range(2), num_workers=2, description="interrupt", progress=False)
    assert list(results) == [True, True]


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_local import map_in_order, name_yourself_and_sleep\n"
        "if __name__ == '__main__':\n"
        "    list(map_in_order(name_yourself_and_sleep, [Path(sys.argv[1])] * 2, num_workers=2, description='x'))\n"
    )
    names = tmp_path / "names"
    names.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(names)], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: len(list(names.iterdir())) == 2, 60)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.name) for path in names.iterdir()]
    assert wait_until(lambda: not any(map(is_running, workers)), 20)


@pytest.mark.parametrize("moment", ["start", "work"])
def test_ctrl_c_ends_all_at_once_and_only_the_parent_speaks(tmp_path: Path, moment: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "names = Path(sys.argv[1])\n"
        "if __name__ != '__main__' and sys.argv[2] == 'start':\n"
        "    (names / str(os.getpid())).touch()\n"
        "    time.sleep(3)\n"
        "from test_local import map_in_order, name_yourself_and_sleep\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        options = {'num_workers': 2, 'description': 'x', 'progress': False}\n"
        "        list(map_in_order(name_yourself_and_sleep, [names] * 2, **options))\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', file=sys.stderr)\n"
    )
    names = tmp_path / "names"
    names.mkdir()
    command = [sys.executable, str(script), str(names), moment]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert wait_until(lambda: len(list(names.iterdir())) == 2, 60)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        _, err = parent.communicate(timeout=40)  # the work would take 60 seconds
    finally:
        parent.kill()
    assert err == "interrupted\n"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_log_is_not_flooded(capsys: pytest.CaptureFixture[str]) -> None:
    list(map_in_order(time.sleep, [0.03] * 20, num_workers=1, description="sleep"))
    text = capsys.readouterr().err
    assert "20/20" in text
    assert text.count("\r") <= 2  # where the bar begins and ends
