"""Presets: a file says what belongs together, each option given wins over it, and what only a person may name is asked
for before anything runs. The whole of it, graders included, over real HTTP."""

import json
import sys

import pytest
from inspect_ai.log import read_eval_log
from loopback import completion
from narrowbench import cli
from narrowbench.benchmark.catalogue import LISTS
from narrowbench.benchmark.handed_in import GRADE_KEY
from narrowbench.benchmark.method import load_method, methods
from narrowbench.benchmark.order import Asked, everything, order_of
from narrowbench.benchmark.preset import load_preset, presets
from narrowbench.benchmark.run import score
from narrowbench.benchmark.settings import build, known_settings
from narrowbench.organisms.errors import EvidenceError, InvestigationError, NotFoundError, SpecError

HELPED = '''
class Helped:
    name, version, access = "helped", "1", frozenset({"none"})

    def __init__(self, judge: str = "", k: int = 1) -> None:
        self.judge, self.k = judge, k

    def collect(self, pair, probes, budget, seed):
        from narrowbench.benchmark.method import Evidence, Token

        return Evidence(tokens=(Token(" " + self.judge.partition("/")[0], 1.0, self.name),), detection=float(self.k))
'''
PRESET = """about: small
method: {method}
settings: {{k: 3}}
investigator: oneshot
allowance: {{tokens: 5000}}
generation: {{temperature: 0.7, max_tokens: 900}}
epochs: 2
graders: [{{grader: hypothesis_grade}}, {{grader: token_relevance}}]
roles:
  grader: {{use: grades}}
  evidence: {{use: helps the method, setting: judge}}
"""
HELPER, JUDGE, MODEL = "helper/x", "openai-api/loopback/judge", "openai-api/loopback/scripted"


@pytest.fixture
def method(tmp_path) -> str:
    (tmp_path / "helped.py").write_text(HELPED)
    return f"{tmp_path / 'helped.py'}:Helped"


@pytest.fixture
def preset(tmp_path, method) -> str:
    """The path of a preset whose method asks for a helper."""
    (tmp_path / "small.yaml").write_text(PRESET.format(method=method))
    return str(tmp_path / "small.yaml")


ROLES = (f"grader={JUDGE}", f"evidence={HELPER}")


@pytest.mark.parametrize("name", presets())
def test_a_shipped_preset_is_one_and_its_method_takes_its_settings(name):
    told = load_preset(name)
    assert told.about and told.source
    kind = type(load_method(told.method)[0])
    helped = {role.setting: HELPER for role in told.roles.values() if role.setting}
    assert set(helped) <= set(known_settings(kind))
    build(kind, told.settings | helped)
    [row] = [row for row in LISTS["presets"]() if row["preset"] == name]
    assert row["method"] == told.method


def test_all_stands_for_the_methods_that_need_no_judge():
    assert set(methods()) - set(everything()) == {"adl_paper"}
    assert list(order_of("", ["all"], {}, Asked(), set()).methods) == everything()


