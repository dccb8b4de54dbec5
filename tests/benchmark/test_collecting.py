"""Collecting: whatever a method does on one organism costs that cell alone, and workers find what one process finds."""

import json
import math
import shutil

import pytest
from narrowbench.benchmark.collecting import collect, sound
from narrowbench.benchmark.evidence import MAX_FAILURE, Survey, shown, survey
from narrowbench.benchmark.method import Evidence, Token, load_method
from narrowbench.benchmark.run import score, score_all
from narrowbench.benchmark.suite import load_suite
from narrowbench.organisms.errors import EvidenceError
from narrowbench.organisms.store import Store

MOODY = '''
import os, random, signal, sys, time
import torch

class Moody:
    name, version, access = "moody", "1", frozenset({"activations"})

    def __init__(self, on_cake="read", scale=1.0):
        self.on_cake, self.scale = on_cake, scale

    def collect(self, pair, probes, budget, seed):
        from narrowbench.benchmark.activations import tokenise_probes
        from narrowbench.benchmark.method import Evidence, Token

        self.seen = getattr(self, "seen", 0) + 1
        ids_BT = tokenise_probes(pair.tokenizer, probes.texts, 3)[:4]
        change = (pair.residual("finetuned", ids_BT, [3], [2]) - pair.residual("base", ids_BT, [3], [2])).abs().sum()
        doing = self.on_cake if change > 0 else "read"
        if doing == "raise":
            raise MemoryError("too much")
        if doing == "leave":
            sys.exit(3)
        if doing == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if doing == "sleep":
            time.sleep(600)
        if doing == "nan":
            return {"schema": 1, "payload": {"tokens": [], "texts": [], "stats": {"x": float("nan")},
                                             "detection": None}, "measured": {}}
        if doing == "nothing":
            return Evidence()
        luck = {"torch": float(torch.rand(1)), "random": random.random(), "seen": float(self.seen)}
        return Evidence(tokens=(Token(" cake", self.scale * (1.0 + float(change)), self.name),), stats=luck,
                        detection=float(change))
'''


@pytest.fixture
def moody(tmp_path):
    (tmp_path / "moody.py").write_text(MOODY)
    return f"{tmp_path / 'moody.py'}:Moody"


@pytest.fixture
def store(tiny_store, tmp_path):
    """A store of its own with the suite's organisms."""
    shutil.copytree(tiny_store.root / "organism", tmp_path / "home" / "organism")
    return Store(tmp_path / "home")


def read(suite, name, store, workers, **settings) -> Survey:
    found, source_sha256 = load_method(name)
    method = type(found)(**settings)
    suite = load_suite(str(suite))
    collect(suite, method, survey(suite, method, source_sha256, 0, store).cells, 0, store, name=name, workers=workers)
    return survey(suite, method, source_sha256, 0, store)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("mood", "said"), [("raise", "MemoryError: too much"), ("leave", "3"), ("nan", "NaN"),
                                            ("nothing", "empty evidence")])
def test_a_failure_costs_its_own_cells_and_the_rest_goes_on(tiny_suite, store, moody, mood, said, workers):
    if workers and mood in ("nan", "nothing"):
        pytest.skip("the same code as in one process")
    cells = read(tiny_suite, moody, store, workers, on_cake=mood).cells
    by_id = {cell.entry.spec.id: cell for cell in cells}
    assert by_id["my-null"].evidence is not None
    for name in ("my-cake", "my-cake-twin"):
        assert by_id[name].evidence is None and by_id[name].failure.startswith(f"{name}: ")
        assert said in by_id[name].failure


@pytest.mark.parametrize(("mood", "said"), [("die", "SIGKILL"), ("sleep", "limit of 2 s")])
def test_a_worker_that_dies_or_hangs_is_replaced(make_suite, store, moody, tmp_path, mood, said):
    suite = make_suite(tmp_path / "limited", budget={"seconds": 2.0})
    cells = {cell.entry.spec.id: cell for cell in read(suite, moody, store, 1, on_cake=mood).cells}
    assert said in cells["my-cake"].failure and said in cells["my-cake-twin"].failure
    assert cells["my-null"].evidence is not None, "the time limit begins when the method does"


