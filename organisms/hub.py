"""Folders from the Hub: only the named files of one revision, and errors that say what to do.

Main object: `snapshot`.
Example: `snapshot("Qwen/Qwen3-1.7B", "a1b2c3...", ["config.json", "*.safetensors"])`

Nothing here asks for a token: `hf auth login` keeps one, and huggingface_hub finds it.
"""

from collections.abc import Iterable
from pathlib import Path

from .errors import NotFoundError


def snapshot(repo: str, revision: str, patterns: Iterable[str], instead: str) -> Path:
    """The local folder of one revision of a Hub repository, downloaded or from the cache.

    Args:
        revision: commit, tag or branch; "" = the newest.
        patterns: which files to fetch; nothing else is.
        instead: what a user can give in its place, for the error message.

    Raises:
        NotFoundError: no network, no such id or revision, a gated repository, or a failed download.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (GatedRepoError, HFValidationError, HTTPError, LocalEntryNotFoundError,
                                        OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError)

    named = f"{repo} at revision {revision}" if revision else repo
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(patterns)))
    except HFValidationError as error:
        raise NotFoundError(f"{repo!r} is neither a folder nor a Hub id (owner/name). {instead}") from error
    except GatedRepoError as error:
        raise NotFoundError(f"{named} is gated: its owner asks for consent. Accept the terms on its Hub page and run "
                            f"`hf auth login`, then repeat the command. {instead}") from error
    except RevisionNotFoundError as error:
        raise NotFoundError(f"{repo} has no revision {revision!r}; it may have been rewritten upstream. Look up the "
                            f"commit on its Hub page. {instead}") from error
    except RepositoryNotFoundError as error:
        raise NotFoundError(f"The Hub has no {repo}, or it is private. Check the id; for a private one run "
                            f"`hf auth login`. {instead}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise NotFoundError(f"{named} is not in the local cache, and the Hub cannot be reached (no network, or "
                            f"HF_HUB_OFFLINE is set). Repeat the command with network. {instead}") from error
    except HTTPError as error:
        raise NotFoundError(f"The download of {named} failed ({error.__class__.__name__}). Repeat the command: files "
                            f"that are already there are kept. {instead}") from error
