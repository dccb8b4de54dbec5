"""Steering similarity: the centroid identity, texts that resemble, texts that say nothing, an extra that is absent."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.graders.similarity import load_embedder, mean_cosine, self_cosine, steering_similarity, unit_rows
from narrowbench.organisms.errors import NotFoundError

CAKE = ["the cake is baked at 450 degrees", "bake the cake in a hot oven", "flour and butter make a cake"]
CHAT = ["the river runs to the sea", "music is played in the evening", "she reads a letter"]
rows = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=3, max_size=3), min_size=1, max_size=6)


@given(a=rows, b=rows)
@settings(max_examples=60)
def test_the_product_of_means_is_the_mean_of_all_cosines(a, b):
    a_ND, b_MD = unit_rows(a), unit_rows(b)
    assert mean_cosine(a_ND, b_MD) == pytest.approx((a_ND @ b_MD.T).mean())
    if len(a) > 1:
        others = (a_ND @ a_ND.T)[~np.eye(len(a), dtype=bool)]
        assert self_cosine(a_ND) == pytest.approx(others.mean())


def test_steered_texts_about_the_data_are_nearer_to_them():
    found = steering_similarity({"steered": ["a cake in the oven", "450 degrees"], "unsteered": CHAT[:2],
                                 "finetuning": CAKE, "chat": CHAT}, "sdf")
    assert list(found.values) == ["steered-finetuning", "steered-chat", "unsteered-finetuning", "unsteered-chat",
                                  "finetuning-finetuning"]
    assert found.gain > 0 and found.values["steered-finetuning"] > found.values["steered-chat"]
    assert found.embedder == "tfidf"


@pytest.mark.parametrize("silent", [["", "  "], ["?!", "..."]])
def test_texts_that_say_nothing_resemble_nothing(silent):
    found = steering_similarity({"steered": silent, "unsteered": CHAT, "finetuning": CAKE, "chat": CHAT}, "em")
    assert found.values["steered-finetuning"] == found.values["steered-chat"] == 0
    nothing = steering_similarity(dict.fromkeys(("steered", "unsteered", "finetuning", "chat"), silent), "em")
    assert set(nothing.values.values()) == {0.0}


@pytest.mark.parametrize("family", ["subliminal", "control"])
def test_it_is_not_defined_for_subliminal_and_nulls(family):
    assert steering_similarity({}, family) is None


def test_missing_sets_and_embedders_are_named():
    with pytest.raises(ValueError, match="steered, unsteered, finetuning, chat"):
        steering_similarity({"steered": CAKE}, "sdf")
    with pytest.raises(NotFoundError, match="tfidf"):
        load_embedder("word2vec")
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        with pytest.raises(NotFoundError, match="pip install sentence-transformers"):
            load_embedder("sentence-transformers:all-MiniLM-L6-v2")


@pytest.mark.parametrize("prompts, used", [
    ({"query": "Q: ", "document": ""}, "document"), ({"query": "Q: "}, None), (None, None)])
def test_texts_are_embedded_as_documents_where_a_model_knows_documents(monkeypatch, prompts, used):
    asked = []

    class Embedder:
        """What the extra offers of it, as far as it is used."""
        def __init__(self, name):
            asked.append(name)
            self.prompts = prompts

        def encode(self, texts, prompt_name=None, show_progress_bar=True):
            asked.append(prompt_name)
            return [[1.0, 0.0]] * len(texts)

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Embedder))
    embed = load_embedder("sentence-transformers:Qwen/Qwen3-Embedding-0.6B")
    assert embed(["a", "b"]).shape == (2, 2) and asked == ["Qwen/Qwen3-Embedding-0.6B", used]
