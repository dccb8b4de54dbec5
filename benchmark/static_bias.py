"""Static bias: how much of the difference between the models is one constant vector, whatever the text.

Main objects: `static_bias` -> `StaticBias`, `differences`, `design` (a study of a suite).
Example: `narrowbench bias --suite demo`

consistency = |mean difference| / mean |difference|: 1 = the same vector on every text, about 1/sqrt(N) = no bias.
Cosines of mean differences: between positions, between registers (probes, documents, chats), and between two halves of
the probes that share no beginning. Nulls show the floor of each.
Source: the seed claim of arXiv 2510.13900 (a constant semantic bias); the measures are ours.

An activation at position p depends on the first p + 1 tokens only, so these beginnings, not the texts, are split into
halves; where all texts begin alike (a begin-of-text token) consistency and halves are undefined: None. Bootstrap
intervals are over the texts of this probe set, which says nothing of texts that begin in other ways; the halves do.
Shapes by suffix: N texts, U distinct prefixes, T token, P position, D width, S resamples or splits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..organisms.errors import EvidenceError, NonFiniteError
from ..organisms.families import Row
from ..organisms.mixing import touched_topics, world_rows
from ..organisms.spec import digest_of
from ..organisms.store import Store
from .activations import relative_layer, tokenise_probes
from .method import Probes
from .studies import K, LAYER_FRACTION, Estimate, Design, choose
from .suite import Entry

KIND = "static_bias"
PROBES, WORLD = "probes", ("documents", "chats")
REGISTER_TEXTS, ROWS_SEED = 256, 20_000
N_BOOTSTRAP, N_SPLITS, BATCH = 1_000, 200, 512
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class PositionBias:
    """One probe position."""

    position: int
    n_distinct: int
    """Distinct beginnings of the texts up to here."""
    rel_norm: Estimate
    """|mean difference| / mean |base activation|, the latter over all positions but the first."""
    consistency: Estimate
    split_half: Estimate
    """Cosine of two halves' mean differences: mean and middle 95% over random splits."""


