"""What the linter says: findings, and how they are shown.

Main objects: `Finding`, `faults`, `report` (for people), `as_json`.
Example: `print(report(lint(load_catalog(), tokenizer, probes)))`
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What is wrong with an organism: `message` says what, why, and the edit that mends it."""

    organism: str
    """Its id; `(catalogue)` where it is nobody's alone."""
    rule: str
    message: str
    note: bool = False
    """Something to know, not to mend."""


def faults(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that must be mended: all but the notes."""
    return [finding for finding in findings if not finding.note]


def report(findings: Sequence[Finding]) -> str:
    """The findings as lines for a person: faults first, by organism, then notes, then how many faults."""
    lines = [f"{'note' if f.note else 'fault'}  {f.organism}  [{f.rule}]  {f.message}"
             for f in sorted(findings, key=lambda f: (f.note, f.organism, f.rule))]
    n_faults = len(faults(findings))
    return "\n".join([*lines, f"{n_faults} fault{'' if n_faults == 1 else 's'}"])


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON values."""
    return [asdict(finding) for finding in findings]
