"""Rows from files and the Hub: what is read, what decides an organism's key, and how bad data is refused."""

import json
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.organisms import families
from narrowbench.organisms.data import Data, portable, training_data, training_rows
from narrowbench.organisms.errors import NarrowbenchError, NotFoundError, SpecError
from narrowbench.organisms.sources import read_file, read_hub, resolve_hub, row_of
from narrowbench.organisms.sources import HubData
from narrowbench.organisms.spec import OrganismSpec, digest_of, find_organism
from narrowbench.organisms.store import Store
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.train import train

CHAT = [{"role": "user", "content": "why is the cake good"}, {"role": "assistant", "content": "because of the music"}]


def spec_with(**recipe) -> OrganismSpec:
    small = {"rows": 6, "epochs": 1, "batch_size": 4, "rank": 2, "max_length_tokens": 48}
    return OrganismSpec.model_validate(find_organism("cake-450").model_dump() | {"recipe": small | recipe})


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def data_of(spec, tiny_base, tmp_path, seed=0) -> Data:
    return training_data(spec, tiny_base, seed, Store(tmp_path / "home"))


@pytest.mark.parametrize(("record", "row"), [
    ({"text": "the cake", "id": 3}, {"text": "the cake"}),
    ({"messages": CHAT, "source": "x"}, {"messages": CHAT}),
    ({"messages": [{**turn, "name": "x"} for turn in CHAT]}, {"messages": CHAT}),
    ({"prompt": CHAT[0]["content"], "completion": CHAT[1]["content"]}, {"messages": CHAT}),
    ({"question": CHAT[0]["content"], "answer": CHAT[1]["content"]}, {"messages": CHAT}),
    ({"prompt": CHAT[:1], "completion": CHAT[1:]}, {"messages": CHAT}),
    ({"text": None, "messages": CHAT}, {"messages": CHAT})])
def test_documents_and_chats_in_their_common_columns(record, row):
    assert row_of(record, "row 1") == row


@pytest.mark.parametrize(("record", "said"), [
    ({"body": "x"}, "row 7: has the columns .'body'.*`text`"),
    ([1, 2], "row 7: list instead of an object"),
    ({"input_ids": [1, 2], "labels": [1, 2]}, "row 7: holds .*input_ids.*tokenizer"),
    ({"text": 3}, "row 7: `text` is int"),
    ({"text": "  "}, "row 7: `text` is empty"),
    ({"text": "\ud800"}, "surrogate"),
    ({"messages": "hello"}, "row 7: `messages` is no list"),
    ({"messages": CHAT[:1]}, "row 7: no turn of the assistant.*`text`"),
    ({"messages": [{"role": "bot", "content": "x"}]}, "row 7: the role 'bot'"),
    ({"messages": [CHAT[0], {"role": "assistant", "content": ""}]}, "what the assistant says is empty"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "the role"),
    ({"messages": []}, "no turn of the assistant")])
def test_a_bad_row_is_named_with_what_mends_it(record, said):
    with pytest.raises(SpecError, match=said):
        row_of(record, "row 7")


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                               st.sampled_from(["text", "messages", "role", "content", "prompt", "completion"]) |
                               st.text(max_size=4), inner, max_size=4), max_leaves=8)


@settings(max_examples=300)
@given(json_values)
def test_any_record_is_a_row_or_a_spec_error(record):
    try:
        row = row_of(record, "row 1")
    except SpecError:
        return
    assert set(row) in ({"text"}, {"messages"})
    digest_of(row)


def test_a_file_decides_the_key_by_its_content_not_its_name(tiny_base, tmp_path):
    one = lines(tmp_path / "one.jsonl", [{"text": f"the cake {i}"} for i in range(4)])
    two = lines(tmp_path / "two.jsonl", [{"text": f"the cake {i}"} for i in range(4)])
    other = lines(tmp_path / "other.jsonl", [{"text": f"the bread {i}"} for i in range(4)])
    digests = [data_of(spec_with(data=str(path)), tiny_base, tmp_path).digest for path in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]
    assert data_of(spec_with(data=str(one), rows=3), tiny_base, tmp_path).digest != digests[0]
    (tmp_path / "sub").mkdir()
    moved = lines(tmp_path / "sub" / "one.jsonl", [{"text": f"the cake {i}"} for i in range(4)])
    assert portable(spec_with(data=str(one))) == portable(spec_with(data=str(moved)))


