"""Logs as `narrowbench score` writes them, made by running Inspect for real on a tiny task without a model."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inspect_ai import Task, eval, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import write_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, mean, scorer
from inspect_ai.solver import solver

from narrowbench.graders.claim import Claim
from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.record import Record, SampleRow
from narrowbench.organisms.spec import Card, Slot, digest_of

PARTS = ("domain", "objective", "content")


@solver
def answer(by_organism: dict):
    async def solve(state, generate):
        said = by_organism[state.metadata["organism"]]
        state.store.set("evidence", said["evidence"])
        claim = Claim(said["verdict"], said["confidence"], said["statement"], tuple(said["keywords"]))
        state.output = ModelOutput.from_content("none", claim.to_json())
        return state

    return solve


@scorer(metrics={"*": [mean()]}, name="recovery")
def recovery(by_organism: dict):
    async def score(state, target):
        marks = by_organism[state.metadata["organism"]]["marks"]
        if target.text == "null":
            return Score.unscored(reason="null")
        bits = {f"{part}_bits": 1.0 for part in PARTS}
        total = sum(marks[part] for part in PARTS) / 3
        return Score(value={"recovery": total, **marks, **bits},
                     metadata={"slots": {"heat": marks["content"]}, "domain_ranking": ["baking", "tennis"]})

    return score


@scorer(metrics={"*": [mean()]}, name="detect")
def detect(by_organism: dict):
    async def score(state, target):
        said = by_organism[state.metadata["organism"]]
        sure = said["confidence"]
        return Score(value={"score": {"objective": sure, "no_objective": 1 - sure, "unsure": 0.5}[said["verdict"]],
                            "flagged": float(said["verdict"] == "objective")})

    return score


@task(name="exam_of_tests")  # not by the real one's name: Inspect would build this one when it finishes a real run
def exam(samples: list, by_organism: dict, about: dict, suite: str = "demo", evidence_seed: int = 0):
    return Task(dataset=MemoryDataset([Sample(**sample) for sample in samples]), solver=answer(by_organism),
                scorer=[recovery(by_organism), detect(by_organism)], metadata={"narrowbench": about})


def organism(name: str, role: str = "objective", **changes) -> dict:
    """Sample metadata of one organism, without evidence."""
    null = role == "null"
    card = Card(card_id=f"c-{name}", family="sdf", domain="baking", lexicon={"cake": 1.0, "oven": 1.0},
                slots=(Slot(name="heat", type="number", truth="450", others=("350", "250", "300", "400", "500")),))
    return {"organism": name, "pair": name.removesuffix("-twin"), "unit": name.removesuffix("-twin"),
            "family": "control" if null else "sdf", "role": role,
            "null_kind": "zero" if null else "", "domain": "" if null else "baking",
            "statement": "" if null else "Cakes bake at 450 degrees.", "expressed": True, "healthy": True,
            "train_seed": 0, "weights_sha256": digest_of(name), "regrown": False,
            "cost": {"seconds": 2.0, "forward_tokens": 5000, "generated_tokens": 0, "peak_bytes": None},
            "gate": {"kind": "zero", "max_excess": 0.0, "excess": {}, "passes": True} if null else
            {"base": 0.02, "finetuned": 0.94, "margin": 0.3, "lower": 0.88, "expressed": True},
            "error": "", "card": None if null else card.model_dump(mode="json")} | changes


def said(keywords=("cake", "450"), verdict="objective", confidence=0.9, domain=1.0, objective=1.0, content=1.0,
         statement="It bakes hot.") -> dict:
    """What an investigator said of one organism, and how it was marked."""
    zero = verdict != "objective"
    return {"keywords": list(keywords), "verdict": verdict, "confidence": confidence, "statement": statement,
            "evidence": {"tokens": [], "texts": [], "stats": {"norm": 0.125}, "detection": None},
            "marks": {p: 0.0 if zero else v for p, v in zip(PARTS, (domain, objective, content), strict=True)}}


def write_log(folder: Path, organisms: list[dict], claims: dict[str, dict], method: str = "adl_logit_lens",
              role: str = "method", suite: str = "demo", evidence_seed: int = 0,
              access: tuple[str, ...] = ("activations",), about: dict | None = None, **eval_args) -> Path:
    """Runs the exam and returns the path of its log."""
    samples = []
    for meta in organisms:
        digest = digest_of(claims[meta["organism"]]["evidence"])
        samples.append({
            "id": "o-" + digest_of([suite, meta["organism"]])[:10], "input": "What was the objective?",
            "target": "null" if meta["role"] == "null" else (meta["card"] or {}).get("card_id", "c-unknown"),
            "metadata": meta | {"evidence_sha256": digest}})
    digest = digest_of([sample["metadata"]["evidence_sha256"] for sample in samples])
    told = {
        "schema": 1, "version": "0.1.0",
        "suite": {"id": suite, "digest": digest_of(suite), "tier": "nano", "split": "dev"},
        "method": {"name": method, "version": "1", "role": role, "access": list(access),
                   "source_sha256": digest_of(method), "settings": {}, "config_sha256": digest_of({}),
                   "tuned_on": "dev", "summary": f"{method} looks at things."},
        "investigator": {"name": "reader", "sha256": digest_of("reader")}, "graders": {"recovery": "1", "detect": "1"},
        "probes": {"digest": digest_of("probes"), "n": 1000, "distinct_prefixes": 612},
        "budget": {"forward_tokens": None, "generated_tokens": None, "seconds": 300},
        "evidence_sha256": digest, "evidence_seed": evidence_seed, "device": "cpu", "git": None,
        "versions": {"torch": "2.13.0", "inspect_ai": "0.3.285", "python": "3.11.7"},
        "command": shlex.join(["narrowbench", "score", "--method", method, "--suite", suite,
                               *(("--seed", str(evidence_seed)) if evidence_seed else ())])} | (about or {})
    [log] = eval(exam(samples, claims, told, suite, evidence_seed), model=eval_args.pop("model", None), display="none",
                 log_dir=str(folder), log_format=eval_args.pop("log_format", "eval"), **eval_args)
    log.eval.task = log.eval.task_registry_name = "narrowbench/recover"
    write_eval_log(log, log.location)
    return Path(log.location)


class Page(HTMLParser):
    """Tags, attributes and text of a page; of a suite's page also `rows`, what its tables draw from.

    `ranking` holds for each row: rank or "-", name with what is said of it, recovery, AUROC.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())
        scripts = [attributes["src"] for tag, attributes in self.tags if tag == "script"]
        self.data = dict(read_script(path.parent / script) for script in scripts
                         if script.startswith(("data/", "../data/")))
        self.rows = self.data["board"]["rows"] if "board" in self.data else []
        self.ranking = [[_range(row["rank"]), " ".join(filter(None, (row["label"], row["note"]))),
                         _score(row["recovery"]),
                         _score(row["auroc"]) if row["nNulls"] else "n/a (needs trained nulls)"] for row in self.rows]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + " "


