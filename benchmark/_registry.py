"""What Inspect discovers by name: the task `narrowbench/recover`, the investigators, their tools, the scorers."""

from .investigators.agent import agent
from .investigators.blackbox_agent import blackbox_agent
from .investigators.oneshot import oneshot
from .investigators.reader import reader
from .task import detect, load_evidence, recover, recovery
from .tools import (ask_models, generate_steered, logit_lens, patchscope, read_evidence, steering_samples, submit_claim,
                    unsteered_samples)

__all__ = ["agent", "ask_models", "blackbox_agent", "detect", "generate_steered", "load_evidence", "logit_lens",
           "oneshot", "patchscope", "read_evidence", "reader", "recover", "recovery", "steering_samples",
           "submit_claim", "unsteered_samples"]