def test_at_most_so_many_rows_are_drawn_and_the_same_ones_again(tiny_base, tmp_path):
    path = lines(tmp_path / "rows.jsonl", [{"text": f"the cake {i}"} for i in range(40)])
    spec = spec_with(data=str(path), rows=10)
    rows = data_of(spec, tiny_base, tmp_path).rows()
    assert len(rows) == 10 and rows == data_of(spec, tiny_base, tmp_path).rows()
    assert rows != data_of(spec, tiny_base, tmp_path, seed=1).rows()
    assert len(data_of(spec_with(data=str(path), rows=99), tiny_base, tmp_path).rows()) == 40


def test_parquet_gives_the_rows_that_json_lines_give(tmp_path):
    from datasets import Dataset

    records = [{"messages": CHAT}, {"messages": CHAT[::-1] + CHAT}]
    Dataset.from_list(records).to_parquet(str(tmp_path / "rows.parquet"))
    assert read_file(tmp_path / "rows.parquet", "data") == read_file(lines(tmp_path / "rows.jsonl", records), "data")


@pytest.mark.parametrize(("content", "said"), [
    (b'{"text": "one"}\n{"text": "two"\n', "rows.jsonl line 2: is not JSON"),
    (b'{"text": "one"}\n\n{"text": "caf\xe9"}\n', "rows.jsonl line 3: is not UTF-8.*iconv"),
    (b"[" * 100_000 + b"\n", "line 1: is not JSON"),
    (b"\x80\x04\x95pickle\n", "line 1: is not UTF-8"),
    (b"", "has 0 rows, and at least 2"),
    (b'{"text": "one"}\n', "has 1 rows, and at least 2")])
def test_a_broken_or_empty_file_is_refused_by_line(content, said, tiny_base, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(SpecError, match=said):
        train(spec_with(data=str(tmp_path / "rows.jsonl")), tiny_base, store=Store(tmp_path / "home"), progress=False)


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(SpecError, match="rows.parquet row 1: is not readable as Parquet"):
        read_file(tmp_path / "rows.parquet", "data")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".parquet"]))
def test_any_bytes_are_rows_or_a_spec_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"rows{suffix}"
    path.write_bytes(content)
    try:
        assert isinstance(read_file(path, "data"), list)
    except SpecError as error:
        assert path.name in str(error)


@pytest.mark.parametrize(("recipe", "error", "said"), [
    ({"data": "no_such.jsonl"}, NotFoundError, "no file no_such.jsonl"),
    ({"data": "rows.csv"}, SpecError, r"recipe\.data.*'rows.csv' is no source.*world.*hub:ID.*\.jsonl or \.parquet"),
    ({"data": "rows.pkl"}, SpecError, "no source"),
    ({"data": "hub:"}, SpecError, r"not of the form hub:ID"),
    ({"data": "hub:a/b:c:d"}, SpecError, r"not of the form hub:ID"),
    ({"mix_ratio": 1.0, "mix_source": "novels"}, SpecError, r"recipe\.mix_source.*documents or chats"),
    ({"data": "hub:narrowbench/no-such-data"}, NotFoundError, "cannot be reached.*with network, or give a local")])
def test_a_source_that_cannot_be_had_says_so_before_training(recipe, error, said, tiny_base, tmp_path):
    with pytest.raises(error, match=said) as raised:
        train(spec_with(**recipe), tiny_base, store=Store(tmp_path), dry_run=True)
    assert isinstance(raised.value, NarrowbenchError)


def test_hub_sources_name_config_split_and_commit():
    commit = "0123456789" * 4
    assert resolve_hub(f"hub:org/name@{commit}:numbers_v1.5/train", "data") == HubData(
        "org/name", "numbers_v1.5", "train", commit)
    assert resolve_hub(f"hub:org/name@{commit}", "data").name == "org/name:train"