def test_a_method_that_needs_a_judge_ends_before_anything_is_computed(tmp_path, tiny_suite, tiny_store):
    with pytest.raises(EvidenceError, match="--set judge=NAME"):
        score("adl_paper", tiny_suite, store=tiny_store, log_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_the_judge_fails_nobody_investigates(tmp_path, tiny_suite, tiny_store, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EvidenceError, match="could not be read: .*cannot be asked.*collects what is missing"):
        score("adl_paper", tiny_suite, store=tiny_store, log_dir=tmp_path, settings={"judge": "openai/gpt-5-mini"})
    assert not list(tmp_path.glob("*.eval"))


def test_the_papers_numbers_stand_in_its_preset():
    paper = load_preset("paper")
    assert (paper.method, paper.settings, paper.investigator, paper.epochs) == ("adl_paper", {}, "agent", 5)
    assert (paper.allowance["interactions"], paper.allowance["turns"]) == (5, 16)
    assert paper.generation == {"temperature": 0.7, "max_tokens": 10_000}
    assert [one.grader for one in paper.graders] == ["hypothesis_grade", "token_relevance_judged",
                                                     "steering_similarity"]
    assert paper.graders[2].embedder == "sentence-transformers:Qwen/Qwen3-Embedding-0.6B"
    assert {role: need.setting for role, need in paper.roles.items()} == {"grader": "", "evidence": "judge"}


@pytest.mark.parametrize(("text", "reason"), [
    ("[1]", "key `about`: Field required"), ("about: x\nmethod: y\nepoch: 3\n", "key `epoch`: Extra inputs"),
    ("about: x\nmethod: y\nepochs: 0\n", "key `epochs`"), ("about: {", "cannot be read as YAML"),
    ("about: x\nmethod: y\nallowance: {steps: 3}\n", "key `allowance`.*steps"),
    ("about: x\nmethod: y\ngeneration: {heat: 3}\n", "key `generation`.*no option 'heat'"),
    ("about: x\nmethod: y\ngraders: [{grader: recovry}]\n", "there is no grader 'recovry'; there are recovery")])
def test_a_file_that_is_no_preset_is_named_with_key_and_reason(tmp_path, text, reason):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SpecError, match=f"mine.yaml: .*{reason}"):
        load_preset(str(tmp_path / "mine.yaml"))
    with pytest.raises(NotFoundError, match="Did you mean paper.*narrowbench list presets"):
        load_preset("papper")


def test_an_option_that_was_given_wins_over_the_preset_one_by_one(preset, method):
    order = order_of(preset, [], {}, Asked(model=MODEL, roles=ROLES, allowance={"tokens": 200_000}), set())
    who = order.who
    assert order.methods == {method: {"k": 3, "judge": HELPER}} and order.helpers == {"evidence": HELPER}
    assert (who.name, who.epochs, who.allowance.tokens) == ("oneshot", 2, 5_000)
    assert who.config == {"temperature": 0.7, "max_tokens": 900} and who.roles == {}
    assert order.judges.roles == {"grader": (JUDGE,)} and order.everybody.models() == [MODEL, JUDGE]
    asked = Asked(model=MODEL, roles=ROLES, epochs=1, generation={"temperature": 0.0, "max_tokens": None},
                  allowance={"tokens": 7})
    who = order_of(preset, ["adl_logit_lens", method], {"k": 4}, asked, {"epochs", "temperature", "tokens"})
    assert who.methods == {"adl_logit_lens": {"k": 4}, method: {"k": 4, "judge": HELPER}}
    assert (who.who.epochs, who.who.allowance.tokens) == (1, 7)
    assert who.who.config == {"temperature": 0.0, "max_tokens": 900}
    plain = order_of(preset, ["prior"], {}, Asked("reader", roles=ROLES[:1]), {"investigator"})
    assert plain.methods == {"prior": {}} and (plain.who.name, plain.who.epochs, plain.who.config) == ("reader", 1, {})
    assert plain.who.checked() and not plain.helpers, "neither has a use for a helper"


@pytest.mark.parametrize(("roles", "reason"), [
    (ROLES[:1], "preset small needs a model that helps the method, .*`--model-role evidence=PROVIDER/NAME`"),
    (ROLES[1:], "preset small needs a model that grades, .*`--model-role grader=PROVIDER/NAME`"),
    ((*ROLES, ROLES[1]), "the role evidence is one model, without options"),
    ((ROLES[0], "evidence={model: a/b, seed: 1}"), "the role evidence is one model, without options")])
def test_a_model_that_nobody_named_is_asked_for_by_its_option(preset, roles, reason):
    with pytest.raises(InvestigationError, match=reason):
        order_of(preset, [], {}, Asked(model=MODEL, roles=roles), set())


def test_the_helper_may_be_named_as_a_setting_and_something_must_be_scored(preset, method):
    order = order_of(preset, [], {"judge": "other/y"}, Asked(model=MODEL, roles=ROLES[:1]), set())
    assert order.methods[method]["judge"] == "other/y"
    with pytest.raises(SpecError, match="`--method`, or a preset with `--preset`"):
        order_of("", [], {}, Asked(), set())
    with pytest.raises(InvestigationError, match="none was given. Add `--model PROVIDER/NAME`"):
        order_of(preset, [], {}, Asked(roles=ROLES), set()).who.checked()


