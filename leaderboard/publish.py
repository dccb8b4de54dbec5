"""Logs in, page out: each log becomes a record if it may, and the page is built from all records there are.

Main object: `publish(logs, records_dir, out_dir) -> PublishResult`.
Example: `narrowbench publish logs/*.eval`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..organisms.errors import RecordError
from .archive import write
from .collect import collect
from .site import build


@dataclass(frozen=True)
class PublishResult:
    """What became of each log. `skipped` and `left_out` pair a log, or an older record, with the reason."""

    page: Path | None
    """None when there is no record at all, so nothing to show."""
    written: tuple[Path, ...]
    reused: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]
    left_out: tuple[tuple[Path, str], ...]


def publish(logs: Sequence[Path], records_dir: Path, out_dir: Path) -> PublishResult:
    """Adds a record for each log that may be published, then builds the page.

    A log that fails is named in `skipped` and the others go on. Records are only ever added; publishing a log twice
    finds its record again.
    """
    written, reused, skipped = [], [], []
    for log in logs:
        try:
            path, new = write(*collect(log), records_dir)
        except RecordError as error:
            skipped.append((log, str(error)))
        else:
            (written if new else reused).append(path)
    try:
        site = build(records_dir, out_dir)
    except RecordError as error:
        if written or reused:
            raise
        return PublishResult(None, (), (), tuple(skipped), ((records_dir, str(error)),))
    return PublishResult(site.page, tuple(written), tuple(reused), tuple(skipped), site.left_out)
