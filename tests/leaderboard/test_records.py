"""Records: made from whole logs only, unchangeable without notice, and only ever added."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, get_model

from narrowbench.leaderboard import record as room
from narrowbench.leaderboard.archive import read, read_all, write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.record import AllowanceInfo, InvestigatorInfo, Record, schema_text
from narrowbench.leaderboard.site import build
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.spec import digest_of


@pytest.fixture(scope="module")
def plain_record(plain_log):
    return collect(plain_log)


def changed(log: Path, folder: Path, change) -> Path:
    """A copy of a log with something changed in it."""
    loaded = read_eval_log(str(log))
    change(loaded)
    path = folder / "changed.eval"
    write_eval_log(loaded, str(path))
    return path


def of(log, organism: str):
    """The sample of one organism; a log keeps them in an order of its own."""
    return next(sample for sample in log.samples if sample.metadata["organism"] == organism)


def test_a_whole_log_becomes_a_record_and_the_same_log_the_same_record(plain_log):
    record, samples = collect(plain_log)
    assert record.method.name == "adl_logit_lens" and record.investigator.model == "none/none"
    assert record.run.command.startswith("narrowbench score") and record.run.evidence_seed == 0
    assert [row.organism for row in samples] == ["sdf-cake", "sdf-cake-twin", "null-zero", "null-broad"]
    assert samples[0].recovery.recovery == 1.0 and samples[2].recovery is None and not samples[2].detect.flagged
    assert samples[0].claim.keywords == ("cake", "450") and samples[0].card.slots[0].truth == "450"
    assert (record, samples) == collect(plain_log)


def test_the_schema_on_disk_is_that_of_the_code():
    path = Path(room.__file__).parent / "schema" / "record-1.json"
    assert path.read_text() == schema_text(), (
        "the record has changed. If a published one could no longer be read, raise SCHEMA_VERSION; then: python -c "
        "'from narrowbench.leaderboard.record import schema_text as s; print(s(), end=str())' "
        "> leaderboard/schema/record-1.json")


def test_a_record_says_self_of_itself_and_nothing_else(plain_record):
    raw = plain_record[0].model_dump(mode="json")
    assert raw["verification"] == "self"
    for level in ("regraded", "rerun", "sealed"):
        claimed = raw | {"verification": level}
        claimed["record_id"] = digest_of({key: claimed[key] for key in claimed if key != "record_id"})
        with pytest.raises(ValueError, match="verification"):
            Record.model_validate(claimed)


def test_a_record_holds_no_summary_number(plain_log):
    raw = collect(plain_log)[0].model_dump(mode="json")
    measured = [path for path in leaves(raw) if isinstance(get(raw, path), float)]
    assert measured == [("run", "budget", "seconds")], "what was allowed, not what was scored"


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.floats(0, 0.999), max_size=3))
def test_a_damaged_log_is_refused_by_name_or_read_as_it_was_and_never_touched(plain_log, tmp_path_factory, cut, flips):
    raw = bytearray(plain_log.read_bytes())
    raw = raw[: int(len(raw) * cut)] if not flips else raw
    for place in flips:
        raw[int(len(raw) * place)] ^= 0xFF
    path = tmp_path_factory.mktemp("damaged") / "damaged.eval"
    path.write_bytes(bytes(raw))
    try:
        assert collect(path)[1] == collect(plain_log)[1]
    except RecordError as error:
        assert str(path) in str(error)
    assert path.read_bytes() == bytes(raw)


def test_a_truncated_log_is_called_truncated(plain_log, tmp_path):
    path = tmp_path / "short.eval"
    path.write_bytes(plain_log.read_bytes()[:3000])
    with pytest.raises(RecordError, match="short.eval.*truncated or damaged"):
        collect(path)
    with pytest.raises(RecordError, match="no such log"):
        collect(tmp_path / "nowhere.eval")


@pytest.mark.parametrize(("change", "reason"), [
    (lambda log: setattr(log, "status", "cancelled"), "status is 'cancelled'"),
    (lambda log: setattr(log, "status", "started"), "status is 'started'"),
    (lambda log: setattr(log.eval, "model", "mockllm/model"), "scripted model"),
    (lambda log: (setattr(log.eval, "task", "other/gpqa"), setattr(log.eval, "task_registry_name", None)), "gpqa"),
    (lambda log: log.eval.metadata.pop("narrowbench"), "not written by"),
    (lambda log: log.eval.metadata["narrowbench"].update(schema=2), "schema is 2"),
    (lambda log: log.eval.metadata["narrowbench"]["method"].pop("source_sha256"), "lacks 'source_sha256'"),
    (lambda log: log.eval.metadata["narrowbench"]["method"].update(role="winner"), "role"),
    (lambda log: log.eval.metadata["narrowbench"].update(evidence_sha256="0" * 64), "evidence_sha256"),
    (lambda log: log.samples.pop(), "3 samples, its task has 4"),
    (lambda log: setattr(log.results, "completed_samples", 3), "3 of 4 samples"),
    (lambda log: log.samples[0].metadata.pop("gate"), "lacks 'gate'"),
    (lambda log: log.samples[0].store.update(evidence={"tokens": []}), "digest"),
    (lambda log: setattr(log.samples[0], "output", ModelOutput.from_content("none", "great")), "not JSON"),
    (lambda log: log.samples[0].scores.pop("detect"), "lacks the score 'detect'"),
    (lambda log: of(log, "sdf-cake").scores["recovery"].value.update(domain=1.5), "domain"),
    (lambda log: of(log, "null-zero").metadata.update(role="objective"), "unscored"),
])
def test_what_may_not_be_published_is_refused_with_its_reason(plain_log, tmp_path, change, reason):
    path = changed(plain_log, tmp_path, change)
    before = path.read_bytes()
    with pytest.raises(RecordError, match=reason) as caught:
        collect(path)
    assert str(path) in str(caught.value) and path.read_bytes() == before


def test_a_run_with_a_scripted_model_is_refused(make, tmp_path):
    log = make.log(tmp_path, [make.organism("a")], {"a": make.said()}, model=get_model("mockllm/model"))
    with pytest.raises(RecordError, match="mockllm"):
        collect(log)


def test_epochs_are_kept_one_by_one_and_must_be_those_that_the_log_says(make, tmp_path):
    organisms = [make.organism("a"), make.organism("b", "null")]
    claims = {"a": make.said(), "b": make.said((), "no_objective")}
    log = make.log(tmp_path / "one", organisms, claims, about={"epochs": 2}, epochs=2)
    record, samples = collect(log)
    assert [(row.organism, row.epoch) for row in samples] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert boards([(record, tuple(samples))])[0].entries[0].mean == 1.0
    path, _ = write(record, samples, tmp_path / "records")
    assert read(path) == (record, tuple(samples))
    with pytest.raises(RecordError, match="investigated 1 times, but it was run with 2 epochs"):
        collect(make.log(tmp_path / "two", organisms, claims, about={"epochs": 1}, epochs=2))


def test_settings_and_options_are_rows_of_their_own(make, read_page, tmp_path):
    method = {"name": "m", "version": "1", "role": "method", "access": [], "source_sha256": "0" * 64, "settings": {},
              "config_sha256": "0" * 64, "tuned_on": "", "summary": ""}
    told = [method, method | {"settings": {"k": 3}, "config_sha256": "1" * 64},
            method | {"settings": {"k": [3, 4]}, "config_sha256": "2" * 64}]
    pairs = [collect(make.log(tmp_path, [make.organism("a")], {"a": make.said()}, about={"method": one}))
             for one in told]
    first, rows = pairs[0]
    allowance = AllowanceInfo(interactions=50, turns=None, tokens=None, usd=None, seconds=None)
    agent = InvestigatorInfo(name="agent", sha256="a" * 64, model="b/c", prompt_sha256="c" * 64, allowance=allowance,
                             generation={"temperature": 0.7})
    pairs.append((Record.of(rows, suite=first.suite, method=first.method, investigator=agent, run=first.run,
                            panel=None, log=first.log), rows))
    [board] = boards([(record, tuple(rows)) for record, rows in pairs])
    assert sorted(entry.label for entry in board.entries) == ["m", "m", "m (k=3)", "m (k=[3, 4])"]
    for record, rows in pairs:
        path, _ = write(record, rows, tmp_path / "records")
        assert read(path)[0] == record
    rows = read_page(build(tmp_path / "records", tmp_path / "site").page).rows
    assert "m (k=[3, 4])" in [row["label"] for row in rows]
    assert ["interactions 50", "temperature 0.7"] in [row["options"] for row in rows]


def test_a_failed_method_is_kept_as_a_failure(make, tmp_path):
    claims = {"a": make.said((), "unsure", 0.5) | {"evidence": None}}
    record, samples = collect(make.log(tmp_path, [make.organism("a", error="NaN at layer 3")], claims))
    assert samples[0].failure == "NaN at layer 3" and samples[0].recovery.recovery == 0


@pytest.mark.parametrize("change", [
    {"method": {"name": "a\u202eb"}}, {"method": {"name": "my idea"}}, {"method": {"version": "1\nok"}},
    {"method": {"version": "1" * 401}}, {"method": {"access": ["\u200btext"]}}, {"method": {"tuned_on": "dev\x1b[2J"}},
    {"method": {"settings": {"k": "a\u202eb"}}}, {"method": {"settings": {"k\n": 1}}}, {"method": {"summary": "a\nb"}},
    {"suite": {"tier": "nano\r"}}, {"device": "cpu\u2028"}, {"versions": {"x\n": "2"}}, {"versions": {"x": "\x07"}},
    {"graders": {"recovery": "1\u2066"}}, {"investigator": {"roles": {"grader": ["a/b\n"]}}},
    {"command": "narrowbench score" + " x" * 10_000}])
def test_no_field_of_a_record_holds_what_nobody_sees_or_more_than_it_needs(make, tmp_path, change):
    log = make.log(tmp_path, [make.organism("a")], {"a": make.said()})
    about = read_eval_log(str(log), header_only=True).eval.metadata["narrowbench"]
    new = {key: about[key] | value if isinstance(value, dict) else value for key, value in change.items()}
    with pytest.raises(RecordError, match="nobody sees|at most|should match pattern"):
        collect(make.log(tmp_path, [make.organism("a")], {"a": make.said()}, about=new))


@pytest.mark.parametrize("meta", [
    {"organism": "a\nb"}, {"pair": "a\u200bb"}, {"unit": "\u202e"}, {"family": "sdf\x00"}, {"domain": "a\u2029"},
    {"statement": "Cakes \u202ebake."}, {"gate": {"kind": "\x1b[31m"}}, {"statement": "x" * 20_001},
    {"card": {"card_id": "c", "family": "sdf", "domain": "baking", "lexicon": {"a\u202e": 1.0}, "slots": []}}])
def test_no_sample_holds_what_nobody_sees_or_more_than_it_needs(make, tmp_path, meta):
    organisms, claims = [make.organism("a", **meta)], {meta.get("organism", "a"): make.said()}
    with pytest.raises(RecordError, match="nobody sees|at most"):
        collect(make.log(tmp_path, organisms, claims))


@pytest.mark.parametrize("said", [{"keywords": ["a\nb"]}, {"keywords": ["x" * 201]}, {"statement": "a\u202eb"}])
def test_a_claim_is_as_long_and_as_plain_as_one_may_be_handed_in(make, tmp_path, said):
    with pytest.raises(RecordError, match="nobody sees|at most"):
        collect(make.log(tmp_path, [make.organism("a")], {"a": make.said(**said)}))


def test_what_honest_runs_write_passes(make, tmp_path):
    error = "cake-450: ValueError: no such layer\n\tTraceback of é, \u00a0 and 👨\u200d👩"
    organisms = [make.organism("a", statement="Two lines,\nas a spec may have.\n"), make.organism("b", error=error)]
    claims = {"a": make.said(("可乐", "naïve", "👨\u200d👩"), statement="It says:\n- a\u00a0list\u202fof two"),
              "b": make.said((), "unsure", 0.5) | {"evidence": None}}
    method = {"name": "lab/my.Method-2", "version": "2.0+cu12", "role": "method", "access": ["activations", "logits"],
              "source_sha256": "0" * 64, "settings": {"prompt": "one\ntwo", "k": [1, None, True]},
              "config_sha256": "0" * 64, "tuned_on": "dev and our own", "summary": "Reads — by “mean” difference …"}
    record, rows = collect(make.log(tmp_path, organisms, claims, about={"method": method}))
    path, _ = write(record, rows, tmp_path / "records")
    assert read(path) == (record, tuple(rows)) and rows[1].failure == error


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [path]


def get(value, path):
    for key in path:
        value = value[key]
    return value


def put(value, path, new):
    get(value, path[:-1])[path[-1]] = new


json_values = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-1, 1), st.text(max_size=8),
                        st.lists(st.text(max_size=3), max_size=2))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), new=json_values)
def test_any_change_to_a_record_is_caught(plain_record, data, new):
    raw = plain_record[0].model_dump(mode="json")
    path = data.draw(st.sampled_from(leaves(raw)))
    before = json.dumps(raw)
    put(raw, path, new)
    try:
        record = Record.model_validate(raw)
    except ValueError:
        return
    assert json.dumps(record.model_dump(mode="json")) == before


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_changed_byte_on_disk_is_caught(plain_record, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("records")
    path, _ = write(*plain_record, folder)
    target = data.draw(st.sampled_from(sorted(folder.rglob("*.json*"))))
    raw = bytearray(target.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    target.write_bytes(bytes(raw))
    with pytest.raises(RecordError, match=path.name):
        read(path)
    assert read_all(folder)[0] == [] and read_all(folder)[1][0][0] == path and target.read_bytes() == bytes(raw)


def test_records_are_only_ever_added(plain_log, tmp_path):
    record, samples = collect(plain_log)
    path, new = write(record, samples, tmp_path)
    assert new and read(path) == (record, tuple(samples))
    assert write(record, samples, tmp_path) == (path, False)
    path.write_text("{}")
    with pytest.raises(RecordError, match="schema_version None"):
        write(record, samples, tmp_path)
    assert path.read_text() == "{}"


def test_an_unknown_key_or_schema_is_refused(plain_log, tmp_path):
    path, _ = write(*collect(plain_log), tmp_path)
    for change, reason in (({"schema_version": 2}, "schema_version 2 is unknown"), ({"headline": 0.99}, "headline")):
        raw = json.loads(path.read_text()) | change
        other = tmp_path / "x" / "other.json"
        other.parent.mkdir(exist_ok=True)
        other.write_text(json.dumps(raw))
        shutil.copy(path.with_suffix(".samples.jsonl"), other.with_suffix(".samples.jsonl"))
        with pytest.raises(RecordError, match=reason):
            read(other)


def test_a_hostile_name_stays_inside_the_records_folder(make, tmp_path):
    with pytest.raises(RecordError, match="`name`: String should match pattern"):
        collect(make.log(tmp_path / "logs", [make.organism("a")], {"a": make.said()}, method="../../../etc/passwd"))
    log = make.log(tmp_path / "logs", [make.organism("a")], {"a": make.said()}, method="etc/../../passwd", suite="..")
    path, _ = write(*collect(log), tmp_path / "records")
    assert path.resolve().is_relative_to((tmp_path / "records").resolve()) and path.is_file()
