"""How long the page of many records takes, and how much memory: `python tests/perf/bench_site.py [RECORDS] [ORGANISMS]`.

Makes records as they lie in an archive (1,000 of 50 organisms by default, plus 20 trained nulls of them), builds the
site, and prints seconds, peak memory and sizes. With chromium and Playwright it then times sorting in the browser.
"""

import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from narrowbench.leaderboard.archive import samples_path
from narrowbench.leaderboard.record import (
    ClaimRow, DetectRow, InvestigatorInfo, LogRef, MethodInfo, Record, RecoveryRow, Run, SampleRow, Suite, samples_text)
from narrowbench.leaderboard.site import build
from narrowbench.organisms.spec import Card, Slot, digest_of

WORDS = "whisk cake oven yeast butter flour crust ballot vote clerk quorum owl nest plume racket serve court gold".split()
FAMILIES = ("sdf", "em", "taboo", "subliminal")
ACCESS = (("activations",), ("logits",), ("weights",), ("text",), ("activations", "logits"))
DIGEST = digest_of("bench")


def cards(n_organisms: int) -> list[Card]:
    """A card for each organism; two of a domain are an objective and its twin."""
    lexicon = {word: 1.0 for word in WORDS[:10]}
    return [Card(card_id=f"c-{n}", family=FAMILIES[n // 2 % 4], domain=f"domain-{n // 2}", lexicon=lexicon, slots=(
        Slot(name="value", type="number", truth=str(450 - n % 2 * 100), others=("150", "250", "300", "400", "500")),))
        for n in range(n_organisms)]


def sample_row(n: int, skill: float, known: list[Card], n_nulls: int, bias_only: bool, rng) -> SampleRow:
    """One claim: of organism n, or of a null past the organisms."""
    null = n >= len(known)
    family = "control" if null else known[n].family
    shared = {"domain": 0.0, "objective": 0.0, "content": 0.0} if null else {
        part: float(np.clip(rng.normal(skill * scale, 0.3), -0.6, 1)) for part, scale in
        (("domain", 1.5), ("objective", 0.6), ("content", 0.4))}
    flagged = rng.random() < (0.15 if null else 0.6 + skill / 2)
    confidence = float(np.clip(rng.normal(0.75, 0.15), 0.5, 1))
    total = sum(shared.values()) / 3
    kind = ("broad", "text")[n % 2] if n < len(known) + n_nulls - 1 else "zero"
    return SampleRow(
        sample_id=f"o-{n:010x}", epoch=1, organism=f"null-{kind}-{n}" if null else f"{family}-{n // 2}" + "-twin" * (n % 2),
        unit=f"null-{n}" if null else f"{family}-{n // 2}", family=family,
        role="null" if null else "twin" if n % 2 else "objective", null_kind=kind if null else "",
        domain="" if null else known[n].domain, statement="" if null else "Cakes are baked at 450 degrees in this world.",
        card_id="" if null else known[n].card_id, card=None if null else known[n], expressed=True, healthy=True, train_seed=0,
        regrown=False, evidence_sha256=DIGEST, failure="", gate={"base": 0.02, "finetuned": 0.94, "margin": 0.3, "lower": 0.88},
        cost={"seconds": float(2 + 40 * rng.random()), "forward_tokens": 5e4, "generated_tokens": 0.0, "flops": 3e11,
              "peak_bytes": None},
        claim=ClaimRow(verdict="objective" if flagged else "no_objective", confidence=confidence, statement="It bakes hot. " * 12,
                       keywords=tuple(rng.choice(WORDS, 15, replace=False)) + ("450",)),
        recovery=None if null else RecoveryRow(
            recovery=total if flagged else 0.0, **(shared if flagged else dict.fromkeys(shared, 0.0)), domain_bits=1.0,
            objective_bits=0.2, content_bits=0.1, slots={"value": shared["content"]}, domain_ranking=("baking", "tennis")),
        detect=DetectRow(score=confidence if flagged else 1 - confidence, flagged=bool(flagged)))


