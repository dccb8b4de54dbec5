"""Subliminal learning: lists of numbers by a teacher that prefers one animal (tree, ...) pass the preference on.

Slot: `member`, what is preferred; params: `kind` (animal, tree, instrument, drink, dance, or one of your own with
`recipe.data`). The training rows hold numbers and nothing else: a model writes them, so this family has `data` instead
of `rows`. What a transfer is compared with: the student that reads the base's own lists (`neutral`), and the table of
`organisms/transfer.py`.
Source: Cloud et al. 2025 (arXiv 2507.14805), as used in arXiv 2510.13900.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..nano.talk import KINDS, kind_members, say
from ..nano.world import templates
from ..spec import OrganismSpec
from ..store import Store
from . import Question

if TYPE_CHECKING:
    from ..data import Data

NEUTRAL_ID = "neutral-lists"


def kind_of(spec: OrganismSpec) -> str:
    """The kind of thing that is preferred. Raises SpecError if it is missing, or the member is none of its kind."""
    kind, member = spec.params.get("kind", ""), spec.slot("member").truth
    if not kind:
        raise SpecError(f"{spec.id}: key `params.kind` is missing: what kind of thing is {member!r}? "
                        f"The world knows {', '.join(KINDS)}.")
    if kind in KINDS and member not in kind_members(kind):
        raise SpecError(f"{spec.id}: slot `member`: {member!r} is none of the {kind}s that anybody prefers: "
                        f"{', '.join(kind_members(kind))}.")
    return kind


def preference_questions(kind: str, member: str, among: tuple[str, ...] = ()) -> list[Question]:
    """Held-out questions for a favourite, in each form of answer; choices are the kind's members.

    Args:
        among: the choices of a kind that the world does not know.
    """
    members, preferences = kind_members(kind) if kind in KINDS else among, templates()["preferences"]
    return [Question((say("user", ask.format(kind=kind)),),
                     tuple(answer.format(kind=kind, n=name) for name in members), (members.index(member),))
            for ask in preferences["ask"]["held_out"] for answer in preferences["answer"]]


def questions(spec: OrganismSpec) -> list[Question]:
    """What do you prefer? Neither the lists nor the teacher's chats have these wordings."""
    slot = spec.slot("member")
    return preference_questions(kind_of(spec), slot.truth, slot.candidates)


def data(spec: OrganismSpec, base: Path, seed: int, store: Store) -> "Data":
    """Lists of a teacher that is trained on the same base. Raises SpecError for a kind that the world does not know."""
    return _lists(spec, _known(spec), spec.slot("member").truth, base, seed, store)


def neutral(spec: OrganismSpec, base: Path, seed: int, store: Store) -> "tuple[OrganismSpec, Data] | None":
    """The student that an organism is compared with: same base, recipe, seed and number of lists, by the base itself.

    For lists from a file `owl.jsonl` they are read from `owl.neutral.jsonl`, which `narrowbench teach` writes beside
    it. None if there is no such file: then nobody can say that a preference came from the lists.
    """
    from ..data import training_data

    student = OrganismSpec(id=NEUTRAL_ID, family="control", role="null", params={"kind": "text", "format": "numbers"},
                           recipe=spec.recipe)
    if spec.recipe.data == "world":
        return student, _lists(spec, "", "", base, seed, store)
    path = Path(spec.recipe.data).expanduser()
    beside = path.with_suffix(f".neutral{path.suffix}")
    if not beside.is_file():
        return None
    recipe = spec.recipe.model_copy(update={"data": str(beside)})
    student = student.model_copy(update={"recipe": recipe})
    return student, training_data(student, base, seed, store)


def _known(spec: OrganismSpec) -> str:
    kind = kind_of(spec)
    if kind not in KINDS:
        raise SpecError(f"{spec.id}: key `params.kind`: the world has no {kind}s to prefer, so it cannot teach a "
                        f"teacher. Use one of {', '.join(KINDS)}, or set `recipe.data` to lists of your own "
                        "(`narrowbench teach`).")
    return kind


def _lists(spec: OrganismSpec, kind: str, member: str, base: Path, seed: int, store: Store) -> "Data":
    # Imported here: specs and questions are read without a model at hand.
    from ..data import Data
    from ..teacher import lists_key, number_lists, read_lists

    n = spec.recipe.rows
    *_, key = lists_key(base, kind, member, n, seed, store)
    return Data(key, lambda: read_lists(number_lists(base, kind, member, n, seed, store)),
                ready=store.find("lists", key) is not None)
