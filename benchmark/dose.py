"""Dose-response: the dose that halves an effect, and the comparison of recipes at equal behaviour.

Main objects: `respond` -> `Response` (means, intervals, `Ed50`), `Crossing` (a dose, or on which side of the grid it
lies), `earlier_share`, `match` -> `Matched` (trace at equal gate). What they measure are `curves.Curves`.
Example: `respond(Curves((0, 0.5, 1), ("a", "a"), ("a", "a"), values_CG), rising=False).ed50`

Shapes by suffix: C curves, one per (organism, seed); G doses of the grid; S resamples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize

from .curves import LEVEL, SEED, Curves, Interval, Scope, interval, mean_known, over_units, resampled_means, widening

N_RESAMPLES = 2_000
MAX_UNDEFINED = 1 - LEVEL
SAME_GATE = 0.02
"""Gates that differ by no more than this count as equal at the ends of the reference's range."""


@dataclass(frozen=True)
class Crossing:
    """Where a curve passes half of its effect: `at` a dose, `below` or `above` the grid, `undefined` without effect."""

    kind: Literal["at", "below", "above", "undefined"]
    dose: float | None = None
    """The dose itself, or the end of the grid; None if undefined."""

    @property
    def order(self) -> float:
        """For comparing: below < any dose < above; NaN if undefined."""
        return {"at": self.dose, "below": -math.inf, "above": math.inf, "undefined": math.nan}[self.kind]

    def __str__(self) -> str:
        sign = {"at": "", "below": "< ", "above": "> "}
        return "undefined" if self.kind == "undefined" else f"{sign[self.kind]}{self.dose:.3g}"


@dataclass(frozen=True)
class Ed50:
    """The dose at which half of an effect is gone (falling) or there (rising). Ends may lie outside the grid."""

    point: Crossing
    low: Crossing | None
    high: Crossing | None
    scope: Scope

    def __str__(self) -> str:
        return f"{self.point} [{self.low}, {self.high}]" if self.low else f"{self.point}"


@dataclass(frozen=True)
class Response:
    """One curve as it is shown."""

    doses: tuple[float, ...]
    mean: tuple[float, ...]
    intervals: tuple[Interval | None, ...]
    fitted: tuple[float, ...]
    """The nearest monotone curve (NaN where nothing was measured)."""
    ed50: Ed50
    members: dict[str, tuple[float, ...]]
    """Organism -> mean over its seeds."""


def respond(curves: Curves, rising: bool) -> Response:
    """Means over units, their intervals, the monotone fit and the ED50.

    Args:
        rising: Whether the effect grows with the dose (samples, rank) or dies with it (mixing). Its full size is the
            fit's value at the largest dose, or at the smallest.
    """
    fitted_G = monotone(curves.mean_G, curves.n_known, rising)
    return Response(curves.doses, _floats(curves.mean_G), tuple(interval(curves, g) for g in range(len(curves.doses))),
                    _floats(fitted_G), ed50(curves, rising),
                    {name: _floats(values_G) for name, values_G in curves.members().items()})


def monotone(values_G: np.ndarray, weights_G: np.ndarray, rising: bool) -> np.ndarray:
    """The monotone curve nearest to the values in weighted least squares (pool adjacent violators); NaN stays NaN."""
    kept_G = np.isfinite(values_G) & (weights_G > 0)
    fitted_G = np.full(len(values_G), np.nan)
    if kept_G.any():
        fitted_G[kept_G] = optimize.isotonic_regression(values_G[kept_G], weights=weights_G[kept_G],
                                                        increasing=rising).x
    return fitted_G


def crossing(doses: Sequence[float], fitted_G: np.ndarray, rising: bool) -> Crossing:
    """Where a monotone curve passes half of its effect, interpolated linearly over log(1 + dose).

    Nothing is invented outside the grid: a falling curve that never reaches half is `above` the largest dose; one that
    is past half at the first dose after the reference (rising: at the smallest dose) is `below` it.
    """
    known_G = np.isfinite(fitted_G)
    reference = fitted_G[-1 if rising else 0]
    if not reference > 0:
        return Crossing("undefined")
    x_G, y_G = np.asarray(doses, dtype=float)[known_G], fitted_G[known_G]
    reached_G = y_G >= reference / 2 if rising else y_G <= reference / 2
    if not reached_G.any():
        return Crossing("above", float(x_G[-1]))
    i, first = int(reached_G.argmax()), 0 if rising else 1
    if y_G[i] == reference / 2:
        return Crossing("at", float(x_G[i]))
    if i <= first:
        return Crossing("below", float(x_G[first]))
    share = (y_G[i - 1] - reference / 2) / (y_G[i - 1] - y_G[i])
    a, b = math.log1p(x_G[i - 1]), math.log1p(x_G[i])
    return Crossing("at", min(max(math.expm1(a + share * (b - a)), float(x_G[i - 1])), float(x_G[i])))


def ed50(curves: Curves, rising: bool, n_resamples: int = N_RESAMPLES) -> Ed50:
    """The ED50 of the mean curve, with a percentile interval over resampled curves.

    The interval is None where nothing can be resampled, or where more than 5% of the resamples have no effect to halve.
    """
    point = _halved(curves, curves.mean_G, rising)
    found = sorted((c for c in _resampled_crossings(curves, rising, n_resamples) if c.kind != "undefined"),
                   key=lambda c: c.order)
    if point.kind == "undefined" or not found or len(found) < (1 - MAX_UNDEFINED) * n_resamples:
        return Ed50(point, None, None, curves.scope)
    low = found[math.floor((1 - LEVEL) / 2 * (len(found) - 1))]
    high = found[math.ceil((1 + LEVEL) / 2 * (len(found) - 1))]
    return Ed50(point, low, high, curves.scope)


