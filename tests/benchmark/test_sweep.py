"""Sweeps on the tiny model: the grid, cells that never run twice, failures that cost one cell, and the folder."""

import csv
import json
import math
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from narrowbench.benchmark import figures
from narrowbench.benchmark.cells import lexicon_share, measure
from narrowbench.benchmark.curves import Curves
from narrowbench.benchmark.dose import respond
from narrowbench.benchmark.jobs import Outcome
from narrowbench.benchmark.run import score
from narrowbench.benchmark.sweep import EQUAL_STEPS, EXTRA_STEPS, parse_doses, plan, resolve, sweep
from narrowbench.benchmark.sweep_report import analyse, read_rows, redraw, write_report
from narrowbench.organisms.errors import NarrowbenchError, NotFoundError, SpecError
from narrowbench.organisms.spec import find_organism, load_spec
from narrowbench.organisms.store import Store
from narrowbench.organisms.train import train

MOODY = '''
from pathlib import Path

class Moody:
    name, version, access = "moody", "1", frozenset({"activations"})

    def collect(self, pair, probes, budget, seed):
        from narrowbench.benchmark.method import Evidence, Token

        if not Path(%r).exists():
            raise RuntimeError("not in the mood")
        return Evidence(tokens=(Token(" cake", 1.0, self.name),), detection=1.0)
'''


def test_a_mix_grid_has_two_arms_that_share_the_dose_where_they_do_not_differ():
    request, laid_out = resolve("mix", ["cake-450", "ballot-1810"])
    assert request.doses == (0, 0.1, 0.2, 0.5, 1, 1.5, 2, 4)
    assert len(laid_out) == 2 * 3 * 2 * 8 and len({cell.identity for cell in laid_out}) == 2 * 3 * 15
    one = [cell for cell in laid_out if cell.organism == "cake-450" and cell.seed == 0]
    extra, equal = ([cell for cell in one if cell.arm == arm] for arm in (EXTRA_STEPS, EQUAL_STEPS))
    plain = find_organism("cake-450")
    recipe = plain.recipe
    plain_steps = recipe.epochs * math.ceil(recipe.rows / recipe.batch_size)
    assert extra[0].spec.digest == equal[0].spec.digest == plain.digest, "dose 0 is the plain organism"
    assert [cell.n_steps for cell in extra] == [
        recipe.epochs * math.ceil(round(recipe.rows * (1 + dose)) / recipe.batch_size) for dose in request.doses]
    assert extra[-1].n_steps == 5 * plain_steps and [cell.n_steps for cell in equal] == [plain_steps] * 8
    assert all(cell.spec.recipe.rows == plain.recipe.rows for cell in one), "narrow rows are fixed"
    assert {cell.spec.recipe.mix_source for cell in resolve("mix", ["cake-450"], mix_source="chats")[1]
            if cell.dose} == {"chats"}


def test_sample_and_rank_grids():
    request, laid_out = resolve("samples", ["cake-450"], seeds=1)
    own = find_organism("cake-450").recipe.rows
    assert request.doses == tuple(own * 2.0**k for k in range(-4, 2))
    assert [cell.spec.recipe.rows for cell in laid_out] == list(request.doses)
    _, laid_out = resolve("rank", ["cake-450"], seeds=1)
    recipes = [cell.spec.recipe for cell in laid_out]
    assert [recipe.rank for recipe in recipes] == [1, 2, 4, 8, 16]
    assert len({recipe.alpha / recipe.rank for recipe in recipes}) == 1, "alpha scales with the rank"


