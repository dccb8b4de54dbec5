"""The built page in a real browser: the system's chromium, headless, driven by Playwright's package."""

import os
import shutil
from pathlib import Path

import pytest
from logged import logged_record
from synthetic import HOSTILE, write_records

from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.site import build

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium(talked):
    """A browser; tests are skipped only where no chromium is installed at all.

    It ends with its module: while Playwright runs, nothing else in this process can start an event loop. So the log of
    `talked` is made before it.
    """
    binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not binary:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (`apt-get install chromium`), nor is "
                    "$CHROMIUM set")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """140 rows, verified and not, in two slices."""
    folder = tmp_path_factory.mktemp("site")
    levels = write_records(folder / "records", 140, 20, n_nulls=3)
    build(folder / "records", folder / "site", levels)
    return folder / "site"


@pytest.fixture(scope="session")
def talked(tmp_path_factory) -> Path:
    """The page of one row, with the transcripts of conversations in which everybody says `HOSTILE`."""
    folder = tmp_path_factory.mktemp("talked")
    log, record, rows = logged_record(folder, HOSTILE)
    write(record, rows, folder / "records")
    build(folder / "records", folder / "site", logs={record.log.sha256: log})
    return folder / "site"


@pytest.fixture
def open_page(chromium):
    """Opens a file of a site; afterwards nothing may have gone wrong, and nothing may have been asked for outside."""
    opened, wrong = [], []

    def open_file(path: Path, fragment: str = "", root: Path | None = None, **options):
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}, "accept_downloads": True}
                                          | options))
        page = context.new_page()
        home = (root or path.parent).as_uri()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: None if request.url.startswith((home, "data:", "blob:")) else
                wrong.append(f"request: {request.url}"))
        page.goto(path.as_uri() + fragment)
        opened.append(context)
        return page

    yield open_file
    for context in opened:
        context.close()
    assert wrong == []
