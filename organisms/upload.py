"""Upload a prepared folder to the Hugging Face Hub, and check there that every file arrived as it was.

Main objects: `upload`, called by `push.py`; for other kinds of repositories `explained` (the Hub's errors, and what to
do), `there` and `git_hash`. No token is asked for: `hf auth login` keeps one, huggingface_hub finds it.
Example: `upload(prepared.folder, prepared.hashes, "ORG/NAME", private=True)`
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import PushError

MADE_BY_THE_HUB = ".gitattributes"
INSTEAD = "or write a folder instead: `--to folder:PATH`"
NOBODY = "nobody is logged in. Run `hf auth login` with a token that may write"


def upload(folder: Path, hashes: dict[str, str], repo: str, private: bool) -> str:
    """One commit with all files of the folder, in a new or empty model repository, or one that holds just them.

    Args:
        hashes: file name -> sha256, all that the folder holds.

    Returns:
        The repository's address.

    Raises:
        PushError: no network, no permission, a repository that is public against the wish or holds other files, or
            files that arrived changed.
    """
    from huggingface_hub import HfApi

    with explained(repo, "hub:ORG/NAME"):
        return _upload(HfApi(), folder, hashes, repo, private)


@contextmanager
def explained(repo: str, form: str) -> Iterator[None]:
    """Whatever huggingface_hub raises within, as a PushError that says what to do.

    Args:
        form: of the target, as `--to` takes it.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import (HfHubHTTPError, HFValidationError, HTTPError, LocalEntryNotFoundError,
                                        LocalTokenNotFoundError, OfflineModeIsEnabled)

    try:
        yield
    except HFValidationError as error:
        raise PushError(f"{repo!r} is no name for a repository: {error} Give `--to {form}`.") from error
    except LocalTokenNotFoundError as error:
        raise PushError(f"{repo} cannot be written: {NOBODY}, {INSTEAD}.") from error
    except OfflineModeIsEnabled as error:
        raise PushError(f"{repo} cannot be reached: HF_HUB_OFFLINE is set. Unset it and run the command again, "
                        f"{INSTEAD}.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            why = f"you may not write to {repo.partition('/')[0]}. Run `hf auth login` with a token that may" \
                if get_token() else NOBODY
            raise PushError(f"{repo} cannot be written: the Hub answers {status}, {why}, {INSTEAD}.") from error
        raise PushError(f"{repo}: the Hub answers {status} ({error}). Run the command again later, {INSTEAD}."
                        ) from error
    except (HTTPError, LocalEntryNotFoundError) as error:  # the latter: a file of the repository did not come
        raise PushError(f"{repo} cannot be reached ({error.__class__.__name__}: {error}). Run the command again with "
                        f"network, {INSTEAD}.") from error


def _upload(api: Any, folder: Path, hashes: dict[str, str], repo: str, private: bool) -> str:
    # An explicit False would make a private repository of an organisation that wants them private fail.
    address = str(api.create_repo(repo, private=private or None, exist_ok=True))
    if private and not api.repo_info(repo).private:
        raise PushError(f"{repo} is there already and everybody can see it. Make it private on its settings page, or "
                        "choose another name.")
    found = there(api, repo)
    if wrong := _differences(folder, hashes, found):
        if found:
            raise PushError(f"{repo} is there already and holds something else ({', '.join(wrong[:3])}), which is not "
                            "overwritten. Choose another name, or delete the repository.")
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Model organism, pushed with narrowbench")
        if wrong := _differences(folder, hashes, there(api, repo)):
            raise PushError(f"{repo}: these files did not arrive as they were: {', '.join(wrong)}. Delete the "
                            "repository and run the command again.")
    return address


def there(api: Any, repo: str, repo_type: str = "model") -> dict[str, str]:
    """File name -> hash as the Hub has it: `sha256:...` of large files, `git:...` of others."""
    files = [item for item in api.list_repo_tree(repo, recursive=True, repo_type=repo_type) if hasattr(item, "blob_id")]
    return {file.path: f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}"
            for file in files if file.path != MADE_BY_THE_HUB}


def _differences(folder: Path, hashes: dict[str, str], found: dict[str, str]) -> list[str]:
    """Names of files that one side has not, or has otherwise."""
    ours = {name: {f"sha256:{sha256}", f"git:{git_hash(folder / name)}"} for name, sha256 in hashes.items()}
    return sorted(name for name in ours.keys() | found.keys() if found.get(name) not in ours.get(name, ()))


def git_hash(path: Path) -> str:
    """The name git gives to a file's content: sha1 over a header with its size, and its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
