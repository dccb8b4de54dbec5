"""Measurements over a grid of doses: means in the fixed order, 95% intervals, and resampled mean curves.

Main objects: `Curves`, `Interval`, `interval`, `resampled_means`, `mean_known`.
Example: `interval(Curves((0, 1), ("a", "a"), ("a", "a"), values_CG), g=0)`

Who an interval speaks for is its `scope`. From three units (objective with twin) on it is other organisms: means over
units, Student-t below 8 and BCa from 8 on (SCORING, "Averaging and statistics"). Below that it is these organisms
trained anew: the spread over seeds within each.

Shapes by suffix: C curves, one per (organism, seed); G doses of the grid; U units; S resamples; X any columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import stats

from ..graders import averages
from ..graders.averages import LEVEL, SEED

MIN_UNITS = 3
"""With fewer units, intervals speak for these organisms and not for others."""
Scope = Literal["organisms", "seeds"]


@dataclass(frozen=True)
class Curves:
    """Measurements of one quantity: a row per (organism, seed), a column per dose (ascending), NaN where one failed."""

    doses: tuple[float, ...]
    organisms: tuple[str, ...]
    units: tuple[str, ...]
    values_CG: np.ndarray

    def __post_init__(self) -> None:
        if self.values_CG.shape != (len(self.organisms), len(self.doses)) or len(self.units) != len(self.organisms):
            raise ValueError(f"curves: values of shape {self.values_CG.shape} for {len(self.organisms)} rows, "
                             f"{len(self.units)} units and {len(self.doses)} doses")
        if len(self.doses) < 2 or any(a >= b for a, b in zip(self.doses, self.doses[1:], strict=False)):
            raise ValueError(f"curves: doses {self.doses} must be ascending, at least two")

    @property
    def scope(self) -> Scope:
        """Whom intervals speak for."""
        return "organisms" if len(self.unit_names) >= MIN_UNITS else "seeds"

    @cached_property
    def unit_names(self) -> tuple[str, ...]:
        """Each unit once, in the order of the rows."""
        return tuple(dict.fromkeys(self.units))

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Organism -> its row numbers, one a seed."""
        return {name: np.flatnonzero(np.asarray(self.organisms) == name) for name in dict.fromkeys(self.organisms)}

    @cached_property
    def n_known(self) -> np.ndarray:
        """Cells that were measured at each dose."""
        return np.isfinite(self.values_CG).sum(axis=0)

    @property
    def degrees(self) -> int:
        """Degrees of freedom of seeds within organisms."""
        return len(self.organisms) - len(self.rows)

    def members(self, values_CX: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Organism -> mean over its seeds, of other columns than the curves' own if given."""
        values_CX = self.values_CG if values_CX is None else values_CX
        return {name: mean_known(values_CX[rows]) for name, rows in self.rows.items()}

    def pooled(self, members: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mean over organisms, then units, of one array an organism."""
        return mean_known(np.array(list(self.by_unit(members).values())))

    def by_unit(self, members: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Unit -> mean over its organisms."""
        unit_of = dict(zip(self.organisms, self.units, strict=True))
        return {unit: mean_known(np.array([value for name, value in members.items() if unit_of[name] == unit]))
                for unit in self.unit_names}

    @cached_property
    def mean_G(self) -> np.ndarray:
        """Mean over seeds, then organisms, then units, leaving out what is missing."""
        return self.pooled(self.members())


@dataclass(frozen=True)
class Interval:
    """A 95% interval and how it was made."""

    low: float
    high: float
    kind: Literal["Student-t", "BCa", "bootstrap"]
    scope: Scope


def interval(curves: Curves, g: int) -> Interval | None:
    """95% interval of the mean at dose number `g`, in the curves' scope; None where it cannot be known."""
    column_C1 = curves.values_CG[:, g:g + 1]
    if curves.scope == "organisms":
        return over_units([float(value[0]) for value in curves.by_unit(curves.members(column_C1)).values()])
    strata = {name: column_C1[rows, 0][np.isfinite(column_C1[rows, 0])] for name, rows in curves.rows.items()}
    strata = {name: values for name, values in strata.items() if len(values)}
    degrees = sum(len(values) - 1 for values in strata.values())
    if degrees < 1:
        return None
    # One variance for all organisms, so that a few seeds each still give a usable number of degrees of freedom.
    variance = sum(((values - values.mean())**2).sum() for values in strata.values()) / degrees
    weights = _weights(curves, strata)
    error = math.sqrt(variance * sum(weights[name]**2 / len(values) for name, values in strata.items()))
    half = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error
    return Interval(float(curves.mean_G[g]) - half, float(curves.mean_G[g]) + half, "Student-t", "seeds")


def over_units(values: Sequence[float]) -> Interval | None:
    """95% interval of a mean over units: BCa; Student-t below 8 or without spread; None for fewer than two."""
    found = averages.interval([float(value) for value in values if math.isfinite(value)])
    return found and Interval(found.low, found.high, found.kind, "organisms")


def resampled_means(curves: Curves, n_resamples: int) -> np.ndarray:
    """Mean curves means_SG of resampled whole curves: units in scope `organisms`, each organism's seeds in `seeds`.

    Curves of the same rows are resampled alike. Of n, n - 1 are drawn with replacement (Rao and Wu 1988): drawing n
    understates the variance of a few by (n - 1) / n. Deviations from the observed mean are widened by Student's t over
    the normal quantile, as for any few measurements; without that, intervals from 2 x 3 curves held the truth in 84% of
    simulated sweeps. No rows (S = 0) where nothing can be resampled.
    """
    rng, members = np.random.default_rng(SEED), curves.members()
    if curves.scope == "organisms":
        units_UG = np.array(list(curves.by_unit(members).values()))
        n = len(units_UG)
        drawn_SG = mean_known(units_UG[rng.integers(n, size=(n - 1, n_resamples))])
        return curves.mean_G + widening(n - 1) * (drawn_SG - curves.mean_G)
    if curves.degrees < 1:
        return np.empty((0, len(curves.doses)))
    drawn = {}
    for name, rows in curves.rows.items():
        drawn[name] = mean_known(curves.values_CG[rows[rng.integers(len(rows), size=(max(1, len(rows) - 1),
                                                                                     n_resamples))]])
    return curves.mean_G + widening(curves.degrees) * (curves.pooled(drawn) - curves.mean_G)


def widening(degrees: int) -> float:
    """Student's t over the normal quantile of a 95% interval."""
    quantile = (1 + LEVEL) / 2
    return float(stats.t.ppf(quantile, degrees) / stats.norm.ppf(quantile))


def mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _weights(curves: Curves, names: Mapping[str, object]) -> dict[str, float]:
    """What the mean of each of these organisms weighs in the mean over units."""
    unit_of = dict(zip(curves.organisms, curves.units, strict=True))
    sizes = {unit: sum(unit_of[name] == unit for name in names) for unit in {unit_of[name] for name in names}}
    return {name: 1 / (len(sizes) * sizes[unit_of[name]]) for name in names}