@pytest.mark.parametrize(("ask", "error", "says"), [
    ({"kind": "mixx"}, NotFoundError, "Did you mean mix"),
    ({"organisms": ["cake-45"]}, NotFoundError, "cake-450"),
    ({"organisms": ["cake-450", "cake-450"]}, SpecError, "twice"),
    ({"organisms": ["null-zero"]}, SpecError, "null"),
    ({"methods": ["adl_lens"]}, NotFoundError, "adl_logit_lens"),
    ({"doses": [0.5, 1]}, SpecError, "0, from which"),
    ({"doses": [0, 1000]}, SpecError, "mix_ratio"),
    ({"kind": "samples", "doses": [20.5, 40]}, SpecError, "whole number"),
    ({"kind": "rank", "doses": [0, 4]}, SpecError, "rank"),
    ({"seeds": 0}, SpecError, "--seeds"),
    ({"suite": "nowhere"}, NotFoundError, "suite"),
])
def test_what_cannot_be_swept_is_said_before_anything_runs(ask, error, says):
    with pytest.raises(error, match=says):
        resolve(**{"kind": "mix", "organisms": ["cake-450"]} | ask)


def test_doses_are_read_from_text():
    assert parse_doses("0,0.5, 4") == (0, 0.5, 4) and parse_doses("") is None
    with pytest.raises(SpecError, match="--doses 0,a"):
        parse_doses("0,a")


def test_an_organism_outside_the_suite_is_not_marked_there(tiny_suite):
    with pytest.raises(SpecError, match="--suite"):
        resolve("mix", ["ballot-1810"], suite=str(tiny_suite))


@contextmanager
def one_process():
    """Runs jobs here, one after another, where the libraries are loaded already; the pool has tests of its own."""
    def here(jobs, workers, progress):
        outcomes = []
        for job in jobs:
            try:
                outcomes.append(Outcome(job, job.function(**job.kwargs)))
            except NarrowbenchError as error:
                outcomes.append(Outcome(job, error=f"{type(error).__name__}: {error}"))
        return outcomes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("narrowbench.benchmark.sweep.run_jobs", here)
        yield


@pytest.fixture
def quick():
    with one_process():
        yield


@pytest.fixture(scope="module")
def grown(tiny_suite, tiny_base, tmp_path_factory):
    """A store that holds one organism of the grid: ratio 0, seed 0."""
    store = Store(tmp_path_factory.mktemp("sweep_store"))
    train(load_spec(tiny_suite.parent / "cake.yaml"), tiny_base, 0, store, progress=False)
    return store


@pytest.fixture(scope="module")
def swept(tiny_suite, grown, tmp_path_factory):
    """A small mix sweep of one organism, its request, its store and what the plan said before."""
    request, laid_out = resolve("mix", [str(tiny_suite.parent / "cake.yaml")], seeds=2, doses=[0, 1],
                                methods=["adl_logit_lens", "prior"], suite=str(tiny_suite))
    with one_process():
        before = plan(request, laid_out, workers=2, store=grown, progress=False)
    out = tmp_path_factory.mktemp("sweep") / "mix"
    return request, laid_out, before, sweep(request, laid_out, out, workers=2, store=grown, progress=False)


def test_a_sweep_fills_its_folder(swept):
    request, _, before, result = swept
    assert before["to_do"] == 6 and [cell["state"] for cell in before["cells"]].count("to read") == 1  # from `grown`
    assert not result.failures and len(result.rows) == 2 * 2 * 2 * 2  # arms, doses, seeds, methods
    names = {path.name for path in result.folder.iterdir()}
    assert names == {"cells.csv", "summary.json", "table.md", "command.txt"} | {
        f"{what}-{method}.{ending}" for what in ("dose", "matched") for method in request.methods
        for ending in ("svg", "png")}
    assert (result.folder / "command.txt").read_text().strip() == request.command(result.folder, None)
    steps = {(row.arm, row.dose): row.n_steps for row in result.rows}
    assert steps[EXTRA_STEPS, 0] == steps[EQUAL_STEPS, 0] == steps[EQUAL_STEPS, 1] == 4
    assert steps[EXTRA_STEPS, 1] == 8
    rows = {(row.arm, row.dose): row.n_rows for row in result.rows}
    assert rows[EQUAL_STEPS, 1] == rows[EXTRA_STEPS, 1] == 16 and rows[EXTRA_STEPS, 0] == 8
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary == result.summary
    arms = summary["methods"]["adl_logit_lens"]["arms"]
    assert set(arms) == {EXTRA_STEPS, EQUAL_STEPS} and "shown" in arms[EXTRA_STEPS]["trace"]["ed50"]
    assert f"{EXTRA_STEPS} against {EQUAL_STEPS}" in summary["methods"]["adl_logit_lens"]["matched"]
    table = (result.folder / "table.md").read_text()
    assert "ED50: trace" in table and "At equal gate" in table and "over seeds" in table


