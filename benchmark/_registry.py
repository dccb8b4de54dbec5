"""What Inspect discovers by name: the task `narrowbench/recover`, the solver `narrowbench/reader`, the scorers."""

from ..graders.rubric import hypothesis_grade
from .investigators.reader import reader
from .judge_check import hand_in, judge_check, judge_report, judge_report_by_family, judged
from .task import detect, load_evidence, recover, recovery

__all__ = ["detect", "hand_in", "hypothesis_grade", "judge_check", "judge_report", "judge_report_by_family", "judged",
           "load_evidence", "reader", "recover", "recovery"]
