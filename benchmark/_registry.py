"""What Inspect discovers by name: the task `narrowbench/recover`, the solver `narrowbench/reader`, the scorers."""

from .investigators.reader import reader
from .task import detect, load_evidence, recover, recovery

__all__ = ["detect", "load_evidence", "reader", "recover", "recovery"]