def test_a_cell_is_marked_as_the_exam_marks_it(swept, make_suite, grown, tmp_path):
    """Dose 0, seed 0 is the suite's own organism: the sweep must give the score of `narrowbench score`."""
    result, suite = swept[3], make_suite(tmp_path / "suite", organisms=[{"organism": "my-cake"}])
    scored = score("adl_logit_lens", str(suite), store=grown, log_dir=tmp_path / "logs", progress=False)
    [exam] = scored.rows
    cells = [row for row in result.rows if row.dose == 0 and row.seed == 0 and row.method == "adl_logit_lens"]
    assert len(cells) == 2
    for cell in cells:
        assert (cell.recovery, cell.domain, cell.objective, cell.content, cell.verdict) == pytest.approx(
            (exam.recovery, exam.domain, exam.objective, exam.content, exam.verdict))


def test_finished_cells_never_run_again(quick, swept, grown, tmp_path):
    request, laid_out, _, first = swept
    told = plan(request, laid_out, workers=1, store=grown, progress=False)
    assert told["to_do"] == 0 and told["done"] == 6 and told["minutes"] == 0
    made = {path: path.stat().st_mtime_ns for kind in ("organism", "evidence", "cell")
            for path in (grown.root / kind).iterdir()}
    again = sweep(request, laid_out, tmp_path / "again", workers=1, store=grown, progress=False)
    assert again.rows == first.rows
    assert made == {path: path.stat().st_mtime_ns for kind in ("organism", "evidence", "cell")
                    for path in (grown.root / kind).iterdir()}
    for name in ("cells.csv", "dose-adl_logit_lens.svg", "matched-prior.svg", "dose-prior.png"):
        assert (again.folder / name).read_bytes() == (first.folder / name).read_bytes(), name


def test_what_fails_is_named_and_the_same_command_tries_it_again(quick, tiny_suite, grown, tmp_path):
    mood = tmp_path / "mood"
    (tmp_path / "moody.py").write_text(MOODY % str(mood))
    method = f"{tmp_path / 'moody.py'}:Moody"
    request, laid_out = resolve("mix", [str(tiny_suite.parent / "cake.yaml")], seeds=1, doses=[0, 1],
                                methods=["prior", method], suite=str(tiny_suite))
    first = sweep(request, laid_out, tmp_path / "out", workers=2, store=grown, progress=False)
    assert {row.method for row in first.rows} == {"prior"}
    assert len(first.failures) == 3 and all("not in the mood" in line and "my-cake" in line for line in first.failures)
    assert "not in the mood" in (tmp_path / "out" / "table.md").read_text()
    mood.touch()
    second = sweep(request, laid_out, tmp_path / "out", workers=2, store=grown, progress=False)
    assert not second.failures and {row.method for row in second.rows} == {"prior", method}


def test_a_damaged_organism_costs_its_cells_only(quick, swept, grown, tmp_path):
    """A copy of the store in which one organism's weights were changed: named, not used, the others as before."""
    request, laid_out, _, first = swept
    home = tmp_path / "home"
    shutil.copytree(grown.root, home)
    [key] = {row.organism_key for row in first.rows if (row.arm, row.dose, row.seed) == (EXTRA_STEPS, 1, 0)}
    weights = home / "organism" / key / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result = sweep(request, laid_out, tmp_path / "out", workers=1, store=Store(home), progress=False)
    assert len(result.failures) == 1 and "damaged" in result.failures[0]
    assert f"{EXTRA_STEPS} 1 seed 0" in result.failures[0]
    assert len(result.rows) == len(first.rows) - 2  # one training run under two methods


