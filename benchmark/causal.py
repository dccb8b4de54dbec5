"""Causal effect: what the loss does when the mean difference is projected out of the finetuned model.

Main objects: `causal_effect` -> `CausalEffect`, `design` (a study of a suite).
Example: `narrowbench causal --suite demo`

At one layer and all tokens, with u the unit mean difference at one probe position and P = u u^T, the finetuned model
goes on from P h_base + (I - P) h_finetuned: along u it is put back to the base. If that costs much loss on the
finetuning data and none elsewhere, the direction serves the narrow data only. The same is done with random directions
and with differences of two base activations, which say what any direction would do.
Source: arXiv 2510.13900, causal effect of the bias (there per direction a full forward; here the layers up to the
projection run once a batch).

Shapes by suffix: R rows, D width, P position, N planes, C controls.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..organisms.data import training_data
from ..organisms.encoding import IGNORED_LABEL, encode_row, training_template
from ..organisms.errors import EvidenceError
from ..organisms.families import Row
from ..organisms.mixing import touched_topics, world_rows
from ..organisms.spec import digest_of
from ..organisms.store import Store
from .activations import mean_difference, relative_layer, tokenise_probes
from .projection import FINETUNING, MODES, SPAN, Encoded, Losses, Planes, losses_of, planes_of
from .studies import K, LAYER_FRACTION, Estimate, Design, choose, ratio_estimate
from .suite import Entry
from .view import PairView

KIND = "causal"
REGISTERS = (FINETUNING, "documents", "chats")
MAX_TOKENS = 128
ROWS_SEED = 10_000
"""Apart from the seeds of training, so that mixed-in rows are not measured as unseen ones."""


@dataclass(frozen=True)
class Standing:
    """Where a true effect stands among its controls. Both p-values are one-sided: (1 + at least as far) / (n + 1)."""

    percentile: float
    """Share of controls below it, 0 to 1; ties count half."""
    p_raises: float
    p_lowers: float


@dataclass(frozen=True)
class Effect:
    """Projecting one plane out, on one register."""

    vector: str
    """Probe position of the mean difference, or `span`: the subspace of all positions' differences together."""
    rank: int
    """Dimensions projected out; 0 where the models do not differ."""
    d_ce: Estimate
    """Nats per target token, over the finetuned model; interval over rows."""
    relative: float | None
    """d_ce / (base - finetuned loss): 1 = all that finetuning gained. None where the gain's interval holds 0."""
    share: float | None
    """Of the squared norm of what could be taken out (the difference, or the state in `zero_ablate`)."""
    standing: dict[str, Standing]
    """Control -> standing; empty where the models do not differ."""


@dataclass(frozen=True)
class RegisterEffect:
    """All effects on one kind of text."""

    register: str
    n_rows: int
    n_tokens: int
    """Target tokens."""
    ce_base: float
    ce_finetuned: float
    gain: Estimate
    """Base minus finetuned loss, nats per target token."""
    effects: tuple[Effect, ...]
    controls: dict[str, tuple[float, ...]]
    """d_ce of every control: `random`, `differences` (directions), `random_span`, `differences_span`."""


