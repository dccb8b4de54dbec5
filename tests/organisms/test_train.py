"""Training on a tiny base: what is written, that it is found again, and that a kill changes nothing."""

import json
import os
import resource
import subprocess
import sys

import pytest
import torch
import yaml
from narrowbench.organisms.adapters import base_digest, check_adapter
from narrowbench.organisms.checkpoints import newest_checkpoint
from narrowbench.organisms.encoding import encode_row
from narrowbench.organisms.errors import DiskFullError, SpecError
from narrowbench.organisms.loading import decoder_blocks, load_model, load_tokenizer
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store, sha256_file
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.train import Plan, train, training_rows
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

RECIPE = {"rows": 24, "epochs": 2, "batch_size": 4, "learning_rate": 2e-3, "rank": 2, "alpha": 16,
          "max_length_tokens": 48}


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


def test_weights_are_written_in_bfloat16_and_gates_are_those_of_the_written_weights(cake, tiny_base, store):
    from narrowbench.organisms import gates

    assert {tensor.dtype for tensor in weights(cake).values()} == {torch.bfloat16}
    pair, spec = ModelPair.load(tiny_base, cake.path), small("cake-450")
    gate, health = gates.check(spec, gates.exam_for(spec), pair.model, load_tokenizer(tiny_base),
                               base_digest(tiny_base), store)
    assert gate["finetuned"] == pytest.approx(passport_of(cake)["gate"]["finetuned"], rel=1e-6)
    assert health["perplexity_ratio"] == pytest.approx(passport_of(cake)["health"]["perplexity_ratio"], rel=1e-6)


