"""The nano tier: a micro-world of text with real structure, and the small base model trained on it."""

from pathlib import Path


def base_folder() -> Path:
    """The shipped base model: an ordinary Hugging Face folder."""
    return Path(__file__).parent / "base"
