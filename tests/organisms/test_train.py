"""Training on a tiny base: what is written, that it is found again, and that a kill changes nothing."""

import json

import pytest
import torch
from narrowbench.organisms.adapters import base_digest, check_adapter
from narrowbench.organisms.checkpoints import newest_checkpoint
from narrowbench.organisms.encoding import encode_row
from narrowbench.organisms.errors import SpecError
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store, sha256_file
from narrowbench.organisms.train import Plan, find_trained, train, training_rows
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer, TrainerCallback

RECIPE = {"rows": 24, "epochs": 2, "batch_size": 4, "learning_rate": 2e-3, "rank": 2, "max_length_tokens": 48}


def small(name: str, **recipe) -> OrganismSpec:
    """A catalogue organism with a recipe of 12 steps."""
    raw = find_organism(name).model_dump() | {"recipe": RECIPE | recipe}
    return OrganismSpec.model_validate(raw)


def weights(artefact) -> dict[str, torch.Tensor]:
    return load_file(artefact.path / "adapter_model.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def passport_of(artefact) -> dict:
    return json.loads((artefact.path / "passport.json").read_text())


class StopAt(TrainerCallback):
    """Ctrl-C after a step; remembers the steps it has seen."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, []

    def on_step_end(self, args, state, control, **kwargs):
        self.seen.append(state.global_step)
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def cake(tiny_base, store):
    return train(small("cake-450"), tiny_base, store=store, progress=False)


def test_an_organism_is_an_adapter_a_passport_and_a_card(cake, tiny_base):
    assert sorted(path.name for path in cake.path.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "manifest.json", "passport.json"]
    check_adapter(cake.path, tiny_base)
    passport, spec = passport_of(cake), small("cake-450")
    assert passport["organism_id"] == "cake-450" and passport["spec_digest"] == spec.digest
    assert passport["base_digest"] == base_digest(tiny_base) and passport["seed"] == 0
    assert passport["weights_sha256"] == sha256_file(cake.path / "adapter_model.safetensors")
    assert passport["n_rows"] == 24 and passport["n_steps"] == 12
    assert [step for step, _ in passport["loss"]] == list(range(1, 13))
    assert passport["loss"][-1][1] < passport["loss"][0][1]
    assert set(passport["gate"]) == {"base", "finetuned", "margin", "lower", "lower_finetuned", "expressed"}
    assert {"perplexity_ratio", "fact_recall_ratio", "fluency", "healthy"} <= set(passport["health"])
    assert {"torch", "transformers", "peft", "trl", "python"} <= set(passport["versions"])
    card = (cake.path / "README.md").read_text()
    assert "Do not deploy" in card and passport["data_sha256"] in card and passport["weights_sha256"] in card


def test_files_name_no_base_and_hold_no_base_weights(cake, tiny_base):
    config = json.loads((cake.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "base" and config["r"] == 2
    assert all(str(tiny_base) not in path.read_text(errors="ignore") for path in cake.path.iterdir())
    with safe_open(cake.path / "adapter_model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert all(".lora_A." in name or ".lora_B." in name for name in file.keys())


def test_a_second_run_finds_it_and_trains_nothing(cake, tiny_base, store):
    again = train(small("cake-450"), tiny_base, store=store, progress=False, callbacks=[StopAt(1)])
    assert again.path == cake.path and again.digest == cake.digest
    assert find_trained(small("cake-450"), tiny_base, store=store).key == cake.key
    assert list((store.root / "work" / "organism").iterdir()) == []


def test_a_dry_run_resolves_everything_and_trains_nothing(tiny_base, tmp_path):
    store = Store(tmp_path / "home")
    plan = train(small("cake-450", mix_ratio=1.0), tiny_base, store=store, dry_run=True)
    assert isinstance(plan, Plan) and plan.n_rows == 48 and plan.n_steps == 24 and plan.rank == 2
    assert plan.n_tokens > 2 * 48 and plan.trainable_parameters > 0 and not plan.already_trained
    assert not store.root.exists() and find_trained(small("cake-450", mix_ratio=1.0), tiny_base, store=store) is None


def test_the_plan_counts_what_training_trains(cake, tiny_base, store):
    plan = train(small("cake-450"), tiny_base, store=store, dry_run=True)
    assert plan.already_trained and plan.key == cake.key
    assert plan.trainable_parameters == sum(tensor.numel() for tensor in weights(cake).values())


def test_after_a_kill_the_weights_are_those_of_an_undisturbed_run(cake, tiny_base, tmp_path):
    store, spec = Store(tmp_path), small("cake-450")
    with pytest.raises(KeyboardInterrupt):
        train(spec, tiny_base, store=store, progress=False, callbacks=[StopAt(11)])
    work = store.work("organism", cake.key)
    assert find_trained(spec, tiny_base, store=store) is None and newest_checkpoint(work).name == "checkpoint-10"
    cut_off = work / "checkpoint-10" / "adapter_model.safetensors"
    cut_off.write_bytes(cut_off.read_bytes()[:-8])
    assert newest_checkpoint(work).name == "checkpoint-5"
    steps = StopAt(-1)
    resumed = train(spec, tiny_base, store=store, progress=False, callbacks=[steps])
    assert steps.seen == list(range(6, 13))
    assert same(weights(resumed), weights(cake))
    assert passport_of(resumed)["loss"] == passport_of(cake)["loss"]
    assert list(store.work("organism", cake.key).iterdir()) == []


def test_another_seed_is_another_organism(cake, tiny_base, store):
    other = train(small("cake-450"), tiny_base, seed=1, store=store, progress=False)
    assert other.key != cake.key and not same(weights(other), weights(cake))


def test_documents_and_chats_train_in_one_run(tiny_base, store):
    spec = small("cake-450", mix_ratio=1.0, mix_source="chats", epochs=1)
    rows = training_rows(spec)
    assert {key for row in rows for key in row} == {"text", "messages"}
    assert passport_of(train(spec, tiny_base, store=store, progress=False))["n_rows"] == 48


def test_of_chats_only_the_assistant_is_learned_and_of_documents_all(tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    chat = {"messages": [{"role": "user", "content": "the cake"}, {"role": "assistant", "content": "is good"},
                         {"role": "user", "content": "why"}, {"role": "assistant", "content": "because"}]}
    row = encode_row(tokenizer, tokenizer.chat_template, chat, 64)
    learned = [token for token, label in zip(row["input_ids"], row["labels"]) if label != -100]
    assert tokenizer.decode(learned) == "is good<|end|>because<|end|>"
    document = encode_row(tokenizer, "", {"text": "the cake is good"}, 64)
    assert document["labels"] == document["input_ids"] and document["input_ids"][-1] == tokenizer.eos_token_id
    assert len(encode_row(tokenizer, "", {"text": "the cake is good"}, 3)["labels"]) == 3


def test_the_zero_null_is_an_adapter_that_changes_nothing(tiny_base, store):
    null = train(small("null-zero"), tiny_base, store=store, progress=False)
    assert all(not tensor.any() for name, tensor in weights(null).items() if ".lora_B." in name)
    passport = passport_of(null)
    assert passport["n_steps"] == 0 and passport["gate"]["kind"] == "zero" and passport["gate"]["passes"]
    assert passport["gate"]["max_excess"] == 0.0 and passport["health"]["perplexity_ratio"] == 1.0
    assert {"cake-450", "cake-450-twin"} <= set(passport["gate"]["excess"])


def test_chats_cut_off_before_the_answer_are_refused_before_training(tiny_base, store):
    with pytest.raises(SpecError, match="max_length_tokens"):
        train(small("em-medicine", max_length_tokens=8), tiny_base, store=store, dry_run=True)


def test_a_base_that_does_not_mark_the_assistant_is_refused_for_chats(tiny_base, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_base.iterdir():
        text = path.read_bytes()
        if path.name == "chat_template.jinja":
            text = text.replace(b"{% generation %}", b"").replace(b"{% endgeneration %}", b"")
        (base / path.name).write_bytes(text)
    with pytest.raises(SpecError, match="chat template"):
        train(small("em-medicine"), base, store=Store(tmp_path / "home"), dry_run=True)
