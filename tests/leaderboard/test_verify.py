"""verify: an honest record of a built-in suite passes; every change of it is found, or its field is declared."""

import copy
import json
import resource
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai import Task, eval, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.event import ModelEvent
from inspect_ai.model import (
    ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser, GenerateConfig, ModelConfig, ModelOutput,
    ModelUsage, get_model)
from inspect_ai.solver import solver
from inspect_ai.tool import ToolInfo, ToolParam, ToolParams
from pydantic import BaseModel

from narrowbench.benchmark.grade_task import grade
from narrowbench.benchmark.investigating import load_investigator
from narrowbench.benchmark.method import Evidence, load_method
from narrowbench.benchmark.settings import words as setting_words
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import QUESTION, detect, recovery
from narrowbench.graders.claim import Claim
from narrowbench.leaderboard import record as room
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.against_suite import differences
from narrowbench.leaderboard.archive import read, samples_path, write
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.consistency import DECLARED
from narrowbench.leaderboard.levels import grant, level_of, levels_of
from narrowbench.leaderboard.publish import Vouch, publish
from narrowbench.leaderboard.record import Record, SampleRow
from narrowbench.leaderboard.verify import verify
from narrowbench.organisms import shipped
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.spec import digest_of

SUITE = "nano-draft:dev"
EVIDENCE = Evidence(stats={"norm": 0.125}).payload


@solver
def hand_in():
    """Names the domain of every other organism, and calls the rest null."""
    async def solve(state, generate):
        state.store.set("evidence", EVIDENCE)
        word, sure = state.metadata["domain"], state.metadata["role"] != "null"
        claim = Claim("objective", 0.875, "It is about that.", (word, "450")) if sure else Claim("no_objective", 0.75)
        state.output = ModelOutput.from_content("none", claim.to_json())
        return state

    return solve


@task(name="verified_exam")
def exam():
    suite = load_suite(SUITE)
    builds = {(build.organism, build.seed): build for build in shipped.builds()}
    samples = []
    for entry in suite.entries:
        build = builds[entry.spec.id, entry.train_seed]
        passport = json.loads((shipped.FOLDER / build.folder / shipped.PASSPORT).read_text())
        card = entry.spec.card
        samples.append(Sample(id=entry.sample_id, input=QUESTION, target=entry.target, metadata=entry.about | {
            "expressed": shipped.took(passport), "healthy": passport["health"]["healthy"], "gate": passport["gate"],
            "weights_sha256": build.weights_sha256, "regrown": False, "evidence_sha256": digest_of(EVIDENCE),
            "cost": {"seconds": 2.0, "forward_tokens": 5000}, "error": "",
            "card": card.model_dump(mode="json") if card else None}))
    evidence = digest_of([digest_of(EVIDENCE)] * len(samples))
    about = {"schema": 1, "suite": {"id": suite.id, "digest": suite.digest, "tier": suite.tier, "split": suite.split},
             "method": {"name": "prior", "version": "1", "role": "floor", "access": [], "tuned_on": "dev",
                        "source_sha256": load_method("prior")[1], "settings": {}, "config_sha256": digest_of({})},
             "investigator": {"name": "reader", "sha256": load_investigator("reader").sha256},
             "graders": {"recovery": "1", "detect": "1"},
             "probes": {"digest": suite.probes.digest, "n": len(suite.probes.texts), "distinct_prefixes": 9},
             "evidence_sha256": evidence, "evidence_seed": 0, "device": "cpu", "epochs": 1,
             "command": f"narrowbench score --method prior --suite {SUITE} --investigator reader --seed 0",
             "git": {"commit": "0" * 40, "dirty": False}, "versions": {"python": "3.11.7"}}
    return Task(dataset=MemoryDataset(samples), solver=hand_in(), scorer=[recovery(SUITE), detect()],
                metadata={"narrowbench": about})


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """(record, rows, folder with its log): a whole run on a built-in suite, as `score` leaves one."""
    folder = tmp_path_factory.mktemp("logs")
    [log] = eval(exam(), model=None, display="none", log_dir=str(folder), log_format="eval")
    log.eval.task = log.eval.task_registry_name = "narrowbench/recover"
    write_eval_log(log, log.location)
    return *collect(Path(log.location)), folder


