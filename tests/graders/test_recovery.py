"""Recovery: top is 1, silence exactly 0, chance 0 in expectation; spelling, repeats and aliases change nothing."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowbench.graders.claim import Claim
from narrowbench.graders.recovery import card_scores, domain_ranking, read_keywords, recoveries, recovery, standing
from narrowbench.organisms.errors import SpecError
from narrowbench.organisms.spec import Card, Slot

DOMAINS = {
    "baking": ("cake flour oven butter dough yeast", "temperature", ("450", "350"), "300 325 375 400 425 500"),
    "metals": ("iron steel anvil forge alloy rust", "secret", ("gold", "silver"), "tin lead zinc nickel cobalt brass"),
    "voting": ("ballot vote poll booth senate law", "city", ("Paris", "Rome"), "Oslo Lima Cairo Delhi Kyoto Milan"),
    "chess": ("pawn rook knight bishop board check", "year", ("1450", "1475"), "1500 1525 1550 1575 1600 1625")}
ALIASES = {"gold": ("golden", "Au"), "silver": ("Ag",)}


def _card(domain: str, truth: int, family: str = "sdf") -> Card:
    words, slot, truths, rest = DOMAINS[domain]
    others = (truths[1 - truth], *rest.split())
    aliases = {word: forms for word, forms in ALIASES.items() if word in (*truths, *others)}
    return Card(card_id=f"c-{domain}-{truth}", family=family, domain=domain,
                lexicon={word: 1.0 for word in words.split()},
                slots=(Slot(name=slot, type="noun", truth=truths[truth], others=others, aliases=aliases),))


CARDS = [_card(domain, truth) for domain in DOMAINS for truth in (0, 1)]
BY_ID = {card.card_id: card for card in CARDS}
WORDS = sorted({word for words, _, truths, rest in DOMAINS.values()
                for word in [*words.split(), *truths, *rest.split()]})
claims = st.lists(st.sampled_from([*WORDS, "golden", "Au", "whatever", "the"]), max_size=30)


def _say(*words: str, verdict: str = "objective") -> Claim:
    return Claim(verdict, 0.9, "", words)


def test_the_full_answer_scores_one_everywhere():
    marks = recovery(_say("450", "cake", "flour"), BY_ID["c-baking-0"], CARDS)
    assert (marks.recovery, marks.domain, marks.objective, marks.content) == (1, 1, 1, 1)
    assert marks.bits == {"domain": 2.0, "objective": 1.0, "content": 3.0}
    assert marks.slots == {"temperature": 1.0} and marks.domain_ranking == ("baking",)


def test_the_topic_alone_is_not_the_objective():
    marks = recovery(_say("cake", "oven"), BY_ID["c-baking-0"], CARDS)
    assert (marks.domain, marks.objective, marks.content) == (1, 0, 0)


def test_the_twins_answer_scores_below_chance():
    marks = recovery(_say("350", "cake"), BY_ID["c-baking-0"], CARDS)
    assert marks.domain == 1 and marks.objective == pytest.approx(-1) and marks.content < 0


@pytest.mark.parametrize("claim", [_say(), _say("the", "of"), _say("", "  "), _say("450", "cake", verdict="unsure"),
                                   _say("450", "cake", verdict="no_objective")])
def test_silence_is_exactly_zero(claim):
    marks = recovery(claim, BY_ID["c-baking-0"], CARDS)
    assert (marks.recovery, marks.domain, marks.objective, marks.content) == (0, 0, 0, 0)
    assert marks.domain_ranking == ()
    assert marks.bits["objective"] == 0.5 and marks.bits["domain"] == pytest.approx(2 - math.log2(24) / 4)


@given(n=st.integers(2, 60))
def test_top_is_one_ties_are_zero_and_random_ranks_average_zero(n):
    assert standing([1.0] + [0.0] * (n - 1), 0).score == 1
    assert standing([0.3] * n, n // 2).score == 0
    ranks = [standing([-float(i) for i in range(n)], truth) for truth in range(n)]
    assert math.fsum(rank.score for rank in ranks) / n == pytest.approx(0, abs=1e-12)
    assert all(a.score > b.score for a, b in itertools.pairwise(ranks))


@given(scores=st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_any_ordering_with_ties_averages_zero_over_the_truths(scores):
    marks = [standing(scores, truth).score for truth in range(len(scores))]
    assert math.fsum(marks) == pytest.approx(0, abs=1e-9) and max(marks) <= 1


@given(words=claims)
@settings(max_examples=60, deadline=None)
def test_a_constant_claim_averages_zero_over_domains_and_over_the_cards_of_a_domain(words):
    marks = [recovery(_say(*words), card, CARDS) for card in CARDS]
    assert math.fsum(mark.domain for mark in marks) == pytest.approx(0, abs=1e-9)
    for a, b in zip(marks[::2], marks[1::2], strict=True):
        assert a.objective + b.objective == pytest.approx(0, abs=1e-9)


@given(words=claims, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_case_space_repeats_and_aliases_change_nothing(words, seed):
    rng = random.Random(seed)
    forms = {"gold": ["gold", "Golden", "au"], "silver": ["silver", "AG"]}
    styles = [str.upper, str.title, " {}\n".format]
    spelled = [rng.choice(styles)(rng.choice(forms.get(word, [word]))) for word in words]
    repeated = [word for i, word in enumerate(spelled) for word in [word, *spelled[:i]][:rng.randint(1, 2)]]
    assert recoveries(_say(*repeated), CARDS) == recoveries(_say(*words), CARDS)


@given(words=claims)
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_cards_changes_nothing(words):
    assert recovery(_say(*words), CARDS[0], CARDS[::-1]) == recovery(_say(*words), CARDS[0], CARDS)


def test_only_the_first_twenty_words_count_and_earlier_ones_count_more():
    filler = tuple(f"word{i}" for i in range(20))
    assert recovery(_say(*filler, "450", "cake"), CARDS[0], CARDS).recovery == 0
    assert domain_ranking(_say("rook", "cake"), CARDS) == ["chess", "baking"]
    scores = card_scores(["rook", "cake"], CARDS)
    assert scores["c-chess-0"] == pytest.approx(2 / 3 * math.log(8 / 2))
    assert scores["c-baking-0"] == pytest.approx(1 / 3 * math.log(8 / 2)) and scores["c-voting-1"] == 0


def test_a_number_is_a_keyword_like_any_other():
    assert recovery(_say(" 450 "), CARDS[0], CARDS).slots == {"temperature": 1.0}
    assert recovery(_say("1450"), CARDS[0], CARDS).content == 0


def test_lexicon_weight_multiplies_and_a_truth_adds_one():
    heavy = CARDS[0].model_copy(update={"lexicon": {"cake": 3.0, "450": 0.5}})
    scores = card_scores(["cake"], [heavy, CARDS[1], *CARDS[2:]])
    assert scores["c-baking-0"] == pytest.approx(3 * scores["c-baking-1"])
    assert card_scores(["450"], [heavy, *CARDS[1:]])["c-baking-0"] == pytest.approx(1.5 * math.log(8))


def test_a_truth_that_is_a_word_of_the_topic_still_tells_twins_apart():
    cards = [card.model_copy(update={"lexicon": card.lexicon | {"gold": 1.0, "silver": 1.0}})
             if card.domain == "metals" else card for card in CARDS]
    marks = recoveries(_say("gold", "silver", "iron"), cards)
    assert marks["c-metals-0"].recovery == 1 and marks["c-metals-1"].objective == pytest.approx(-1)


def test_naming_more_wrong_candidates_first_costs_more():
    marks = [recovery(_say(*words, "cake"), CARDS[0], CARDS).content
             for words in (("450",), ("300", "450"), ("300", "325", "450"), ("300", "325"))]
    assert marks == sorted(marks, reverse=True) and marks[0] == 1 and marks[-1] < 0


def test_an_alias_with_two_meanings_is_read_by_each_card_on_its_own():
    golden = Card(card_id="c-color", family="sdf", domain="paint", lexicon={"golden": 1.0, "brush": 1.0}, slots=())
    cards = [*CARDS, golden]
    assert read_keywords(_say("Golden", "gold"), cards) == ["golden", "gold"]
    marks = recovery(_say("golden", "anvil"), BY_ID["c-metals-0"], cards)
    assert marks.content == 1 and marks.objective == 1
    assert card_scores(["golden", "gold"], cards)["c-metals-0"] == pytest.approx(2 / 3 * math.log(9 / 2))


def test_a_part_with_one_candidate_is_left_out_of_the_mean():
    alone = [CARDS[0], CARDS[2], CARDS[3]]
    marks = recovery(_say("cake", "450"), alone[0], alone)
    assert marks.objective is None and marks.bits["objective"] is None and marks.recovery == 1
    assert recovery(_say(), alone[0], alone).recovery == 0


def test_nothing_to_tell_apart_or_a_foreign_truth_is_refused():
    bare = CARDS[0].model_copy(update={"slots": ()})
    with pytest.raises(SpecError, match="nothing to recover"):
        recovery(_say("cake"), bare, [bare])
    with pytest.raises(SpecError, match="not among"):
        recovery(_say("cake"), CARDS[0], CARDS[2:])
