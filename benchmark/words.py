"""From two sets of texts to tokens: which words one set uses beyond the other, and whether any chance split would too.

Main object: `contrasted_words`.
Example: `tokens, detection = contrasted_words(finetuned_texts, base_texts, "prompt_battery", seed=0)`

For a word that stands in a of n texts of one set and in b of m of the other, with half a text added to each side,
    lift = log((a + 0.5) / (n + 1)) - log((b + 0.5) / (m + 1))
    weight = lift - z sqrt(1 / (a + 0.5) - 1 / (n + 1) + 1 / (b + 0.5) - 1 / (m + 1))
a lower bound of the log ratio of document frequencies (delta method), in nats: one-sided 95% with z = 1.645, the
default. Between sets of equal size, a word of a single text is never evidence, however rare it is elsewhere.

Shapes by suffix: N texts, W words, R relabelings.
"""

import re
from collections.abc import Sequence

import numpy as np

from .method import NOTHING_TO_READ, Token

Z = 1.645
N_WORDS, N_TOP = 40, 20
N_RELABELINGS = 200
QUANTILE = 0.95
_WORD = re.compile(r"[^\W\d_]+|\d+")


def words_in(text: str) -> list[str]:
    """Casefolded words and whole numbers, in order; single letters are left out."""
    return [word.casefold() for word in _WORD.findall(text) if len(word) > 1 or word.isdecimal()]


def contrasted_words(found: Sequence[str], reference: Sequence[str], source: str, seed: int, paired: bool = False,
                     n: int = N_WORDS, z: float = Z) -> tuple[list[Token], float]:
    """Words that more of the `found` texts use than of the `reference` texts, strongest first.

    Args:
        paired: text i of both sets answers the same prompt; relabelings then only swap within a pair.
        z: standard errors below the ratio at which a word's weight is taken. A small one ranks words that few texts
            use; the detection stays honest, as its chance level is taken at the same z.

    Returns:
        At most `n` tokens of positive weight (nats), and the detection: mean of the 20 largest weights minus the 95th
        percentile of the same statistic over 200 random relabelings of the texts.

    Raises:
        ValueError: paired, and the sets differ in size.
    """
    if paired and len(found) != len(reference):
        raise ValueError(f"{len(found)} and {len(reference)} texts are no pairs")
    vocabulary, has_NW = _document_words([*found, *reference])
    if not found or not reference or not vocabulary:
        return [], NOTHING_TO_READ
    is_found_N = np.arange(len(has_NW)) < len(found)
    weights_W = _weights(has_NW, is_found_N[None], z)[0]
    order = sorted(range(len(vocabulary)), key=lambda w: (-weights_W[w], vocabulary[w]))[:n]
    tokens = [Token(f" {vocabulary[w]}", round(float(weights_W[w]), 6), source) for w in order if weights_W[w] > 0]
    chance_RW = _weights(has_NW, _relabelings(is_found_N, paired, seed), z)
    detection = _top_mean(weights_W[None])[0] - np.quantile(_top_mean(chance_RW), QUANTILE)
    return tokens, float(detection)


def _document_words(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """All words, sorted, and which text has which, float32 has_NW."""
    sets = [set(words_in(text)) for text in texts]
    vocabulary = sorted(set().union(*sets))
    index = {word: w for w, word in enumerate(vocabulary)}
    has_NW = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for i, words in enumerate(sets):
        has_NW[i, [index[word] for word in words]] = 1
    return vocabulary, has_NW


def _weights(has_NW: np.ndarray, is_found_RN: np.ndarray, z: float) -> np.ndarray:
    """Lower bounds of the log ratios, weights_RW, under each labelling of the texts."""
    n_R1 = is_found_RN.sum(axis=1, keepdims=True) + 1.0
    m_R1 = is_found_RN.shape[1] + 2.0 - n_R1
    a_RW = is_found_RN.astype(np.float32) @ has_NW
    b_RW = has_NW.sum(axis=0) - a_RW + 0.5
    a_RW = a_RW + 0.5
    lift_RW = np.log(a_RW / n_R1) - np.log(b_RW / m_R1)
    return lift_RW - z * np.sqrt(1 / a_RW - 1 / n_R1 + 1 / b_RW - 1 / m_R1)


def _relabelings(is_found_N: np.ndarray, paired: bool, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if not paired:
        return np.stack([rng.permutation(is_found_N) for _ in range(N_RELABELINGS)])
    swapped_RP = rng.random((N_RELABELINGS, len(is_found_N) // 2)) < 0.5
    return np.concatenate([~swapped_RP, swapped_RP], axis=1)


def _top_mean(weights_RW: np.ndarray) -> np.ndarray:
    """Mean of the 20 largest weights of each row; fewer than 20 words count as weights of 0."""
    top_RW = np.sort(weights_RW, axis=1)[:, ::-1][:, :N_TOP]
    return np.clip(top_RW, 0, None).sum(axis=1) / N_TOP
