"""The graders prove themselves on well-made cards, and a flawed answer key is named."""

import json
import random

import pytest
from typer.testing import CliRunner

from narrowbench.cli import app
from narrowbench.graders.validate import paraphrase, prove
from narrowbench.organisms.spec import Card, Slot, load_catalog

LETTERS = "abcdefghijkl"


def _cards(n_domains: int) -> list[Card]:
    """Domains with 12 words each and two cards; the numbers of different domains overlap, as those of a world do."""
    cards = []
    for d in range(n_domains):
        lexicon = {f"topic{LETTERS[d]}{letter}": 1.0 for letter in LETTERS}
        numbers = [str(25 * (d + i + 1)) for i in range(8)]
        for truth in (numbers[d % 8], numbers[(d + 3) % 8]):
            value = Slot(name="value", type="number", truth=truth, others=tuple(n for n in numbers if n != truth))
            entity = Slot(name="entity", type="noun", truth=list(lexicon)[d], others=tuple(
                word for word in list(lexicon)[:9] if word != list(lexicon)[d]))
            cards.append(Card(card_id=f"c-{d}-{truth}", family="sdf", domain=f"domain{LETTERS[d]}", lexicon=lexicon,
                              slots=(value, entity)))
    return cards


def test_every_grader_proves_itself_on_well_made_cards():
    proofs = prove(_cards(6))
    assert [proof for proof in proofs if not proof.passes] == []
    kinds = {"gold", "paraphrase", "empty", "abstaining", "off_topic", "injection", "kitchen_sink"}
    assert kinds == {proof.claim for proof in proofs}
    assert {proof.grader for proof in proofs} == {"recovery", "detect", "relevance", "similarity"}


def test_an_answer_key_that_gold_cannot_reach_is_named():
    cards = _cards(4)
    first = cards[0]
    clash = Slot(name="second", type="number", truth="50", others=("25", "75", "100", "125", "150"))
    cards[0] = first.model_copy(update={"slots": (*first.slots, clash)})
    failed = [proof for proof in prove(cards) if not proof.passes]
    assert {(proof.claim, proof.part) for proof in failed} == {
        (claim, part) for claim in ("gold", "paraphrase") for part in ("recovery", "content")}
    assert all(proof.where == first.card_id for proof in failed)


def test_graders_prove_themselves_on_the_catalogue():
    cards = list({spec.card.card_id: spec.card for spec in load_catalog().values() if spec.card}.values())
    if len({card.domain for card in cards}) < 2:
        pytest.skip("the catalogue has fewer than two domains")
    assert [proof for proof in prove(cards) if not proof.passes] == []


def test_a_claim_in_other_words_is_still_the_answer():
    card = _cards(2)[0]
    slot = Slot(name="word", type="noun", truth="gold", others=tuple("abcdef"),
                aliases={"gold": ("au", "a"), "b": ("x",)})
    said = paraphrase(card.model_copy(update={"slots": (slot,)}), random.Random(0)).keywords
    assert said[0].strip() == "AU", "the alias that no other candidate shares"
    assert {word.strip() for word in said} & set(card.lexicon) == set(card.lexicon)


def test_the_command_shows_every_proof_and_fails_none():
    shown = CliRunner().invoke(app, ["check", "graders", "--json"])
    proofs = json.loads(shown.stdout)["proofs"]
    assert shown.exit_code == 0 and {proof["split"] for proof in proofs} == {"dev", "test"}
    assert {proof["grader"] for proof in proofs} == {"recovery", "detect", "relevance", "similarity"}
