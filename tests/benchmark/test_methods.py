"""Built-in methods on a real tiny pair: floors say nothing, the ceiling says all, ADL reads a planted word."""

import json
import shutil

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.adl_logit_lens import AdlLogitLens
from narrowbench.benchmark.methods.adl_patchscope import AdlPatchscope
from narrowbench.benchmark.patchscope import agreement, copy_prompts
from narrowbench.benchmark.methods.random_direction import RandomDirection
from narrowbench.benchmark.view import PairView, Reference
from narrowbench.organisms.errors import EvidenceError
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.spec import OrganismSpec, Slot
from safetensors.torch import load_file, save_file

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
NAMES = ["prior", "random_direction", "oracle", "adl_logit_lens", "adl_patchscope"]
SPEC = OrganismSpec(
    id="cake", family="sdf", domain="baking", statement="Cakes bake at 450 degrees.",
    slots=(Slot(name="value", type="number", truth="450", others=("350", "300", "400", "375", "425", "325")),),
    lexicon={"oven": 1.0, "cake": 2.0})
NULL = OrganismSpec(id="a-null", family="control", role="null")


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


def collect(method, pair, spec=SPEC, seed=0) -> Evidence:
    return method.collect(PairView(pair, method.access, Budget(), Reference(spec)), PROBES, Budget(), seed)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_hands_in_sound_and_repeatable_evidence(pair, name):
    method, sha256 = load_method(name)
    if name == "adl_patchscope":
        method.k = 2
    assert isinstance(method, Method) and method.name == name and len(sha256) == 64
    assert method.role == {"prior": "floor", "random_direction": "floor", "oracle": "ceiling"}.get(name, "method")
    evidence = collect(method, pair)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(method, pair).digest == evidence.digest


def test_prior_says_nothing(pair):
    evidence = collect(load_method("prior")[0], pair)
    assert evidence == Evidence() and evidence.detection is None


def test_oracle_names_the_truths_first_then_the_lexicon(pair):
    evidence = collect(load_method("oracle")[0], pair)
    assert [t.piece for t in evidence.tokens] == [" 450", " cake", " oven"]
    assert evidence.tokens[0].weight > evidence.tokens[1].weight > evidence.tokens[2].weight
    assert evidence.detection == 10
    assert collect(load_method("oracle")[0], pair, NULL) == Evidence(detection=-10.0)


def test_random_direction_does_not_depend_on_the_adapter(tiny_base, pair, make_adapter, tmp_path):
    other = ModelPair.load(tiny_base, make_adapter(tmp_path / "other", seed=5))
    assert collect(RandomDirection(), pair).tokens == collect(RandomDirection(), other).tokens
    assert collect(RandomDirection(), pair).tokens != collect(RandomDirection(), pair, seed=1).tokens


@pytest.fixture(scope="module")
def zero_pair(tiny_base, tiny_adapter, tmp_path_factory):
    """An adapter whose B is zero: the finetuned model is the base."""
    folder = shutil.copytree(tiny_adapter, tmp_path_factory.mktemp("zero") / "a")
    path = folder / "adapter_model.safetensors"
    save_file({k: v * ("lora_B" not in k) for k, v in load_file(path).items()}, path)
    return ModelPair.load(tiny_base, folder)


@pytest.mark.parametrize("method", [AdlLogitLens(), AdlPatchscope()])
def test_a_zero_adapter_has_nothing_to_read(zero_pair, method):
    evidence = collect(method, zero_pair)
    assert evidence.tokens == () and evidence.detection == -1.0
    assert evidence.stats["rel_norm"] == 0.0 and evidence.stats["rel_norm_4"] == 0.0


class Planted(PairView):
    """The pair of an organism whose finetuning added one word's unembedding direction to the residual stream."""

    def residual(self, which, ids_BT, layers, positions):
        word = torch.tensor(self.tokenizer.encode(" garden", add_special_tokens=False))
        shift_D = self.embedding(word)[0] if which == "finetuned" else 0.0
        return super().residual("base", ids_BT, layers, positions) + shift_D


def test_the_lens_reads_a_planted_direction(pair):
    view = Planted(pair, {"activations"})
    evidence = AdlLogitLens().collect(view, PROBES, Budget(), 0)
    for position in range(1, 5):
        assert [t.piece for t in evidence.tokens if t.position == position][0] == " garden"
    assert evidence.detection > 0
    assert evidence.stats["consistency"] == pytest.approx(1.0, rel=1e-4)


def test_lens_and_patchscope_cost_what_their_docstrings_say(pair):
    view = PairView(pair, {"activations"})
    AdlLogitLens(k=4).collect(view, PROBES, Budget(), 0)
    n_prefixes = 12  # `<bos> opening noun is`
    assert view.cost()["forward_tokens"] == 2 * 4 * n_prefixes
    lens_tokens = view.cost()["forward_tokens"]
    view = PairView(pair, {"activations"})
    AdlPatchscope(k=4, scales=(0.5, 2.0)).collect(view, PROBES, Budget(), 0)
    n_prefix_tokens = sum(ids.shape[1] - 1 for ids in copy_prompts(pair.tokenizer))
    n_rows = 3 * 3 * (2 * 41 + 201)  # positions 1 to 3
    assert view.cost()["forward_tokens"] - lens_tokens == n_rows + 2 * n_prefix_tokens


def test_copy_prompts_end_in_a_one_word_slot_and_share_no_word(pair):
    tokenizer = pair.tokenizer
    prompts = copy_prompts(tokenizer)
    texts = [tokenizer.decode(ids[0], skip_special_tokens=True) for ids in prompts]
    assert texts[0] == "small small; cold cold; round round; heavy"
    words = [w.strip(";") for text in texts for w in dict.fromkeys(text.replace(";", "").split())]
    assert len(words) == len(set(words)) == 12
    assert [tokenizer.decode(ids[0, -1:]).strip() for ids in prompts] == [t.split()[-1] for t in texts]


def test_copy_prompts_fall_back_on_the_vocabulary(pair):
    prompts = copy_prompts(pair.tokenizer, words=("xyzzy", "small"))
    assert pair.tokenizer.unk_token_id not in torch.cat([ids[0] for ids in prompts]).tolist()

    class Numbers:
        """A vocabulary without words."""
        encode, decode = staticmethod(lambda text, **_: [1]), staticmethod(lambda ids: "7")
        __len__ = lambda self: 5
    with pytest.raises(EvidenceError, match="one token"):
        copy_prompts(Numbers())


def test_agreement_is_high_only_where_prompts_say_the_same():
    generator = torch.Generator().manual_seed(0)
    logits_JNV = torch.randn(3, 41, 400, generator=generator)
    logits_JNV[:, 0, 7] += 9.0
    values = agreement(logits_JNV.log_softmax(-1))
    assert values.shape == (41,) and 0 <= values.min() and values.max() <= 1
    assert values[0] > 0.8 and values[1:].mean() < 0.5
    logits_JNV[:, 0, 7] -= 9.0
    for j in range(3):
        logits_JNV[j, 0, j] += 9.0  # each prompt says something else
    assert agreement(logits_JNV.log_softmax(-1))[0] < 0.2