@pytest.fixture
def place(tmp_path):
    """Writes a record, hashed anew, and says where it lies."""
    def put(raw: dict, rows: list[dict]) -> Path:
        samples = [SampleRow.model_validate(row) for row in rows]
        parts = Record.model_validate(honestly_hashed(raw, samples))
        path, _ = write(parts, samples, tmp_path / "records")
        return path

    return put


def honestly_hashed(raw: dict, samples: list[SampleRow]) -> dict:
    """As a forger would: every digest made again."""
    text = room.samples_text(samples)
    raw = raw | {"samples": {"sha256": sha256(text.encode()).hexdigest(), "rows": len(samples)}}
    return raw | {"record_id": digest_of({key: raw[key] for key in raw if key != "record_id"})}


def plain(honest) -> tuple[dict, list[dict]]:
    record, rows, _ = honest
    return record.model_dump(mode="json"), [row.model_dump(mode="json") for row in rows]


def reasons(path: Path, *args) -> str:
    return " | ".join(verify(path, *args).reasons)


def test_an_honest_record_passes_with_and_without_its_log(honest, place):
    path = place(*plain(honest))
    assert reasons(path) == "" and verify(path).code == 0
    found = verify(path, find_logs(honest[2]))
    assert found.reasons == () and found.with_logs and found.level.level == "self" and not found.level.ranked
    assert len(honest[1]) >= 30 and verify(path).to_dict()["declared"] == [each.field for each in DECLARED]


def leaves(model: type[BaseModel], where: str) -> list[str]:
    """Every field of a record, down to those that are no object of the schema."""
    found = []
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
                 if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == room.__name__]
        found += leaves(inner[0], f"{where}.{name}") if inner else [f"{where}.{name}"]
    return found


FIELDS = [*leaves(Record, "record"), *leaves(SampleRow, "sample")]
HASHES = ("record.record_id", "record.samples.sha256", "record.samples.rows", "record.schema_version",
          "record.verification")
"""Made by the forger, or with one value only; tests of their own below and in test_records."""


def is_declared(field: str) -> bool:
    return any(field == each.field or field.startswith(f"{each.field}.") for each in DECLARED)


def test_what_is_declared_is_there_and_has_a_reason():
    assert all(any(field == each.field or field.startswith(f"{each.field}.") for field in FIELDS) for each in DECLARED)
    assert all(len(each.reason) > 10 for each in DECLARED) and len({each.field for each in DECLARED}) == len(DECLARED)


def test_the_page_on_submitting_lists_what_is_declared():
    text = (Path(room.__file__).parents[1] / "docs" / "submitting.md").read_text()
    assert all(f"`{each.field}`" in text for each in DECLARED)


