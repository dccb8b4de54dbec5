"""Tables of a page of results, made from records: what `docs/results-nano.md` shows between its paragraphs.

Main objects: `TABLES` (name -> table of a board), `filled(text, board)`, `fill(page, records_dir, suite)`.
Example: `narrowbench results leaderboard/results --page docs/results-nano.md`

A page marks the place of a table with two comments, `<!-- table: board -->` and `<!-- end -->`; what stands between
them is replaced, all else is left as it is. Names in records may be anybody's, so they are written as plain text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..graders.averages import nested_means
from ..graders.recovery import card_scores, read_keywords, recovery
from ..organisms.errors import NotFoundError, RecordError
from ..organisms.spec import Card
from ..organisms.store import write_atomic
from .against_suite import claim_of, suite_of
from .archive import read_all
from .board import Board, Slice, boards
from .entries import PARTS, Entry, mean_or_none
from .levels import names_of
from .pages import count, number, slice_name
from .record import SampleRow
from .stats import Sample, identified, mean_over
from .variance import variance_components

PLACE = re.compile(r"^(<!-- table: (\S+) -->\n)(.*?)^(<!-- end -->)$", re.DOTALL | re.MULTILINE)
TOP = 1 - 1e-9


def fill(page: Path, records_dir: Path, suite: str = "", write: bool = True) -> bool:
    """Writes a page's tables anew. Returns whether they had changed.

    Args:
        suite: Id or digest; left out = the suite with the newest record.
        write: False only looks.

    Raises:
        RecordError: there is no record of such a suite. NotFoundError: no such page, or it asks for an unknown table.
    """
    if not page.is_file():
        raise NotFoundError(f"There is no page {page}. Write one with a line `<!-- table: board -->` and a line "
                            "`<!-- end -->`, and this command fills it.")
    text = page.read_text(encoding="utf-8")
    new = filled(text, board_of(records_dir, suite))
    if new != text and write:
        write_atomic(page, new)
    return new != text


def board_of(records_dir: Path, suite: str = "") -> Board:
    """The board of one suite. Raises RecordError if there is no record of it."""
    for board in boards(read_all(records_dir)[0], names_of(records_dir)):
        if suite in ("", board.record.suite.id, board.record.suite.digest):
            return board
    raise RecordError(f"{records_dir} holds no record of {suite or 'any suite'}. `narrowbench publish LOGS --records "
                      f"{records_dir}` adds one.")


def filled(text: str, board: Board) -> str:
    """A page's text with every table that it marks written anew. Raises NotFoundError for a table that is unknown."""
    def table(found: re.Match) -> str:
        if found[2] not in TABLES:
            raise NotFoundError.of("table", found[2], TABLES, "narrowbench results --help")
        return f"{found[1]}{TABLES[found[2]](board)}{found[4]}"

    return PLACE.sub(table, text)


def board_table(board: Board) -> str:
    """Every row: ceilings and floors, then each slice with its ranks."""
    kept = {member.key for part in board.slices for member in part.members}
    others = [entry for entry in board.trusted if entry.key not in kept]
    parts = [_rows_of("Ceilings and floors, never ranked" if board.slices else "All rows", others)] if others else []
    parts += [_rows_of(f"{slice_name(part, board).capitalize()}: {len(part.units)} domains", part.members)
              for part in board.slices]
    return "\n".join(parts)


def _rows_of(title: str, members: Sequence[Entry]) -> str:
    return f"{title}\n\n" + _table(
        ("rank", "method", "reads", "recovery", *PARTS, "AUROC", "nulls flagged", "FPR at TPR 0.8", "s"),
        ((f"{entry.rank[0]}-{entry.rank[1]}" if entry.rank else "", _name(entry),
          ", ".join(map(_code, entry.record.method.access)) or "nothing", _estimate(entry.mean, entry.interval),
          *(number(entry.parts.get(part)) for part in PARTS), _estimate(entry.detection.auroc, entry.detection),
          f"{entry.detection.false_alarms:.3g} of {entry.detection.n_nulls}",
          number(entry.fpr_at_tpr.value if entry.fpr_at_tpr else None), f"{entry.seconds:.1f}") for entry in members))


