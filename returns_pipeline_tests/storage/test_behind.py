"""What is written behind the caller's back is over when he thinks it is, and fails aloud."""

import sys
import threading

import pytest

from returns_pipeline.storage.behind import behind


def test_everything_is_done_in_order_by_one_other_thread() -> None:
    seen: list[tuple[int, int]] = []
    with behind() as writer:
        for number in range(20):
            writer(lambda one: seen.append((one, threading.get_ident())), number)
    assert [one for one, _ in seen] == list(range(20))
    assert {thread for _, thread in seen} != {threading.get_ident()}
    assert len({thread for _, thread in seen}) == 1


def test_the_next_is_made_ready_while_the_last_is_written() -> None:
    ready = threading.Event()
    with behind() as writer:
        writer(ready.wait, 10)
        ready.set()  # by its caller, who was not made to wait


def test_what_fails_is_raised_before_anything_else_is_done() -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), behind() as writer:  # noqa: PT012
        writer(lambda: 1 // 0)
        writer(done.append, 1)
    assert not done


def test_what_fails_last_is_raised_at_the_end() -> None:
    with pytest.raises(ZeroDivisionError), behind() as writer:
        writer(lambda: 1 // 0)


def test_where_the_caller_fails_what_was_under_way_is_over() -> None:
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        ready.wait(10)
        done.set()

    with pytest.raises(KeyboardInterrupt), behind() as writer:  # noqa: PT012
        writer(work)
        ready.set()
        raise KeyboardInterrupt
    assert done.is_set()


def test_the_interpreter_goes_on_as_it_did_before() -> None:
    before = sys.getswitchinterval()
    with behind():
        assert sys.getswitchinterval() != before
    assert sys.getswitchinterval() == before