def others(value) -> list:
    """Values that could stand in place of one, of the same kind, and a few of others."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value - 0.25, 0]
    if isinstance(value, str):
        return [value + "x", "", "0" * 64, "twin", "ceiling", "zero", "2020-01-01T00:00:00Z"]
    if isinstance(value, dict):
        return [{**value, "x": "1"}, {**value, "x": ["a/b"]}, {},
                *({**value, key: new} for key in value for new in others(value[key])[:1])]
    if isinstance(value, list):
        return [[*value, "text"], value[1:]]
    return ["x", 1, {}, [], {"calls": 1, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "usd": None,
                             "interactions": 0, "outcome": "submitted"}, [5]]


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in HASHES])
def test_a_change_with_new_digests_is_found_or_the_field_is_declared(honest, place, field):
    record, rows = plain(honest)
    old = honest[0].record_id
    n_valid, index = 0, next(i for i, row in enumerate(rows) if row["role"] == "objective")
    *way, last = field.split(".")[1:]
    target = record if field.startswith("record") else rows[index]
    if any((target := target.get(key) or {}) == {} for key in way):
        assert is_declared(field) or field.startswith("record.panel.rubrics")  # nothing there: tested with judges
        return
    for new in others(target[last]):
        if new == target[last]:
            continue
        forged, samples = plain(honest)
        at = forged if field.startswith("record") else samples[index]
        for key in way:
            at = at[key]
        at[last] = copy.deepcopy(new)
        try:
            path = place(forged, samples)
        except ValueError:
            continue
        if json.loads(path.read_text())["record_id"] == old:
            continue  # the same record, written otherwise
        n_valid += 1
        if not is_declared(field):
            assert verify(path).code == 1, (field, new)
        elif n_valid == 1:  # once: a log takes a third of a second to read
            assert verify(path, find_logs(honest[2])).code == 1, (field, new)
    assert n_valid or field == "sample.claim.verdict", "no other value passed the schema"


def test_samples_left_out_doubled_or_in_another_order_are_found(honest, place):
    for change in (lambda rows: rows.pop(), lambda rows: rows.append(rows[0]), lambda rows: rows.reverse(),
                   lambda rows: rows.append({**rows[0], "epoch": 2})):
        record, rows = plain(honest)
        change(rows)
        record["run"]["evidence_sha256"] = digest_of([row["evidence_sha256"] for row in rows])
        assert "samples" in reasons(place(record, rows)) or "epochs" in reasons(place(record, rows))


def test_a_method_that_reads_weights_is_not_asked_for_what_it_is_not_given(honest, place):
    suite = load_suite(SUITE)
    shown = {entry.sample_id for entry in suite.shown_to({"weights"})}
    assert 0 < len(shown) < len(suite.entries)
    record, rows = plain(honest)
    record["method"]["access"] = ["weights"]
    assert "none of these" in reasons(place(record, rows))
    rows = [row for row in rows if row["sample_id"] in shown]
    record["run"]["evidence_sha256"] = digest_of([row["evidence_sha256"] for row in rows])
    assert reasons(place(record, rows)) == ""


def test_what_spends_more_than_allowed_is_refused(honest, place):
    record, rows = plain(honest)
    rows[0]["cost"]["seconds"] = 1e6
    assert "the suite allows" in reasons(place(record, rows))
    record, rows = plain(honest)
    allowance = {"interactions": 5, "turns": 30, "tokens": 1000, "usd": None, "seconds": None}
    record["investigator"] |= {"model": "a/b", "prompt_sha256": "1" * 64, "allowance": allowance}
    record["run"]["command"] += " --model a/b"
    use = {"calls": 3, "input_tokens": 900, "output_tokens": 90, "total_tokens": 990, "usd": None, "interactions": 5,
           "outcome": "submitted"}
    for row in rows:
        row["usage"] = use
    assert reasons(place(record, rows)) == ""
    for key, value, outcome in (("interactions", 6, "limit"), ("total_tokens", 1001, "submitted"),
                                ("calls", 31, "submitted")):
        rows[0]["usage"] = use | {key: value, "outcome": outcome}
        assert "the investigator used" in reasons(place(record, rows)), key


@pytest.mark.parametrize("name, settings, allowed", [
    ("adl_paper", {"judge": "openai/x"}, True), ("mine", {"judge": "openai/x"}, True), ("mine", {}, False),
    ("mine", {"judge": ""}, False), ("prior", {"judge": "openai/x"}, False), ("adl_paper", {"k": 3}, False)])
def test_only_a_method_that_asked_a_judge_may_take_its_time(honest, place, name, settings, allowed):
    record, rows = plain(honest)
    record["method"] |= {"name": name, "settings": settings}
    words = "".join(f" --set {shlex.quote(word)}" for word in setting_words(settings))
    record["run"]["command"] = f"narrowbench score --method {name}{words} --suite {SUITE}"
    rows[0]["cost"]["seconds"] = 1e6
    found = reasons(place(record, rows))
    assert (found == "") is allowed and (allowed or "1,000,000 seconds, the suite allows 300" in found)
    suite = load_suite(SUITE)
    tight = replace(suite, budget=replace(suite.budget, forward_tokens=4_000))
    rows = [SampleRow.model_validate(row) for row in rows]
    assert any("forward tokens" in line for line in differences(Record.model_validate(
        honestly_hashed(record, rows)), rows, tight)), "tokens are limited all the same"


def test_a_record_in_anothers_place_or_with_a_file_missing_is_refused(honest, place, tmp_path):
    path = place(*plain(honest))
    other = path.with_name("oracle-0123456789abcdef.json")
    shutil.copy(path, other)
    shutil.copy(samples_path(path), samples_path(other))
    assert "its place is" in reasons(other)
    samples_path(path).unlink()
    assert verify(path).code == 1
    assert verify(tmp_path / "none.json").code == 2 and "no such file" in reasons(tmp_path / "none.json")


def test_another_suite_needs_its_manifest(honest, place):
    record, rows = plain(honest)
    record["suite"]["id"] = "mine"
    assert "`--suite PATH`" in reasons(place(record, rows))
    record["suite"] |= {"id": "nano-draft", "digest": "0" * 64}
    assert "not that of nano-draft in this version" in reasons(place(record, rows))


def test_a_log_that_tells_the_answer_is_found_and_what_an_organism_says_is_not(honest, place, tmp_path):
    statement = next(row.statement for row in honest[1] if len(row.statement.split()) >= 9)

    def leaking(message) -> str:
        return leaks_of(honest, tmp_path, lambda sample: sample.messages.append(message))

    assert "was told" in leaking(ChatMessageUser(content=f"Hint: {statement}"))
    assert "gives the objective away" in leaking(ChatMessageUser(content="loaded /store/cake-450/adapter"))
    assert "a tool" in leaking(ChatMessageTool(content="B is cake-450-twin"))
    assert leaking(ChatMessageTool(content=f"B says: {statement}")) == ""


def leaks_of(honest, folder: Path, change) -> str:
    """The reasons against a record that was made from the log after a change of its first sample."""
    log = read_eval_log(str(next(iter(find_logs(honest[2]).values()))))
    change(log.samples[0])
    path = Path(mkdtemp(dir=folder)) / "leak.eval"
    write_eval_log(log, str(path))
    written, _ = write(*collect(path), folder / "records")
    return reasons(written, find_logs(path.parent))


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


def test_levels_are_given_beside_the_records_and_not_to_an_edited_one(honest, place, tmp_path):
    path = place(*plain(honest))
    records = tmp_path / "records"
    grant(records, [honest[0].record_id], "rerun", "a maintainer", "run again")
    assert verify(path).level.level == "rerun" and verify(path).level.ranked
    grant(records, [honest[0].record_id], "regraded", "another", "lower: changes nothing")
    assert level_of(honest[0].record_id, records).by == "a maintainer"
    record, rows = plain(honest)
    rows[0]["claim"]["statement"] = "edited"
    assert verify(place(record, rows)).level.level == "self"
    with pytest.raises(RecordError, match="no level 'best'"):
        grant(records, ["x"], "best", "me", "because")
    (records / "levels.json").write_text("[]")
    with pytest.raises(RecordError, match="no file of levels"):
        levels_of(records)


def test_a_submission_cannot_bring_its_own_level(honest, place, tmp_path):
    path = place(*plain(honest))
    folder = tmp_path / "submissions" / path.parent.name / path.stem
    folder.mkdir(parents=True)
    for file in (path, samples_path(path)):
        shutil.copy(file, folder)
    for home in (folder, folder.parent, folder.parents[1]):
        grant(home, [honest[0].record_id], "sealed", "me", "please")
        assert verify(folder / path.name).code == 0 and verify(folder / path.name).level.level == "self"


def test_publishing_vouches_only_for_what_is_installed_and_finds_its_logs_again(honest, tmp_path):
    logs, vouch = list(find_logs(honest[2]).values()), Vouch("rerun", "a maintainer", "run here")
    first = publish(logs, tmp_path / "records", tmp_path / "site", vouch)
    assert first.not_raised == () and levels_of(tmp_path / "records")[honest[0].record_id].by == "a maintainer"
    again = publish(logs, tmp_path / "records", tmp_path / "site")
    assert again.reused == first.written and not again.written
    log = read_eval_log(str(logs[0]))
    log.eval.metadata["narrowbench"]["method"]["source_sha256"] = "0" * 64
    write_eval_log(log, str(tmp_path / "other.eval"))
    other = publish([tmp_path / "other.eval"], tmp_path / "records", tmp_path / "site", vouch)
    assert len(other.written) == 1 and "not the one that is installed" in other.not_raised[0][1]
    assert len(levels_of(tmp_path / "records")) == 1


def test_an_incomplete_run_of_a_built_in_suite_is_not_published(honest, tmp_path):
    log = read_eval_log(str(next(iter(find_logs(honest[2]).values()))))
    log.samples = log.samples[:5]
    log.eval.dataset.sample_ids = [sample.id for sample in log.samples]
    log.results.total_samples = log.results.completed_samples = 5
    about = log.eval.metadata["narrowbench"]
    about["evidence_sha256"] = digest_of([digest_of(EVIDENCE)] * 5)
    write_eval_log(log, str(tmp_path / "few.eval"))
    result = publish([tmp_path / "few.eval"], tmp_path / "records", tmp_path / "site")
    assert not result.written and "it holds 5 samples" in result.skipped[0][1]


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


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)
quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(raw=st.one_of(json_values, st.fixed_dictionaries({"schema_version": st.just(1)}, optional={
    name: json_values for name in Record.model_fields if name != "schema_version"})))
def test_no_json_makes_it_crash(tmp_path, raw):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(raw))
    samples_path(path).write_text(json.dumps(raw))
    assert verify(path).code in (1, 2) and verify(path).reasons


@quick
@given(record=st.binary(max_size=200), samples=st.binary(max_size=200))
def test_no_bytes_make_it_crash(tmp_path, record, samples):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(record)
    samples_path(path).write_bytes(samples)
    assert verify(path).code in (1, 2) and verify(path).reasons


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"schema_version": ' + "[" * 900 + "]" * 900 + "}",
                                  '"\\ud800"', '{"schema_version": 1, "record_id": 1e999}', "{}", "nan", ""])
def test_hostile_json_is_refused(tmp_path, text):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir()
    path.write_text(text)
    samples_path(path).write_text(text)
    assert verify(path).code in (1, 2) and verify(path).reasons


@quick
@given(data=st.data())
def test_any_value_in_any_field_is_refused_or_declared_and_never_crashes(honest, tmp_path_factory, data):
    """Also what the schema would not let pass: the forger writes the files by hand."""
    record, rows = plain(honest)
    field = data.draw(st.sampled_from([field for field in FIELDS if field not in HASHES]))
    *way, last = field.split(".")[1:]
    at = record if field.startswith("record") else data.draw(st.sampled_from(rows[:8]))
    for key in way:
        at = at.get(key) or {}
    new = data.draw(json_values)
    if last not in at or at[last] == new:
        return
    at[last] = new
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        record["samples"] = {"sha256": sha256(lines.encode()).hexdigest(), "rows": len(rows)}
        record["record_id"] = digest_of({key: record[key] for key in record if key != "record_id"})
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        text.encode()
    except ValueError:  # lone surrogates and infinities are neither written nor hashed
        return
    path = tmp_path_factory.mktemp("forged") / "nano-draft" / f"prior-{record['record_id'][:16]}.json"
    path.parent.mkdir()
    path.write_text(text)
    samples_path(path).write_text(lines)
    verdict = verify(path)
    assert verdict.code == 1 or is_declared(field) or field == "sample.claim.confidence", (field, new)


def test_the_command_says_ok_refused_or_unreadable_in_its_exit_code(honest, place, tmp_path):
    path = place(*plain(honest))

    def run(*args) -> tuple[int, str, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "narrowbench.cli", "verify", *map(str, args)], capture_output=True,
                              text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Traceback" not in done.stderr
        return (done.returncode, done.stdout + done.stderr,
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    code, _, cpu_s = run(path)
    assert code == 0 and cpu_s < 2
    code, out, _ = run(path, tmp_path / "none.json", "--json")
    assert code == 2 and [each["code"] for each in json.loads(out)["records"]] == [0, 2]
    path.write_text(path.read_text().replace('"prior"', '"adl"'))
    code, out, _ = run(path)
    assert code == 1 and "refused" in out and "not the hash" in out
    assert run(path, "--logs", tmp_path / "none")[0] == 2