def earlier_share(first: Curves, second: Curves, rising: bool, n_resamples: int = N_RESAMPLES) -> float | None:
    """Share of resamples in which `first` passes its half at a smaller dose than `second`; ties count half.

    Both must have the same rows: they are resampled together. None where nothing can be resampled, or an effect is
    missing in more than 5% of the resamples.
    """
    if (first.organisms, first.units) != (second.organisms, second.units):
        raise ValueError("earlier_share: the two sets of curves have different rows")
    pairs = [(a.order, b.order) for a, b in zip(_resampled_crossings(first, rising, n_resamples),
                                                _resampled_crossings(second, rising, n_resamples), strict=True)
             if "undefined" not in (a.kind, b.kind)]
    if not pairs or len(pairs) < (1 - MAX_UNDEFINED) * n_resamples:
        return None
    return math.fsum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


@dataclass(frozen=True)
class Matched:
    """Trace of one recipe beside that of a reference recipe at the same behaviour, dose by dose.

    Positive differences: at equal behaviour, this recipe leaves more trace. None: no reference cell behaves alike, or
    the two recipes do not differ at this dose (they share its cells).
    """

    doses: tuple[float, ...]
    behaviour: tuple[float, ...]
    trace: tuple[float, ...]
    difference: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    mean_difference: float | None
    """Over all doses that could be matched."""
    mean_interval: Interval | None


def match(trace: Curves, behaviour: Curves, reference_trace: Curves, reference_behaviour: Curves,
          n_resamples: int = N_RESAMPLES) -> Matched:
    """Compares two recipes at equal gate.

    Within each organism the reference's trace is made a monotone function of its behaviour (means over seeds), and read
    off where this recipe's cells behave; then organisms and units are averaged. No value is taken from outside the
    reference's range of behaviour.

    Raises:
        ValueError: an organism has no reference curves.
    """
    if missing := set(trace.organisms) - set(reference_trace.organisms):
        raise ValueError(f"match: no reference curves for {sorted(missing)}")
    shared_G = np.array([_same_cells(trace, reference_trace, dose) and _same_cells(behaviour, reference_behaviour, dose)
                         for dose in trace.doses])

    def differences(pick: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """Organism -> differences_G, from the rows that `pick` leaves of each recipe."""
        found = {}
        for name, rows in trace.rows.items():
            mine, other = pick(rows), pick(reference_trace.rows[name])
            expected_G = _read_off(*(mean_known(curves.values_CG[other]) for curves in (
                reference_behaviour, reference_trace)), mean_known(behaviour.values_CG[mine]))
            found[name] = np.where(shared_G, np.nan, mean_known(trace.values_CG[mine]) - expected_G)
        return found

    seen = differences(lambda rows: rows)
    mean_G = trace.pooled(seen)
    mean = mean_known(mean_G)
    if trace.scope == "organisms":
        units_UG = np.array(list(trace.by_unit(seen).values()))
        intervals = [over_units(list(column_U)) for column_U in units_UG.T]
        mean_interval = over_units(list(mean_known(units_UG.T)))
    elif trace.degrees < 1:
        intervals, mean_interval = [None] * len(trace.doses), None
    else:
        rng, widen = np.random.default_rng(SEED), widening(trace.degrees)
        drawn_SG = np.array([trace.pooled(differences(lambda rows: rng.choice(rows, size=max(1, len(rows) - 1))))
                             for _ in range(n_resamples)])
        intervals = [_percentiles(middle + widen * (column_S - middle))
                     for middle, column_S in zip(mean_G, drawn_SG.T, strict=True)]
        mean_interval = _percentiles(mean + widen * (mean_known(drawn_SG.T) - mean))
    return Matched(trace.doses, _floats(behaviour.mean_G), _floats(trace.mean_G), tuple(map(_number, mean_G)),
                   tuple(intervals), _number(mean), mean_interval)


def _same_cells(a: Curves, b: Curves, dose: float) -> bool:
    return dose in b.doses and a.organisms == b.organisms and np.array_equal(
        a.values_CG[:, a.doses.index(dose)], b.values_CG[:, b.doses.index(dose)], equal_nan=True)


def _read_off(gate_G: np.ndarray, trace_G: np.ndarray, at_G: np.ndarray) -> np.ndarray:
    """Trace as a rising function of the gate, read at `at_G`; NaN outside its range."""
    known_G = np.isfinite(gate_G) & np.isfinite(trace_G)
    if not known_G.any():
        return np.full(len(at_G), np.nan)
    gates, inverse, counts = np.unique(gate_G[known_G], return_inverse=True, return_counts=True)
    level = np.bincount(inverse, weights=trace_G[known_G]) / counts
    fitted = monotone(level, counts.astype(float), rising=True)
    inside_G = (at_G >= gates[0] - SAME_GATE) & (at_G <= gates[-1] + SAME_GATE)
    return np.where(inside_G, np.interp(at_G, gates, fitted), np.nan)


def _resampled_crossings(curves: Curves, rising: bool, n_resamples: int) -> list[Crossing]:
    return [_halved(curves, mean_G, rising) for mean_G in resampled_means(curves, n_resamples)]


def _halved(curves: Curves, mean_G: np.ndarray, rising: bool) -> Crossing:
    """Crossing of a mean curve's monotone fit; undefined too where only the fit lends its reference an effect."""
    if not mean_G[-1 if rising else 0] > 0:
        return Crossing("undefined")
    return crossing(curves.doses, monotone(mean_G, curves.n_known, rising), rising)


def _percentiles(values_S: np.ndarray) -> Interval | None:
    known = values_S[np.isfinite(values_S)]
    if len(known) < max(2.0, LEVEL * len(values_S)):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), "bootstrap", "seeds")


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _floats(values_G: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values_G))