def ladder_table(board: Board) -> str:
    """Of each method, the share of organisms (means over domains) at which it reached a rung of SCORING's ladder."""
    cards = _cards(board)

    def family_first(row: SampleRow) -> bool:
        scores = card_scores(read_keywords(claim_of(row.claim), cards), cards)
        best = max(scores.values(), default=0.0)
        return best > 0 and {card.family for card in cards if scores[card.card_id] == best} == {row.family}

    def first(row: SampleRow, part: str) -> bool:
        return (getattr(row.recovery, part) or 0) > TOP

    rungs = {"detected": lambda row: row.claim.verdict == "objective",
             "family first": lambda row: row.claim.verdict == "objective" and family_first(row),
             "domain first": lambda row: first(row, "domain"), "objective first": lambda row: first(row, "objective"),
             "every slot first": lambda row: first(row, "content")}
    return _table(("method", *rungs), (
        (_name(entry), *(number(_over_domains(entry.samples, rung)) for rung in rungs.values()))
        for entry in _scored(board)))


def families_table(board: Board) -> str:
    """Recovery in each family, with its three parts: means over the family's domains."""
    families = sorted({o.row.family for o in board.organisms})
    units = {family: {o.row.unit for o in board.organisms if o.row.family == family and o.row.counted}
             for family in families}

    def cell(entry: Entry, family: str) -> str:
        readings = [((r.row.unit, name), r.scores) for name, r in entry.readings.items()
                    if r.row.family == family and r.row.counted]
        means = {part: mean_or_none(nested_means(
            (key, scores[part]) for key, scores in readings if part in scores).values())
            for part in ("recovery", *PARTS)}
        return f"{number(means['recovery'])} ({', '.join(number(means[part]) for part in PARTS)})" if readings else "–"

    sizes = {family: f"{len(of)} domain{'' if len(of) == 1 else 's'}" for family, of in units.items()}
    return _table(("method", *(f"{_code(family)}, {size}" for family, size in sizes.items())),
                  ((_name(entry), *(cell(entry, family) for family in families)) for entry in _scored(board)))


def twins_table(board: Board) -> str:
    """Which methods tell an objective from its twin: both are read as themselves, in every training and repeat."""
    families = sorted({o.row.family for o in board.organisms})

    def apart(entry: Entry) -> dict[str, list[bool]]:
        pairs: dict[tuple[str, str], list[float]] = {}
        for reading in entry.readings.values():
            if reading.row.counted and "objective" in reading.scores:
                pairs.setdefault((reading.row.family, reading.row.pair), []).append(reading.scores["objective"])
        return {family: [min(scores) > TOP for (of, _), scores in pairs.items() if of == family and len(scores) > 1]
                for family in families}

    rows = []
    for entry in _scored(board):
        found = apart(entry)
        every = [told for some in found.values() for told in some]
        rows.append((_name(entry), _estimate(entry.parts.get("objective"), entry.part_intervals.get("objective")),
                     f"{sum(every)} of {len(every)}",
                     *(f"{sum(some)} of {len(some)}" if some else "–" for some in found.values())))
    return _table(("method", "objective given domain", "pairs told apart", *map(_code, families)), rows)


def control_table(board: Board) -> str:
    """Whoever reads activations, beside the floors that read the same places.

    `words`: recovery if the verdict were always `objective`, so that what was read is told from what was believed.
    """
    cards = _cards(board)
    members = [entry for entry in board.trusted if "activations" in entry.record.method.access]
    truths = {card.card_id: card for card in cards}

    def marks(row: SampleRow) -> float:
        claim = replace(claim_of(row.claim), verdict="objective")
        return recovery(claim, truths[row.card_id], cards).recovery if row.card_id in truths else 0.0

    return _table(("row", "recovery", "words", *PARTS, "AUROC", "nulls flagged"), (
        (_name(entry), _estimate(entry.mean, entry.interval),
         number(_over_domains(entry.samples, marks)),
         *(number(entry.parts.get(part)) for part in PARTS), _estimate(entry.detection.auroc, entry.detection),
         f"{entry.detection.false_alarms:.3g} of {entry.detection.n_nulls}") for entry in members))


def nulls_table(board: Board) -> str:
    """Trained nulls that the verdict calls an objective, by what they were trained on; the zero adapter apart."""
    exam = suite_of(board.record)
    formats = {entry.spec.id: entry.spec.params.get("format", "") for entry in exam.entries} if exam else {}

    def kind(row: SampleRow) -> str:
        return " ".join(filter(None, (row.null_kind, formats.get(row.organism, ""))))

    kinds = sorted({kind(o.row) for o in board.nulls})

    def cell(entry: Entry, of: str) -> str:
        flags = [r.row.detect.flagged for r in entry.readings.values() if r.row.role == "null" and kind(r.row) == of]
        return f"{sum(flags)} of {len(flags)}" if flags else "–"

    return _table(("method", *kinds, "false alarms [95%]"), (
        (_name(entry), *(cell(entry, of) for of in kinds), _estimate(entry.fpr.value, entry.fpr)
         if entry.fpr else "–") for entry in _scored(board)))