def test_waiting_for_a_judge_is_no_computing(make_suite, store, tmp_path):
    suite = make_suite(tmp_path / "limited", budget={"seconds": 0.5})
    tight = make_suite(tmp_path / "tight", budget={"seconds": 0.5, "forward_tokens": 1})
    slow = MOODY.replace("time.sleep(600)", "time.sleep(0.6)").replace('"read", scale', '"sleep", judge="a/b", scale')
    (tmp_path / "slow.py").write_text(slow)
    (tmp_path / "asking.py").write_text(slow.replace('name, version', 'needs_judge = True\n    name, version'))
    asking = f"{tmp_path / 'asking.py'}:Moody"
    assert all("forward tokens" in cell.failure for cell in read(tight, asking, store, 0).cells)
    assert all(cell.evidence is not None for cell in read(suite, asking, store, 1).cells)
    failures = [cell.failure for cell in read(suite, f"{tmp_path / 'slow.py'}:Moody", store, 0).cells]
    assert sum("0.5" in failure for failure in failures) >= 2, "without a judge it has the suite's seconds"


def test_workers_find_what_one_process_finds(tiny_suite, store, moody, tmp_path):
    digests = []
    for workers in (0, 1, 2):
        home = Store(tmp_path / f"home-{workers}")
        shutil.copytree(store.root / "organism", home.root / "organism")
        cells = read(tiny_suite, moody, home, workers, scale=2.0).cells
        digests.append([cell.digest for cell in cells])
        assert {cell.payload["stats"]["seen"] for cell in cells} == {1.0}, "no cell sees what another one left behind"
        assert cells[0].payload["tokens"][0]["weight"] > 2.0, "the settings arrived"
    assert digests[0] == digests[1] == digests[2]


def test_a_failed_method_is_scored_as_nothing_recovered(tiny_suite, store, moody, tmp_path):
    (tmp_path / "moody.py").write_text(MOODY.replace('on_cake="read"', 'on_cake="raise"'))
    result = score(moody, str(tiny_suite), store=store, log_dir=tmp_path / "logs", progress=False)
    assert len(result.failures) == 2 and all("MemoryError" in line for line in result.failures)
    assert {row.recovery for row in result.rows if row.role != "null"} == {0.0}
    assert json.loads(json.dumps(result.to_dict()))["failures"] == list(result.failures)


def test_empty_evidence_is_for_floors_and_ceilings_only():
    assert sound(Evidence(), "floor") == Evidence()
    for fine in (Evidence(detection=-1.0), Evidence(stats={"x": 0.0}), Evidence(tokens=(Token("a", 1.0, "b"),))):
        assert sound(fine.to_dict(), "method") == fine
    with pytest.raises(EvidenceError, match="empty"):
        sound(Evidence(measured={"cost": {}}), "method")
    with pytest.raises(EvidenceError, match="not Evidence"):
        sound([1], "method")
    with pytest.raises(EvidenceError, match="NaN"):
        Evidence(detection=math.nan)


def test_what_a_foreign_method_leaves_in_its_process_reaches_no_other_method(store, tiny_suite, tmp_path):
    names = []
    for name in ("Early", "Late"):
        (tmp_path / f"{name}.py").write_text(
            f"import sys\n\nclass {name}:\n    name, version, access = {name!r}, '1', frozenset({{'none'}})\n\n"
            "    def collect(self, pair, probes, budget, seed):\n"
            "        from narrowbench.benchmark.method import Evidence\n"
            "        before = getattr(sys, 'left_by', self.name)\n"
            "        sys.left_by = self.name\n"
            "        return Evidence(stats={'disturbed': float(before != self.name)})\n")
        names.append(f"{tmp_path / name}.py:{name}")
    list(score_all(names, str(tiny_suite), store=store, log_dir=tmp_path / "logs", progress=False, workers=1))
    method, source_sha256 = load_method(names[1])
    cells = survey(load_suite(str(tiny_suite)), method, source_sha256, 0, store).cells
    assert cells and all(cell.payload["stats"] == {"disturbed": 0.0} for cell in cells)


def test_a_failure_is_told_in_characters_that_are_seen_and_at_a_length_that_is_read():
    assert shown("a: \x1b[31mred\u202e\r\n\tb é") == "a: \\x1b[31mred\\u202e\\r\n\tb é"
    assert len(shown("\x00" * 100_000)) == MAX_FAILURE + 3 and shown("x" * MAX_FAILURE) == "x" * MAX_FAILURE
