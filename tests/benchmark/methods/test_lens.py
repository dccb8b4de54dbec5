"""Lenses of the mean difference and of both means: what is planted is read, sources and options do what they say."""

import copy

import pytest
import torch
from narrowbench.benchmark.activations import mean_differences, tokenise_probes, whitened, without_mean
from narrowbench.benchmark.method import Budget, Evidence, Probes, load_method
from narrowbench.benchmark.methods.adl_lens_raw import AdlLensRaw
from narrowbench.benchmark.methods.adl_logit_lens import AdlLogitLens
from narrowbench.benchmark.methods.base_lens import BaseLens
from narrowbench.benchmark.methods.finetuned_lens import FinetunedLens
from narrowbench.benchmark.methods.random_direction import RandomDirection
from narrowbench.benchmark.probe_sources import SOURCES, probe_means
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, EvidenceError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
LENSES = [AdlLogitLens, AdlLensRaw, BaseLens, FinetunedLens, RandomDirection]


class Planted(PairView):
    """The pair of an organism whose finetuning added one word's unembedding direction, scaled by position."""

    by_position = (1.0,) * 64

    def residual(self, which, ids_BT, layers, positions):
        word = torch.tensor(self.tokenizer.encode(" garden", add_special_tokens=False))
        factor_P1 = torch.tensor(self.by_position)[list(positions), None]
        shift_PD = factor_P1 * self.embedding(word)[0] if which == "finetuned" else 0.0
        return super().residual("base", ids_BT, layers, positions) + shift_PD


def collect(method, pair, view=PairView, seed=0) -> Evidence:
    return method.collect(view(pair, method.access), PROBES, Budget(), seed)


@pytest.mark.parametrize("kind", LENSES)
def test_every_lens_is_repeatable_ordered_and_counted(pair, kind):
    view = PairView(pair, kind.access)
    evidence = kind().collect(view, PROBES, Budget(), 0)
    assert view.cost()["forward_tokens"] > 0
    assert collect(kind(), pair).digest == evidence.digest
    assert kind.name == load_method(kind.name)[0].name
    for position in range(5):
        weights = [t.weight for t in evidence.tokens if t.position == position]
        assert len(weights) <= 20 and weights == sorted(weights, reverse=True) and all(w > 0 for w in weights)
    assert {t.source for t in evidence.tokens} <= {kind.name}
    with pytest.raises(AccessError):
        kind().collect(PairView(pair, {"text"}), PROBES, Budget(), 0)


def test_the_means_are_read_in_their_own_model(pair, zero_pair):
    base, tuned = collect(BaseLens(), pair), collect(FinetunedLens(), pair)
    assert base.detection is None and tuned.detection is None
    assert base.tokens and base.tokens == collect(BaseLens(), zero_pair).tokens, "whatever the organism"
    assert base.tokens != tuned.tokens
    assert [t.piece for t in collect(FinetunedLens(), zero_pair).tokens] == [t.piece for t in base.tokens]


def test_without_controls_the_same_vectors_are_ranked_by_probability(pair, zero_pair):
    raw, lifted = collect(AdlLensRaw(), pair, Planted), collect(AdlLogitLens(), pair, Planted)
    assert raw.detection is None and lifted.detection is not None
    for position in range(1, 5):
        pieces = [t.piece for t in raw.tokens if t.position == position]
        assert pieces[0] == " garden" and len(pieces) == 20, "no control takes anything away"
        assert {t.piece for t in lifted.tokens if t.position == position} != set(pieces)
    silent = collect(AdlLensRaw(), zero_pair)
    assert silent.tokens == () and silent.detection == -1.0


@pytest.mark.parametrize("source", SOURCES)
def test_a_planted_direction_is_read_from_every_source(pair, source):
    evidence = collect(AdlLogitLens(source=source), pair, Planted)
    positions = {t.position for t in evidence.tokens}
    assert positions == ({0} if source == "bos" else set(range(1, 5)))
    for position in positions:
        assert [t.piece for t in evidence.tokens if t.position == position][0] == " garden"
    assert evidence.detection > 0 or source == "bos", "one position of this small model may fall short"


@pytest.mark.parametrize("source", SOURCES)
def test_a_zero_adapter_is_silent_on_every_source(zero_pair, source):
    evidence = collect(AdlLogitLens(source=source), zero_pair)
    assert evidence.tokens == () and evidence.detection == -1.0


@pytest.mark.parametrize("options", [{"whiten": True}, {"remove_mean": True}, {"layer_fraction": (0.4, 0.9)},
                                     {"skip": 2}, {"n_probes": 12}])
def test_options_keep_a_zero_adapter_silent_and_the_evidence_sound(pair, zero_pair, options):
    silent, spoken = (collect(AdlLogitLens(**options), one) for one in (zero_pair, pair))
    assert silent.tokens == () and silent.detection == -1.0
    assert spoken.digest == collect(AdlLogitLens(**options), pair).digest
    assert spoken.digest != collect(AdlLogitLens(), pair).digest