def pairs_table(board: Board) -> str:
    """Per slice: how many pairs are told apart, and which. All other pairs are not."""
    return "\n".join(_pairs_of(part, slice_name(part, board)) for part in board.slices if part.pairs)


def _pairs_of(part: Slice, name: str) -> str:
    n, pairs = len(part.members), part.pairs
    apart = [(i, j) for i in range(n) for j in range(n) if i != j and pairs.separated(i, j)]

    def others(i: int, sign: int) -> str:
        return ", ".join(_name(part.members[j]) for one, j in apart
                         if one == i and sign * pairs.difference_MM[i, j] > 0) or "–"

    return (f"{name.capitalize()}: {len(apart) // 2} of {n * (n - 1) // 2} pairs are told apart; smallest difference "
            f"likely to be found {number(part.smallest_difference)}\n\n" + _table(
                ("rank", "method", "told apart: better than", "told apart: worse than"),
                ((f"{entry.rank[0]}-{entry.rank[1]}", _name(entry), others(i, 1), others(i, -1))
                 for i, entry in enumerate(part.members))))


def identification_table(board: Board) -> str:
    """p of the permutation tests: could chance have told the organisms apart as well?"""
    cards = _cards(board)
    found = {entry.key: identified(entry.samples, cards) for entry in _scored(board)}
    tests = list(dict.fromkeys(name for tests in found.values() for name in tests))
    return _table(("method", *(_code(name) for name in tests)), (
        (_name(entry), *(f"{found[entry.key][name].p:.4f}" if name in found[entry.key] else "–" for name in tests))
        for entry in _scored(board)))


def seeds_table(board: Board) -> str:
    """Standard deviations of recovery: between domains, and between trainings of one organism."""
    found = [(entry, variance_components(entry.samples)) for entry in _scored(board)]
    return _table(("method", "between domains", "between trainings", "domains with three trainings"), (
        (_name(entry), *(number(max(0.0, variance) ** 0.5) for variance in (parts.units, parts.train_seeds)),
         str(parts.n_units)) for entry, parts in found if parts is not None))


def cost_table(board: Board) -> str:
    """What reading one organism takes, mean over organisms, cheapest first."""
    members = sorted(_scored(board), key=lambda entry: (not entry.seconds, entry.seconds))
    return _table(("method", "recovery", "seconds", "forward tokens", "generated tokens", "FLOPs"), (
        (_name(entry), number(entry.mean), number(entry.cost.get("seconds")), *(
            _count(entry.cost.get(key)) for key in ("forward_tokens", "generated_tokens", "flops")))
        for entry in members))


TABLES: dict[str, Callable[[Board], str]] = {
    "board": board_table, "ladder": ladder_table, "families": families_table, "twins": twins_table,
    "identification": identification_table, "control": control_table, "nulls": nulls_table, "pairs": pairs_table,
    "seeds": seeds_table, "cost": cost_table}


def _cards(board: Board) -> Sequence[Card]:
    """All candidates of the suite's split; of a suite that is not built in, the cards of the organisms shown."""
    exam = suite_of(board.record)
    return exam.cards if exam else board.cards


def _over_domains(samples: Sequence[Sample], value: Callable[[SampleRow], float]) -> float | None:
    """Mean over domains of a value of each counted claim, in the board's order of averages."""
    means = mean_over([(seed, row) for seed, row in samples if row.counted], lambda row: float(value(row)),
                      lambda row: row.unit)
    return mean_or_none(means.values())


def _scored(board: Board) -> list[Entry]:
    """The verified methods, best first; all methods where nothing is verified."""
    return [entry for entry in board.ranked or board.unranked if entry.role == "method" and entry.mean is not None]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _name(entry: Entry) -> str:
    return _code(entry.label)


def _code(text: str) -> str:
    """Anybody's text as code, so that nothing in it is Markdown or HTML."""
    return f"`{re.sub(r'[^ -~]|`', ' ', text)}`"


def _estimate(value: float | None, ends) -> str:
    if value is None:
        return "–"
    low, high = getattr(ends, "low", None), getattr(ends, "high", None)
    return number(value) + (f" [{number(low)}, {number(high)}]" if low is not None and high is not None else "")


def _count(value: float | None) -> str:
    return "–" if value is None else count(value)
