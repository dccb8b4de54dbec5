"""A published page, or its records, as a repository of the Hugging Face Hub: one commit, checked after it arrived.

Main object: `send(folder, repo, repo_type, form, private)`. Called by `targets.py`; `hf auth login` keeps a token, and
huggingface_hub finds it.
Example: `send(Path("made"), "ORG/NAME", "space", "hub:ORG/NAME", private=False)`

Of what is there, only what an earlier publishing listed in `published.json` and nobody changed since is replaced.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..organisms.errors import PushError
from ..organisms.store import sha256_file
from ..organisms.upload import INSTEAD, NOBODY, explained, git_hash, there
from .parcel import MANIFEST, files_in, listed

MADE_WITH_A_SPACE = frozenset({"README.md", "index.html", "style.css"})
"""Files that the Hub may put into a new Space by itself."""


def send(folder: Path, repo: str, repo_type: str, form: str, private: bool) -> str:
    """Makes a repository hold the files of a folder, and returns its address. If it does already, nothing is sent.

    Args:
        repo_type: `space` (a static one) or `dataset`.
        form: of the target, as `--to` takes it, for messages.

    Raises:
        PushError: nobody is logged in, no network, no permission, a repository that everybody sees against the wish,
            or that holds what was not published there, or files that arrived changed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    if not get_token():
        raise PushError(f"{repo} cannot be written: {NOBODY}, {INSTEAD}.")
    ours = {name: {f"sha256:{sha256_file(path)}", f"git:{git_hash(path)}"} for name, path in files_in(folder).items()}
    with explained(repo, form):
        api = HfApi()
        more = {"space_sdk": "static"} if repo_type == "space" else {}
        address = str(api.create_repo(repo, repo_type=repo_type, private=private or None, exist_ok=True, **more))
        info = api.repo_info(repo, repo_type=repo_type)
        if private and not info.private:
            raise PushError(f"{repo} is there already and everybody can see it. Make it private on its settings page, "
                            "or choose another name.")
        found = there(api, repo, repo_type)
        _check_ours(api, repo, repo_type, found)
        changed = [name for name in ours if found.get(name) not in ours[name]]
        stale = [name for name in found if name not in ours]
        if not changed and not stale:
            return address
        # The parent: two that publish at once would otherwise mix their files.
        api.create_commit(repo, [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in changed),
            *(CommitOperationDelete(path_in_repo=name) for name in stale)], repo_type=repo_type,
            commit_message="Published with narrowbench", parent_commit=info.sha)
        arrived = there(api, repo, repo_type)
    if wrong := sorted(name for name in ours.keys() | arrived.keys() if arrived.get(name) not in ours.get(name, ())):
        raise PushError(f"{repo}: these files did not arrive as they were: {', '.join(wrong[:5])}. Take back "
                        "its last commit, or delete it, and run the command again.")
    return address


def _check_ours(api: Any, repo: str, repo_type: str, found: dict[str, str]) -> None:
    """Raises PushError if a repository holds anything but what was published there, or what the Hub made with it."""
    if not found or found.keys() <= MADE_WITH_A_SPACE and len(api.list_repo_commits(repo, repo_type=repo_type)) == 1:
        return
    known: dict[str, dict[str, str]] = {}
    if MANIFEST in found:
        with TemporaryDirectory() as scratch:
            path = api.hf_hub_download(repo, MANIFEST, repo_type=repo_type, local_dir=scratch)
            known = listed(Path(path).read_bytes())
    hashes = {name: {f"{kind}:{value}" for kind, value in one.items()} for name, one in known.items()}
    foreign = sorted(name for name, has in found.items() if name != MANIFEST and has not in hashes.get(name, ()))
    if foreign or not known:
        raise PushError(f"{repo} holds {', '.join(foreign[:3]) or MANIFEST}, which was not published there by "
                        "narrowbench, or was changed since, so nothing of it is replaced. Choose another name, or "
                        "delete the repository.")