def test_several_depths_are_several_sources(pair):
    evidence = collect(AdlLogitLens(layer_fraction=(0.4, 0.9)), pair, Planted)
    assert {t.source for t in evidence.tokens} == {"adl_logit_lens_1", "adl_logit_lens_2"}
    alone = collect(AdlLogitLens(layer_fraction=0.4), pair, Planted)
    assert [t.piece for t in alone.tokens] == [t.piece for t in evidence.tokens if t.source == "adl_logit_lens_1"]
    assert evidence.stats["rel_norm_at_1"] == alone.stats["rel_norm"]


def test_skipped_positions_are_not_read(pair):
    evidence = collect(AdlLogitLens(skip=2), pair)
    assert {t.position for t in evidence.tokens} <= {2, 3, 4} and evidence.stats["rel_norm_0"] > 0
    assert 0 in {t.position for t in collect(AdlLogitLens(skip=0), pair).tokens}
    with pytest.raises(EvidenceError, match="skip"):
        collect(AdlLogitLens(skip=5), pair)


def test_removing_the_mean_leaves_what_one_position_says(pair):
    class Constant(Planted):
        by_position = (2.0,) * 5

    class Last(Planted):
        by_position = (0.0, 0.0, 0.0, 0.0, 2.0)

    method = AdlLogitLens(remove_mean=True)
    assert not any(t.piece == " garden" and t.weight > 1 for t in collect(method, pair, Constant).tokens)
    assert [t.piece for t in collect(method, pair, Last).tokens if t.position == 4][0] == " garden"
    with pytest.raises(EvidenceError, match="two positions"):
        collect(AdlLogitLens(remove_mean=True, skip=4), pair)


def test_whitening_makes_sampled_states_vary_alike(pair):
    texts = [f"{a} {b} {c}" for a in ("The", "A", "This", "My", "Our") for b in ("house", "river", "garden", "city")
             for c in ("small", "cold", "large", "good", "new", "water", "paper")]
    [means] = probe_means(PairView(pair, {"activations"}), texts, [1], 4)
    white, shrinkage = whitened(means)
    assert 0.01 <= shrinkage < 1

    def spread(one):
        states_MPD = one.sample_MPD[:, 1:].double()
        values = torch.linalg.svdvals((states_MPD - states_MPD.mean(0)).flatten(0, 1))[:20]
        return float(values[0] / values[-1])

    assert spread(white) < spread(means) / 2
    factor = white.delta_PD[2] @ means.delta_PD[2]
    assert factor > 0, "a positive definite map"
    torch.testing.assert_close(without_mean(means, 1).delta_PD[1:].mean(0), torch.zeros(pair.width).double(),
                               atol=1e-6, rtol=0)


def test_odd_sources_take_norms_and_controls_from_ordinary_texts(pair):
    view = PairView(pair, {"activations"})
    [plain] = probe_means(view, PROBES.texts, [2], 5)
    for source in ("bos", "whitespace"):
        [odd] = probe_means(view, PROBES.texts, [2], 5, source)
        assert odd.norm_base == pytest.approx(plain.norm_base, rel=1e-4)
        assert odd.sample_MPD.shape == (len(PROBES.texts), 5, pair.width)
        assert odd.n < 9
    [bos] = probe_means(view, PROBES.texts, [2], 5, "bos")
    torch.testing.assert_close(bos.delta_PD[0], plain.delta_PD[0], rtol=1e-5, atol=1e-5)


def test_chat_probes_are_read_from_the_users_first_word_on(pair):
    view = PairView(pair, {"activations"})
    [chat] = probe_means(view, PROBES.texts, [2], 3, "chat")
    rows = [pair.tokenizer.apply_chat_template([{"role": "user", "content": text}], return_dict=False)[:5]
            for text in PROBES.texts]
    assert pair.tokenizer.decode(rows[0][2:]) == "The house is"
    [expected] = mean_differences(view, torch.tensor(rows), [2], range(2, 5))
    torch.testing.assert_close(chat.delta_PD, expected.delta_PD)
    assert chat.n == len(PROBES.texts)


def test_sources_that_a_tokenizer_does_not_have_are_named(pair):
    view = PairView(pair, {"activations"})
    view.tokenizer = copy.deepcopy(pair.tokenizer)
    view.tokenizer.chat_template = None
    with pytest.raises(EvidenceError, match="no chat template"):
        probe_means(view, PROBES.texts, [2], 5, "chat")
    with pytest.raises(EvidenceError, match="unknown probe source"):
        probe_means(view, PROBES.texts, [2], 5, "poems")
    with pytest.raises(EvidenceError, match="none of"):
        probe_means(PairView(pair, {"activations"}), PROBES.texts, [2], 50, "chat")


def test_several_blocks_in_one_pass_are_as_each_alone(pair):
    view = PairView(pair, {"activations"})
    ids_NT = tokenise_probes(pair.tokenizer, PROBES.texts, 4)
    both = mean_differences(view, ids_NT, [0, 2], range(4), batch_size=5)
    for means, layer in zip(both, (0, 2), strict=True):
        [alone] = mean_differences(view, ids_NT, [layer], range(4))
        for name in ("delta_PD", "base_PD", "finetuned_PD", "sample_MPD"):
            torch.testing.assert_close(getattr(means, name), getattr(alone, name), rtol=1e-5, atol=1e-6)