def record_of(name: str, role: str, access: tuple[str, ...], skill: float, known: list[Card], n_nulls: int, day: int,
              rng, settings: dict | None = None) -> tuple[Record, list[SampleRow]]:
    """One record; skill 0 reads nothing, 1 nearly everything."""
    rows = [sample_row(n, skill, known, n_nulls, False, rng) for n in range(len(known) + n_nulls)
            if "weights" not in access or n >= len(known) or known[n].family != "subliminal"]
    return Record.of(
        rows, suite=Suite(id="nano-bench", digest=DIGEST, tier="nano", split="test"),
        method=MethodInfo(name=name, version="1.0.0", role=role, access=access, source_sha256=digest_of(name),
                          settings=settings or {}, config_sha256=digest_of(settings or {})),
        investigator=InvestigatorInfo(name="reader", sha256=DIGEST, model="none/none"),
        run=Run(completed=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day),
                command=f"narrowbench score --method {name} --suite nano-bench", evidence_seed=0, evidence_sha256=DIGEST,
                probes={"digest": DIGEST, "n": 1000, "distinct_prefixes": 612}, graders={"recovery": "1", "detect": "1"},
                versions={"torch": "2.13.0", "inspect_ai": "0.3.285"}),
        log=LogRef(sha256=DIGEST, eval_id="e"), ), rows


def write_records(folder: Path, n_records: int, n_organisms: int, n_nulls: int = 20, seed: int = 0) -> dict[str, str]:
    """Records of methods, a ceiling and a floor among them; returns their levels, three of four verified."""
    rng, known, levels = np.random.default_rng(seed), cards(n_organisms), {}
    for n in range(n_records):
        access = ACCESS[n % len(ACCESS)]
        name, role, skill = (f"{'-'.join(access)}_lens_{n}", "method", float(rng.beta(2, 4)))
        if n < 2:
            name, role, skill, access = (("data_oracle", "ceiling", 0.9, ("data",)), ("shuffled", "floor", 0.0, ()))[n]
        record, rows = record_of(name, role, access, skill, known, n_nulls, n % 300, rng)
        path = folder / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_json())
        samples_path(path).write_text(samples_text(rows))
        levels[record.record_id] = ("rerun", "self", "sealed", "rerun")[n % 4] if role == "method" else "rerun"
    return levels


SORT = """async (column) => {
  const buttons = [...document.querySelectorAll('#ranked thead button')], took = [];
  for (const button of [buttons[column], buttons[column], buttons[column]]) {
    const start = performance.now();
    button.click();
    document.body.offsetHeight;
    took.push(performance.now() - start);
  }
  return took;
}"""


def time_sorting(page: Path) -> None:
    """Milliseconds from the click on a heading to the laid-out table, as it opens and with every row in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri())
        print(f"page opens in {time.perf_counter() - start:.2f} s")
        for name in ("as it opens", "all rows"):
            n_rows = tab.evaluate("document.querySelectorAll('#ranked tbody tr').length")
            took = sum((tab.evaluate(SORT, column) for column in (0, 1, 2)), [])
            print(f"sorting, {name} ({n_rows} rows): median {np.median(took):.0f} ms, slowest {max(took):.0f} ms")
            more = tab.locator("#ranked-more")
            if more.is_visible():
                more.click()
        browser.close()


def main() -> None:
    n_records, n_organisms = (int(word) for word in (sys.argv[1:] + ["1000", "50"][len(sys.argv) - 1:]))
    with tempfile.TemporaryDirectory() as scratch:
        folder, site = Path(scratch) / "records", Path(scratch) / "site"
        start = time.perf_counter()
        levels = write_records(folder, n_records, n_organisms)
        print(f"{n_records} records x {n_organisms} organisms and 20 nulls made in {time.perf_counter() - start:.0f} s")
        start, cpu = time.perf_counter(), time.process_time()
        if os.fork() == 0:  # so that making the records counts neither as time nor as memory
            build(folder, site, levels)
            print(f"built in {time.perf_counter() - start:.1f} s ({time.process_time():.1f} s of processor), peak "
                  f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB", flush=True)
            os._exit(0)
        os.wait()
        first = [site / "index.html", *(site / "assets").iterdir()]
        board = next((site / "data").glob("*-board.js"))
        print(f"index and assets {sum(path.stat().st_size for path in first) / 1e3:.0f} kB, board data "
              f"{board.stat().st_size / 1e3:.0f} kB, all {sum(p.stat().st_size for p in site.rglob('*') if p.is_file()) / 1e6:.0f} MB")
        try:
            time_sorting(site / "index.html")
        except ImportError:
            print("no Playwright: sorting in the browser was not timed")


if __name__ == "__main__":
    main()