@dataclass(frozen=True)
class StaticBias:
    """The static bias of one organism at one layer. Summaries leave position 0 out: it is often the same token."""

    layer: int
    k: int
    n_probes: int
    n_distinct: int
    seed: int
    rel_norm: Estimate
    consistency: Estimate
    split_half: Estimate
    """As consistency: over the positions up to which the texts do not all begin alike."""
    position_cosine: Estimate
    """Mean over pairs of positions."""
    first_cosine: Estimate
    """Position 0 against the others, mean."""
    positions: tuple[PositionBias, ...]
    position_cosines: tuple[tuple[float | None, ...], ...]
    register_cosines: dict[str, Estimate]
    """`probes ~ documents`, ...: of the mean differences over k - 1 positions, from where the texts differ on."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Differences:
    """Finetuned minus base at some positions, for each distinct prefix of some texts."""

    ids_UT: Tensor
    counts_U: np.ndarray
    delta_UPD: np.ndarray
    base_norm_P: np.ndarray
    """Mean over texts of |base activation|."""

    def resampled(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """weights_SU, each row summing to 1: first the texts as they are, then `n` bootstrap samples of them."""
        n_texts = int(self.counts_U.sum())
        drawn_SU = generator.multinomial(n_texts, self.counts_U / n_texts, size=n)
        return np.concatenate([self.counts_U[None], drawn_SU]).astype(np.float64) / n_texts


def static_bias(pair, probes: Probes, layer: int, k: int = K, seed: int = 0,
                registers: Mapping[str, Sequence[Row]] | None = None) -> StaticBias:
    """Measures the static bias of a pair on a suite's probes, with bootstrap intervals over texts.

    Args:
        pair: A ModelPair.
        k: Positions 0..k-1 of the probes; at least 2.
        registers: Further texts and chats by name, whose mean differences are compared with the probes'.

    Raises:
        EvidenceError: too few texts are long enough. NonFiniteError: NaN or infinite activations.
    """
    if k < 2:
        raise ValueError(f"k is {k}; cosines between positions need at least 2")
    generator = np.random.default_rng(seed)
    ids_NT = tokenise_probes(pair.tokenizer, probes.texts, k)
    found = differences(pair, ids_NT, layer, range(k))
    means_SPD, sizes_SP = _means(found, found.resampled(generator, N_BOOTSTRAP))
    norms_SP, base_norm = np.linalg.norm(means_SPD, axis=-1), float(found.base_norm_P[1:].mean())
    consistency_SP = _ratio(norms_SP, sizes_SP)
    n_distinct_P = [len(torch.unique(found.ids_UT[:, :p + 1], dim=0)) for p in range(k)]
    halves_SP = np.stack([_halves(found, p, generator) for p in range(k)], axis=1)
    positions = tuple(PositionBias(
        p, n, _estimate(norms_SP[:, p] / base_norm), _estimate(consistency_SP[:, p]) if n > 1 else Estimate(None),
        _spread(halves_SP[:, p])) for p, n in enumerate(n_distinct_P))
    varied = [p for p in range(1, k) if n_distinct_P[p] > 1]
    cosines_SPP = _cosines(means_SPD[:, :, None], means_SPD[:, None])
    later = [cosines_SPP[:, a, b] for a, b in combinations(range(1, k), 2)]
    return StaticBias(
        layer, k, len(ids_NT), len(found.ids_UT), seed,
        rel_norm=_estimate(norms_SP[:, 1:].mean(1) / base_norm),
        consistency=_estimate(_ratio(norms_SP[:, varied].sum(1), sizes_SP[:, varied].sum(1))),
        split_half=_spread(halves_SP[:, varied].mean(1)) if varied else Estimate(None),
        position_cosine=_estimate(np.mean(later, axis=0)) if later else Estimate(None),
        first_cosine=_estimate(cosines_SPP[:, 0, 1:].mean(1)), positions=positions,
        position_cosines=tuple(tuple(_or_none(value) for value in row) for row in cosines_SPP[0]),
        register_cosines=_across_registers(pair, probes, layer, k, registers or {}, generator))


@torch.inference_mode()
def differences(pair, ids_NT: Tensor, layer: int, positions: Sequence[int]) -> Differences:
    """Finetuned minus base residual stream after block `layer`; each distinct prefix is forwarded once."""
    ids_UT, counts_U = torch.unique(ids_NT[:, : max(positions) + 1], dim=0, return_counts=True)
    deltas, base_norms = [], []
    for ids_BT in ids_UT.split(BATCH):
        base_BPD = pair.residual("base", ids_BT, [layer], positions)[0]
        deltas.append((pair.residual("finetuned", ids_BT, [layer], positions)[0] - base_BPD).cpu())
        base_norms.append(base_BPD.norm(dim=-1).cpu())
    delta_UPD, weights_U = torch.cat(deltas), counts_U.double()
    if not torch.isfinite(delta_UPD).all():
        raise NonFiniteError(f"NaN or infinite activations after block {layer}. Train the organism again, or load the "
                             "pair in float32.")
    base_norm_P = (weights_U @ torch.cat(base_norms).double() / weights_U.sum()).numpy()
    return Differences(ids_UT, counts_U.numpy(), delta_UPD.numpy(), base_norm_P)


def _means(found: Differences, weights_SU: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean difference means_SPD and mean norm of the differences sizes_SP, for each weighting of the prefixes."""
    n_prefixes, n_positions, width = found.delta_UPD.shape
    flat_UX = found.delta_UPD.reshape(n_prefixes, -1).astype(np.float64)
    means_SPD = (weights_SU @ flat_UX).reshape(-1, n_positions, width)
    return means_SPD, weights_SU @ np.linalg.norm(found.delta_UPD.astype(np.float64), axis=-1)


