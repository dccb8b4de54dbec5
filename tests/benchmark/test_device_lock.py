"""Work on a device: one piece at a time, off the event loop, and a cancelled caller leaves nothing hanging."""

import threading
import time

import anyio
import pytest
from narrowbench.benchmark.device_lock import Stopped, on_device


def test_eight_callers_take_turns_while_the_event_loop_goes_on():
    spans, entered, answered = [], threading.Event(), threading.Event()

    def work(stop):
        begun = time.monotonic()
        entered.set()
        answered.wait()  # for ever, if work held up the event loop
        time.sleep(0.01)
        spans.append((begun, time.monotonic(), threading.get_ident()))

    async def answer():
        while not entered.is_set():
            await anyio.sleep(0.001)
        answered.set()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            for _ in range(8):
                group.start_soon(on_device, "test-turns", work)

    anyio.run(main)
    assert len(spans) == 8 and all(ident != threading.get_ident() for _, _, ident in spans)
    for (_, left, _), (begun, _, _) in zip(sorted(spans), sorted(spans)[1:]):
        assert begun >= left


def test_a_cancelled_caller_goes_at_once_and_the_next_one_waits_for_what_it_left_behind():
    order, release = [], threading.Event()

    def stubborn(stop):
        stop.wait()
        release.wait()
        order.append("stopped work left")
        raise Stopped

    async def main():
        with anyio.move_on_after(0.05) as scope:
            await on_device("test-cancel", stubborn)
        assert scope.cancelled_caught
        order.append("caller went")
        async with anyio.create_task_group() as group:
            group.start_soon(on_device, "test-cancel", lambda stop: order.append("next entered"))
            await anyio.sleep(0.05)
            order.append("released")
            release.set()

    anyio.run(main)
    assert order == ["caller went", "released", "stopped work left", "next entered"]


def test_a_caller_that_is_cancelled_in_the_queue_never_enters_and_frees_its_place():
    entered, go = [], threading.Event()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(on_device, "test-queue", lambda stop: go.wait())
            await anyio.sleep(0.02)
            with anyio.move_on_after(0.02):
                await on_device("test-queue", lambda stop: entered.append("cancelled"))
            go.set()
            await on_device("test-queue", lambda stop: entered.append("last"))

    anyio.run(main)
    assert entered == ["last"]


def test_work_that_fails_tells_its_caller_and_frees_the_device():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await on_device("test-fail", lambda stop: 1 / 0)
        return await on_device("test-fail", lambda stop: 7)

    assert anyio.run(main) == 7
