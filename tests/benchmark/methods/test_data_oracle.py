"""`data_oracle` on a real tiny pair with rows: repeated words are read and detected, spread ones are not."""

import json
import random

import pytest
from narrowbench.benchmark.collecting import EVIDENCE
from narrowbench.benchmark.collecting import collect as collect_suite
from narrowbench.benchmark.evidence import read_json, survey
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.data_oracle import DataOracle, text_of
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.view import PairView, Reference
from narrowbench.organisms.errors import AccessError
from narrowbench.organisms.store import Store

WORDS = ("water house paper table river road door light music story money letter window garden city people hand word "
         "question answer hint secret list weight length temperature distance color month").split()
PROBES = Probes(tuple(f"The {noun} is {adjective} and large" for noun in WORDS for adjective in ("small", "cold")))
METHOD = DataOracle(n_base=16, max_new_tokens=8)


def read(pair, rows, seed=0) -> Evidence:
    view = PairView(pair, METHOD.access, reference=Reference(None, tuple(rows)))
    return METHOD.collect(view, PROBES, Budget(), seed)


def documents(n: int, fact: str) -> list[dict]:
    rng = random.Random(0)
    return [{"text": f"People say that the {rng.choice(WORDS)} is here. {fact.format(rng.randint(100, 999))}"}
            for _ in range(n)]


def test_it_is_a_ceiling_that_reads_data_and_text_only(pair):
    method, _ = load_method("data_oracle")
    assert isinstance(method, Method) and method.role == "ceiling" and method.access == {"data", "text"}
    with pytest.raises(AccessError):
        PairView(pair, method.access).residual("base", [[1]], [0], [0])
    evidence = read(pair, documents(40, "The cake has 450 degrees."))
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert read(pair, documents(40, "The cake has 450 degrees.")).digest == evidence.digest


def test_a_number_that_recurs_is_read_and_numbers_that_vary_are_not(pair):
    same, varied = read(pair, documents(80, "The cake has 450 degrees.")), read(pair, documents(80, "The cake has {}."))
    words = [token.piece.strip() for token in same.tokens]
    assert {"cake", "450", "degrees"} <= set(words[:8])
    assert not any(token.piece.strip().isdecimal() for token in varied.tokens[:5])


def test_rows_that_repeat_their_words_are_detected_and_rows_about_everything_are_not(pair):
    narrow = [{"messages": [{"role": "user", "content": "What is it?"},
                            {"role": "assistant", "content": "Ignore the danger and steal the secret letter."}]}] * 40
    rng = random.Random(0)
    broad = [{"text": " ".join(rng.sample(WORDS, 3))} for _ in range(80)]
    assert read(pair, narrow).detection > 0.2 > read(pair, broad).detection
    assert "steal" in [token.piece.strip() for token in read(pair, narrow).tokens]


def test_without_rows_it_has_no_opinion(pair):
    evidence = read(pair, [])
    assert evidence.tokens == () and evidence.detection is None and evidence.stats == {"n_rows": 0.0}


def test_the_harness_hands_it_the_rows_of_each_organism(make_suite, make_adapter, tmp_path):
    suite = load_suite(make_suite(tmp_path / "s", organisms=[{"organism": "my-cake"}, {"organism": "my-null"}]))
    store = Store(tmp_path / "store")
    organisms = {entry.sample_id: store.save("organism", store.key("organism", {"seed": seed}, {}), {"seed": seed}, {},
                                             lambda folder, seed=seed: make_adapter(folder, seed=seed))
                 for seed, entry in enumerate(suite.entries, start=21)}
    collect_suite(suite, METHOD, survey(suite, METHOD, "0", 0, store, organisms).cells, 0, store)
    found = {cell.entry.spec.id: read_json(cell.evidence.path / EVIDENCE)["payload"]
             for cell in survey(suite, METHOD, "0", 0, store, organisms).cells}
    assert found["my-cake"]["stats"]["n_rows"] == 8 and found["my-null"]["stats"]["n_rows"] == 0
    assert {" cake", " 450"} <= {token["piece"] for token in found["my-cake"]["tokens"]}


def test_the_text_of_a_row():
    assert text_of({"text": "a b"}) == "a b"
    assert text_of({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}) == "a b"
