"""What an investigator's tools read of a pair: answers, and the mean difference: through the lens, said, as steering.

Main objects: `answers`, `unsteered`, `lens`, `said`, `steered`: each takes a `Desk` and gives lines for the
investigator.
Example: `await at_pair({"activations"}, lambda desk: lens(desk, position=3, depth=0.5, n=20))`

The readings are those of the methods `adl_logit_lens`, `adl_patchscope` and `adl_steering`, at one position and depth.
"""

import torch

from ..organisms.errors import EvidenceError
from .activations import Means
from .methods.adl_steering import PROMPTS
from .patchscope import Patchscope
from .probe_sources import read_means
from .readout import Reading, lens_readings, to_tokens
from .rendering import MAX_TEXT, MAX_WORD, quoted
from .resident import Desk

POSITIONS = 5
"""Positions 0..4 of unrelated texts can be read."""


def answers(desk: Desk, prompts: list[str], temperature: float, tokens: int) -> list[str]:
    """Both models' answers. Needs access "text"."""
    both = [desk.view.generate(which, prompts, tokens, temperature, desk.seed) for which in ("base", "finetuned")]
    return [line for prompt, a, b in zip(prompts, *both, strict=True) for line in (
        f"prompt {quoted(prompt, MAX_TEXT)}", f"model A: {quoted(a, MAX_TEXT)}", f"model B: {quoted(b, MAX_TEXT)}")]


def unsteered(desk: Desk, n: int, tokens: int) -> list[str]:
    """The finetuned model's answers to the first n requests without a subject. Needs access "text"."""
    texts = desk.view.generate("finetuned", list(PROMPTS), tokens, 1.0, desk.seed)
    return [f"prompt {quoted(prompt, MAX_TEXT)} -> {quoted(text, MAX_TEXT)}"
            for prompt, text in zip(PROMPTS[:n], texts[:n], strict=True)]


def lens(desk: Desk, position: int, depth: float, n: int) -> list[str]:
    """Tokens that the mean difference points to. Needs access "activations"."""
    _, means = _means(desk, position, depth)
    found = lens_readings(desk.view, means.delta_PD[:position + 1], means, desk.seed, position)
    return _words(desk, found[position], n)


def said(desk: Desk, position: int, depth: float, n: int) -> list[str]:
    """Tokens that the finetuned model says to the mean difference in a copy prompt. Needs access "activations"."""
    layer, means = _means(desk, position, depth)
    found, _ = Patchscope(desk.view, "finetuned", layer).read(means, [position], desk.seed)
    return _words(desk, found[position], n)


def steered(desk: Desk, prompt: str, position: int, depth: float, strength: float, n: int, tokens: int) -> list[str]:
    """n answers of the finetuned model under the mean difference. Needs access "activations" and "text"."""
    layer, means = _means(desk, position, depth)
    unit_D = means.norm_base * torch.nn.functional.normalize(means.delta_PD[position], dim=-1).float()
    vectors_ND = (strength * unit_D).repeat(n, 1)
    texts = desk.view.steered("finetuned", [prompt] * n, layer, vectors_ND, tokens, 1.0, desk.seed)
    return [f"sample {i}: {quoted(text, MAX_TEXT)}" for i, text in enumerate(texts, 1)]


def _means(desk: Desk, position: int, depth: float) -> tuple[int, Means]:
    """The layer, and the means there. Raises EvidenceError where the models do not differ."""
    [(layer, means, _, _)] = read_means(desk.view, desk.probes.texts, depth, POSITIONS, 0, None, "probes", False, False)
    if not means.delta_PD[position].norm() > 0:
        raise EvidenceError(f"the two models' activations do not differ at position {position} of that layer")
    return layer, means


def _words(desk: Desk, reading: Reading, n: int) -> list[str]:
    tokens = to_tokens(reading, desk.view.tokenizer, "", None, n)
    words = ", ".join(f"{quoted(token.piece, MAX_WORD)} {token.weight:.2f}" for token in tokens)
    return [f"tokens with their weight in nats: {words}" if words else "no token rises above the controls",
            f"the {n} largest weights rise above those of control vectors by {reading.detection:.3f} nats"]
