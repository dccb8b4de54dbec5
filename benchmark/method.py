"""THE interface: what a diffing method is, what it may touch, and the evidence it hands in.

Main objects: `Method` (a Protocol; foreign code need not import us), `ACCESS`, `Budget`, `Probes`, `Evidence`,
`load_method`.
A new method is one file in `methods/`, or out of tree: `--method path/to/file.py:Class` or `--method pkg.mod:Class`.

    class MyIdea:
        name, version, access = "my_idea", "1", frozenset({"activations"})
        def collect(self, pair, probes, budget, seed):
            ...
            return Evidence(tokens=(Token(" cake", 2.3, "my_idea", 3),))
"""

import hashlib
import importlib
import importlib.util
import inspect
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..organisms.code import code_sha256
from ..organisms.errors import EvidenceError, NotFoundError
from ..organisms.spec import digest_of

ACCESS = frozenset({"none", "text", "logprobs", "logits", "activations", "weights", "data", "objective"})
EVIDENCE_SCHEMA = 1
MAX_TOKENS, MAX_TEXTS, MAX_TEXT_TOKENS, MAX_STATS = 2_000, 400, 512, 200
NOTHING_TO_READ = -1.0
"""Detection where there is nothing to read at all: no difference, no direction, no text. Far below any threshold."""


@dataclass(frozen=True)
class Probes:
    """Unrelated texts on which base and organism are compared; one set per suite, the same for every organism."""

    texts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 of the texts in order."""
        return digest_of(list(self.texts))


@dataclass(frozen=True)
class Budget:
    """What one `collect` may spend on one organism. None = unlimited."""

    forward_tokens: int | None = None
    generated_tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Token:
    """One reading. `weight` is a lift in nats, comparable within a source; position None = no single position."""

    piece: str
    weight: float
    source: str
    position: int | None = None


@dataclass(frozen=True)
class Text:
    """One generation that the method kept, and under which condition it arose (e.g. `steered`)."""

    prompt: str
    completion: str
    condition: str


@dataclass(frozen=True)
class Evidence:
    """What a method found, as plain data: the payload (digested) and, beside it, what was measured while finding it."""

    tokens: tuple[Token, ...] = ()
    texts: tuple[Text, ...] = ()
    stats: dict[str, float] = field(default_factory=dict)
    detection: float | None = None
    """In nats, comparable within a method: how far the strongest readings rise above those of control vectors.
    Above 0 speaks for an objective; None = no opinion."""
    measured: dict[str, Any] = field(default_factory=dict)
    """{"cost": {...}, "versions": {...}}; filled in by the harness, outside the digest."""

    def __post_init__(self) -> None:
        for what, count, cap in (
            ("tokens", len(self.tokens), MAX_TOKENS),
            ("texts", len(self.texts), MAX_TEXTS),
            ("stats", len(self.stats), MAX_STATS),
        ):
            if count > cap:
                raise EvidenceError(
                    f"evidence: {count} {what}, at most {cap} are kept. Rank and cut them in `collect`."
                )
        for text in self.texts:
            if len(text.completion.split()) > MAX_TEXT_TOKENS:
                raise EvidenceError(f"evidence: a text of more than {MAX_TEXT_TOKENS} words")
        numbers = [t.weight for t in self.tokens] + list(self.stats.values())
        numbers += [] if self.detection is None else [self.detection]
        if not all(math.isfinite(number) for number in numbers):
            raise EvidenceError("evidence: a weight, statistic or detection is NaN or infinite")

    @property
    def payload(self) -> dict[str, Any]:
        """The part that is digested and shown to investigators, as JSON types."""
        return {
            "tokens": [asdict(t) for t in self.tokens],
            "texts": [asdict(t) for t in self.texts],
            "stats": dict(self.stats),
            "detection": self.detection,
        }

    @property
    def digest(self) -> str:
        """sha256 of the payload's canonical JSON."""
        return digest_of(self.payload)

    def to_dict(self) -> dict[str, Any]:
        """{schema, payload, measured}: the artefact on disk."""
        return {"schema": EVIDENCE_SCHEMA, "payload": self.payload, "measured": self.measured}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Evidence":
        """Reads `to_dict`'s object back. Raises EvidenceError on another schema or shape."""
        if not isinstance(raw, dict) or raw.get("schema") != EVIDENCE_SCHEMA:
            raise EvidenceError(
                f"evidence: schema {EVIDENCE_SCHEMA} expected. Collect it again with `narrowbench score`."
            )
        try:
            payload = raw["payload"]
            return cls(
                tuple(Token(**t) for t in payload["tokens"]),
                tuple(Text(**t) for t in payload["texts"]),
                dict(payload["stats"]),
                payload["detection"],
                dict(raw["measured"]),
            )
        except (KeyError, TypeError) as error:
            raise EvidenceError(f"evidence: damaged ({error}). Collect it again with `narrowbench score`.") from error


@runtime_checkable
class Method(Protocol):
    """A way to read what finetuning did. Optional attribute `role`: "method" (default), "floor" or "ceiling"."""

    name: str
    version: str
    access: frozenset[str]

    def collect(self, pair: Any, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Reads one organism through `pair` (see `view.PairView`) and returns what it found."""


def methods() -> list[str]:
    """Names of the built-in methods: the files in `methods/`."""
    folder = Path(__file__).parent / "methods"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def code_of(method: Method) -> str:
    """sha256 over the source that a method's evidence depends on: its file, what that imports of this package, and the
    view through which it reads."""
    return code_sha256(Path(inspect.getfile(type(method))), Path(__file__).with_name("view.py"))


def load_method(name: str) -> tuple[Method, str]:
    """A method by built-in name, `path/to/file.py:Class` or `pkg.mod:Class`.

    Returns:
        The method, and the sha256 of the file that defines it.

    Raises:
        NotFoundError: no such method, file or class.
    """
    place, _, class_name = name.partition(":") if ":" in name else (name, "", "")
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise NotFoundError(f"There is no method file {place}. `narrowbench list methods` lists the built-in ones.")
        name_of_file = f"narrowbench_method_{path.stem}_{digest_of(str(path.resolve()))[:8]}"
        module_spec = importlib.util.spec_from_file_location(name_of_file, path)
        module = sys.modules[name_of_file] = importlib.util.module_from_spec(module_spec)  # dataclasses look it up
        module_spec.loader.exec_module(module)
    elif class_name:
        module = importlib.import_module(place)
    elif place in methods():
        module = importlib.import_module(f"{__package__}.methods.{place}")
    else:
        raise NotFoundError.of("method", name, methods(), "narrowbench list methods")
    classes = [
        c
        for c in vars(module).values()
        if inspect.isclass(c)
        and c.__module__ == module.__name__
        and hasattr(c, "collect")
        and (not class_name or c.__name__ == class_name)
    ]
    if len(classes) != 1:
        raise NotFoundError(
            f"{name}: expected one class with a `collect` method"
            f"{' named ' + class_name if class_name else ''}, found {len(classes)}. "
            "Name it as file.py:Class."
        )
    return classes[0](), hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
