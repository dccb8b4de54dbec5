"""ADL whole on a real tiny pair: it hands in what its parts hand in on their own."""

from collections import Counter

from narrowbench.benchmark.method import Budget, Method, Probes
from narrowbench.benchmark.methods.adl import PARTS, Adl
from narrowbench.benchmark.view import PairView

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))


def collect(method, pair, seed=0):
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def test_it_hands_in_its_parts_under_their_names(pair):
    whole = collect(Adl(), pair)
    assert isinstance(Adl(), Method) and {t.source for t in whole.tokens} <= set(PARTS)
    assert {name.rsplit("_", 1)[0] for name in whole.stats if name.endswith("_layer")} == set(PARTS)
    for name in ("adl_logit_lens", "adl_steering"):
        alone = collect(PARTS[name](), pair)
        assert [t for t in whole.tokens if t.source == name] == list(alone.tokens)
    assert whole.texts == alone.texts and Counter(t.condition for t in whole.texts).keys() == {"steered", "unsteered"}


def test_it_is_repeatable(pair):
    method = Adl(parts=("adl_logit_lens", "adl_steering"))
    assert collect(method, pair).digest == collect(method, pair).digest


def test_parts_can_be_left_out_and_their_code_keys_the_evidence(pair):
    method = Adl(parts=("adl_logit_lens",))
    assert collect(method, pair).tokens == collect(PARTS["adl_logit_lens"](), pair).tokens
    assert set(method.code) == {"adl_logit_lens"} and len(method.code["adl_logit_lens"]) == 64


def test_a_zero_adapter_has_nothing_to_read(zero_pair):
    evidence = collect(Adl(), zero_pair)
    assert evidence.tokens == () and evidence.texts == () and evidence.detection == -1.0
