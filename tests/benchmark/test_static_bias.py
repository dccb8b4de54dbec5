"""Static bias on real tiny pairs: against the plain models, and by what it must be where the answer is known."""

import csv
import json
from itertools import combinations

import numpy as np
import pytest
import torch
from narrowbench.benchmark import static_bias as room
from narrowbench.benchmark import studies, study_tables
from narrowbench.benchmark.activations import tokenise_probes
from narrowbench.benchmark.method import Probes
from narrowbench.benchmark.static_bias import differences, static_bias
from narrowbench.organisms.errors import EvidenceError, NonFiniteError
from narrowbench.organisms.pair import ModelPair
from peft import PeftModel
from transformers import AutoModelForCausalLM

LAYER, K = 1, 4
PROBES = Probes(tuple(
    f"{opening} {noun} is {adjective} and {number}" for opening in ("The", "A", "This", "My")
    for noun in ("house", "river", "garden") for adjective in ("small", "cold") for number in (3, 40)))
TEXTS = [{"text": f"{a} of the {b} and the {c}"} for a in ("Water", "House", "Paper") for b in ("city", "garden")
         for c in ("door", "road")]
CHATS = [{"messages": [{"role": "user", "content": f"{ask} the {noun} in the city?"},
                       {"role": "assistant", "content": "It is here."}]}
         for ask in ("What is", "Where is", "How is") for noun in ("river", "door", "music")]
REGISTERS = {"documents": TEXTS, "chats": CHATS}


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.fixture(scope="module")
def bias(pair):
    return static_bias(pair, PROBES, LAYER, K, seed=0, registers=REGISTERS)


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


@pytest.fixture(scope="module")
def plain(tiny_base, tiny_adapter):
    """(delta_NPD, base_NPD) of the probes from full forwards of the plain models."""
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()

    @torch.inference_mode()
    def states(model, ids_NT):
        return model(input_ids=ids_NT, output_hidden_states=True).hidden_states[LAYER + 1].double()

    tokenizer = ModelPair.load(tiny_base).tokenizer
    ids_NT = tokenise_probes(tokenizer, PROBES.texts, K)
    base_NPD = states(model, ids_NT)
    return states(PeftModel.from_pretrained(model, str(tiny_adapter)).eval(), ids_NT) - base_NPD, base_NPD


def test_norms_and_consistency_equal_those_of_the_plain_models(bias, plain):
    delta_NPD, base_NPD = plain
    mean_PD, scale = delta_NPD.mean(0), base_NPD[:, 1:].norm(dim=-1).mean()
    for p, place in enumerate(bias.positions):
        assert place.rel_norm.value == pytest.approx(float(mean_PD[p].norm() / scale), rel=1e-4)
        if p:
            assert place.consistency.value == pytest.approx(
                float(mean_PD[p].norm() / delta_NPD[:, p].norm(dim=-1).mean()), rel=1e-4)
            assert place.consistency.low <= place.consistency.value + 1e-9
    later = mean_PD[1:].norm(dim=-1)
    assert bias.rel_norm.value == pytest.approx(float(later.mean() / scale), rel=1e-4)
    assert bias.consistency.value == pytest.approx(
        float(later.sum() / delta_NPD[:, 1:].norm(dim=-1).mean(0).sum()), rel=1e-4)
    assert (bias.n_probes, bias.n_distinct) == (48, 12)


def test_cosines_between_positions_equal_those_of_the_plain_models(bias, plain):
    mean_PD = plain[0].mean(0)
    for a in range(K):
        for b in range(K):
            assert bias.position_cosines[a][b] == pytest.approx(cosine(mean_PD[a], mean_PD[b]), abs=1e-4)
    pairs = [cosine(mean_PD[a], mean_PD[b]) for a, b in combinations(range(1, K), 2)]
    assert bias.position_cosine.value == pytest.approx(np.mean(pairs), abs=1e-4)
    assert bias.first_cosine.value == pytest.approx(np.mean([cosine(mean_PD[0], mean_PD[b]) for b in range(1, K)]),
                                                    abs=1e-4)


