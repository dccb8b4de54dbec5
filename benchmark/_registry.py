"""What Inspect discovers by name: the tasks `narrowbench/recover` and `narrowbench/judge_check`, solvers, scorers."""

from ..graders.rubric import hypothesis_grade
from ..graders.word_judge import token_relevance_judged
from .diagnostics import steering_similarity, token_relevance
from .investigators.reader import reader
from .judge_check import hand_in, judge_check, judge_report, judge_report_by_family, judged
from .task import detect, load_evidence, recover, recovery

__all__ = ["detect", "hand_in", "hypothesis_grade", "judge_check", "judge_report", "judge_report_by_family", "judged",
           "load_evidence", "reader", "recover", "recovery", "steering_similarity", "token_relevance",
           "token_relevance_judged"]
