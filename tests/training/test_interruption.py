import os
import signal
import threading

import pytest

from nnunet_multitask.training.interruption import Interruption, Terminated


def send(number):
    os.kill(os.getpid(), number)


def test_sigterm_becomes_an_exit_with_143():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, Interruption():
        send(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_deferred_signal_comes_at_the_end_of_the_block(number, kind):
    done = []

    def work(interruption):
        with interruption.deferred():
            with interruption.deferred():
                send(number)
                done.append("inner")
            done.append("outer")

    with Interruption() as interruption, pytest.raises(kind):
        work(interruption)
    assert done == ["inner", "outer"]


def test_a_second_ctrl_c_does_not_wait():
    with Interruption() as interruption, interruption.deferred():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        interruption._pending = None


def test_sigterm_after_ctrl_c_decides_the_status():
    with Interruption():
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        with pytest.raises(Terminated):
            send(signal.SIGTERM)


class Swallowing:
    def __del__(self):  # Python forgets what is raised here
        send(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_python_swallowed_is_raised_at_the_next_check():
    with Interruption() as interruption:
        thing = Swallowing()
        del thing
        with pytest.raises(Terminated):
            interruption.check()


def test_a_forked_process_ends_by_the_signal():
    with Interruption():
        child = os.fork()
        if child == 0:
            send(signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_another_thread_changes_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, before)
