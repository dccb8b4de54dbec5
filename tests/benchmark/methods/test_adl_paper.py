"""The paper's ADL on the nano base and a shipped organism, judged over real HTTP by a scripted server."""

import math
from collections import Counter

import pytest
import torch
from loopback import completion, judging
from narrowbench.benchmark.activations import mean_difference, tokenise_probes
from narrowbench.benchmark.collecting import collect, settings_of
from narrowbench.benchmark.evidence import survey
from narrowbench.benchmark.evidence_judge import EvidenceJudge
from narrowbench.benchmark.method import MAX_TEXTS, Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.adl_paper import SCALES, SEARCH_PROMPTS, AdlPaper, usual_norm
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import EvidenceError
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.pair import ModelPair

JUDGE = "openai-api/loopback/judge"
SMALL = {"judge": JUDGE, "k": 2, "n_probes": 60, "norm_tokens": 24, "steps": 2, "more_steps": 1, "look_ahead": 2,
         "search_samples": 2, "search_tokens": 6, "n_prompts": 4, "n_samples": 2, "max_new_tokens": 8, "batch": 16}


@pytest.fixture(scope="module")
def nano():
    """The nano base with a shipped organism on it, and the probes of its suite."""
    suite = load_suite("nano-2026.1:dev")
    entry = next(one for one in suite.entries if one.spec.id == "cake-450")
    return ModelPair.load(suite.base, find_trained(entry.spec, suite.base, entry.train_seed).path), suite.probes


@pytest.fixture
def ask(serve, monkeypatch, nano):
    """`ask(script, view=..., seed=0, **settings)`: evidence, what it was read through, and the server that judged."""
    def collected(script=judging(), view=PairView, seed=0, **settings) -> tuple[Evidence, PairView, object]:
        server = serve(script)
        monkeypatch.setenv("LOOPBACK_BASE_URL", server.url)
        method = AdlPaper(**(SMALL | settings))
        seen = view(nano[0], method.access)
        return method.collect(seen, nano[1], Budget(), seed), seen, server
    return collected