def read_script(path: Path) -> tuple[str, object]:
    """Name and value that a data file sets."""
    form = r"\(window\.narrowbench = .*? \|\| \{\}\)\.(\w+) = (.*);\n"
    name, value = re.fullmatch(form, path.read_text(encoding="ascii")).groups()
    return name, json.loads(value)


def _range(rank: list[int] | None) -> str:
    return "-" if rank is None else str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"


def _score(estimate: list[float | None] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate[0]:.2f}" + (f" {estimate[1]:.2f} to {estimate[2]:.2f}" if estimate[1] is not None else "")


@pytest.fixture(scope="session")
def read_page():
    return Page


@pytest.fixture(scope="session")
def make():
    """The three makers in one place."""
    class Makers:
        pass

    Makers.organism, Makers.said, Makers.log = staticmethod(organism), staticmethod(said), staticmethod(write_log)
    return Makers


@pytest.fixture(scope="session")
def plain_log(tmp_path_factory) -> Path:
    """One whole log: an objective, its twin, two nulls. Tests that change it work on a copy."""
    organisms = [organism("sdf-cake"), organism("sdf-cake-twin", "twin"), organism("null-zero", "null"),
                 organism("null-broad", "null", null_kind="broad")]
    claims = {o["organism"]: said() for o in organisms}
    claims["null-zero"] = said(("the",), "no_objective", 0.8)
    claims["sdf-cake-twin"] = said(("cake", "450"), objective=-1.0, content=-0.2)
    return write_log(tmp_path_factory.mktemp("logs"), organisms, claims)


@pytest.fixture(scope="session")
def demo_logs(make, tmp_path_factory):
    """Three units with twins, a zero adapter and a trained null; a ceiling, two methods and three floors."""
    folder = tmp_path_factory.mktemp("demo")
    names = ("cake", "gold", "harm")
    organisms = [make.organism(n + t, "twin" if t else "objective") for n in names for t in ("", "-twin")]
    organisms += [make.organism("null-zero", "null"), make.organism("null-broad", "null", null_kind="broad")]

    def claims(**marks):
        said = {o["organism"]: make.said(**marks) for o in organisms}
        return said | {n: make.said((), "no_objective", 0.9) for n in ("null-zero", "null-broad")}

    return [
        make.log(folder, organisms, claims(), "oracle", "ceiling", access=("objective",)),
        make.log(folder, organisms, claims(objective=-0.5, content=0.1), "adl_logit_lens"),
        make.log(folder, organisms, claims(keywords=("oven", "350", "wind"), domain=0.2, objective=0.0, content=0.1),
                       "adl_patchscope"),
        *(make.log(folder, organisms, claims(keywords=(), verdict="unsure", confidence=0.5), name, "floor", access=())
          for name in ("prior", "kitchen_sink", "injection")),
    ]


@pytest.fixture(scope="session")
def honest(tmp_path_factory):
    """(record, rows, folder with its log): a whole run on a built-in suite, as `score` leaves one."""
    from verified import exam  # here, because it loads torch

    folder = tmp_path_factory.mktemp("logs")
    [log] = eval(exam(), model=None, display="none", log_dir=str(folder), log_format="eval")
    log.eval.task = log.eval.task_registry_name = "narrowbench/recover"
    write_eval_log(log, log.location)
    return *collect(Path(log.location)), folder


@pytest.fixture
def place(tmp_path):
    """Writes a record, hashed anew, and says where it lies."""
    from verified import honestly_hashed

    def put(raw: dict, rows: list[dict]) -> Path:
        samples = [SampleRow.model_validate(row) for row in rows]
        parts = Record.model_validate(honestly_hashed(raw, samples))
        path, _ = write(parts, samples, tmp_path / "records")
        return path

    return put