def test_another_sweep_is_a_further_reference(swept, tmp_path):
    result = swept[3]
    read = read_rows(result.folder)
    assert read == result.rows
    others = [row.model_copy(update={"sweep": "samples", "arm": "samples"}) for row in read]
    matched = analyse(read, others)["prior"].matched
    assert f"{EXTRA_STEPS} against samples: samples" in matched


def test_figures_can_be_drawn_again_from_the_cells(swept, tmp_path):
    shutil.copy(swept[3].folder / "cells.csv", tmp_path)
    drawn = redraw(tmp_path)
    assert len(drawn) == 8
    for path in drawn:
        assert path.read_bytes() == (swept[3].folder / path.name).read_bytes()


def test_a_table_of_cells_that_is_none_is_refused(swept, tmp_path):
    with pytest.raises(NotFoundError, match="--out"):
        read_rows(tmp_path)
    for change, says in ((lambda row: row | {"dose": "much"}, "line 2: column 'dose'"),
                         (lambda row: row | {"recovery": "nan"}, "recovery"),
                         (lambda row: row | {"extra": "1"}, "extra"),
                         (lambda row: {k: v for k, v in row.items() if k != "gate"}, "gate")):
        with (swept[3].folder / "cells.csv").open() as file:
            lines = [change(row) for row in csv.DictReader(file)]
        with (tmp_path / "cells.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        with pytest.raises(SpecError, match=says):
            read_rows(tmp_path)


def test_a_cell_that_is_not_there_is_only_looked_for(tiny_suite, tiny_base, tmp_path):
    spec = load_spec(tiny_suite.parent / "gold.yaml")
    found = measure(spec.model_dump_json(), 5, str(tiny_suite), ("prior",), 0, str(tmp_path), only_look=True)
    assert found == {"trained": False, "rows": {"prior": None}, "errors": {}}
    assert not (tmp_path / "organism").exists()


def test_lexicon_share_counts_twenty_places():
    def token(piece, weight, source="a"):
        return {"piece": piece, "weight": weight, "source": source, "position": 0}

    words = {f"w{i}": 1.0 for i in range(40)}
    assert lexicon_share({"tokens": []}, words) == 0
    assert lexicon_share({"tokens": [token(" W1", 2.0), token("w1", 1.0), token("other", 3.0)]}, words) == 1 / 20
    many = [token(f"w{i}", 1.0 + i) for i in range(30)] + [token(f"x{i}", 100.0) for i in range(10)]
    assert lexicon_share({"tokens": many}, words) == 0.5
    assert lexicon_share({"tokens": many + [token("x", 1.0, "b")]}, words) == 0.25


def test_figures_survive_what_data_can_be(tmp_path):
    """No effect, censored on both sides, missing cells, one organism: every figure is drawn, in the same bytes."""
    nan = float("nan")
    for values in ([[-0.1, -0.2, 0.0]], [[0.9, 0.9, 0.9]] * 2, [[0.9, 0.1, nan]] * 3,
                   [[0.9, nan, 0.2], [0.8, nan, 0.1]]):
        curves = Curves((0.0, 1.0, 2.0), ("a",) * len(values), ("a",) * len(values), np.array(values))
        panel = figures.Panel("arm", respond(curves, False), respond(curves, False))
        for draw in (figures.trace_at_behaviour, figures.dose_response):
            first = figures.save(draw([panel], "dose", "title"), tmp_path / "one")
    second = figures.save(draw([panel], "dose", "title"), tmp_path / "two")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    svg = (tmp_path / "one.svg").read_text()
    assert "<dc:date>" not in svg and "behaviour" in svg


def test_a_report_of_one_failed_arm_is_still_written(swept, tmp_path):
    rows = [row for row in swept[3].rows if row.arm == EXTRA_STEPS]
    summary = write_report(tmp_path, rows, (), "narrowbench sweep mix", ["my-cake extra steps 4 seed 0: killed"])
    assert summary["failures"] and "killed" in (tmp_path / "table.md").read_text()
