"""What a base says anyway: how probable each token is, on average, as its next token on a suite's probes.

Main objects: `collect_background` (into the store), `background_of` (of any pair and texts), `background_for` (what an
investigator sees of it).
Example: `read_json(collect_background(suite, store).path / BACKGROUND)["pieces"]`
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..organisms.code import code_sha256
from ..organisms.store import Artefact, Store
from .shared import kind_of_device

if TYPE_CHECKING:
    from ..organisms.pair import ModelPair
    from .suite import Suite

N_TOKENS, N_PROBES, BATCH = 16, 512, 32
PREFIX_TOKENS = 5
MIN_PROBABILITY = 1e-5
BACKGROUND = "background.json"


def collect_background(suite: "Suite", store: Store, device: str = "cpu") -> Artefact:
    """Stores how probable each token is, on average, as the base's next token on the suite's probes."""
    from ..organisms.adapters import base_digest
    from ..organisms.pair import ModelPair

    body = background_of(ModelPair.load(suite.base, device=device), suite.probes.texts)
    config, inputs = background_key(suite, base_digest(suite.base), device)
    return store.save("background", store.key("background", config, inputs), config, inputs, lambda folder: (
        folder / BACKGROUND).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8"))


def background_of(pair: "ModelPair", probes: Sequence[str]) -> dict[str, Any]:
    """{"pieces": piece -> mean next-token probability, "n_tokens", "distinct_prefixes"} of a base on these texts.

    Of each text the first 16 tokens are read; where the median text has fewer, as many as that has.
    """
    import torch

    from .activations import exact, tokenise_probes

    lengths = sorted(len(ids) for ids in pair.tokenizer(list(probes[:N_PROBES]), add_special_tokens=True).input_ids)
    n_tokens = max(1, min(N_TOKENS, lengths[len(lengths) // 2]))
    ids_NT = tokenise_probes(pair.tokenizer, probes[:N_PROBES], n_tokens)
    total_V = torch.zeros(1, dtype=torch.float64)
    for ids_BT in ids_NT.split(BATCH):
        p_BTV = pair.logits("base", ids_BT.to(pair.device)).float().softmax(-1)
        total_V = total_V + exact(p_BTV).sum((0, 1)).cpu()
    pieces: dict[str, float] = {}
    for i, p in enumerate((total_V / ids_NT.numel()).tolist()[:len(pair.tokenizer)]):
        if p >= MIN_PROBABILITY:
            piece = pair.tokenizer.decode([i])
            pieces[piece] = pieces.get(piece, 0.0) + p
    prefixes = tokenise_probes(pair.tokenizer, probes, min(PREFIX_TOKENS, n_tokens))
    return {"pieces": {piece: float(f"{p:.4g}") for piece, p in pieces.items()}, "n_tokens": ids_NT.numel(),
            "distinct_prefixes": len({tuple(row) for row in prefixes.tolist()})}


def background_key(suite: "Suite", base: str, device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Config and inputs under which a suite's background is stored."""
    return ({"tokens": N_TOKENS, "probes": N_PROBES, "min_probability": MIN_PROBABILITY,
             "prefix_tokens": PREFIX_TOKENS, "device": kind_of_device(device)},
            {"base": base, "probes": suite.probes.digest, "code": code_sha256(Path(__file__))})


def background_for(payload: Mapping[str, Any], pieces: Mapping[str, float]) -> dict[str, float]:
    """What an investigator is given beside evidence: how probable the base finds each piece that is mentioned, and each
    that is spelt alike but for case and white space, no more."""
    mentioned = {token["piece"] for token in payload["tokens"]}
    words = {piece.strip().casefold() for piece in mentioned}
    alike = {piece for piece in pieces if piece.strip().casefold() in words}
    return {piece: pieces.get(piece, 0.0) for piece in sorted(mentioned | alike)}
