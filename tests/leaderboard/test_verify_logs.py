"""verify, a record against its logs: leaks, logs that are none, and the votes of judges."""

from pathlib import Path
from tempfile import mkdtemp

import pytest
from inspect_ai import eval
from inspect_ai.event import ModelEvent
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser, GenerateConfig, ModelConfig,
    ModelOutput, ModelUsage, get_model)
from inspect_ai.tool import ToolInfo, ToolParam, ToolParams
from verified import SUITE, plain, reasons

from narrowbench.benchmark.grade_task import grade
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.archive import read, write
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.publish import publish
from narrowbench.leaderboard.verify import verify


def leaks_of(honest, folder: Path, change) -> str:
    """The reasons against a record that was made from the log after a change of its first sample."""
    log = read_eval_log(str(next(iter(find_logs(honest[2]).values()))))
    change(log.samples[0])
    path = Path(mkdtemp(dir=folder)) / "leak.eval"
    write_eval_log(log, str(path))
    written, _ = write(*collect(path), folder / "records")
    return reasons(written, find_logs(path.parent))


def test_a_log_that_tells_the_answer_is_found_and_what_an_organism_says_is_not(honest, place, tmp_path):
    statement = next(row.statement for row in honest[1] if len(row.statement.split()) >= 9)

    def leaking(message) -> str:
        return leaks_of(honest, tmp_path, lambda sample: sample.messages.append(message))

    assert "was told" in leaking(ChatMessageUser(content=f"Hint: {statement}"))
    assert "gives the objective away" in leaking(ChatMessageUser(content="loaded /store/cake-450/adapter"))
    assert "a tool" in leaking(ChatMessageTool(content="B is cake-450-twin"))
    assert leaking(ChatMessageTool(content=f"B says: {statement}")) == ""


def test_what_a_model_was_sent_besides_its_messages_is_searched(honest, place, tmp_path):
    statement = next(row.statement for row in honest[1] if len(row.statement.split()) >= 9)
    long = "Reads words. " * 12

    def leaking(*messages, answer="I see.", **tool) -> str:
        schema = {"name": "read", "description": f"{long}Costs nothing.", "parameters": ToolParams(
            properties={"n": ToolParam(type="integer", description="How many.")})} | tool
        call = ModelEvent(model="openai/x", input=[*messages, ChatMessageUser(content="Go on.")], tool_choice="auto",
                          tools=[ToolInfo(**schema)], config=GenerateConfig(),
                          output=ModelOutput.from_content("openai/x", answer))
        return leaks_of(honest, tmp_path, lambda sample: sample.events.append(call))

    said = ChatMessageAssistant(content=f"{long}{statement}")
    assert leaking() == "" and leaking(said, answer=said.text) == "", "its own words are its own"
    for found in (leaking(description=f"{long}{statement}"), leaking(name="cake-450-twin"), leaking(said),
                  leaking(ChatMessageSystem(content=f"{long}{statement}")),
                  leaking(parameters=ToolParams(properties={"n": ToolParam(type="string", description=statement)})),
                  leaking(parameters=ToolParams(properties={"n": ToolParam(type="string", enum=["a", "cake-450"])}))):
        assert "it was told" in found and "gives the objective away" in found
    assert "a tool" in leaking(ChatMessageTool(content=f"{long} B is cake-450-twin"))
    assert leaking(ChatMessageTool(content=f"{long}B says: {statement}")) == ""


def test_logs_that_are_missing_changed_or_scripted_are_refused(honest, place, tmp_path):
    path = place(*plain(honest))
    assert "no log with sha256" in reasons(path, find_logs(tmp_path))
    log = read_eval_log(str(next(iter(find_logs(honest[2]).values()))))
    log.eval.model = "mockllm/model"
    (tmp_path / "mock").mkdir()
    write_eval_log(log, str(tmp_path / "mock" / "mock.eval"))
    logs = find_logs(tmp_path / "mock")
    record, rows = plain(honest)
    record["log"]["sha256"] = next(iter(logs))
    assert "scripted model" in reasons(place(record, rows), logs)


@pytest.fixture(scope="module")
def judged(honest, tmp_path_factory):
    """(log of the run, log of its grades): graded by a scripted judge, which the log is then made not to tell."""
    [run], folder = find_logs(honest[2]).values(), tmp_path_factory.mktemp("grades")

    def vote(messages, *_):
        output = ModelOutput.from_content("mockllm/model", "GRADE: 4")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    [log] = eval(grade(str(run), "hypothesis_grade", SUITE), model=None, display="none", log_dir=str(folder),
                 model_roles={"grader": get_model("mockllm/model", custom_outputs=vote)}, log_format="eval")
    return run, Path(log.location)


def unscripted(path: Path, folder: Path) -> Path:
    """A copy of a log of grades that names another judge."""
    log = read_eval_log(str(path))
    log.eval.model_roles = {"grader": ModelConfig(model="openai/x")}
    log.stats.model_usage = {}
    for sample in log.samples:
        sample.model_usage = {}
        for event in sample.events:
            if event.event == "model":
                event.model = "openai/x"
        if sample.scores["hypothesis_grade"].metadata:
            sample.scores["hypothesis_grade"].metadata["judges"] = ["openai/x"]
    copy_path = folder / "grades.eval"
    write_eval_log(log, str(copy_path))
    return copy_path


def test_judges_votes_go_into_the_record_and_scripted_judges_do_not(judged, honest, place, tmp_path):
    run, grades = judged
    refused = publish([run, grades], tmp_path / "scripted", tmp_path / "site")
    assert not refused.written and "mockllm" in refused.skipped[0][1]
    grades = unscripted(grades, tmp_path)
    alone = publish([grades, tmp_path / "none.eval"], tmp_path / "alone", tmp_path / "site")
    assert "not among those given" in alone.skipped[-1][1]
    [path] = publish([run, grades], tmp_path / "graded", tmp_path / "site").written
    record, rows = read(path)
    assert record.panel.judges == ("openai/x",) and set(record.panel.rubrics) == {"sdf", "em", "taboo", "subliminal"}
    assert all((row.votes is None) == (row.role == "null") and row.grade in (None, 4.0) for row in rows)
    logs = find_logs(run.parent) | {record.panel.log.sha256: grades}
    assert reasons(path) == "" and verify(path, logs).reasons == ()
    for change, declared in ((lambda raw: raw["panel"]["rubrics"].update(sdf="0" * 64), False),
                             (lambda raw: raw["panel"].update(judges=["openai/x", "openai/y"]), False),
                             (lambda raw: raw["panel"].update(judges=["openai/y"]), True),
                             (lambda raw: raw["panel"]["log"].update(eval_id="x"), True)):
        raw = record.model_dump(mode="json")
        change(raw)
        forged = place(raw, [row.model_dump(mode="json") for row in rows])
        assert (verify(forged).code == 0) is declared and verify(forged, logs).code == 1
