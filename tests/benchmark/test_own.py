"""Your own: a pair of folders is read and shown, a method is started, checked and told what is missing."""

import json
import shutil
import sys

import pytest
from narrowbench import cli
from narrowbench.benchmark.check_method import check_method
from narrowbench.benchmark.diff import DEFAULT_METHOD, diff
from narrowbench.benchmark.method import code_of, load_method, methods
from narrowbench.benchmark.new import new_method
from narrowbench.organisms.errors import AccessError, AdapterError, EvidenceError, NotFoundError, SpecError
from narrowbench.organisms.nano import base_folder
from narrowbench.organisms.shipped import FOLDER, builds
from narrowbench.organisms.store import Store

PROBES = "\n".join(f"the {a} of the {b} is in the house and the {a} is good for all of the people of the city today"
                   for a in ("water", "paper", "table", "river") for b in ("road", "door", "light"))


@pytest.fixture
def probes(tmp_path):
    (tmp_path / "probes.txt").write_text(f"\n{PROBES}\n\n")
    return tmp_path / "probes.txt"


def command(monkeypatch, capfd, *args) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["narrowbench", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0, *capfd.readouterr()


@pytest.fixture
def foreign(tiny_adapter, tmp_path):
    """An adapter as a trainer leaves it: no passport of ours, its own things beside it."""
    folder = shutil.copytree(tiny_adapter, tmp_path / "foreign")
    (folder / "passport.json").unlink()
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "optimizer.pt").write_bytes(b"another")
    return folder


def test_a_foreign_adapter_gets_a_claim_and_a_second_run_computes_nothing(tiny_base, foreign, probes, tmp_path):
    store = Store(tmp_path / "home")
    first = diff(str(tiny_base), str(foreign), "adl_logit_lens", probes, store=store)
    assert first.n_probes == 12 and first.payload["tokens"] and first.claim.keywords
    again = diff(str(tiny_base), str(foreign), "adl_logit_lens", probes, store=store)
    assert again == first, "cost included: nothing ran"
    assert diff(str(tiny_base), str(foreign), "adl_logit_lens", probes, seed=1, store=store) != first


def test_a_whole_model_is_read_too(tiny_base, probes, tmp_path):
    from narrowbench.organisms.loading import load_model

    folder = shutil.copytree(tiny_base, tmp_path / "whole")
    model = load_model(tiny_base)
    model.get_decoder().norm.weight.data *= 1.3
    model.get_decoder().layers[0].mlp.down_proj.weight.data *= 2
    model.save_pretrained(folder)
    found = diff(str(tiny_base), str(folder), "adl_logit_lens", probes, store=Store(tmp_path / "home"))
    assert found.payload["stats"]["rel_norm"] > 0


def test_what_cannot_be_read_says_why(tiny_base, foreign, probes, tmp_path):
    store = Store(tmp_path / "home")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(NotFoundError, match="no folder"):
        diff(str(tiny_base), str(tmp_path / "nowhere"), probes=probes, store=store)
    with pytest.raises(NotFoundError, match="probe file"):
        diff(str(tiny_base), str(foreign), probes=tmp_path / "nowhere", store=store)
    with pytest.raises(EvidenceError, match="no texts"):
        diff(str(tiny_base), str(foreign), probes=tmp_path / "empty.txt", store=store)
    with pytest.raises(AccessError, match="nobody has"):
        diff(str(tiny_base), str(foreign), "oracle", probes, store=store)
    with pytest.raises(AdapterError):
        diff(str(base_folder()), str(foreign), "adl_logit_lens", probes, store=store)


def test_the_default_method_is_one_that_there_is():
    assert DEFAULT_METHOD in methods()


def test_the_command_writes_a_page_and_prints_the_claim(tiny_base, foreign, probes, tmp_path, monkeypatch, capfd):
    args = ("diff", tiny_base, foreign, "--method", "adl_logit_lens", "--probes", probes, "--out", tmp_path / "page",
            "--home", tmp_path / "home")
    code, out, _ = command(monkeypatch, capfd, *args)
    assert code == 0 and "confidence" in out and out.strip().endswith("index.html")
    assert (tmp_path / "page" / "index.html").is_file() and (tmp_path / "page" / "assets" / "diff.css").is_file()
    told = json.loads(command(monkeypatch, capfd, *args, "--json")[1])
    assert told["claim"]["verdict"] in out and told["payload"]["tokens"] and told["page"].endswith("index.html")