def _halves(found: Differences, p: int, generator: np.random.Generator) -> np.ndarray:
    """Cosines of the mean differences of two random halves of the beginnings up to position p, for each split; NaN
    where there is one beginning only."""
    _, group_U = torch.unique(found.ids_UT[:, :p + 1], dim=0, return_inverse=True)
    n_groups = int(group_U.max()) + 1
    if n_groups < 2:
        return np.full(N_SPLITS, np.nan)
    place_SG = generator.random((N_SPLITS, n_groups)).argsort(axis=1).argsort(axis=1)
    first_SU = (place_SG < n_groups // 2)[:, group_U.numpy()]
    delta_UD = found.delta_UPD[:, p].astype(np.float64)
    return _cosines((first_SU * found.counts_U) @ delta_UD, (~first_SU * found.counts_U) @ delta_UD)


def _across_registers(pair, probes: Probes, layer: int, k: int, registers: Mapping[str, Sequence[Row]],
                      generator: np.random.Generator) -> dict[str, Estimate]:
    rows = {PROBES: [{"text": text} for text in probes.texts], **registers}
    means = {}
    for name, texts in rows.items():
        ids_NT, start = _where_they_differ(pair.tokenizer, name, texts, k - 1)
        found = differences(pair, ids_NT, layer, range(start, start + k - 1))
        means[name] = _means(found, found.resampled(generator, N_BOOTSTRAP))[0].mean(1)
    return {f"{a} ~ {b}": _estimate(_cosines(means[a], means[b])) for a, b in combinations(means, 2)}


def _where_they_differ(tokenizer, name: str, rows: Sequence[Row], n: int) -> tuple[Tensor, int]:
    """Tokens of the rows, and the first position, from 1 on, at which they differ; n positions from there on."""
    ids = [tokenizer(row["text"])["input_ids"] if "text" in row else
           tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"] for row in rows]
    shared = next((t for t, tokens in enumerate(zip(*ids)) if len(set(tokens)) > 1), None)
    if shared is None:
        raise EvidenceError(f"register {name!r}: its {len(ids)} texts are all the same, or none begins another way. "
                            "Give varied texts.")
    start = max(1, shared)
    kept = [row[:start + n] for row in ids if len(row) >= start + n]
    if len(kept) < 2:
        raise EvidenceError(f"register {name!r}: {len(kept)} of {len(ids)} texts have {start + n} tokens, at least 2 "
                            "are needed. Give longer texts or fewer positions.")
    return torch.tensor(kept), start


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines along the last axis; NaN where a vector is zero."""
    return _ratio((a * b).sum(-1), np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _estimate(values_S: np.ndarray) -> Estimate:
    """The first value, with the middle 95% of the others, which are its bootstrap samples."""
    if np.isnan(values_S).any():
        return Estimate(None)
    low, high = np.quantile(values_S[1:], QUANTILES)
    return Estimate(float(values_S[0]), float(low), float(high))


def _spread(values_S: np.ndarray) -> Estimate:
    """Mean and middle 95% over splits."""
    if np.isnan(values_S).any():
        return Estimate(None)
    low, high = np.quantile(values_S, QUANTILES)
    return Estimate(float(values_S.mean()), float(low), float(high))


def design(suite: str = "demo", organisms: Sequence[str] = (), layer_fraction: float = LAYER_FRACTION,
           seed: int = 0) -> Design:
    """The static bias of each organism of a suite, ready for `studies.plan` and `studies.run`.

    Registers beside the probes: 256 `documents` and 256 `chats` of the base's world about other topics.
    """
    chosen = choose(suite, organisms)

    def world(entry: Entry) -> dict[str, list[Row]]:
        without = touched_topics(entry.spec)
        return {source: world_rows(REGISTER_TEXTS, source, ROWS_SEED + seed, without) for source in WORLD}

    def measure(pair, entry: Entry, store: Store) -> dict[str, Any]:
        layer = relative_layer(pair.n_layers, layer_fraction)
        return static_bias(pair, chosen.probes, layer, K, seed, world(entry)).to_dict()

    settings = {"layer_fraction": layer_fraction, "k": K, "seed": seed, "register_texts": REGISTER_TEXTS,
                "bootstrap": N_BOOTSTRAP, "splits": N_SPLITS}
    return Design(KIND, chosen, settings, ("static_bias.py",), lambda entry: {"rows": digest_of(world(entry))}, measure)