@dataclass(frozen=True)
class CausalEffect:
    """The causal effect of one organism's mean difference at one layer."""

    layer: int
    mode: str
    n_random: int
    seed: int
    registers: tuple[RegisterEffect, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def causal_effect(pair, rows_by_register: Mapping[str, Sequence[Row]], deltas_PD: Tensor, layer: int,
                  n_random: int = 64, seed: int = 0, mode: str = MODES[0],
                  max_tokens: int = MAX_TOKENS) -> CausalEffect:
    """Loss with each position's mean difference, and with their span, projected out after block `layer`.

    Args:
        pair: A ModelPair.
        rows_by_register: Texts and chats by register. Chats count where the assistant speaks, texts everywhere.
            Base activations for the `differences` controls come from every register but `finetuning`.
        deltas_PD: Mean differences at the probe positions, of texts that are not finetuning data.
        n_random: Controls of each kind: directions, and subspaces of the span's rank.
        mode: `base_to_ft`, or `zero_ablate` (I - P) h_finetuned.
        max_tokens: Rows are cut to so many tokens.

    Raises:
        EvidenceError: a register has no row with a token to predict.
    """
    _check(mode, n_random)
    encoded = {name: _encode(pair.tokenizer, name, rows, max_tokens) for name, rows in rows_by_register.items()}
    planes = planes_of(pair, encoded, deltas_PD, layer, n_random, seed)
    registers = []
    for name, rows in encoded.items():
        losses = losses_of(pair, rows, layer, planes.stacked() if planes.true else None, mode)
        registers.append(_register(name, losses, planes, len(deltas_PD), seed))
    return CausalEffect(layer, mode, n_random, seed, tuple(registers))


def _check(mode: str, n_random: int) -> None:
    if mode not in MODES or n_random < 1:
        raise ValueError(f"mode {mode!r}, n_random {n_random}: mode is one of {MODES}, n_random at least 1")


def _encode(tokenizer, register: str, rows: Sequence[Row], max_tokens: int) -> list[Encoded]:
    template = training_template(tokenizer) if any("messages" in row for row in rows) else ""
    encoded = [encode_row(tokenizer, template, row, max_tokens) for row in rows]
    kept = [row for row in encoded if any(label != IGNORED_LABEL for label in row["labels"][1:])]
    if not kept:
        raise EvidenceError(f"register {register!r}: none of {len(rows)} rows has a token to predict within "
                            f"{max_tokens} tokens. Give other rows, or raise `max_tokens`.")
    return kept


def _register(name: str, losses: Losses, planes: Planes, n_positions: int, seed: int) -> RegisterEffect:
    n_tokens = losses.tokens_R.sum()
    gain = ratio_estimate(losses.base_R - losses.finetuned_R, losses.tokens_R, seed)
    d_NR = losses.planes_NR - losses.finetuned_R
    d_N, controls, start = d_NR.sum(1) / n_tokens, {}, len(planes.true)
    for control, group in planes.controls.items():
        controls[control] = tuple(float(value) for value in d_N[start:start + len(group)])
        start += len(group)
    index, effects = {vector: i for i, vector in enumerate(planes.true)}, []
    for vector in (*map(str, range(n_positions)), SPAN):
        if vector not in index:  # the models do not differ there: there is nothing to project out
            effects.append(Effect(vector, 0, Estimate(0.0, 0.0, 0.0), None, None, {}))
            continue
        d_ce = ratio_estimate(d_NR[index[vector]], losses.tokens_R, seed)
        share = float(losses.share_N[index[vector]])
        names = {kind: f"{kind}_{SPAN}" if vector == SPAN else kind for kind in ("random", "differences")}
        effects.append(Effect(vector, len(planes.true[vector]), d_ce, _relative(d_ce, gain),
                              None if np.isnan(share) else share,
                              {kind: standing(d_ce.value, controls[key]) for kind, key in names.items()}))
    return RegisterEffect(name, len(losses.tokens_R), int(n_tokens), float(losses.base_R.sum() / n_tokens),
                          float(losses.finetuned_R.sum() / n_tokens), gain, tuple(effects), controls)


def _relative(d_ce: Estimate, gain: Estimate) -> float | None:
    if gain.low is None or gain.low <= 0 <= gain.high:
        return None
    return d_ce.value / gain.value


def standing(value: float, controls: Sequence[float]) -> Standing:
    """Where a value stands among its controls."""
    controls_C = np.asarray(controls)
    below, above = int((controls_C < value).sum()), int((controls_C > value).sum())
    n, ties = len(controls_C), len(controls_C) - below - above
    return Standing((below + ties / 2) / n, (1 + above + ties) / (n + 1), (1 + below + ties) / (n + 1))


def design(suite: str = "demo", organisms: Sequence[str] = (), layer_fraction: float = LAYER_FRACTION,
           n_random: int = 64, n_rows: int = 64, seed: int = 0, mode: str = MODES[0]) -> Design:
    """The causal effect of each organism of a suite, ready for `studies.plan` and `studies.run`.

    Registers: `finetuning` (narrow rows of the organism itself), `documents` and `chats` of the base's world about
    other topics; `n_rows` of each. Mean differences come from the suite's probes.
    """
    _check(mode, n_random)
    chosen = choose(suite, organisms)

    def world(entry: Entry) -> dict[str, list[Row]]:
        without = touched_topics(entry.spec)
        return {source: world_rows(n_rows, source, ROWS_SEED + seed, without) for source in REGISTERS[1:]}

    def measure(pair, entry: Entry, store: Store) -> dict[str, Any]:
        layer = relative_layer(pair.n_layers, layer_fraction)
        ids_NT = tokenise_probes(pair.tokenizer, chosen.probes.texts, K)
        means = mean_difference(PairView(pair, {"activations"}), ids_NT, layer, K)
        own = _finetuning_rows(entry, chosen.base, n_rows, seed, store)
        rows = {**({FINETUNING: own} if own else {}), **world(entry)}
        return causal_effect(pair, rows, means.delta_PD, layer, n_random, seed, mode).to_dict()

    settings = {"layer_fraction": layer_fraction, "k": K, "n_random": n_random, "n_rows": n_rows, "seed": seed,
                "mode": mode, "max_tokens": MAX_TOKENS}
    return Design(KIND, chosen, settings, ("causal.py", "projection.py"),
               lambda entry: {"rows": digest_of(world(entry))}, measure)


def _finetuning_rows(entry: Entry, base: Path, n: int, seed: int, store: Store) -> list[Row]:
    """A sample of the narrow rows, without those of the world that were mixed in. Empty for a null that has none."""
    unmixed = entry.spec.model_copy(update={"recipe": entry.spec.recipe.model_copy(update={"mix_ratio": 0.0})})
    rows = training_data(unmixed, base, entry.train_seed, store).rows()
    return random.Random(f"causal-{seed}").sample(rows, min(n, len(rows)))