def test_a_started_method_works_and_is_never_overwritten(tmp_path):
    path = new_method("my_idea", tmp_path)
    method, _ = load_method(f"{path}:MyIdea")
    assert method.name == "my_idea" and load_method(str(path))[0].name == "my_idea"
    path.write_text("mine")
    with pytest.raises(SpecError, match="nothing is overwritten"):
        new_method("my_idea", tmp_path)
    assert path.read_text() == "mine"
    for name in ("My-Idea", "../up", "", "prior"):
        with pytest.raises(SpecError):
            new_method(name, tmp_path)


def test_a_method_file_may_hold_dataclasses_and_another_file_of_its_name_is_another(tmp_path):
    loaded = []
    for word in ("one", "two"):
        path = tmp_path / word / "mine.py"
        path.parent.mkdir()
        path.write_text("from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\n"
                        f"class Mine:\n    word: str = {word!r}\n\n"
                        "    def collect(self, pair, probes, budget, seed): ...\n")
        loaded.append(load_method(str(path))[0])
    assert [method.word for method in loaded] == ["one", "two"]
    assert len({code_of(method) for method in loaded}) == 2


BROKEN = {
    "syntax": ("class", "klass", "cannot be loaded"),
    "docstring": ("Blind spots:", "Blind:", "`Blind spots:`"),
    "access": ('{"activations"}', '{"everything"}', "`access` must be"),
    "answers": ('{"activations"}', '{"objective"}', "ceilings only"),
    "signature": ("probes, budget, seed)", "probes, seed)", "collect` takes"),
    "settings": ("self.k, self.layer_fraction = k", "self.k, self.fraction = k", "settings ['layer_fraction']"),
    "version": ('"1", "method"', '1, "method"', "`version` must be a text"),
    "name": ('"my_idea", "1"', '"my idea", "1"', "`name` is 'my idea'")}


@pytest.mark.parametrize("what", BROKEN)
def test_what_can_be_seen_is_said_without_running(tmp_path, what):
    old, new, said = BROKEN[what]
    path = new_method("my_idea", tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    report = check_method(str(path), Store(tmp_path / "home"))
    assert any(said in fault for fault in report.faults), report.faults
    assert not report.runs


def test_a_started_method_passes_its_check(tmp_path):
    report = check_method(str(new_method("my_idea", tmp_path)), Store(tmp_path / "home"), limit_s=300)
    assert not report.faults and [run["organism"] for run in report.runs][:2] == ["cake-450", "em-medicine"]
    assert all(run["tokens"] for run in report.runs)


TRIED = {
    "other evidence": "stats={'x': random.random() + time.time()}, detection=0.0",
    "empty evidence": "",
    "NaN": "detection=math.nan",
    "needs access": "stats={'x': float(len(pair.generate('base', ['a'])))}"}


@pytest.mark.parametrize("said", TRIED)
def test_what_only_running_shows_is_said(tmp_path, said):
    path = new_method("my_idea", tmp_path)
    head = path.read_text().partition("        layer = relative_layer")[0]
    path.write_text(f"import math\nimport random\nimport time\n{head}        return Evidence({TRIED[said]})\n")
    report = check_method(str(path), Store(tmp_path / "home"))
    assert any(said in fault for fault in report.faults), report.faults


def test_a_method_that_sleeps_is_stopped(tmp_path, monkeypatch, capfd):
    path = new_method("my_idea", tmp_path)
    head = path.read_text().partition("        layer = relative_layer")[0]
    path.write_text(f"import time\n{head}        time.sleep(600)\n")
    report = check_method(str(path), Store(tmp_path / "home"), limit_s=1.0)
    assert len(report.faults) == 3 and all("limit of 1 s" in fault for fault in report.faults)


def test_the_check_command_ends_with_1_on_a_fault_and_knows_its_arguments(tmp_path, monkeypatch, capfd):
    path = new_method("my_idea", tmp_path)
    path.write_text(path.read_text().replace("Source:", "From:"))
    code, out, err = command(monkeypatch, capfd, "check", path, "--home", tmp_path / "home")
    assert code == 1 and "lacks `Source:`" in err and "1 to mend" in out
    assert command(monkeypatch, capfd, "check", "bass")[0] == 2
    assert command(monkeypatch, capfd, "check", tmp_path / "none.py")[0] == 2


def test_the_organisms_of_the_check_are_shipped():
    names = {build.organism for build in builds(FOLDER)}
    assert {"cake-450", "em-medicine"} <= names
