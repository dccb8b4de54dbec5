"""Mean differences, control vectors and lifts: against the plain models, and by their definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.benchmark.activations import (beside_controls, control_vectors, mean_difference, relative_layer,
                                               tokenise_probes)
from narrowbench.benchmark.readout import Reading, detection_of, lift, lifts_of_controls, to_tokens
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import EvidenceError, NonFiniteError
from narrowbench.organisms.pair import ModelPair
from peft import PeftModel
from transformers import AutoModelForCausalLM

TEXTS = [f"{opening} {noun} is {adjective} and {number}" for opening in ("The", "A", "This", "My")
         for noun in ("house", "river", "garden") for adjective in ("small", "cold") for number in (3, 40)]


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.fixture()
def view(pair):
    return PairView(pair, {"activations"})


@pytest.fixture(scope="module")
def means(pair):
    return mean_difference(PairView(pair, {"activations"}), tokenise_probes(pair.tokenizer, TEXTS, 5), 1, 5)


@pytest.mark.parametrize("batch_size", [2, 512])
def test_means_equal_those_of_the_two_plain_models(view, tiny_base, tiny_adapter, batch_size):
    ids_NT = tokenise_probes(view.tokenizer, TEXTS + TEXTS[:3], 4)  # repeated texts count as often as they stand there
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.inference_mode():
        base_NPD = base(ids_NT, output_hidden_states=True).hidden_states[3].double()
        tuned = PeftModel.from_pretrained(base, str(tiny_adapter)).eval()
        tuned_NPD = tuned(input_ids=ids_NT, output_hidden_states=True).hidden_states[3].double()
    means = mean_difference(view, ids_NT, layer=2, k=4, batch_size=batch_size)
    close = dict(rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(means.delta_PD, (tuned_NPD - base_NPD).mean(0), **close)
    torch.testing.assert_close(means.base_PD, base_NPD.mean(0), **close)
    torch.testing.assert_close(means.finetuned_PD, tuned_NPD.mean(0), **close)
    torch.testing.assert_close(means.delta_norm_P, (tuned_NPD - base_NPD).norm(dim=-1).mean(0), **close)
    assert means.norm_base == pytest.approx(float(base_NPD[:, 1:].norm(dim=-1).mean()), rel=1e-5)
    assert means.n == len(TEXTS) + 3 and means.delta_PD.dtype == torch.float64
    assert view.cost()["forward_tokens"] == 4 * 2 * means.n_distinct, "each prefix once in each model"
    assert 0 < means.stats()["consistency"] <= 1


def test_not_a_number_names_model_layer_and_position(tiny_base, tiny_adapter):
    pair = ModelPair.load(tiny_base, tiny_adapter)

    def spoil(module, args, output):
        output[:, 2] = torch.nan

    pair.model.get_submodule("base_model.model.model.layers.1").register_forward_hook(spoil)
    view = PairView(pair, {"activations"})
    with pytest.raises(NonFiniteError, match="base model after block 1 at position 2"):
        mean_difference(view, tokenise_probes(pair.tokenizer, TEXTS, 5), 1, 5)


def test_short_probes_are_dropped_and_none_left_is_an_error(pair):
    assert tokenise_probes(pair.tokenizer, ["the", TEXTS[0]], 5).shape == (1, 5)
    for texts in ((), ("the", "a")):
        with pytest.raises(EvidenceError, match="none of"):
            tokenise_probes(pair.tokenizer, texts, 5)


@given(n_layers=st.integers(1, 200), fraction=st.floats(0, 1))
def test_a_relative_layer_is_a_layer(n_layers, fraction):
    assert 0 <= relative_layer(n_layers, fraction) < n_layers


def test_relative_layer_is_the_papers():
    assert [relative_layer(n, 0.5) for n in (28, 26, 16, 64, 42, 32)] == [13, 12, 7, 31, 20, 15]
    with pytest.raises(ValueError):
        relative_layer(12, 1.5)


def test_controls_have_norm_one_and_repeat_with_the_seed(means):
    isotropic, differences = control_vectors(means, 2, seed=0)
    assert len(isotropic) == len(differences) == 100
    for vectors in (isotropic, differences):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(100))
    assert torch.equal(isotropic, control_vectors(means, 2, seed=0)[0])
    assert not torch.equal(isotropic, control_vectors(means, 2, seed=1)[0])
    assert not torch.equal(isotropic, control_vectors(means, 3, seed=0)[0])
    few = control_vectors(means, 2, seed=0, n=20)
    assert torch.equal(few[0], isotropic[:20]) and torch.equal(few[1], differences[:20])


def test_difference_controls_lie_in_the_span_of_base_activations(means):
    sample_MD = means.sample_MPD[:, 2] - means.sample_MPD[:1, 2]
    differences = control_vectors(means, 2, seed=0)[1]
    basis = torch.linalg.svd(sample_MD, full_matrices=False)
    rows = basis.Vh[basis.S > 1e-4 * basis.S[0]]
    assert len(rows) < 32
    torch.testing.assert_close(differences @ rows.T @ rows, differences, atol=1e-3, rtol=0)


def test_position_zero_behind_a_shared_token_borrows_differences(means):
    assert (means.sample_MPD[:, 0] - means.sample_MPD[0, 0]).norm() < 1e-3, "position 0 is the begin-of-text token"
    assert torch.isfinite(control_vectors(means, 0, seed=0)[1]).all()


def test_probes_that_are_all_alike_are_refused(view):
    same = mean_difference(view, tokenise_probes(view.tokenizer, TEXTS[:1] * 9, 5), 1, 5)
    with pytest.raises(EvidenceError, match="varied"):
        control_vectors(same, 1, seed=0)


def test_a_vector_and_its_controls_share_one_scale(means):
    vectors = beside_controls(means.delta_PD[2], means, 2, seed=0)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.full((201,), means.norm_base))


@given(seed=st.integers(0, 10**6), r=st.integers(2, 12), v=st.integers(2, 40), scale=st.floats(0.1, 8))
@settings(max_examples=30, deadline=None)
def test_lifts_follow_their_definition(seed, r, v, scale):
    logp = (scale * torch.randn(r + 1, v, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
    p = logp.double().exp()
    torch.testing.assert_close(lift(logp[0], logp[1:]).double(), (p[0] / p[1:].mean(0)).log(), atol=1e-3, rtol=1e-3)
    of_controls = lifts_of_controls(logp[1:])
    for i in range(r):
        rest = torch.cat([p[1:i + 1], p[i + 2:]]).mean(0)
        torch.testing.assert_close(of_controls[i].double(), (p[i + 1] / rest).log(), atol=1e-3, rtol=1e-3)


def made_logp(boost, boosted=slice(0, 30), n_vocab=3000, seed=0):
    """Log-probabilities of a vector that raises some tokens by `boost` nats, and of 200 controls that raise none."""
    logits = torch.randn(201, n_vocab, generator=torch.Generator().manual_seed(seed))
    logits[0, boosted] += boost
    return logits.log_softmax(-1)


def test_a_planted_reading_is_found_and_noise_is_not(pair):
    reading = Reading.of(made_logp(8.0))
    assert reading.detection > 1
    tokens = to_tokens(reading, pair.tokenizer, "s", 1)
    ids = {pair.tokenizer.encode(t.piece, add_special_tokens=False)[-1] for t in tokens}
    assert len(ids) >= 18 and ids <= set(range(6, 30)), "special tokens (0-5) are never reported"
    weights = [t.weight for t in tokens]
    assert weights == sorted(weights, reverse=True) and min(weights) > 0
    noise = [Reading.of(made_logp(0.0, seed=seed)).detection for seed in range(1, 20)]
    assert sum(d > 0 for d in noise) <= 3, "about one in twenty vectors rises above the 95th percentile of its controls"


def test_a_token_counts_only_above_both_control_sets():
    logp = made_logp(6.0)
    logp[101:, 3] = logp[0, 3] + 1  # the difference controls say token 3 too
    counts = Reading.of(logp).counts_V
    assert counts[4] and not counts[3]


def test_nothing_to_read_has_a_constant_detection():
    assert detection_of([]) == -1.0
    assert math.isfinite(detection_of([Reading.of(made_logp(1.0))]))
