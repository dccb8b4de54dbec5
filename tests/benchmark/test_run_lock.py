"""Of two processes only one runs the same inputs in the same folder, and a killed one leaves nothing locked."""

import os
import subprocess
import sys

import pytest
from narrowbench.benchmark.run_lock import alone
from narrowbench.organisms.errors import InvestigationError

HOLD = """
import sys
from pathlib import Path
from narrowbench.benchmark.run_lock import alone
with alone(Path(sys.argv[1]), "a" * 64, "narrowbench score"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of inputs `aaa...`."""
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], env=dict(os.environ), text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def try_to(folder, inputs: str) -> None:
    with alone(folder, inputs, "narrowbench score -m prior"):
        pass


def test_a_second_process_is_told_and_a_killed_one_lets_go(other, tmp_path):
    with pytest.raises(InvestigationError, match="under way.*`narrowbench score -m prior` takes over"):
        try_to(tmp_path, "a" * 64)
    try_to(tmp_path, "b" * 64)
    (tmp_path / "elsewhere").mkdir()
    try_to(tmp_path / "elsewhere", "a" * 64)
    other.kill()
    other.wait()
    try_to(tmp_path, "a" * 64)


def test_the_lock_is_let_go_after_an_error_and_holds_within_one_process(tmp_path):
    with pytest.raises(ZeroDivisionError), alone(tmp_path, "a" * 64, ""):
        with pytest.raises(InvestigationError, match="under way"):
            try_to(tmp_path, "a" * 64)
        1 / 0
    try_to(tmp_path, "a" * 64)