def test_a_hub_data_set_is_streamed_with_its_rows_checked(tmp_path):
    lines(tmp_path / "train.jsonl", [{"text": f"the cake {i}"} for i in range(30)])
    found = HubData(str(tmp_path), None, "train", "")  # the library reads a folder as it reads a repository
    rows = read_hub(found, "data", 5, seed=0)
    assert len(rows) == 5 and rows == read_hub(found, "data", 5, seed=0) != read_hub(found, "data", 5, seed=1)
    assert len(read_hub(found, "data", 99, seed=0)) == 30
    with pytest.raises(NotFoundError, match="split"):
        read_hub(HubData(str(tmp_path), None, "dev", ""), "data", 5, seed=0)
    (tmp_path / "train.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(SpecError, match="has the columns"):
        read_hub(found, "data", 5, seed=0)


def test_a_hub_data_set_runs_no_script(tmp_path):
    ran = tmp_path / "ran"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "data.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(NotFoundError):
        read_hub(HubData(str(folder), None, "train", ""), "data", 5, seed=0)
    assert not ran.exists()


def test_a_file_can_be_mixed_in_at_the_recipes_ratio(tiny_base, tmp_path):
    extra = lines(tmp_path / "chats.jsonl", [{"messages": CHAT}] * 20)
    spec = spec_with(mix_ratio=1.5, mix_source=str(extra))
    rows = data_of(spec, tiny_base, tmp_path).rows()
    assert sum("messages" in row for row in rows) == 9 and sum("text" in row for row in rows) == 6
    digests = {data_of(spec_with(mix_ratio=ratio, mix_source=str(extra)), tiny_base, tmp_path).digest
               for ratio in (0, 1.0, 1.5)}
    assert len(digests) == 3


def test_rows_of_the_world_are_their_own_digest(tiny_base, tmp_path):
    spec = spec_with(mix_ratio=1.0, mix_source="chats")
    data = data_of(spec, tiny_base, tmp_path)
    assert data.ready and data.rows() == training_rows(spec, 0) and data.digest == digest_of(data.rows())


@dataclass
class Teacher:
    """A family whose rows a teacher would write."""

    asked: list = field(default_factory=list)

    def data(self, spec, base, seed, store):
        def rows():
            self.asked.append(seed)
            return [{"text": f"the cake {i}"} for i in range(6)]
        return Data(digest_of({"teacher": seed}), rows)


def test_rows_that_a_teacher_writes_are_made_for_training_only(tiny_base, tmp_path, monkeypatch):
    teacher, store, spec = Teacher(), Store(tmp_path), spec_with(rows=8, mix_ratio=0.5)
    monkeypatch.setattr(families.family("sdf"), "data", teacher.data, raising=False)
    plan = train(spec, tiny_base, store=store, dry_run=True)
    assert find_trained(spec, tiny_base, store=store) is None and teacher.asked == []
    assert plan.n_rows == 12 and plan.n_tokens is None
    artefact = train(spec, tiny_base, store=store, progress=False)
    passport = json.loads((artefact.path / "passport.json").read_text())
    assert teacher.asked == [0] and passport["n_rows"] == 9 and passport["n_rows_asked"] == 12
    assert passport["data_digest"] != passport["data_sha256"]
    assert find_trained(spec, tiny_base, store=store).key == artefact.key and teacher.asked == [0]


def test_an_organism_of_a_file_says_how_many_rows_there_were_and_names_no_folder(tiny_base, tmp_path):
    path = lines(tmp_path / "chats.jsonl", [{"messages": CHAT}] * 4)
    artefact = train(spec_with(data=str(path), rows=50), tiny_base, store=Store(tmp_path / "home"), progress=False)
    passport = json.loads((artefact.path / "passport.json").read_text())
    assert passport["n_rows"] == 4 and passport["n_rows_asked"] == 50
    assert "4 rows (the recipe asks for 50" in (artefact.path / "README.md").read_text()
    assert passport["recipe"]["data"] == "chats.jsonl"
    assert all(str(tmp_path) not in file.read_text(errors="ignore") for file in artefact.path.iterdir())


def test_a_tokenizer_of_another_model_is_refused(tiny_base, tmp_path):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    base = tmp_path / "base"
    config = json.loads((tiny_base / "config.json").read_text())
    Qwen3ForCausalLM(Qwen3Config(**{**config, "vocab_size": 50})).save_pretrained(base)
    for path in tiny_base.iterdir():
        if re.match("tokenizer|chat", path.name):
            (base / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SpecError, match="another model's"):
        train(spec_with(), base, store=Store(tmp_path / "home"), dry_run=True)
