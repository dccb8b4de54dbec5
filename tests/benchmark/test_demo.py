"""The demo's chain on the tiny model: grow, score, publish; run again it reuses everything."""

from narrowbench.benchmark.demo import plan, run
from narrowbench.cli import _publish_demo

METHODS = ("prior", "adl_logit_lens", "oracle")


def test_the_demo_ends_with_the_page_and_then_reuses_everything(tiny_suite, tiny_store, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    for verb in ("scored", "reused"):
        page = run(_publish_demo, tmp_path, store=tiny_store, quiet=True, suite=str(tiny_suite), methods=METHODS)
        out = capfd.readouterr().out
        assert page == tmp_path / "site" / "index.html" and page.is_file()
        assert ": 0 come with the package, " in out  # nothing ships for a base of one's own
        assert all(f"{name}: {verb}" in out for name in METHODS)
        assert out.splitlines()[-1] == f"page: {page}" and "nulls flagged" in out
    assert len(list((tmp_path / "logs").glob("*.eval"))) == len(METHODS)
    assert len(list((tmp_path / "records").rglob("*.samples.jsonl"))) == len(METHODS)


def test_a_dry_run_shows_a_plan_for_every_method(tiny_suite, tiny_store):
    assert len(plan(0, tiny_store, str(tiny_suite), METHODS)) == len(METHODS)
