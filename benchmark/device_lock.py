"""Torch work from asynchronous code: off the event loop, one piece at a time on a device, and stopped when cancelled.

Main objects: `on_device` (await a function that computes), `Stopped` (what ends one that nobody waits for any more).
Example: `await on_device("cpu", lambda stop: pair.generate("base", prompts))`

Two locks, both taken here and nowhere above, so that none can wait for itself. The asynchronous one makes callers queue
without a thread each, and Inspect takes the time in that queue off their working time. The thread's own one is held as
long as the work really runs: a cancelled caller goes at once, but its work only ends where it next looks at `stop`, and
until then nothing else may touch the device.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from inspect_ai.util import concurrency

Result = TypeVar("Result")
_LOCKS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Stopped(Exception):
    """Ends work whose caller has been cancelled; nobody sees it."""


async def on_device(device: str, work: Callable[[threading.Event], Result]) -> Result:
    """Runs `work` in a thread of its own, with nothing else of ours on the device.

    Args:
        device: As torch names it; one lock for each name.
        work: Gets an event that is set when its caller is cancelled, and should then raise `Stopped` soon.

    Raises:
        Whatever `work` raises.
    """
    stop, lock = threading.Event(), _LOCKS[device]

    def alone() -> Result:
        with lock:
            if stop.is_set():
                raise Stopped
            return work(stop)

    async with concurrency(f"models on {device}", 1, visible=False):
        try:
            return await anyio.to_thread.run_sync(alone, abandon_on_cancel=True)
        finally:
            stop.set()
