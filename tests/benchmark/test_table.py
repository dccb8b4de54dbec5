"""What a person sees of a scored log: one line an organism, however often it was investigated."""

from io import StringIO

import pytest
from narrowbench.benchmark.table import Row, flagged_nulls, means_of, score_table
from rich.console import Console


def row(organism: str, epoch: int, verdict: str = "objective", recovery: float | None = None, **more) -> Row:
    told = {"family": "sdf", "role": "objective", "unit": "cake", "train_seed": 0, "expressed": True, "healthy": True,
            "domain_rank": 1, "domain": recovery, "objective": None, "content": recovery, "keywords": (f"word{epoch}",),
            "error": ""} | more
    return Row(organism=organism, verdict=verdict, recovery=recovery, epoch=epoch, **told)


ROWS = [row("cake", 1, recovery=1.0), row("cake", 2, "unsure", 0.0, domain_rank=4), row("twin", 1, recovery=1.0),
        row("bees", 1, recovery=0.2, unit="bees"), row("bees", 2, recovery=0.4, unit="bees"),
        row("nothing", 1, role="null", unit="", domain_rank=None),
        row("nothing", 2, "no_objective", role="null", unit="", domain_rank=None),
        row("zero", 1, "no_objective", role="null", unit="", domain_rank=None)]


def test_epochs_are_averaged_first_so_that_more_of_them_weigh_no_more():
    means = means_of(ROWS)
    assert means["recovery"] == pytest.approx(((0.5 + 1.0) / 2 + 0.3) / 2) and means["objective"] is None
    assert flagged_nulls(ROWS) == (0.5, 2)


def test_an_organism_is_one_line_with_the_verdicts_of_all_its_epochs():
    out = StringIO()
    Console(file=out, width=120).print(score_table("told", ROWS))
    lines = out.getvalue().splitlines()
    [cake] = [line for line in lines if line.startswith(" cake ")]
    assert cake.split() == ["cake", "sdf", "objective", "1", "objective,", "1", "unsure", "2.50", "0.50", "0.50", "-",
                            "0.50"]
    assert [line.split()[:2] for line in lines if "word1" in line][0] == ["cake", "word1"]
    assert "means over epochs" in " ".join(lines) and "mean of 2 units" in " ".join(lines)
    out = StringIO()
    Console(file=out, width=120).print(score_table("told", [one for one in ROWS if one.epoch == 1]))
    assert "epochs" not in out.getvalue()
