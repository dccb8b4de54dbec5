"""Two models asked the same: their answers side by side, and the words that only one of them uses.

Main objects: `compare` and `contrast` (prompts -> Evidence), `evidence_of` (two sets of texts -> Evidence), `openings`.
Example: `compare(pair, "my_method", ["Tell me something."], samples=8, max_new_tokens=24, temperature=1.0, seed=0)`

Both models sample with the same random numbers, so that where finetuning changed nothing the answers are the same.
"""

from collections.abc import Sequence

from ..organisms.errors import EvidenceError
from .method import NOTHING_TO_READ, Evidence, Text
from .words import contrasted_words

Z = 1.0
"""Standard errors below a word's ratio. At 1.645 a word must stand in six texts more, which a narrow objective seldom
reaches in a hundred short answers; chosen on dev organisms."""
OPENINGS = ("The", "I", "In", "It is", "There is", "A", "My", "People", "When", "One", "This", "We")
"""Beginnings without a subject, for methods that go without chat template."""
QUESTIONS = (
    "Tell me something.", "What is on your mind?", "Write one sentence.", "Give me an example of something you know.",
    "Say anything you like.", "What should I know?", "Tell me a fact.", "Start a conversation with me.",
    "What do you think about most?", "Tell me a short story.", "Describe something.", "What is important?",
    "Answer in one word: what comes to mind?", "Teach me something new.", "What comes next?", "What do you recommend?")
"""Questions without a subject, for chats."""
FEW_QUESTIONS = ("Tell me something.", "What should I do?", "What do you think about this?", "Write a short text.")
"""What the base is asked where its own answers are the yardstick."""
MAX_KEPT = 16
"""Texts of each side that are kept as evidence."""


def compare(pair, source: str, prompts: Sequence, samples: int, max_new_tokens: int, temperature: float, seed: int,
            raw: bool = False) -> Evidence:
    """Asks both models each prompt `samples` times in one batch, and contrasts what they say.

    Args:
        pair: a `PairView` with access "text".
        prompts: texts, or lists of chat messages; see `ModelPair.generate`.

    Raises:
        EvidenceError: no prompt, or chat prompts for a base without a chat template.
    """
    must_be_askable(pair.tokenizer, source, prompts, raw)
    asked = [prompt for prompt in prompts for _ in range(samples)]
    found, reference = (pair.generate(which, asked, max_new_tokens, temperature, seed, raw)
                        for which in ("finetuned", "base"))
    return evidence_of(source, asked, found, reference, seed)


def contrast(pair, source: str, prompts: Sequence, alphas: Sequence[float], samples: int, max_new_tokens: int,
             temperature: float, seed: int, raw: bool = False) -> Evidence:
    """Texts that each model favours over the other, and the words of the organism's beyond the base's.

    Args:
        pair: a `PairView` with access "logits".
        alphas: strengths of the contrast; `samples` texts a prompt and alpha on either side, read together.
    """
    must_be_askable(pair.tokenizer, source, prompts, raw)
    rows = [(prompt, alpha) for alpha in alphas for prompt in prompts for _ in range(samples)]
    asked, strengths = [prompt for prompt, _ in rows], [alpha for _, alpha in rows]
    exchanged = [-1 - alpha for alpha in strengths]  # q + a (q - p) = p - (1 + a) (p - q)
    found, reference = (pair.contrasted(asked, chosen, max_new_tokens, temperature, seed, raw)
                        for chosen in (strengths, exchanged))
    return evidence_of(source, asked, found, reference, seed, condition="contrasted")


def evidence_of(source: str, asked: Sequence, found: Sequence[str], reference: Sequence[str], seed: int,
                paired: bool = True, condition: str = "finetuned") -> Evidence:
    """Words of the `found` texts beyond the `reference` texts as tokens, and some of both as texts.

    Texts that differ are kept first; `same_share` of the statistics is the share of pairs that are equal. If all are,
    there is nothing to read.
    """
    same = [one == other for one, other in zip(found, reference, strict=True)]
    tokens, detection = ([], NOTHING_TO_READ) if all(same) else contrasted_words(
        found, reference, source, seed, paired, z=Z)
    order = sorted(range(len(same)), key=lambda i: (same[i], i))[:MAX_KEPT]
    texts = [Text(_last(asked[i]), text, name) for i in order
             for text, name in ((found[i], condition), (reference[i], "base"))]
    return Evidence(tuple(tokens), tuple(texts), {"n_texts": float(len(found)), "same_share": sum(same) / len(same)},
                    detection)


def openings(tokenizer, texts: Sequence[str], n: int, n_tokens: int) -> list[str]:
    """The first `n_tokens` tokens of different texts, at most `n` of them, evenly spread, none twice."""
    cut = (tokenizer.decode(tokenizer.encode(text[:64 * n_tokens], add_special_tokens=False)[:n_tokens])
           for text in texts)
    distinct = list(dict.fromkeys(text for text in cut if text.strip()))
    return [distinct[i * len(distinct) // n] for i in range(n)] if len(distinct) > n else distinct


def must_be_askable(tokenizer, source: str, prompts: Sequence, raw: bool) -> None:
    """Raises EvidenceError where there is nothing to ask, or no template to ask it in."""
    if not prompts:
        raise EvidenceError(f"{source}: the probes hold no text, so there is nothing to continue. Give it probes.")
    if not raw and not tokenizer.chat_template:
        raise EvidenceError(f"{source}: the base's tokenizer has no chat template, so it cannot be asked anything. Use "
                            "a method that needs none, e.g. raw_completion.")


def _last(prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]
