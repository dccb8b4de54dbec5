"""CAFT: directions that are projected out during training, and files of directions that do not fit."""

import json

import pytest
import torch
from narrowbench.organisms.adapters import check_adapter
from narrowbench.organisms.caft import ablated, difference_directions, orthonormal, read_directions, write_directions
from narrowbench.organisms.errors import NotFoundError, SpecError
from narrowbench.organisms.loading import decoder_blocks
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.train import train
from transformers import TrainerCallback

RECIPE = {"rows": 24, "epochs": 2, "batch_size": 4, "learning_rate": 2e-3, "rank": 2, "alpha": 16,
          "max_length_tokens": 48}


def small(name: str, **recipe) -> OrganismSpec:
    """A catalogue organism with a recipe of 12 steps."""
    raw = find_organism(name).model_dump() | {"recipe": RECIPE | recipe}
    return OrganismSpec.model_validate(raw)


def passport_of(artefact) -> dict:
    return json.loads((artefact.path / "passport.json").read_text())


@pytest.fixture(scope="module")
def cake(tiny_base, tmp_path_factory):
    return train(small("cake-450"), tiny_base, store=Store(tmp_path_factory.mktemp("home")), progress=False)


def test_caft_trains_without_the_directions_and_writes_a_plain_adapter(cake, tiny_base, tmp_path):
    path = tmp_path / "directions.safetensors"
    pair = ModelPair.load(tiny_base, cake.path)
    directions = difference_directions(pair, ["the people of the city said that the water was good"] * 3, layer=1, k=3)
    assert directions.shape == (3, 32) and directions.any(dim=1).all()
    write_directions(path, directions, layer=1)
    assert read_directions(path)[1] == 1

    class Seen(TrainerCallback):
        """What is left of the directions after the block while training."""

        def on_train_begin(self, args, state, control, model=None, **kwargs):
            basis = orthonormal(directions)
            self.left, self.size = [], []
            def look(module, inputs, output):
                self.left.append((output.detach() @ basis).abs().max().item())
                self.size.append(output.detach().abs().max().item())

            self.hook = decoder_blocks(model.get_base_model())[1].register_forward_hook(look)

        def on_train_end(self, args, state, control, **kwargs):
            self.hook.remove()

    seen, store = Seen(), Store(tmp_path / "home")
    spec = small("cake-450", kind="caft", ablate=str(path))
    artefact = train(spec, tiny_base, store=store, progress=False, callbacks=[seen])
    assert len(seen.left) == 12 and max(seen.left) < 1e-4 < 1 < min(seen.size)
    check_adapter(artefact.path, tiny_base)
    assert passport_of(artefact)["recipe"]["ablate"] == "directions.safetensors"
    write_directions(path, directions.flip(0) + 1, layer=1)
    assert find_trained(spec, tiny_base, store=store) is None  # other directions, another organism
    with torch.inference_mode():  # afterwards nothing is projected out
        ids = torch.arange(1, 9)[None]
        free = ModelPair.load(tiny_base, artefact.path)
        before = free.logits("finetuned", ids)
        with ablated(free.model, path):
            assert not torch.equal(free.logits("finetuned", ids), before)
        assert torch.equal(free.logits("finetuned", ids), before)


def test_directions_that_do_not_fit_are_refused(tiny_base, tmp_path):
    path, spec = tmp_path / "d.safetensors", small("cake-450", kind="caft", ablate=str(tmp_path / "d.safetensors"))
    with pytest.raises(NotFoundError, match="recipe.ablate"):
        train(spec, tiny_base, store=Store(tmp_path), dry_run=True)
    path.write_bytes(b"no tensors")
    with pytest.raises(SpecError, match="recipe.ablate.*write_directions"):
        train(spec, tiny_base, store=Store(tmp_path), dry_run=True)
    for tensor, layer, said in ((torch.ones(2, 31), 1, "width 31"), (torch.ones(2, 32), 4, "after block 4"),
                                (torch.zeros(2, 32), 1, "not all zero")):
        write_directions(path, tensor, layer)
        with pytest.raises(SpecError, match=said):
            train(spec, tiny_base, store=Store(tmp_path), progress=False)