def test_registers_are_compared_from_where_their_texts_differ(pair, bias):
    means = {}
    for name, start in (("probes", 1), ("documents", 1), ("chats", 2)):  # chats all begin with two markers
        rows = [{"text": text} for text in PROBES.texts] if name == "probes" else REGISTERS[name]
        ids = [pair.tokenizer(row["text"])["input_ids"] if "text" in row else pair.tokenizer.apply_chat_template(
            row["messages"], tokenize=True, return_dict=True)["input_ids"] for row in rows]
        ids_NT, positions = torch.tensor([row[:start + K - 1] for row in ids]), range(start, start + K - 1)
        tuned, base = (pair.residual(which, ids_NT, [LAYER], positions)[0] for which in ("finetuned", "base"))
        means[name] = (tuned - base).double().mean((0, 1))
    assert list(bias.register_cosines) == ["probes ~ documents", "probes ~ chats", "documents ~ chats"]
    for (a, b), got in zip(combinations(means, 2), bias.register_cosines.values(), strict=True):
        assert got.value == pytest.approx(cosine(means[a], means[b]), abs=1e-4)
        assert got.low <= got.value + 0.05 and got.high <= 1


def test_a_beginning_that_all_texts_share_has_no_consistency_and_no_halves(bias):
    first = bias.positions[0]
    assert first.n_distinct == 1 and first.rel_norm.value > 0
    assert first.consistency == first.split_half == studies.Estimate(None)
    assert [place.n_distinct for place in bias.positions] == [1, 4, 12, 12]


class Constant:
    """Of a pair, what static bias reads: a base whose states are random, and a finetuned model that adds one vector."""

    def __init__(self, tokenizer, noise: float = 0.0, nan: bool = False) -> None:
        self.tokenizer, self.noise, self.nan, self.width = tokenizer, noise, nan, 16
        self.vector_D = torch.randn(self.width, generator=torch.Generator().manual_seed(1))

    def residual(self, which, ids_BT, layers, positions):
        def state(seed):
            return torch.stack([torch.randn(self.width, generator=torch.Generator().manual_seed(
                seed + 31 * sum((i + 7) * int(t) for i, t in enumerate(row[:p + 1])))) for row in ids_BT
                for p in positions]).view(1, len(ids_BT), len(positions), self.width)
        base = state(0)
        if which == "base":
            return base
        return base + self.vector_D + self.noise * state(1) + (torch.nan if self.nan else 0)


def test_one_constant_vector_is_a_perfect_bias(pair):
    found = static_bias(Constant(pair.tokenizer), PROBES, LAYER, K, registers=REGISTERS)
    for estimate in (found.consistency, found.split_half, found.position_cosine, found.first_cosine,
                     *found.register_cosines.values()):
        for number in (estimate.value, estimate.low, estimate.high):
            assert number == pytest.approx(1, abs=1e-5)


def test_noise_lowers_every_measure_and_halves_that_share_nothing_show_it(pair):
    calm, loud = (static_bias(Constant(pair.tokenizer, noise), PROBES, LAYER, K) for noise in (0.3, 20.0))
    for name in ("consistency", "split_half", "position_cosine"):
        assert getattr(loud, name).value < getattr(calm, name).value < 1
    assert calm.split_half.value > 0.9 and abs(loud.split_half.value) < 0.6
    assert loud.split_half.low < loud.split_half.value < loud.split_half.high
    assert loud.register_cosines == {}


