"""Logs that somebody made up: each is skipped by name and with a reason, and the others go on."""

import math
import zipfile
from pathlib import Path

import pytest
from inspect_ai.log import EvalError, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score
from verified import plain, reasons

from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.grades import GRADER, GRADES
from narrowbench.leaderboard.publish import publish
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.store import sha256_file


def about(log) -> dict:
    return log.eval.metadata["narrowbench"]


def scored(log) -> Score:
    return next(sample for sample in log.samples if sample.metadata["role"] != "null").scores["recovery"]


CHANGES = {
    "list": lambda log: log.eval.metadata.update(narrowbench=["x"]),
    "number": lambda log: log.eval.metadata.update(narrowbench=5),
    "method": lambda log: about(log).update(method=[1]),
    "settings": lambda log: about(log)["method"].update(settings=5),
    "deep-settings": lambda log: about(log)["method"].update(settings={"k": {"a\u202eb": 1}}),
    "investigator": lambda log: about(log).update(investigator="reader"),
    "roles": lambda log: about(log)["investigator"].update(roles=3),
    "epochs": lambda log: about(log).update(epochs="x"),
    "error": lambda log: setattr(log.samples[0], "error", EvalError(message="", traceback="", traceback_ansi="")),
    "target": lambda log: setattr(log.samples[0], "target", []),
    "nan": lambda log: log.samples[0].store.update(evidence={"stats": {"x": math.nan}}),
    "evidence": lambda log: log.samples[0].store.update(evidence=[1]),
    "stats": lambda log: log.samples[0].store.update(evidence={"stats": "x"}),
    "ranking": lambda log: scored(log).metadata.update(domain_ranking=5),
    "slots": lambda log: scored(log).metadata.update(slots=[1]),
    "claim": lambda log: setattr(log.samples[0], "output", ModelOutput.from_content("none", "[" * 100_000)),
    "keywords": lambda log: setattr(log.samples[0], "output", ModelOutput.from_content(
        "none", '{"verdict": [], "confidence": 1, "statement": 2, "keywords": [3]}')),
    "cost": lambda log: log.samples[0].metadata.update(cost=[]),
    "card": lambda log: log.samples[0].metadata.update(card="x"),
    "limit": lambda log: setattr(log.eval.config, "limit", 4),
    "sample-id": lambda log: setattr(log.eval.config, "sample_id", ["o-1"]),
}


def changed(source: Path, path: Path, change) -> Path:
    log = read_eval_log(str(source))
    change(log)
    write_eval_log(log, str(path))
    return path


def test_every_log_that_holds_something_else_is_skipped_by_name_and_the_others_go_on(plain_log, tmp_path):
    hostile = [changed(plain_log, tmp_path / f"{name}.eval", change) for name, change in CHANGES.items()]
    result = publish([*hostile, plain_log], tmp_path / "records", tmp_path / "site")
    assert len(result.written) == 1 and result.page.is_file()
    assert [path for path, _ in result.skipped] == hostile
    assert all(f"{path}: not published: " in reason for path, reason in result.skipped)
    told = {path.stem: reason for path, reason in result.skipped}
    assert "only some of its suite's organisms" in told["limit"] and "only some" in told["sample-id"]


@pytest.mark.parametrize("change", ["list", "nan", "claim", "ranking"])
def test_a_record_with_such_a_log_is_refused(honest, place, tmp_path, change):
    log = changed(next(iter(find_logs(honest[2]).values())), tmp_path / "x.eval", CHANGES[change])
    record, rows = plain(honest)
    record["log"]["sha256"] = sha256_file(log)
    assert "x.eval: not published" in reasons(place(record, rows), find_logs(tmp_path))


@pytest.mark.parametrize("grades", [{"graders": 5}, {"graders": [GRADER], "source_sha256": []}, [GRADER], "x",
                                    {"graders": [GRADER]}])
def test_a_log_of_grades_that_is_none_is_skipped_too(plain_log, tmp_path, grades):
    def change(log):
        log.eval.metadata[GRADES] = grades if grades != {"graders": [GRADER]} else grades | {
            "source_sha256": sha256_file(plain_log)}
        for sample in log.samples:
            sample.scores[GRADER] = Score(value=1, metadata={"rubric": [], "rubric_sha256": 1, "votes": 5})

    path = changed(plain_log, tmp_path / "grades.eval", change)
    result = publish([path], tmp_path / "records", tmp_path / "site")
    assert result.written or "not published" in result.skipped[0][1]
    result = publish([path, plain_log], tmp_path / "both", tmp_path / "site")
    assert result.written or "grades.eval: not published" in result.skipped[0][1]


def test_a_log_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    huge, many = tmp_path / "huge.eval", tmp_path / "many.eval"
    for path in (huge, many):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.json", "{}")
            if path == huge:
                archive.filelist[0].file_size = 3 * 10**9
            else:
                archive.filelist *= 100_001
    for path, reason in ((huge, "3,000,000,000 bytes"), (many, "100,001 files")):
        with pytest.raises(RecordError, match=reason):
            collect(path)
        assert reason in publish([path], tmp_path / "records", tmp_path / "site").skipped[0][1]


def test_a_link_that_leads_nowhere_is_no_log(honest, tmp_path):
    (tmp_path / "gone.eval").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.eval").mkdir()
    assert find_logs(tmp_path) == {}
