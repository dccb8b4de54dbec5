"""Rows from files and from the Hub: JSON lines, Parquet, data sets. Each row is checked; none can run code.

Main objects: `read_file`, `resolve_hub` and `read_hub`, `row_of` (one record becomes a document or a chat).
Example: `recipe: {data: my_chats.jsonl}`, `recipe: {data: "hub:ORG/NAME:train"}` in an organism's YAML

A record is a document `{"text": ...}` or a chat: `{"messages": [{"role", "content"}, ...]}`, `{"prompt", "completion"}`
or `{"question", "answer"}`. On the Hub: `hub:ID[@REVISION][:[CONFIG/]SPLIT]`; with a commit as the revision, whether
the organism exists can be asked without network. Tokens are refused: they would be another tokenizer's.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import NotFoundError, SpecError
from .families import Row

WORLD_SOURCES = ("documents", "chats")
"""What of the base's own world can be mixed in."""
SUFFIXES = (".jsonl", ".parquet")
ROLES = ("system", "user", "assistant")
CHAT_COLUMNS = (("prompt", "completion"), ("question", "answer"))
TOKEN_COLUMNS = {"input_ids", "token_ids", "tokens", "labels"}
SHUFFLE_BUFFER = 10_000
_HUB = re.compile(r"hub:(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?:(?P<config>[^:/]+)/)?"
                  r"(?P<split>[\w.-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
SHAPES = ("a document needs `text`; a chat needs `messages`, or `prompt` and `completion`, or `question` and `answer`. "
          "Rename or add the column.")


@dataclass(frozen=True)
class HubData:
    """One split of a data set on the Hub, at one commit."""

    id: str
    config: str | None
    split: str
    commit: str

    @property
    def name(self) -> str:
        """Id, config and split; the commit stands beside it."""
        return f"{self.id}:{self.config}/{self.split}" if self.config else f"{self.id}:{self.split}"


def row_of(record: Any, where: str) -> Row:
    """One record as a training row. Raises SpecError naming `where` and what is wrong."""
    if not isinstance(record, dict):
        raise SpecError(f"{where}: {type(record).__name__} instead of an object with columns; {SHAPES}")
    if record.get("messages") is not None:
        return {"messages": _chat(record["messages"], where)}
    for ask, answer in CHAT_COLUMNS:
        if record.get(ask) is not None and record.get(answer) is not None:
            said = [*_turns(record[ask], "user"), *_turns(record[answer], "assistant")]
            return {"messages": _chat(said, where)}
    if record.get("text") is not None:
        return {"text": _text(record["text"], f"{where}: `text`")}
    if found := sorted(TOKEN_COLUMNS & record.keys()):
        raise SpecError(f"{where}: holds {found}, but no text. Tokens are of one tokenizer only, and nothing says that "
                        f"it is the base's; {SHAPES}")
    raise SpecError(f"{where}: has the columns {sorted(map(str, record))}; {SHAPES}")


def _turns(said: Any, role: str) -> list[Any]:
    return said if isinstance(said, list) else [{"role": role, "content": said}]


def _chat(messages: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise SpecError(f"{where}: `messages` is no list of {{role, content}}. Write each turn as such an object.")
    chat = [{"role": message.get("role"), "content": message.get("content")} for message in messages]
    if odd := [turn["role"] for turn in chat if turn["role"] not in ROLES]:
        raise SpecError(f"{where}: the role {odd[0]!r} is none of {', '.join(ROLES)}. Rename it.")
    chat = [{"role": role, "content": _text(said, f"{where}: what the {role} says", needed=role != "user")}
            for role, said in (turn.values() for turn in chat)]
    if not any(turn["role"] == "assistant" for turn in chat):
        raise SpecError(f"{where}: no turn of the assistant, so there is nothing to learn: of chats only what the "
                        "assistant says is learned. Add its turn, or give the row as `text` to learn all of it.")
    return chat


def _text(value: Any, where: str, needed: bool = True) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{where} is {type(value).__name__}, not text. Write it as a string.")
    if needed and not value.strip():
        raise SpecError(f"{where} is empty. Remove the row.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SpecError(f"{where} has half of a character (a lone surrogate). Write the file as UTF-8.") from error
    return value


def local_file(source: str, key: str) -> Path:
    """The data file that a recipe names. SpecError: no known kind of source; NotFoundError: no such file."""
    path = Path(source).expanduser()
    if path.suffix not in SUFFIXES:
        world = "world" if key == "data" else " or ".join(WORLD_SOURCES)
        raise SpecError(f"key `recipe.{key}`: {source!r} is no source. Use {world}, hub:ID[:SPLIT], or the path of a "
                        f"{' or '.join(SUFFIXES)} file.")
    if not path.is_file():
        raise NotFoundError(f"key `recipe.{key}`: there is no file {path}. Paths count from the folder in which the "
                            "command runs.")
    return path


def read_file(path: Path, key: str) -> list[Row]:
    """All rows of a JSON-lines or Parquet file. Raises SpecError naming file, line or row, and reason."""
    read = _parquet if path.suffix == ".parquet" else _json_lines
    return [row_of(record, f"key `recipe.{key}`: {path.name} {where}") for where, record in read(path)]


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield f"line {number}", json.loads(text)
            except UnicodeDecodeError as error:
                raise SpecError(f"{path.name} line {number}: is not UTF-8 ({error.reason} at byte {error.start}). "
                                "Convert the file, e.g. `iconv -f LATIN1 -t UTF-8`.") from error
            except (ValueError, RecursionError) as error:
                raise SpecError(f"{path.name} line {number}: is not JSON ({error}). Each line holds one whole "
                                "object.") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        for batch in ParquetFile(path).iter_batches():
            for record in batch.to_pylist():
                number += 1
                yield f"row {number}", record
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name} row {number + 1}: is not readable as Parquet ({error}). Write the file again."
                        ) from error


def resolve_hub(source: str, key: str) -> HubData:
    """A Hub data set at the commit it is at now; a commit given as its revision is not looked up.

    Raises:
        SpecError: not of the form hub:ID[@REVISION][:[CONFIG/]SPLIT]. NotFoundError: no network or no such data set.
    """
    match = _HUB.fullmatch(source)
    if match is None:
        raise SpecError(f"key `recipe.{key}`: {source!r} is not of the form hub:ID[@REVISION][:[CONFIG/]SPLIT], e.g. "
                        "hub:ORG/NAME:train.")
    name, revision, split = match["id"], match["revision"], match["split"] or "train"
    if not _COMMIT.fullmatch(revision or ""):
        revision = _commit(name, revision, key)
    return HubData(name, match["config"], split, revision)


def _commit(name: str, revision: str | None, key: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (GatedRepoError, HFValidationError, HTTPError, OfflineModeIsEnabled,
                                        RepositoryNotFoundError, RevisionNotFoundError)

    try:
        return HfApi().dataset_info(name, revision=revision).sha
    except GatedRepoError as error:
        raise NotFoundError(f"key `recipe.{key}`: the data set {name} is gated. Accept its terms on its Hub page and "
                            "run `hf auth login`.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        at = f" at revision {revision}" if revision else ""
        raise NotFoundError(f"key `recipe.{key}`: the Hub has no data set {name}{at}, or it is private. Check the id; "
                            "for a private one run `hf auth login`.") from error
    except (OfflineModeIsEnabled, HTTPError) as error:
        raise NotFoundError(f"key `recipe.{key}`: the data set {name} is on the Hub, which cannot be reached (no "
                            "network, or HF_HUB_OFFLINE is set). Repeat the command with network, or give a local "
                            ".jsonl or .parquet file.") from error


def read_hub(found: HubData, key: str, n: int, seed: int) -> list[Row]:
    """At most `n` rows of a data set, streamed: no more than that is downloaded, and no code of it is run."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        stream = load_dataset(found.id, found.config, split=found.split, revision=found.commit, streaming=True)
        records = list(stream.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER).take(n))
    except (OfflineModeIsEnabled, HTTPError, ConnectionError) as error:
        raise NotFoundError(f"key `recipe.{key}`: the data set {found.name} cannot be downloaded "
                            f"({type(error).__name__}). Repeat the command with network, or give a local file."
                            ) from error
    except (DatasetsError, ValueError, OSError, RuntimeError) as error:
        raise NotFoundError(f"key `recipe.{key}`: the data set {found.name} cannot be read: {error}. Check config and "
                            "split on its Hub page: hub:ID:[CONFIG/]SPLIT.") from error
    return [row_of(record, f"key `recipe.{key}`: {found.name} row {i}") for i, record in enumerate(records, 1)]