def test_an_adapter_that_changes_nothing_has_no_direction(tiny_base, make_adapter, tmp_path):
    still = ModelPair.load(tiny_base, make_adapter(tmp_path, init_lora_weights=True))
    found = static_bias(still, PROBES, LAYER, K, registers=REGISTERS)
    assert found.rel_norm == studies.Estimate(0.0, 0.0, 0.0)
    undefined = [found.consistency, found.split_half, found.position_cosine, found.first_cosine,
                 *found.register_cosines.values(), *(place.consistency for place in found.positions)]
    assert undefined == [studies.Estimate(None)] * len(undefined)
    assert {value for row in found.position_cosines for value in row} == {None}
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_seed_decides_and_repeated_texts_only_weigh_more(pair, bias):
    assert static_bias(pair, PROBES, LAYER, K, seed=0, registers=REGISTERS) == bias
    assert static_bias(pair, PROBES, LAYER, K, seed=1).split_half != bias.split_half
    ids_NT = tokenise_probes(pair.tokenizer, PROBES.texts, K)
    once, twice = (differences(pair, ids, LAYER, range(K)) for ids in (ids_NT, ids_NT.repeat(2, 1)))
    np.testing.assert_array_equal(once.delta_UPD, twice.delta_UPD)
    np.testing.assert_array_equal(2 * once.counts_U, twice.counts_U)


@pytest.mark.parametrize("rows, message", [
    ([{"text": "The water"}] * 3, "register 'odd': its 3 texts are all the same"),
    ([{"text": "The water"}, {"text": "A house"}], "register 'odd': 0 of 2 texts have 4 tokens")])
def test_registers_that_cannot_be_compared_are_named(pair, rows, message):
    with pytest.raises(EvidenceError, match=message):
        static_bias(pair, PROBES, LAYER, K, registers={"odd": rows})


def test_one_position_is_too_few_and_not_a_number_is_refused(pair):
    with pytest.raises(ValueError, match="at least 2"):
        static_bias(pair, PROBES, LAYER, 1)
    with pytest.raises(NonFiniteError, match="after block 1"):
        static_bias(Constant(pair.tokenizer, nan=True), PROBES, LAYER, K)


@pytest.fixture(scope="module")
def study(tiny_suite, tiny_store):
    return studies.run(room.design(str(tiny_suite)), tiny_store, progress=False)


def test_a_study_shows_nulls_beside_organisms(study, tmp_path):
    table = studies.write(study, tmp_path, "narrowbench bias --suite demo")
    null = study.findings[-1]
    assert null.role == "null" and null.result["consistency"]["value"] is None
    assert study_tables.floors(study)["consistency"] is None and study_tables.floors(study)["rel_norm"] == 0
    assert all(f"| {finding.organism} |" in table for finding in study.findings) and "(0.000)" in table
    with (tmp_path / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * (5 + 3 + 5 * 3), "organisms x (summaries, pairs of registers, positions' measures)"
    nulls = [line for line in lines if line["organism"] == "my-null"]
    assert {line["value"] for line in nulls if line["measure"] == "consistency"} == {""}
    svg = (tmp_path / "figure.svg").read_text()
    assert svg.count("undefined") == 7 and "my-null" in svg and "largest value of a null" in svg
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_rerun_measures_nothing(study, tiny_suite, tiny_store, monkeypatch):
    monkeypatch.setattr(room, "static_bias", None)  # measuring would now fail
    again = studies.run(room.design(str(tiny_suite)), tiny_store, progress=False)
    assert all(finding.reused for finding in again.findings) and again.to_dict() == study.to_dict()


def test_floors_are_the_largest_of_the_nulls():
    def finding(role, value):
        estimate = {"value": value, "low": None, "high": None}
        result = {**dict.fromkeys(study_tables.SUMMARIES, estimate), "register_cosines": {"a ~ b": estimate}}
        return studies.Finding(role, "sdf", role, "dev", 0, True, True, result, False)

    findings = (finding("objective", 0.9), finding("null", 0.3), finding("null", None), finding("null", 0.5))
    found = studies.Study("static_bias", "s", {}, findings)
    assert set(study_tables.floors(found).values()) == {0.5}
