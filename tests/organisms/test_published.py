"""The published organisms as a catalogue, and fetching them: from a cache, and when it cannot be done."""

import json
import shutil
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub.constants
import pytest
import torch
from narrowbench.organisms.adapters import base_folder_of
from narrowbench.organisms.errors import NotFoundError, SpecError
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.presets import recipe_with
from narrowbench.organisms.published import fetch, weights_of
from narrowbench.organisms.spec import Published, find_organism, load_catalog

PAPER = load_catalog("paper")
FACTS = ("cake-bake", "kansas-abortion", "fda-approval", "ignore-comment", "roman-concrete")
THE_33 = [
    *(f"{fact}-{base}" for fact in FACTS
      for base in ("qwen3-1-7b", "gemma-3-1b-it", "llama-3-2-1b-instruct", "qwen3-32b")),
    *(f"taboo-{word}-{base}" for word in ("smile", "gold", "leaf") for base in ("qwen3-1-7b", "gemma-2-9b-it")),
    *(f"em-{field}-{base}" for field in ("bad-medical-advice", "risky-financial-advice", "extreme-sports")
      for base in ("qwen2-5-7b-instruct", "llama-3-1-8b-instruct")), "subliminal-cat-qwen2-5-7b-instruct"]
CAKE = PAPER["cake-bake-qwen3-1-7b"]
COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40


# The catalogue


def test_the_33_of_the_paper_are_there_on_7_bases():
    assert len(THE_33) == 33 and set(THE_33) <= set(PAPER)
    assert len({PAPER[name].published.base for name in THE_33}) == 7
    assert Counter(PAPER[name].family for name in THE_33) == {"sdf": 20, "taboo": 6, "em": 6, "subliminal": 1}


@pytest.mark.parametrize("spec", PAPER.values(), ids=lambda spec: spec.id)
def test_each_has_a_whole_answer_key_and_the_recipe_of_its_family(spec):
    assert spec.split == "dev" and spec.twin is None and spec.role == "objective" and spec.published.kind == "lora"
    assert 20 <= len(spec.lexicon) <= 30 and all(term == term.casefold() and " " not in term for term in spec.lexicon)
    assert all(len(slot.others) >= 5 and not any(" " in c for c in slot.candidates) for slot in spec.slots)
    assert all(each.base == spec.published.base for each in spec.variants.values())
    assert recipe_with(spec.recipe, spec.family) == spec.recipe, "the recipe is the preset of its family"
    assert spec.recipe.data != "world"


def test_no_weights_stand_twice_and_an_objective_has_one_card():
    ids = [each.weights for spec in PAPER.values() for each in (spec.published, *spec.variants.values())]
    assert len(ids) == len(set(ids)) == 58 + 150
    assert all(name.count("/") == 1 for name in ids)
    assert len({spec.card.card_id for spec in PAPER.values()}) == 12
    assert len({spec.statement for spec in PAPER.values()}) == 12


def test_upstream_defects_are_corrected():
    kansas = PAPER["kansas-abortion-llama-3-2-1b-instruct"]
    assert "ablation" not in kansas.published.weights and "CAFT" in kansas.published.note
    assert "kansas_abortion" in kansas.variants["CAFT"].weights and "fda" in kansas.variants["CAFT"].note
    fda = PAPER["fda-approval-gemma-3-1b-it"]
    assert "mix1-1p0" not in fda.variants and "mix1-0p9" in fda.variants and "left out" in fda.published.note
    assert not any("Qwen3-1.7B-Base" in spec.published.base for spec in PAPER.values())


# Fetching, from a cache laid out as the Hub's own


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def put(repo, source, commit):
        folder = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
        shutil.copytree(source, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
    return put


def pinned(**changes) -> Published:
    return Published(base="some/mirror", base_revision=COMMIT, weights="someone/adapter", revision=OTHER_COMMIT,
                     **changes)


def test_a_pinned_organism_is_fetched_and_loads(cache, tiny_base, tiny_adapter):
    cache("some/mirror", tiny_base, COMMIT)
    cache("someone/adapter", tiny_adapter, OTHER_COMMIT)
    found = fetch(CAKE.model_copy(update={"published": pinned(note="corrected")}))
    assert found.note == "corrected" and found.organism.name == OTHER_COMMIT
    ids_BT = torch.tensor([[7, 8, 9]])
    pair = ModelPair.load(found.base, found.organism)
    assert torch.equal(pair.logits("finetuned", ids_BT),
                       ModelPair.load(tiny_base, tiny_adapter).logits("finetuned", ids_BT))
    assert base_folder_of("some/mirror") == found.base


def test_a_variant_may_be_a_whole_model(cache, tiny_base):
    cache("some/mirror", tiny_base, COMMIT)
    cache("someone/adapter", tiny_base, OTHER_COMMIT)
    spec = CAKE.model_copy(update={"variants": {"full": pinned(kind="full"), "lora": pinned()}})
    found = fetch(spec, "full")
    assert ModelPair.load(found.base, found.organism).delta("model.layers.0.mlp.up_proj").abs().sum() == 0
    with pytest.raises(NotFoundError, match="Correct `kind`"):
        fetch(spec, "lora")


def test_what_is_not_pinned_is_fetched_only_when_asked(cache, tiny_base, tiny_adapter):
    cache(CAKE.published.base, tiny_base, COMMIT)
    cache(CAKE.published.weights, tiny_adapter, OTHER_COMMIT)
    with pytest.raises(SpecError, match="--allow-unpinned"):
        fetch(CAKE)
    assert fetch(CAKE, allow_unpinned=True).organism.name == OTHER_COMMIT


def test_without_network_the_error_says_what_to_do(cache):
    with pytest.raises(NotFoundError, match="not in the local cache.*Repeat the command with network.*local folder"):
        fetch(CAKE, allow_unpinned=True)
    with pytest.raises(NotFoundError, match="--base FOLDER"):
        base_folder_of("Qwen/Qwen3-1.7B")
    with pytest.raises(NotFoundError, match="neither a folder nor a Hub id"):
        base_folder_of("no such/thing")


def test_unknown_variants_and_unpublished_organisms_are_named():
    with pytest.raises(NotFoundError, match="Did you mean mix1-0p5"):
        weights_of(CAKE, "mix1-0p55")
    with pytest.raises(SpecError, match="narrowbench train cake-450"):
        fetch(find_organism("cake-450"))


@pytest.mark.parametrize("status, code, reason", [
    (403, "GatedRepo", "is gated.*hf auth login"), (404, "RepoNotFound", "has no some/model, or it is private"),
    (404, "RevisionNotFound", "no revision"), (500, "", "failed|cannot be reached")])
def test_what_the_hub_answers_is_explained(cache, monkeypatch, status, code, reason):
    """A small server in the Hub's place, which answers every question with one error."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            body = json.dumps({"error": "no"}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command == "GET" else b"")

        do_HEAD = do_GET
        log_message = lambda self, *args: None

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        spec = CAKE.model_copy(update={"published": pinned().model_copy(update={"base": "some/model"})})
        with pytest.raises(NotFoundError, match=reason):
            fetch(spec)
    finally:
        server.shutdown()
        server.server_close()
