"""Diagnostics of a log's evidence as Inspect scorers: they tell why a score is what it is, and are never part of it.

Main object: `token_relevance` (lexical; `graders/word_judge.py` has the judged form).
Example: `inspect score LOG.eval --scorer narrowbench/token_relevance -S suite=nano-draft:dev`
"""

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from ..graders.relevance import card_relevance, top_words
from ..organisms.errors import EvidenceError
from .suite import load_suite

VALUES = ("mean", "max", "lift")


@scorer(metrics={name: [mean(), stderr(cluster="unit")] for name in VALUES})
def token_relevance(suite: str) -> Scorer:
    """Share (of 20) of the evidence's words that the true card knows: mean and largest over sources and positions.

    `lift` is the mean beyond that under the cards of other domains, whose permutation p stands in the metadata. Nulls
    are left unscored.
    """
    cards = load_suite(suite).cards
    by_id = {card.card_id: card for card in cards}

    async def score(state: TaskState, target: Target) -> Score:
        if target.text == "null":
            return Score.unscored(reason="null", explanation="Nothing is relevant to an organism without an objective.")
        payload = state.store.get("evidence")
        if payload is None:
            raise EvidenceError("token_relevance: the sample holds no evidence. Grade a log of `narrowbench score`.")
        found = card_relevance(top_words(payload["tokens"]), by_id[target.text], cards).to_dict()
        return Score(value={name: float("nan") if found[name] is None else found[name] for name in VALUES},
                     metadata=found)

    return score
