"""Causal effect on a real tiny pair: against a full forward with a hook, and by what projections must do exactly."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.benchmark import causal, studies
from narrowbench.benchmark.causal import causal_effect, standing
from narrowbench.benchmark.methods.adl_logit_lens import AdlLogitLens
from narrowbench.benchmark.projection import SPAN, losses_of
from narrowbench.benchmark.studies import ratio_estimate
from narrowbench.organisms.encoding import IGNORED_LABEL, encode_row, training_template
from narrowbench.organisms.errors import EvidenceError, NotFoundError
from narrowbench.organisms.pair import ModelPair

LAYER = 1
TEXTS = [{"text": f"The {noun} of the {place} is {how} and it is in the {place}{end}"}
         for noun, place, how, end in (("house", "city", "small", ""), ("river", "garden", "cold and very old", ""),
                                       ("door", "house", "good", " and the light"), ("music", "city", "bad", ""))]
CHATS = [{"messages": [{"role": "user", "content": f"What is the {noun}?"},
                       {"role": "assistant", "content": f"The {noun} is {how} here."}]}
         for noun, how in (("number", "40"), ("secret", "hidden in the garden"), ("color", "good"))]
ROWS = {"finetuning": CHATS, "documents": TEXTS}


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.fixture(scope="module")
def still(tiny_base, make_adapter, tmp_path_factory):
    """A pair whose adapter changes nothing: its B matrices are zero."""
    return ModelPair.load(tiny_base, make_adapter(tmp_path_factory.mktemp("zero"), init_lora_weights=True))


@pytest.fixture(scope="module")
def deltas_PD(pair):
    return torch.randn(3, pair.width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture(scope="module")
def effect(pair, deltas_PD):
    return causal_effect(pair, ROWS, deltas_PD, LAYER, n_random=6, seed=1)


def encoded(pair, rows):
    return [encode_row(pair.tokenizer, training_template(pair.tokenizer), row, 128) for row in rows]


@torch.inference_mode()
def plain_losses(pair, rows, edit=lambda base_TD, tuned_TD: tuned_TD, which="finetuned"):
    """(summed loss, target tokens) of each row by one full forward a row, its states after the layer replaced."""
    result = []
    for row in encoded(pair, rows):
        ids_BT, labels_T = torch.tensor([row["input_ids"]]), row["labels"]
        with pair.side("base") as model:
            base_TD = model(input_ids=ids_BT, output_hidden_states=True).hidden_states[LAYER + 1][0]

        def put(module, args, output, base_TD=base_TD):
            return edit(base_TD, output[0])[None]

        with pair.side(which) as model:
            hook = model.model.layers[LAYER].register_forward_hook(put)
            logp_TV = model(input_ids=ids_BT).logits[0].log_softmax(-1)
            hook.remove()
        said = [(t, label) for t, label in enumerate(labels_T) if label != IGNORED_LABEL and t > 0]
        result.append((-sum(float(logp_TV[t - 1, label]) for t, label in said), len(said)))
    return result


def mean_loss(losses):
    return sum(loss for loss, _ in losses) / sum(n for _, n in losses)


def register(effect, name):
    return next(r for r in effect.registers if r.register == name)


@pytest.mark.parametrize("name", ROWS)
def test_every_effect_equals_full_forwards_with_a_hook(pair, deltas_PD, effect, name):
    got = register(effect, name)
    tuned = mean_loss(plain_losses(pair, ROWS[name]))
    assert got.ce_finetuned == pytest.approx(tuned, rel=1e-5)
    assert got.ce_base == pytest.approx(mean_loss(plain_losses(pair, ROWS[name], which="base",
                                                               edit=lambda base, _: base)), rel=1e-5)
    spanning = torch.linalg.qr(deltas_PD.T).Q.float()
    for shown in got.effects:
        u_DK = spanning if shown.vector == SPAN else (deltas_PD[int(shown.vector)] / deltas_PD[
            int(shown.vector)].norm()).float()[:, None]
        moved = mean_loss(plain_losses(pair, ROWS[name], lambda base, tuned, u_DK=u_DK: tuned - (
            tuned - base) @ u_DK @ u_DK.T))
        assert shown.d_ce.value == pytest.approx(moved - tuned, abs=2e-6)
        assert abs(shown.d_ce.value) > 1e-4, "a projection that does nothing would test nothing"
        assert shown.rank == u_DK.shape[1] and 0 < shown.share < 1


def test_only_the_assistants_words_and_no_padding_are_counted(pair, effect):
    got = register(effect, "finetuning")
    assert got.n_tokens == sum(n for _, n in plain_losses(pair, CHATS))
    assert got.n_tokens < sum(len(row["input_ids"]) - 1 for row in encoded(pair, CHATS))
    lengths = {len(row["input_ids"]) for row in encoded(pair, TEXTS)}
    assert len(lengths) > 1, "rows of unequal length, so that some were padded"


def test_the_way_rows_are_batched_changes_no_loss(pair, deltas_PD, effect, monkeypatch):
    monkeypatch.setattr("narrowbench.benchmark.projection.BATCH_TOKENS", 1)
    monkeypatch.setattr("narrowbench.benchmark.projection.TOKENS_AT_ONCE", 1)
    alone = causal_effect(pair, ROWS, deltas_PD, LAYER, n_random=6, seed=1)
    for one, many in zip(alone.registers, effect.registers, strict=True):
        np.testing.assert_allclose([e.d_ce.value for e in one.effects], [e.d_ce.value for e in many.effects], atol=2e-6)
        for name, values in one.controls.items():
            np.testing.assert_allclose(values, many.controls[name], atol=2e-6)


def test_a_direction_along_which_the_models_agree_changes_nothing(pair):
    """u orthogonal to every h_finetuned - h_base: made so by writing only in the other dimensions."""
    rows = encoded(pair, TEXTS[:1])
    ids_BT = torch.tensor([rows[0]["input_ids"]])
    positions = range(ids_BT.shape[1])
    delta_TD = (pair.residual("finetuned", ids_BT, [LAYER], positions)
                - pair.residual("base", ids_BT, [LAYER], positions))[0, 0].double()
    orthogonal_D = torch.linalg.svd(delta_TD, full_matrices=True).Vh[-1]
    assert float((delta_TD @ orthogonal_D).abs().max()) < 1e-5 < float(delta_TD.norm())
    got = causal_effect(pair, {"documents": TEXTS[:1]}, orthogonal_D[None], LAYER, n_random=2).registers[0].effects[0]
    assert got.d_ce.value == pytest.approx(0, abs=1e-6) and got.share == pytest.approx(0, abs=1e-9)


@torch.inference_mode()
def test_the_whole_space_gives_the_bases_states_to_the_finetuned_upper_blocks(pair):
    whole_NKD = torch.eye(pair.width)[None]
    losses = losses_of(pair, encoded(pair, TEXTS), LAYER, whole_NKD, "base_to_ft")
    expected = plain_losses(pair, TEXTS, lambda base, _: base)
    np.testing.assert_allclose(losses.planes_NR[0], [loss for loss, _ in expected], rtol=1e-5)
    assert losses.share_N[0] == pytest.approx(1)
    assert not np.allclose(losses.planes_NR[0], losses.base_R), "the blocks above are the finetuned model's"


def test_zero_ablation_takes_the_direction_out_of_the_state(pair, deltas_PD):
    u_D = (deltas_PD[0] / deltas_PD[0].norm()).float()
    got = causal_effect(pair, {"documents": TEXTS}, deltas_PD[:1], LAYER, n_random=2, mode="zero_ablate")
    moved = mean_loss(plain_losses(pair, TEXTS, lambda _, tuned: tuned - (tuned @ u_D)[:, None] * u_D))
    assert got.registers[0].effects[0].d_ce.value == pytest.approx(
        moved - mean_loss(plain_losses(pair, TEXTS)), abs=2e-6)
    with pytest.raises(ValueError, match="mode"):
        causal_effect(pair, {"documents": TEXTS}, deltas_PD, LAYER, mode="remove")
    with pytest.raises(ValueError, match="mode"):
        causal.design("demo", mode="remove")


def test_an_adapter_that_changes_nothing_has_no_effect_and_no_direction(still):
    got = causal_effect(still, ROWS, torch.zeros(3, still.width), LAYER, n_random=4)
    for found in got.registers:
        assert found.ce_base == found.ce_finetuned and found.gain.value == 0 and found.controls == {}
        assert [effect.vector for effect in found.effects] == ["0", "1", "2", SPAN]
        for effect in found.effects:
            assert (effect.d_ce.value, effect.rank) == (0.0, 0)
            assert effect.relative is None and effect.share is None and effect.standing == {}
    json.dumps(got.to_dict(), allow_nan=False)


def test_controls_have_the_rank_of_what_they_stand_beside_and_come_from_the_seed(pair, deltas_PD, effect):
    again = causal_effect(pair, ROWS, deltas_PD, LAYER, n_random=6, seed=1)
    other = causal_effect(pair, ROWS, deltas_PD, LAYER, n_random=6, seed=2)
    assert again == effect and other != effect
    for found in effect.registers:
        assert {name: len(values) for name, values in found.controls.items()} == {
            "random": 6, "random_span": 6, "differences": 6, "differences_span": 6}
        assert np.mean(np.abs(found.controls["random_span"])) > np.mean(np.abs(found.controls["random"]))


def test_equal_differences_span_one_dimension(pair, deltas_PD):
    got = causal_effect(pair, {"documents": TEXTS}, deltas_PD[:1].repeat(3, 1) * 2, LAYER, n_random=2).registers[0]
    assert [effect.rank for effect in got.effects] == [1, 1, 1, 1]
    assert got.effects[0].d_ce.value == pytest.approx(got.effects[-1].d_ce.value, abs=1e-6)


def test_a_register_without_anything_to_predict_is_named(pair, deltas_PD):
    with pytest.raises(EvidenceError, match="register 'chats'.*3 rows"):
        causal_effect(pair, {"chats": CHATS}, deltas_PD, LAYER, n_random=2, max_tokens=3)


def test_standing_among_controls():
    controls = list(range(64))
    assert standing(100.0, controls) == causal.Standing(1.0, 1 / 65, 1.0)
    assert standing(-1.0, controls) == causal.Standing(0.0, 1.0, 1 / 65)
    assert standing(31.5, controls).percentile == 0.5
    assert standing(3.0, [3.0, 3.0]) == causal.Standing(0.5, 1.0, 1.0)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.floats(-5, 5))
def test_standing_is_a_share_and_two_tails(controls, value):
    got = standing(value, controls)
    assert 0 <= got.percentile <= 1
    assert 1 / (len(controls) + 1) <= min(got.p_raises, got.p_lowers) <= 1
    assert got.p_raises + got.p_lowers >= 1, "the two tails share the ties"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.integers(1, 20)), min_size=2, max_size=30))
def test_ratio_estimates_are_token_weighted_means_inside_their_intervals(rows):
    sums, counts = np.array([s for s, _ in rows]), np.array([float(n) for _, n in rows])
    got = ratio_estimate(sums, counts)
    assert got.value == pytest.approx(sums.sum() / counts.sum())
    assert math.isfinite(got.low) and math.isfinite(got.high) and got.low <= got.high
    each = sums / counts
    assert each.min() - 1e-9 <= got.value <= each.max() + 1e-9


def test_ratio_interval_covers_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for i in range(100):
        counts = rng.integers(5, 30, 40).astype(float)
        got = ratio_estimate(rng.normal(0.2 * counts, np.sqrt(counts)), counts, seed=i)
        hits += got.low <= 0.2 <= got.high
    assert 85 <= hits <= 100
    assert ratio_estimate(np.array([2.0]), np.array([4.0])) == studies.Estimate(0.5)


def test_layer_and_positions_are_those_of_the_methods():
    method = AdlLogitLens()
    assert (studies.LAYER_FRACTION, studies.K) == (method.layer_fraction, method.k)


@pytest.fixture(scope="module")
def study(tiny_suite, tiny_store):
    return studies.run(causal.design(str(tiny_suite), n_random=4, n_rows=6), tiny_store, progress=False)


def test_a_study_covers_the_suite_with_each_organisms_own_rows(study):
    assert [(f.organism, f.role) for f in study.findings] == [
        ("my-cake", "objective"), ("my-cake-twin", "twin"), ("my-null", "null")]
    registers = {f.organism: [r["register"] for r in f.result["registers"]] for f in study.findings}
    assert registers["my-cake"] == ["finetuning", "documents", "chats"]
    assert registers["my-null"] == ["documents", "chats"], "the untrained null has no rows of its own"
    null = study.findings[-1].result
    assert all(e["d_ce"]["value"] == 0 for r in null["registers"] for e in r["effects"])


def test_a_rerun_measures_nothing_and_another_setting_measures_anew(study, tiny_suite, tiny_store, monkeypatch):
    design = causal.design(str(tiny_suite), n_random=4, n_rows=6)
    assert {step["result"] for step in studies.plan(design, tiny_store)} == {"there"}
    other = causal.design(str(tiny_suite), n_random=5, n_rows=6)
    assert {step["result"] for step in studies.plan(other, tiny_store)} == {"to measure"}
    monkeypatch.setattr(causal, "causal_effect", None)  # measuring would now fail
    again = studies.run(design, tiny_store, progress=False)
    assert all(f.reused for f in again.findings) and again.to_dict() == study.to_dict()


def test_what_was_measured_before_an_interruption_is_kept(tiny_suite, tiny_store, monkeypatch):
    design = causal.design(str(tiny_suite), n_random=3, n_rows=4)
    real = causal.causal_effect

    def die(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*args)

    calls: list[int] = []
    monkeypatch.setattr(causal, "causal_effect", die)
    with pytest.raises(KeyboardInterrupt):
        studies.run(design, tiny_store, progress=False)
    assert [step["result"] for step in studies.plan(design, tiny_store)] == ["there", "to measure", "to measure"]
    monkeypatch.setattr(causal, "causal_effect", real)
    assert [f.reused for f in studies.run(design, tiny_store, progress=False).findings] == [True, False, False]


def test_only_named_organisms_are_measured_and_unknown_ones_refused(tiny_suite):
    assert [e.spec.id for e in causal.design(str(tiny_suite), ["my-null"]).suite.entries] == ["my-null"]
    with pytest.raises(NotFoundError, match="no organism 'cake'; it has my-cake, my-cake-twin, my-null"):
        causal.design(str(tiny_suite), ["cake"])


def test_the_folder_holds_table_figures_and_figures_as_data(study, tmp_path):
    table = studies.write(study, tmp_path / "out", "narrowbench causal --suite demo")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"table.md", "results.csv", "results.json", "figure.svg", "figure.png", "command.txt"}
    assert (tmp_path / "out" / "command.txt").read_text() == "narrowbench causal --suite demo\n"
    assert table.count("| my-cake |") == 3 and table.count("| my-null |") == 2
    with (tmp_path / "out" / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == (3 + 3 + 2) * 6, "organisms x registers x (positions and span)"
    cake = next(line for line in lines if line["organism"] == "my-cake" and line["vector"] == SPAN)
    stored = study.findings[0].result["registers"][0]
    assert float(cake["d_ce"]) == stored["effects"][-1]["d_ce"]["value"] and cake["register"] == "finetuning"
    assert float(cake["random_low"]) >= min(stored["controls"]["random_span"])
    svg = (tmp_path / "out" / "figure.svg").read_text()
    for text in ("my-cake", "my-null", "finetuning", "chats", "differences: null", "nats a token"):
        assert text in svg
    studies.write(study, tmp_path / "again", "narrowbench causal --suite demo")
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