@pytest.fixture
def run(preset, method, tiny_suite, tiny_store, tmp_path, monkeypatch, capfd):
    """`run("--json")`: exit code, output and errors of a scoring by the preset; its evidence is there already."""
    monkeypatch.setenv("COLUMNS", "300")
    score(method, str(tiny_suite), store=tiny_store, log_dir=tmp_path / "other", progress=False,
          settings={"k": 3, "judge": HELPER})
    capfd.readouterr()

    def go(*more: str):
        roles = [word for role in ROLES for word in ("--model-role", role)]
        monkeypatch.setattr(sys, "argv", [
            "narrowbench", "score", "--preset", preset, "-s", str(tiny_suite), "--home", str(tiny_store.root),
            "--model", MODEL, *roles, "--log-dir", str(tmp_path / "logs"), "--grades-dir", str(tmp_path / "grades"), "-q", *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return (stop.value.code or 0, *capfd.readouterr())

    return go


def test_a_dry_run_prints_the_preset_as_it_was_resolved(run):
    code, out, _ = run("--dry-run", "--epochs", "4")
    assert code == 0 and "epochs: 4" in out and '"temperature": 0.7' in out and '"tokens": 5000' in out
    assert f'"evidence": ["{HELPER}"]' in out and f'"grader": ["{JUDGE}"]' in out and "hypothesis_grade" in out
    assert "asked by the method while it collects" in out and "Helped (judge=helper/x, k=3)" in out
    code, out, _ = run("--dry-run", "--json")
    told = json.loads(out)
    assert told["preset"]["generation"] == {"temperature": 0.7, "max_tokens": 900} and told["epochs"] == 2
    assert [row["samples"] for row in told["models"] if row["role"] == "investigator"] == [6]


def test_a_preset_scores_and_grades_and_a_judge_that_fails_costs_only_its_grades(run, serve, monkeypatch):
    pytest.importorskip("openai", reason="Inspect's openai-api provider needs the package `openai`")
    asked = {"scripted": 0, "judge": 400}
    seen = []

    def script(request, n):
        seen.append(request)
        return {"scripted": completion(), "judge": asked["judge"]}[request["model"]]

    server = serve(script)
    monkeypatch.setenv("LOOPBACK_BASE_URL", server.url)
    code, out, err = run("--json")
    told = json.loads(out)
    investigated = [request for request in seen if request["model"] == "scripted"]
    assert len(investigated) == 6 and {request["temperature"] for request in investigated} == {0.7}
    assert code == 2 and "`narrowbench grade " in err and "--grader hypothesis_grade" in err
    assert [len(read_eval_log(one["log"]).samples) for one in told["grades"]] == [3], "evidence is looked at once"
    asked["judge"] = completion("GRADE: 4")
    n_before = len(seen)
    code, out, _ = run("--json")
    told = json.loads(out)
    assert code == 0 and told["reused"] and told["settings"] == {"judge": HELPER, "k": 3} and told["epochs"] == 2
    assert [request["model"] for request in seen[n_before:]] == ["judge"] * 4, "two organisms, two epochs"
    grades = [read_eval_log(one["log"]) for one in told["grades"]]
    assert [(log.eval.metadata[GRADE_KEY]["graders"], len(log.samples)) for log in grades] == [
        (["hypothesis_grade"], 6), (["token_relevance"], 3)]
    command = read_eval_log(told["log"]).eval.metadata["narrowbench"]["command"]
    assert "--set judge=helper/x --set k=3" in command and "--epochs 2" in command and "--temperature 0.7" in command
    n_before = len(seen)
    code, out, _ = run()
    assert code == 0 and len(seen) == n_before and "read by oneshot, 2 times" in out
    assert out.count("log (reused): ") == 3