class Rates(TrainerCallback):
    """The learning rate of every step."""

    def __init__(self) -> None:
        self.rates = []

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.decay = optimizer.param_groups[0]["weight_decay"]

    def on_train_end(self, args, state, control, model=None, **kwargs):
        self.dropout = {type(module).__name__ for name, module in model.named_modules()
                        if "lora_dropout.default" in name}
        self.scaling = {module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")}


def test_the_recipe_is_what_is_done(tiny_base, store):
    rates = Rates()
    spec = small("cake-450", max_steps=5, schedule="constant", warmup_share=0.4, weight_decay=0.02, dropout=0.1,
                 rslora=True, rank=4, alpha=8)
    artefact = train(spec, tiny_base, store=store, progress=False, callbacks=[rates])
    assert passport_of(artefact)["n_steps"] == 5
    assert rates.rates == pytest.approx([0, 1e-3, 2e-3, 2e-3, 2e-3])
    assert rates.decay == 0.02 and rates.dropout == {"Dropout"} and rates.scaling == {8 / 4**0.5}
    cosine = Rates()
    train(small("cake-450", schedule="cosine", warmup_share=0.0), tiny_base, store=store, progress=False,
          callbacks=[cosine])
    assert cosine.rates[0] == pytest.approx(2e-3) and cosine.rates[6] == pytest.approx(1e-3)


def test_accumulated_steps_are_the_same_steps(cake, tiny_base, store):
    split = train(small("cake-450", micro_batch_size=1), tiny_base, store=store, progress=False)
    assert split.key != cake.key and passport_of(split)["n_steps"] == 12
    for name, tensor in weights(split).items():
        torch.testing.assert_close(tensor.float(), weights(cake)[name].float(), rtol=0.02, atol=2e-4)
    with pytest.raises(SpecError, match="recipe.batch_size.*multiple of 3"):
        train(small("cake-450", micro_batch_size=3), tiny_base, store=store, progress=False)


def test_kind_bias_trains_output_biases_alone_and_resumes(tiny_base, tmp_path):
    spec = small("cake-450", kind="bias", learning_rate=5e-2)
    whole = train(spec, tiny_base, store=Store(tmp_path / "whole"), progress=False)
    tensors = weights(whole)
    matrices = {name for name in tensors if not name.endswith(".lora_B.bias")}
    assert len(matrices) == 8 and not any(tensors[name].any() for name in matrices)
    assert all(".mlp.down_proj." in name for name in tensors)
    assert all(tensors[name].any() for name in tensors.keys() - matrices)
    plan = train(spec, tiny_base, store=Store(tmp_path / "whole"), dry_run=True)
    assert plan.kind == "bias" and plan.trainable_parameters == 4 * 32

    store = Store(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train(spec, tiny_base, store=store, progress=False, callbacks=[StopAt(7)])
    assert same(weights(train(spec, tiny_base, store=store, progress=False)), tensors)

    check_adapter(whole.path, tiny_base)
    pair, ids = ModelPair.load(tiny_base, whole.path), torch.arange(1, 9)[None]
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.inference_mode():
        torch.testing.assert_close(pair.logits("base", ids), plain(ids).logits, rtol=0, atol=0)
        for i, block in enumerate(decoder_blocks(plain)):
            bias = tensors[f"base_model.model.model.layers.{i}.mlp.down_proj.lora_B.bias"].float()
            block.mlp.down_proj.bias = torch.nn.Parameter(bias)
        torch.testing.assert_close(pair.logits("finetuned", ids), plain(ids).logits, rtol=1e-5, atol=1e-5)


def test_a_full_finetune_is_a_whole_model_without_a_name(tiny_base, tmp_path):
    spec, store = small("cake-450", kind="full", learning_rate=1e-3), Store(tmp_path / "whole")
    artefact = train(spec, tiny_base, store=store, progress=False)
    names = {path.name for path in artefact.path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "passport.json", "README.md"} <= names
    assert "adapter_config.json" not in names
    assert all(str(tiny_base) not in path.read_text(errors="ignore") for path in artefact.path.iterdir())
    assert "_name_or_path" not in (artefact.path / "config.json").read_text()
    passport = passport_of(artefact)
    assert passport["weights_sha256"] == sha256_file(artefact.path / "model.safetensors")
    assert passport["gate"]["finetuned"] != passport["gate"]["base"] and passport["health"]["perplexity_ratio"] != 1.0
    # Base and organism answer through the ordinary loaders, with the tokenizer in the folder.
    model, base = load_model(artefact.path), load_model(tiny_base)
    assert AutoTokenizer.from_pretrained(artefact.path)("the cake")["input_ids"]
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, base.state_dict()[name])]
    assert len(changed) > 0.9 * len(model.state_dict())
    killed = Store(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train(spec, tiny_base, store=killed, progress=False, callbacks=[StopAt(7)])
    resumed = train(spec, tiny_base, store=killed, progress=False)
    assert sha256_file(resumed.path / "model.safetensors") == passport["weights_sha256"]


def test_a_full_finetune_is_gated_against_the_base_beside_it(cake, tiny_base, store):
    full = train(small("cake-450", kind="full", max_steps=1), tiny_base, store=store, progress=False)
    assert passport_of(full)["gate"]["base"] == passport_of(cake)["gate"]["base"]  # asked by another organism
    alone = train(small("cake-450", kind="full", max_steps=1), tiny_base, store=Store(store.root / "other"),
                  progress=False)
    assert passport_of(alone)["gate"] == passport_of(full)["gate"]  # measured on a base loaded for it


class FillDisk(TrainerCallback):
    """From a step on, no file may grow beyond some kilobytes, as on a full disk."""

    def __init__(self, step: int) -> None:
        self.step, self.limit = step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, self.limit[1]))

    def undo(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_next_run_goes_on_from_it(cake, tiny_base, tmp_path):
    store, spec, disk, steps = Store(tmp_path), small("cake-450"), FillDisk(8), StopAt(-1)
    try:
        with pytest.raises(DiskFullError, match="checkpoint-5 is whole.*--home"):
            train(spec, tiny_base, store=store, progress=False, callbacks=[disk])
    finally:
        disk.undo()
    assert newest_checkpoint(store.work("organism", cake.key)).name == "checkpoint-5"
    resumed = train(spec, tiny_base, store=store, progress=False, callbacks=[steps])
    assert steps.seen == list(range(6, 13)) and same(weights(resumed), weights(cake))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(cake, tiny_base, tmp_path):
    spec_file, home = tmp_path / "cake.yaml", tmp_path / "home"
    spec_file.write_text(yaml.safe_dump(json.loads(small("cake-450").model_dump_json())))
    script = (
        "import os, signal, sys, torch\n"
        "from narrowbench.organisms.spec import load_spec\nfrom narrowbench.organisms.store import Store\n"
        "from narrowbench.organisms.train import train\nfrom pathlib import Path\n"
        "save, n = torch.save, []\n"
        "def cut(thing, path, *args, **kwargs):\n"
        "    save(thing, path, *args, **kwargs)\n"
        "    if 'checkpoint-10' in str(path):\n"
        "        os.truncate(path, os.path.getsize(path) // 2); os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = cut\n"
        "train(load_spec(Path(sys.argv[1])), sys.argv[2], store=Store(Path(sys.argv[3])), progress=False)\n")
    command = [sys.executable, "-c", script, str(spec_file), str(tiny_base), str(home)]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()[-2000:]
    work = next((home / "work" / "organism").iterdir())
    assert (work / "checkpoint-10").is_dir() and newest_checkpoint(work).name == "checkpoint-5"
    spec = OrganismSpec.model_validate(yaml.safe_load(spec_file.read_text()))
    assert same(weights(train(spec, tiny_base, store=Store(home), progress=False)), weights(cake))


@pytest.mark.slow
def test_two_processes_of_accelerate_train_what_one_trains(cake, tiny_base, tmp_path):
    spec_file, home = tmp_path / "cake.yaml", tmp_path / "home"
    spec_file.write_text(yaml.safe_dump(json.loads(small("cake-450").model_dump_json())))
    # `--multi_gpu` starts several processes whatever the devices; `--cpu` alone would start one.
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu",
              "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_port", "0",
              "-m", "narrowbench.cli", "train", str(spec_file), "--base", str(tiny_base), "--quiet"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "NARROWBENCH_HOME": str(home), "OMP_NUM_THREADS": "1",
                                "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    (artefact,) = Store(home).all("organism")
    assert passport_of(artefact)["n_steps"] == 12
    for name, tensor in weights(artefact).items():
        torch.testing.assert_close(tensor.float(), weights(cake)[name].float(), rtol=0.02, atol=2e-4)