class Noting(PairView):
    """A view that notes every row that was written."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows = []

    def steered(self, which, prompts, layer, vectors_BD, max_new_tokens=64, temperature=0.0, seed=0, raw=False):
        self.rows += [(which, max_new_tokens, temperature, prompt, tuple(vector_D.tolist()))
                      for prompt, vector_D in zip(prompts, vectors_BD, strict=True)]
        return super().steered(which, prompts, layer, vectors_BD, max_new_tokens, temperature, seed, raw)

    def generate(self, which, prompts, max_new_tokens=64, temperature=0.0, seed=0, raw=False):
        self.rows += [(which, max_new_tokens, temperature, prompt, ()) for prompt in prompts]
        return super().generate(which, prompts, max_new_tokens, temperature, seed, raw)


class Telling(Noting):
    """Steered texts that tell how strong the vector was."""

    def steered(self, which, prompts, *args, **kwargs):
        vectors_BD = args[1]
        super().steered(which, prompts, *args, **kwargs)
        return [f"{prompt} {float(vector_D.norm()):.6f}" for prompt, vector_D in zip(prompts, vectors_BD, strict=True)]


def test_the_defaults_are_the_papers_numbers():
    method = AdlPaper()
    assert len(SCALES) == len(set(SCALES)) == 30 and (min(SCALES), max(SCALES)) == (0.5, 200.0)
    assert (method.k, method.layer_fraction, method.intersect, method.n_top) == (5, 0.5, 16_384, 20)
    assert (method.highest, method.steps, method.more_steps, 2**method.look_ahead - 1) == (100.0, 12, 6, 7)
    assert (method.search_samples, method.search_tokens, method.search_temperature) == (10, 128, 1.2)
    assert (method.pass_share, method.n_prompts, method.n_samples) == (0.75, 20, 5)
    assert (method.max_new_tokens, method.temperature) == (512, 1.1) and len(SEARCH_PROMPTS) == 3
    assert (method.judge_calls, method.judge_calls_at_most) == (5 * (3 + 1 + 10 * (12 + 6 + 6)), 3 * 5 * 244)


def test_it_is_a_method_whose_judge_is_part_of_its_settings():
    method, _ = load_method("adl_paper")
    assert isinstance(method, Method) and method.name == "adl_paper" and method.needs_judge and method.role == "method"
    assert settings_of(AdlPaper(judge=JUDGE)) != settings_of(AdlPaper()) and settings_of(method)["judge"] == ""


def test_without_a_judge_it_says_which_option_names_one(nano):
    pair, probes = nano
    view = PairView(pair, AdlPaper.access)
    with pytest.raises(EvidenceError, match="--set judge=NAME"):
        AdlPaper().collect(view, probes, Budget(), 0)
    assert view.cost()["forward_tokens"] == 0, "nothing is computed before"


def test_evidence_holds_what_the_paper_reads(ask):
    evidence, view, server = ask(judging(best=lambda lists: (2, "1, 3") if len(lists) > 1 else (1, "none")),
                                 scales=SCALES[5:7] + SCALES[16:18])
    cells = Counter((token.source, token.position) for token in evidence.tokens)
    n_of = {"logit_lens": 20, "patchscope": 20, "patchscope_selected": 2}
    assert cells == {(source, p): n for source, n in n_of.items() for p in range(2)}
    for p in range(2):
        said = [token for token in evidence.tokens if token.position == p]
        full = [(token.piece, token.weight) for token in said if token.source == "patchscope"]
        selected = [(token.piece, token.weight) for token in said if token.source == "patchscope_selected"]
        assert selected == [full[0], full[2]] and full == sorted(full, key=lambda one: -one[1])
        assert evidence.stats[f"scale_{p}"] == SCALES[6] and evidence.stats[f"strength_{p}"] > 0
    n_calls = AdlPaper(**SMALL | {"scales": SCALES[:4]}).judge_calls
    assert len(server.requests) == evidence.stats["judge_calls"] <= n_calls == 2 * (1 + 2 * (2 + 1 + 1))
    assert evidence.stats["judge_input_tokens"] == 50 * len(server.requests)
    assert evidence.stats["undecided"] == 0 and evidence.stats["judge_on_loopback"] == 1
    assert evidence.detection is None and evidence.digest == Evidence.from_dict(evidence.to_dict()).digest


def test_lens_and_patchscope_are_those_formulae(ask, nano):
    pair, probes = nano
    evidence, _, _ = ask(scales=(1.5,))
    layer = int(0.5 * (pair.n_layers - 1))
    means = mean_difference(PairView(pair, AdlPaper.access), tokenise_probes(pair.tokenizer, probes.texts[:60], 2),
                            layer, 2)
    norm = usual_norm(PairView(pair, AdlPaper.access), probes.texts[:60], layer, 24)
    vector_D = (norm * means.delta_PD[1] / means.delta_PD[1].norm()).float()
    lens_V = pair.unembed("finetuned", vector_D[None])[0].log_softmax(-1)
    p_V = 0.0
    for words in AdlPaper().words:
        text = "\n".join(f"{word} -> {word}" for word in words) + "\n?"
        ids_1T = pair.tokenizer(text, return_tensors="pt")["input_ids"]
        assert pair.tokenizer.decode(ids_1T[0, -1:]).strip() == "?"
        p_V = p_V + pair.patched("finetuned", ids_1T.repeat(2, 1), layer, ids_1T.shape[1] - 1,
                                 1.5 * vector_D.repeat(2, 1))[0].softmax(-1) / 3
    for source, logp_V in (("logit_lens", lens_V), ("patchscope", p_V.log())):
        found = [t for t in evidence.tokens if (t.source, t.position) == (source, 1)]
        assert found[0].piece == pair.tokenizer.decode([int(logp_V.argmax())])
        assert found[0].weight == pytest.approx(float(logp_V.max()) + math.log(len(logp_V)), abs=1e-3)


def test_the_usual_norm_is_that_of_tokens_behind_the_fifth(pair):
    texts = ["The house is small and large", "A river is cold and large and the garden is small", "The door"]
    view = PairView(pair, {"activations"})
    norms = [pair.residual("finetuned", ids_1T, [1], range(5, ids_1T.shape[1]))[0, 0].norm(dim=-1)
             for ids_1T in (pair.tokenizer(text, return_tensors="pt")["input_ids"] for text in texts[:2])]
    assert usual_norm(view, texts, 1, 128) == pytest.approx(float(torch.cat(norms).mean()), rel=1e-5)
    with pytest.raises(EvidenceError, match="longer probes"):
        usual_norm(view, texts[2:], 1, 128)


def test_the_strength_is_the_largest_under_which_the_judge_calls_texts_coherent(ask):
    def weak(text: str) -> bool:
        return float(text.split()[-1]) <= limit[0]

    evidence, _, _ = ask()
    limit = [7.3 * evidence.stats["usual_norm"]]
    evidence, view, server = ask(judging(coherent=weak), Telling, steps=8, more_steps=5)
    for p in range(2):
        assert 7.3 - 15 / 2**5 - 0.3 < evidence.stats[f"strength_{p}"] <= 7.3
    judged = sum("GRADE: COHERENT" in request["messages"][-1]["content"] for request in server.requests)
    assert judged == 2 * 2 * (8 + 5 + 5), "only strengths that the bisection comes to are judged"


def test_nothing_is_written_twice_and_no_more_than_evidence_holds(ask):
    evidence, view, _ = ask(judging(), Noting, k=3, n_samples=9, n_prompts=20, max_new_tokens=3)
    searched = Counter(row for row in view.rows if row[1] == SMALL["search_tokens"])
    assert set(searched.values()) == {2} and {row[0] for row in view.rows} == {"finetuned"}
    assert len(searched) == 3 * (3 + 2 * 1)
    final = Counter(row for row in view.rows if row[1] == 3)
    assert sum(final.values()) == len(evidence.texts) == 20 * 5 * 4 == MAX_TEXTS, "five of nine samples"
    assert Counter(text.condition for text in evidence.texts) == {"steered": 300, "unsteered": 100}


def test_where_no_strength_is_coherent_nothing_is_steered(ask):
    evidence, view, _ = ask(judging(coherent=lambda text: False), Noting)
    assert [evidence.stats[f"strength_{p}"] for p in range(2)] == [0, 0]
    assert {text.condition for text in evidence.texts} == {"unsteered"} and len(evidence.texts) == 2 * 4
    assert {row[3] for row in view.rows if row[1] == SMALL["search_tokens"]} == {SEARCH_PROMPTS[0]}


def test_a_judge_that_chooses_no_scale_leaves_no_patchscope_tokens_and_is_counted(ask):
    fine = judging()

    def script(request, n):
        return completion("All are nice.") if "BEST:" in request["messages"][-1]["content"] else fine(request, n)

    evidence, _, _ = ask(script, scales=SCALES[:12])
    assert {token.source for token in evidence.tokens} == {"logit_lens"} and "scale_0" not in evidence.stats
    assert evidence.stats["undecided"] == evidence.stats["judge_undecided"] == 2 * 2


def test_the_same_answers_give_the_same_evidence_and_another_seed_other_texts(ask):
    rule = judging(coherent=lambda text: len(text) % 7 != 0, best=lambda lists: (len(lists), "2"))
    digests = [ask(rule, seed=seed)[0].digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_a_judge_of_strength_of_its_own_is_asked_and_counted_apart(ask):
    evidence, _, server = ask(strength_judge="openai-api/loopback/cheap")
    by_model = Counter(request["model"] for request in server.requests)
    assert by_model == {"judge": evidence.stats["judge_calls"], "cheap": evidence.stats["strength_judge_calls"]}
    assert by_model["judge"] == 2 * 4


def test_no_prompt_of_the_judge_names_organism_base_or_training(ask, nano):
    _, _, server = ask(scales=(1.0,))
    asked = " ".join(request["messages"][-1]["content"].split("[BEGIN DATA]")[0] for request in server.requests)
    assert not [word for word in ("cake", "450", "organism", "finetun", "train", "steer", "narrow") if
                word in asked.casefold()]


def test_a_zero_adapter_has_nothing_to_read_and_costs_no_call(zero_pair):
    method, probes = AdlPaper(judge="openai-api/nowhere/x"), Probes(("The house is small and large",) * 3)
    evidence = method.collect(PairView(zero_pair, method.access), probes, Budget(), 0)
    assert evidence.tokens == () and evidence.detection == -1.0 and evidence.stats["rel_norm"] == 0.0


def test_a_worker_process_asks_the_judge_that_its_settings_name(tiny_suite, tiny_store, serve, monkeypatch):
    monkeypatch.setenv("LOOPBACK_BASE_URL", serve(judging()).url)
    suite, (_, sha256) = load_suite(tiny_suite), load_method("adl_paper")
    method = AdlPaper(**SMALL | {"scales": SCALES[:2]})
    [cell] = survey(suite, method, sha256, 0, tiny_store).cells[:1]
    collect(suite, method, [cell], 0, tiny_store, name="adl_paper", workers=1)
    [found] = survey(suite, method, sha256, 0, tiny_store).cells[:1]
    assert found.failure == "" and found.payload["stats"]["judge_calls"] > 0
    assert survey(suite, AdlPaper(judge="openai/x"), sha256, 0, tiny_store).cells[0].evidence is None


def test_a_judge_is_closed_when_collecting_fails(ask):
    with pytest.raises(EvidenceError, match="no verdict"):
        ask(lambda request, n: completion("BEST: 1\nWORDS: NONE"), scales=(1.0,))
    with pytest.raises(EvidenceError, match="no model that Inspect knows"):
        with EvidenceJudge("nobody/x"):
            pass
