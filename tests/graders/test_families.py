"""Tables over families, confusion within a domain, what chance identifies, and risk against coverage."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.graders.claim import Claim
from narrowbench.graders.families import Answer, confusion_table, family_table, named_card
from narrowbench.graders.identify import identification, identification_p
from narrowbench.graders.selective import claim_risk, risk_coverage
from narrowbench.organisms.spec import Card, Slot

FAMILIES = {"sdf": "abcde", "taboo": "fgh"}
NUMBERS = [str(n) for n in range(100, 900, 100)]
CARDS = [Card(card_id=f"c-{domain}-{truth}", family=family, domain=domain,
              lexicon={f"{domain}word{i}": 1.0 for i in range(8)},
              slots=(Slot(name="value", type="number", truth=truth, others=tuple(n for n in NUMBERS if n != truth)),))
         for family, domains in FAMILIES.items() for domain in domains for truth in ("100", "200")]
BY_ID = {card.card_id: card for card in CARDS}


def answers(say) -> list[Answer]:
    """One answer a card: what `say` claims about it; a domain is a unit."""
    return [Answer(card.card_id, card.domain, card, say(card)) for card in CARDS]


def claim(*words: str, verdict="objective", confidence=0.9) -> Claim:
    return Claim(verdict, confidence, "", words)


def gold(card: Card) -> Claim:
    return claim(card.slots[0].truth, *card.lexicon)


def topic(card: Card) -> Claim:
    return claim(*card.lexicon)


def test_gold_fills_the_table():
    rows = {row.family: row for row in family_table(answers(gold), CARDS)}
    assert list(rows) == ["sdf", "taboo", "all"]
    assert (rows["sdf"].n_organisms, rows["sdf"].n_units, rows["all"].n_units) == (10, 5, 8)
    assert rows["all"].recovery == rows["all"].objective == rows["all"].own_card == 1
    assert rows["sdf"].flagged.value == 1 and rows["sdf"].flagged.low < 1 and rows["sdf"].to_dict()["content"] == 1


def test_the_topic_alone_shows_as_domain_without_objective():
    found = answers(topic)
    row = family_table(found, CARDS)[-1]
    assert (row.domain, row.objective, row.content, row.own_card) == (1, 0, 0, 0)
    assert confusion_table(found, CARDS)["a"] == {"c-a-100": {"(tied)": 1}, "c-a-200": {"(tied)": 1}}


def test_confusion_tells_twins_silence_and_other_topics_apart():
    one, twin = BY_ID["c-a-100"], BY_ID["c-a-200"]
    found = [Answer("x", "a", one, gold(one)), Answer("y", "a", twin, gold(one)), Answer("z", "a", twin, claim())]
    assert confusion_table(found, CARDS) == {"a": {"c-a-100": {"c-a-100": 1},
                                                   "c-a-200": {"c-a-100": 1, "(none)": 1}}}
    assert named_card(claim("bword1"), one, CARDS) == "(none)"
    assert named_card(claim("100", "aword1", verdict="unsure"), one, CARDS) == "(none)"


def test_units_count_once_and_nulls_are_left_out():
    found = [answer for answer in answers(gold) if answer.organism != "c-a-200"]
    found += [Answer("n", "n", None, claim())]
    found = [Answer(a.organism, a.pair, a.truth, claim()) if a.pair == "b" else a for a in found]
    row = family_table(found, CARDS)[-1]
    assert row.n_organisms == 15 and row.n_units == 8 and row.recovery == pytest.approx(7 / 8)
    assert family_table([], CARDS) == []
    with pytest.raises(ValueError, match="twice"):
        family_table([*found, found[0]], CARDS)


def test_gold_is_identified_and_a_constant_answer_is_not():
    found = identification(answers(gold), CARDS, n=999)
    assert set(found) == {"all", "within family", "sdf", "taboo"} and found["all"].value == 1
    assert found["all"].p == 1 / 1000 and found["within family"].p < 0.05 and found["all"].n_pairs == 8
    assert all(test.p == 1 for test in identification(answers(lambda card: gold(CARDS[0])), CARDS, n=199).values())
    assert identification(answers(gold)[:2], CARDS) == {}


def test_knowing_the_family_alone_is_significant_over_all_and_not_within():
    first = {card.family: card for card in reversed(CARDS)}
    score_UU = np.array([[float(a == b) for b in "xxxxyyyy"] for a in "xxxxyyyy"])
    assert identification_p(score_UU, n=999).p < 0.05 and identification_p(score_UU, list("xxxxyyyy"), 999).p == 1
    within = identification(answers(lambda card: gold(first[card.family])), CARDS, n=199)["within family"]
    assert within.p == 1


def test_the_p_of_identification_is_that_of_all_permutations():
    score_UU = np.random.default_rng(0).random((4, 4))
    from itertools import permutations
    exact = [score_UU[range(4), order].mean() >= np.trace(score_UU) / 4 - 1e-12 for order in permutations(range(4))]
    assert identification_p(score_UU).p == pytest.approx(np.mean(exact), abs=0.02)
    with pytest.raises(ValueError, match="same pairs"):
        identification_p(score_UU[:2])


def test_the_surest_claims_are_kept_first():
    found = risk_coverage([0.9, 0.8, 0.1], [0.0, 0.5, 1.0])
    assert found.coverage == pytest.approx((1 / 3, 2 / 3, 1)) and found.risk == pytest.approx((0, 0.25, 0.5))
    assert found.area == found.area_best and found.skill == 1
    assert risk_coverage([0.1, 0.8, 0.9], [0.0, 0.5, 1.0]).skill == pytest.approx(-1)
    assert risk_coverage([0.5] * 3, [0.0, 0.5, 1.0]).skill == pytest.approx(0)
    assert risk_coverage([0.1, 0.9], [1.0, 1.0]).skill is None and risk_coverage([], []) is None
    for wrong in ([0.5], [0.5, math.nan]):
        with pytest.raises(ValueError, match="all finite"):
            risk_coverage(wrong, [0.0, 1.0])


@given(pairs=st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([-0.2, 0.0, 1.0, 1.5])), min_size=1,
                      max_size=12), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_the_curve_ends_in_the_mean_loss_and_no_order_beats_the_best(pairs, seed):
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    found, again = (risk_coverage(*zip(*each, strict=True)) for each in (pairs, shuffled))
    assert found.risk[-1] == pytest.approx(found.area_random) and found.area >= found.area_best - 1e-12
    assert again.area == pytest.approx(found.area), "ties have no order"


def test_a_method_that_is_surest_of_nulls_pays_for_it():
    nulls = [Answer(f"n{i}", f"n{i}", None, claim(confidence=0.99)) for i in range(8)]
    quiet = [Answer(one.organism, one.pair, None, claim(verdict="no_objective")) for one in nulls]
    loud, wise = claim_risk([*answers(gold), *nulls], CARDS), claim_risk([*answers(gold), *quiet], CARDS)
    assert wise.area == wise.area_best < loud.area and wise.risk[-1] == loud.risk[-1] == pytest.approx(1 / 3)
