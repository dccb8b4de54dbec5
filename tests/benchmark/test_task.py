"""The Inspect task: opaque samples, verified evidence, marks that a reader of the log can rely on."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from narrowbench.benchmark.checkout import checkout
from narrowbench.benchmark.collecting import settings_of
from narrowbench.benchmark.evidence import survey
from narrowbench.benchmark.method import load_method, methods
from narrowbench.benchmark.run import score
from narrowbench.benchmark.settings import summary_of, tuned_on
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import recover
from narrowbench.organisms.errors import DamagedArtefactError, InvestigationError, NotFoundError
from narrowbench.organisms.spec import digest_of


@pytest.fixture(scope="module")
def scored(tiny_suite, tiny_store, tmp_path_factory):
    """`scored(method)`: the whole log of a method on the tiny suite."""
    from narrowbench.benchmark.logs import read_whole

    logs = tmp_path_factory.mktemp("logs")
    return lambda method: read_whole(score(method, str(tiny_suite), store=tiny_store, log_dir=logs, progress=False).log)


@pytest.fixture
def at_home(tiny_store, monkeypatch):
    monkeypatch.setenv("NARROWBENCH_HOME", str(tiny_store.root))


def test_the_oracle_recovers_everything_and_calls_the_null_a_null(scored):
    log = scored("oracle")
    by_role = {sample.metadata["role"]: sample for sample in log.samples}
    for role in ("objective", "twin"):
        marks = by_role[role].scores["recovery"].value
        assert min(marks[part] for part in ("recovery", "domain", "objective", "content")) >= 0.95
        assert by_role[role].scores["detect"].value["flagged"] == 1.0
    assert by_role["null"].scores["detect"].value["flagged"] == 0.0
    assert by_role["null"].scores["recovery"].reason == "null"
    [mean] = [one.metrics["mean"].value for one in log.results.scores if one.name == "recovery"]
    assert mean >= 0.95, "the null is no part of the mean"


def test_the_prior_claims_nothing(scored):
    for sample in scored("prior").samples:
        assert json.loads(sample.output.completion)["verdict"] != "objective"
        if sample.metadata["role"] != "null":
            assert sample.scores["recovery"].value["recovery"] == 0.0


def test_the_log_says_what_was_measured_and_hides_what_the_investigator_must_not_see(scored, tiny_suite):
    log = scored("oracle")
    about = log.eval.metadata["narrowbench"]
    assert about["suite"]["digest"] == load_suite(tiny_suite).digest
    assert about["method"] == {"name": "oracle", "version": "1", "role": "ceiling", "access": ["objective"],
                               "source_sha256": load_method("oracle")[1], "settings": {},
                               "config_sha256": digest_of(settings_of(load_method("oracle")[0])), "tuned_on": "dev",
                               "summary": "The slots' truths, then the card's lexicon, in descending weight; detection "
                                          "+10 for objectives, -10 for nulls."}
    assert about["git"] == checkout() and about["device"] == "cpu"
    assert about["epochs"] == 1 and log.eval.config.epochs == 1
    assert {"torch", "transformers", "peft", "trl", "inspect_ai", "python", "narrowbench"} == set(about["versions"])
    assert about["command"].startswith("narrowbench score --method oracle") and log.eval.model == "none/none"
    assert log.eval.task_args["evidence_sha256"] == about["evidence_sha256"]
    for sample in log.samples:
        seen = f"{sample.id} {sample.input}"
        assert not any(leak in seen for leak in ("my-", "cake", "null", "sdf", "baking"))
        assert digest_of(sample.store["evidence"]) == sample.metadata["evidence_sha256"]
        assert sample.target == (sample.metadata["card"]["card_id"] if sample.metadata["card"] else "null")


def test_a_method_says_what_it_was_tuned_on_and_a_checkout_whether_it_was_changed(tmp_path):
    class Mine:
        tuned_on = "my own organisms"

    assert tuned_on(type(load_method("adl")[0])) == "dev"
    assert (tuned_on(Mine), tuned_on(object)) == ("my own organisms", "")
    assert checkout(tmp_path / "no") is None
    for dirty in (False, True):
        root = tmp_path / str(dirty)
        (root / "graders").mkdir(parents=True)
        (root / "graders" / "a.py").write_text("x = 1\n")
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
            subprocess.run(["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
        (root / "notes.txt").write_text("nothing depends on it")
        if dirty:
            (root / "graders" / "new.py").write_text("")
        told = checkout(root)
        assert told["dirty"] is dirty and len(told["commit"]) == 40


def test_what_a_method_is_are_the_first_words_of_its_docstring():
    class Told:
        """It counts words that
        both models say.

        Reads: texts."""

    @dataclass
    class Untold:
        k: int = 3

    Endless = type("Endless", (), {"__doc__": "word " * 500})
    assert summary_of(Told) == "It counts words that both models say."
    assert summary_of(Untold) == "" and 300 < len(summary_of(Endless)) <= 400
    assert all(summary_of(type(load_method(name)[0])) for name in methods())


def test_missing_evidence_names_the_command_that_collects_it(tiny_suite, at_home):
    with pytest.raises(NotFoundError, match=r"no evidence of method 'adl_patchscope' for my-cake.*`narrowbench score "
                                            r"--method adl_patchscope .*--seed 99`"):
        recover(str(tiny_suite), "adl_patchscope", evidence_seed=99)


def test_settings_and_epochs_are_arguments_of_the_task(tiny_suite, tiny_store, at_home, tmp_path):
    settings = {"k": 2, "layer_fraction": [0.5]}
    score("adl_logit_lens", str(tiny_suite), store=tiny_store, log_dir=tmp_path, progress=False, settings=settings)
    task = recover(str(tiny_suite), "adl_logit_lens", "oneshot", settings=settings, epochs=3)
    about = task.metadata["narrowbench"]
    assert about["method"]["settings"] == settings and (about["epochs"], task.epochs) == (3, 3)
    assert ("--method adl_logit_lens --set k=2 --set 'layer_fraction=[0.5]' --suite" in about["command"]
            and about["command"].endswith("--epochs 3"))
    other = recover(str(tiny_suite), "adl_logit_lens", "oneshot", settings=settings)
    assert other.metadata["narrowbench"]["inputs_sha256"] != about["inputs_sha256"]
    with pytest.raises(InvestigationError, match="'reader' asks no language model.*`--epochs 2` would count one"):
        recover(str(tiny_suite), "adl_logit_lens", settings=settings, epochs=2)
    with pytest.raises(NotFoundError, match=r"no evidence .*--set k=1 "):
        recover(str(tiny_suite), "adl_logit_lens", settings={"k": 1})


def test_other_evidence_than_asked_for_is_refused(scored, tiny_suite, at_home):
    scored("oracle")
    with pytest.raises(DamagedArtefactError, match="asked for was 000000"):
        recover(str(tiny_suite), "oracle", evidence_sha256="0" * 64)


def test_evidence_that_changes_between_plan_and_run_is_refused(scored, tiny_suite, tiny_store, at_home, tmp_path):
    scored("oracle")
    task = recover(str(tiny_suite), "oracle")
    cell = survey(load_suite(tiny_suite), *load_method("oracle"), 0, tiny_store).cells[0]
    file = cell.evidence.path / "evidence.json"
    before = file.read_text()
    try:
        file.write_text(before.replace("cake", "lake"))
        [log] = inspect_eval(task, model=None, display="none", log_dir=str(tmp_path))
        assert log.status == "error" and "evidence.json is damaged" in log.error.message
        with pytest.raises(DamagedArtefactError, match="Nothing was deleted"):
            recover(str(tiny_suite), "oracle")
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_inspect_runs_the_task_by_its_registered_name(scored, tiny_suite, tiny_store, tmp_path):
    scored("oracle")
    command = [Path(sys.executable).parent / "inspect", "eval", "narrowbench/recover", "-T", f"suite={tiny_suite}",
               "-T", "method=oracle", "--model", "none", "--display", "none", "--log-dir", tmp_path / "logs"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"NARROWBENCH_HOME": str(tiny_store.root)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    assert log.status == "success" and log.eval.task_registry_name == "narrowbench/recover" and len(log.samples) == 3
