"""How long the page of many records takes, and how much memory.

Makes records as they lie in an archive (1,000 of 50 organisms by default, plus 20 nulls of them), builds the site, and
prints seconds, peak memory and sizes. With chromium and Playwright it then times sorting in the browser.
Example: `python tests/perf/bench_site.py 1000 50`
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from narrowbench.leaderboard.site import build

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from synthetic import write_records  # noqa: E402

SORT = """(column) => {
  const start = performance.now();
  document.querySelectorAll('#ranked thead button')[column].click();
  document.body.offsetHeight;
  return performance.now() - start;
}"""


def time_sorting(page: Path) -> None:
    """Milliseconds from the click on a heading to the laid-out table: by the clock, and of the page's processor time.

    On a busy machine the second is what the work takes.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
                                       args=["--no-sandbox"])
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri())
        print(f"page opens in {time.perf_counter() - start:.2f} s")
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy_ms() -> float:
            metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            return 1e3 * (metrics["ScriptDuration"] + metrics["LayoutDuration"] + metrics["RecalcStyleDuration"])

        clock, work = [], []
        for column in (0, 1, 2, 3, 4, 5, 6, 7) * 3:
            before = busy_ms()
            clock.append(tab.evaluate(SORT, column))
            work.append(busy_ms() - before)
        print(f"sorting: median {np.median(clock):.0f} ms by the clock, {np.median(work):.0f} ms of processor "
              f"(slowest {max(clock):.0f} and {max(work):.0f})")
        browser.close()


def main() -> None:
    n_records, n_organisms = (int(word) for word in (sys.argv[1:] + ["1000", "50"][len(sys.argv) - 1:]))
    with tempfile.TemporaryDirectory() as scratch:
        folder, site = Path(scratch) / "records", Path(scratch) / "site"
        start = time.perf_counter()
        levels = write_records(folder, n_records, n_organisms)
        print(f"{n_records} records x {n_organisms} organisms and 20 nulls made in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        if os.fork() == 0:  # so that what making the records took is not counted
            build(folder, site, levels)
            print(f"built in {time.perf_counter() - start:.1f} s ({time.process_time():.1f} s of processor), peak "
                  f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB", flush=True)
            os._exit(0)
        os.wait()
        first = [site / "index.html", *(site / "assets").iterdir()]
        board = next((site / "data").glob("*-board.js"))
        every = [path for path in site.rglob("*") if path.is_file()]
        sizes = [sum(path.stat().st_size for path in some) for some in (first, [board], every)]
        print(f"index and assets {sizes[0] / 1e3:.0f} kB, board data {sizes[1] / 1e3:.0f} kB, "
              f"all {sizes[2] / 1e6:.0f} MB")
        try:
            time_sorting(site / "index.html")
        except ImportError:
            print("no Playwright: sorting in the browser was not timed")


if __name__ == "__main__":
    main()
