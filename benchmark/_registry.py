"""What Inspect discovers by name: the tasks `narrowbench/recover` and `narrowbench/judge_check`, the investigators with
their tools, the scorers."""

from ..graders.rubric import hypothesis_grade
from ..graders.word_judge import token_relevance_judged
from .diagnostics import steering_similarity, token_relevance
from .grade_task import grade, hand_in_again
from .investigators.agent import agent
from .investigators.blackbox_agent import blackbox_agent
from .investigators.oneshot import oneshot
from .investigators.reader import reader
from .judge_check import hand_in, judge_check, judge_report, judge_report_by_family, judged
from .task import detect, load_evidence, recover, recovery
from .tools import (ask_models, generate_steered, logit_lens, patchscope, read_evidence, steering_samples, submit_claim,
                    unsteered_samples)

__all__ = ["agent", "ask_models", "blackbox_agent", "detect", "generate_steered", "grade", "hand_in", "hand_in_again",
           "hypothesis_grade", "judge_check", "judge_report", "judge_report_by_family", "judged", "load_evidence",
           "logit_lens", "oneshot", "patchscope", "read_evidence", "reader", "recover", "recovery", "steering_samples",
           "steering_similarity", "submit_claim", "token_relevance", "token_relevance_judged", "unsteered_samples"]
