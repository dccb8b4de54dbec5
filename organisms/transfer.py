"""Did a preference pass through numbers alone? The table of controls without which a student is not called subliminal.

Main objects: `transfer_study` (P(member) in every model of the comparison), `TransferRow`, `as_markdown`, `as_json`.
Example: `as_markdown(transfer_study([find_organism("prefer-cat")], base_folder(), Path("second_base"), Store()))`

The student stands beside the base, its teacher, the student that read the base's own lists (neutral), the twin's
student (other member), and students of another initialisation that read the very same lists: transfer that is carried
by numbers of the shared initialisation, and not by what the lists say, shows in the first student alone.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .adapters import base_digest
from .data import Data
from .errors import SpecError
from .families import Question, questions, subliminal
from .loading import load_adapter, load_model, load_tokenizer
from .measures import answer_probabilities
from .passport import PASSPORT
from .spec import OrganismSpec
from .store import Artefact, Store
from .teacher import number_lists, read_lists, report_of
from .train import train


@dataclass(frozen=True)
class TransferRow:
    """Mean P(member) over held-out questions in each model. All students have one recipe, seed and number of lists."""

    organism: str
    member: str
    seed: int
    teacher_kl_nats: float
    """KL(teacher || base) of a number in a list."""
    kept_share: float
    """Share of the teacher's answers that were lists of numbers and nothing else."""
    base: float
    teacher: float
    student: float
    neutral: float
    other_member: float
    second_base: float | None
    """The base of another initialisation; None (also below) if there is none."""
    second_student: float | None
    """Trained from the second base on the first teacher's lists."""
    second_neutral: float | None
    """Trained from the second base on the first base's lists."""
    lower: float
    """95% lower bound of student minus the larger of base and neutral."""
    expressed: bool


def transfer_study(specs: Iterable[OrganismSpec], base: Path, second_base: Path | None, store: Store, seed: int = 0,
                   progress: bool = True) -> list[TransferRow]:
    """Trains (or finds) all models of the comparison; two rows for an objective with a twin.

    Raises:
        SpecError: an organism of another family, without a twin, or with lists from elsewhere; two equal bases.
    """
    if second_base is not None and base_digest(base) == base_digest(second_base):
        raise SpecError(f"{second_base} is the first base again. Give one that was trained from another seed: "
                        "`python -m narrowbench.organisms.nano.pretrain --seed 1 --out FOLDER`.")
    rows = []
    for spec in specs:
        twin = spec.twin_spec()
        if spec.family != "subliminal" or twin is None or spec.recipe.data != "world":
            raise SpecError(f"{spec.id}: the study needs an organism of family subliminal with a `twin:` and "
                            "`recipe.data: world`, since it trains the teacher of either.")
        for own, other in ((spec, twin), (twin, spec)):
            rows.append(_row(own, other, base, second_base, store, seed, progress))
    return rows


def _row(spec: OrganismSpec, other: OrganismSpec, base: Path, second_base: Path | None, store: Store, seed: int,
         progress: bool) -> TransferRow:
    asked, member = questions(spec), spec.slot("member").truth
    student = train(spec, base, seed, store, progress)
    rival = train(other, base, seed, store, progress)
    neutral_spec, neutral_data = subliminal.neutral(spec, base, seed, store)
    neutral = train(neutral_spec, base, seed, store, progress, narrow=neutral_data)
    lists = number_lists(base, subliminal.kind_of(spec), member, spec.recipe.rows, seed, store)
    second: list[float | None] = [None, None, None]
    if second_base is not None:
        same_lists = Data(lists.key, lambda: read_lists(lists), ready=True)
        trained = [train(spec, second_base, seed, store, progress, narrow=same_lists),
                   train(neutral_spec, second_base, seed, store, progress, narrow=neutral_data)]
        second = [_p(second_base, organism, asked) for organism in (None, *trained)]
    report, gate = report_of(lists), _gate(student)
    return TransferRow(
        organism=spec.id, member=member, seed=seed, teacher_kl_nats=report["kl_nats"],
        kept_share=report["kept"] / report["drawn"], base=_p(base, None, asked),
        teacher=float(np.mean(report["teacher"])), student=_p(base, student, asked), neutral=_p(base, neutral, asked),
        other_member=_p(base, rival, asked), second_base=second[0], second_student=second[1], second_neutral=second[2],
        lower=gate["lower"], expressed=gate["expressed"])


def _p(base: Path, organism: Artefact | None, asked: Sequence[Question]) -> float:
    """Mean P(expressed) in an organism, or in its base."""
    model = load_model(base)
    if organism is not None:
        model = load_adapter(model, organism.path)
    return float(answer_probabilities(model, load_tokenizer(base), asked).mean())


def _gate(organism: Artefact) -> dict[str, Any]:
    return json.loads((organism.path / PASSPORT).read_text(encoding="utf-8"))["gate"]


def as_json(rows: Iterable[TransferRow]) -> list[dict[str, Any]]:
    """The table as JSON values."""
    return [asdict(row) for row in rows]


def as_markdown(rows: Iterable[TransferRow]) -> str:
    """The table as Markdown."""
    head = [field.name.replace("_", " ") for field in fields(TransferRow)]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(_shown(value) for value in asdict(row).values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
