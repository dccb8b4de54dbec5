"""Patchscopes in three forms: the patch is exact, what stands in the slot is said, nothing is said about nothing."""


import pytest
import torch
from narrowbench.benchmark.activations import Means
from narrowbench.benchmark.method import Budget, Evidence, Probes, load_method
from narrowbench.benchmark.methods.adl_patchscope import AdlPatchscope
from narrowbench.benchmark.methods.patchscope_base import PatchscopeBase
from narrowbench.benchmark.methods.patchscope_embedding import PatchscopeEmbedding
from narrowbench.benchmark.patchscope import Patchscope
from narrowbench.benchmark.readout import to_tokens
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError
from narrowbench.organisms.pair import ModelPair

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
KINDS = [AdlPatchscope, PatchscopeBase, PatchscopeEmbedding]
IDS_BT = torch.randint(6, 900, (1, 9), generator=torch.Generator().manual_seed(3))


def collect(method, pair, seed=0) -> Evidence:
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_patchscope_is_repeatable_ordered_and_silent_about_nothing(pair, zero_pair, kind):
    method = kind(k=2, skip=0, scales=(1.0, 2.0))
    evidence = collect(method, pair)
    assert evidence.digest == collect(method, pair).digest and method.name == load_method(method.name)[0].name
    assert evidence.stats["scale"] in (1.0, 2.0)
    for position in range(2):
        weights = [t.weight for t in evidence.tokens if t.position == position]
        assert len(weights) <= 20 and weights == sorted(weights, reverse=True) and all(w > 0 for w in weights)
    silent = collect(method, zero_pair)
    assert silent.tokens == () and silent.detection == -1.0 and silent.stats["rel_norm"] == 0
    with pytest.raises(AccessError):
        method.collect(PairView(pair, {"text"}), PROBES, Budget(), 0)


def test_the_three_read_in_different_places(pair):
    said = [[t.piece for t in collect(kind(k=2, scales=(1.0,)), pair).tokens] for kind in KINDS]
    assert said[0] != said[1] and said[1] != said[2]


def test_positions_and_depths_are_read_as_asked(pair):
    evidence = collect(AdlPatchscope(k=3, skip=1, layer_fraction=(0.4, 0.7), scales=(1.0,)), pair)
    assert {t.position for t in evidence.tokens} <= {1, 2}
    assert {t.source for t in evidence.tokens} == {"adl_patchscope_1", "adl_patchscope_2"}


def test_positions_read_together_are_as_each_alone(pair, monkeypatch):
    expected = collect(AdlPatchscope(k=3, scales=(1.0, 2.0)), pair)
    monkeypatch.setattr("narrowbench.benchmark.patchscope.MAX_ELEMENTS", 1)
    alone = collect(AdlPatchscope(k=3, scales=(1.0, 2.0)), pair)
    assert [t.piece for t in alone.tokens][:10] == [t.piece for t in expected.tokens][:10]
    assert alone.stats == pytest.approx(expected.stats, rel=1e-3)


# The patch itself


def full_forward(pair, which, layer, vector_D):
    """The same by the plain model: the stream at the last token replaced in a full forward of one row."""
    with pair.side(which) as model, torch.inference_mode():
        module = model.model.layers[layer] if layer >= 0 else model.model.embed_tokens

        def put(module, args, output):
            output[:, -1] = vector_D
            return output

        handle = module.register_forward_hook(put)
        logits_V = model(input_ids=IDS_BT, use_cache=False).logits[0, -1]
        handle.remove()
    return logits_V


@pytest.mark.parametrize("which", ["base", "finetuned"])
@pytest.mark.parametrize("layer", [-1, 0, 2, 3])
def test_patched_rows_equal_full_forwards(pair, which, layer):
    vectors_BD = torch.randn(7, pair.width, generator=torch.Generator().manual_seed(0))
    got_BV = pair.patched(which, IDS_BT, layer, 8, vectors_BD)
    for vector_D, logits_V in zip(vectors_BD, got_BV, strict=True):
        expected_V = full_forward(pair, which, layer, vector_D)
        assert (logits_V - expected_V).norm() / expected_V.norm() < 1e-5
    one_V = pair.patched(which, IDS_BT, layer, 8, vectors_BD[:1])[0]
    torch.testing.assert_close(one_V, got_BV[0])


@pytest.mark.parametrize("position", [8, 4])
def test_a_words_own_embedding_changes_nothing(pair, position):
    own_1D = pair.embedding(IDS_BT[0, position:position + 1])
    for which in ("base", "finetuned"):
        torch.testing.assert_close(pair.patched(which, IDS_BT, -1, position, own_1D), pair.logits(which, IDS_BT)[:, -1])


def test_only_the_blocks_above_the_patch_are_counted(pair):
    before = pair.usage.forward_tokens, pair.usage.flops
    pair.patched("base", IDS_BT, 1, 8, torch.ones(5, pair.width))
    assert pair.usage.forward_tokens - before[0] == 8 + 5
    blocks = 8 * sum(pair._block_params) + 5 * sum(pair._block_params[2:])
    assert pair.usage.flops - before[1] == 2 * (blocks + 5 * pair._head_params)


# What is said


@pytest.fixture(scope="module")
def nano():
    from narrowbench.benchmark.suite import load_suite

    return PairView(ModelPair.load(load_suite("nano-2026.1:dev").base), {"activations"})


@pytest.mark.parametrize("layer", [0, -1])
def test_a_base_that_copies_says_the_word_that_was_put_in(nano, layer):
    """The vector is a word's own state, as the base holds it in such a slot."""
    ids_1T = nano.tokenizer("; dog", return_tensors="pt", add_special_tokens=False)["input_ids"]
    position = ids_1T.shape[1] - 1
    if layer < 0:
        scope = Patchscope(nano, "base", -1)
        vector_D = nano.embedding(ids_1T[0, -1:])[0] - scope._origin_D
    else:
        vector_D = nano.residual("base", ids_1T, [layer], [position])[0, 0, 0]
        scope = Patchscope(nano, "base", layer)
    generator = torch.Generator().manual_seed(0)
    means = Means(vector_D[None].double(), vector_D[None], vector_D[None], float(vector_D.norm()), 1.0,
                  vector_D.norm()[None], torch.randn(50, 1, nano.width, generator=generator), 50, 50)
    readings, chosen = scope.read(means, [0], 0, scales=(1.0, 1.5))
    assert to_tokens(readings[0], nano.tokenizer, "s", 0)[0].piece == " dog"
    assert chosen["agreement"] > 0.1
