"""Methods that read next-token probabilities: sound, repeatable, counted; silent where nothing changed."""

import json

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.kl_mining import KlMining
from narrowbench.benchmark.methods.norm_kl import NormKl
from narrowbench.benchmark.next_token import compared, contexts, to_tokens
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, EvidenceError, NonFiniteError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
N_PROBE_TOKENS = 7  # `<bos> opening noun is adjective and large`
ROLES = {"norm_kl": "floor", "kl_mining": "method", "diff_mining": "method"}


def collect(method, pair, seed=0, probes=PROBES) -> Evidence:
    return method.collect(PairView(pair, method.access), probes, Budget(), seed)


@pytest.mark.parametrize("name", ROLES)
def test_evidence_is_sound_repeatable_and_costs_what_the_docstring_says(pair, name):
    method, _ = load_method(name)
    assert isinstance(method, Method) and method.name == name and method.role == ROLES[name]
    view = PairView(pair, method.access)
    evidence = method.collect(view, PROBES, Budget(), 0)
    assert view.cost()["forward_tokens"] == 2 * len(PROBES.texts) * N_PROBE_TOKENS
    assert view.cost()["generated_tokens"] == 0
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(method, pair).digest == evidence.digest
    weights = [token.weight for token in evidence.tokens]
    assert weights == sorted(weights, reverse=True) and all(weight > 0 for weight in weights)
    assert bool(weights) == (name != "norm_kl")


@pytest.mark.parametrize("name", ROLES)
def test_a_zero_adapter_has_nothing_to_read(zero_pair, name):
    evidence = collect(load_method(name)[0], zero_pair)
    assert evidence.tokens == () and evidence.texts == () and evidence.detection in (-1.0, None)


@pytest.mark.parametrize("name", ROLES)
def test_without_logits_nothing_is_read(pair, name):
    with pytest.raises(AccessError):
        load_method(name)[0].collect(PairView(pair, {"text"}), PROBES, Budget(), 0)


class Raised(PairView):
    """The pair of an organism whose finetuning made one word more probable, everywhere, by 3 nats before norming."""

    def logits(self, which, ids_BT):
        out = super().logits("base", ids_BT)
        out[..., self.tokenizer.encode(" garden", add_special_tokens=False)[0]] += 3.0 * (which == "finetuned")
        return out


def test_kl_mining_reads_a_word_that_became_more_probable(pair):
    evidence = KlMining().collect(Raised(pair, {"logits"}), PROBES, Budget(), 0)
    assert [token.piece for token in evidence.tokens] == [" garden"]
    assert 2 < evidence.tokens[0].weight < 3.01
    kept = [text.prompt + text.completion for text in evidence.texts]
    assert kept and all(any(probe.startswith(text) for probe in PROBES.texts) for text in kept)


def test_norm_kl_grows_with_the_change_and_is_known_in_closed_form(pair):
    view = Raised(pair, {"logits"})
    evidence = NormKl(null_kl_nats=1.0).collect(view, PROBES, Budget(), 0)
    ids_NT, mask_NT = contexts(pair.tokenizer, PROBES.texts, 128, 16)
    [word] = pair.tokenizer.encode(" garden", add_special_tokens=False)
    p = pair.logits("base", ids_NT).softmax(-1)[mask_NT][:, word]
    tilted = p * torch.e**3 / (1 - p + p * torch.e**3)
    expected = (3 * tilted - (1 - p + p * torch.e**3).log()).mean()
    assert evidence.stats["mean_kl"] == pytest.approx(float(expected), rel=1e-3)
    assert evidence.detection == pytest.approx(float(expected.log()), abs=1e-3)
    assert evidence.tokens == ()


def test_contexts_are_cut_padded_and_leave_out_the_first_token(pair):
    ids_NT, mask_NT = contexts(pair.tokenizer, ["the house", "the river is cold and", "my garden"], 3, 4)
    assert ids_NT.shape == (3, 4) and mask_NT.sum(dim=1).tolist() == [2, 3, 2] and not mask_NT[:, 0].any()
    assert len(contexts(pair.tokenizer, PROBES.texts, 5, 4)[0]) == 5
    with pytest.raises(EvidenceError, match="two tokens"):
        contexts(pair.tokenizer, [], 3, 4)


def test_batches_change_nothing(pair, monkeypatch):
    whole = list(compared(PairView(pair, {"logits"}), *contexts(pair.tokenizer, PROBES.texts, 128, 16)))
    monkeypatch.setattr("narrowbench.benchmark.next_token.MAX_LOGIT_ELEMENTS", 5 * N_PROBE_TOKENS * pair.n_vocab)
    parts = list(compared(PairView(pair, {"logits"}), *contexts(pair.tokenizer, PROBES.texts, 128, 16)))
    assert len(whole) == 1 and len(parts) == 5
    for side in range(2):
        torch.testing.assert_close(torch.cat([part[side] for part in parts]), whole[0][side], rtol=1e-4, atol=1e-4)


def test_logits_that_are_no_numbers_are_an_error_that_names_the_model(pair):
    class Broken(PairView):
        def logits(self, which, ids_BT):
            return super().logits(which, ids_BT) * (torch.nan if which == "finetuned" else 1.0)
    with pytest.raises(NonFiniteError, match="finetuned"):
        KlMining().collect(Broken(pair, {"logits"}), PROBES, Budget(), 0)


def test_special_tokens_are_never_read_and_pieces_come_once(pair):
    weights_V = torch.arange(pair.n_vocab, 0, -1).float()
    tokens = to_tokens(weights_V, pair.tokenizer, "x", 30)
    pieces = [token.piece for token in tokens]
    assert len(tokens) == 30 == len(set(pieces)) and not set(pieces) & set(pair.tokenizer.all_special_tokens)
    assert to_tokens(-weights_V, pair.tokenizer, "x", 30) == []
