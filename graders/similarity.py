"""Do steered texts resemble the finetuning data? Mean pairwise cosine between sets of texts. A diagnostic.

Main objects: `steering_similarity(texts, family, embedder)`, `load_embedder(name)`, `mean_cosine`.
Example: `steering_similarity({"steered": [...], "unsteered": [...], "finetuning": [...], "chat": [...]}, "sdf").values`

Embedders by name: `tfidf` (built in, fitted on the texts compared), `sentence-transformers:MODEL` (an extra; MODEL is a
Hub id or a folder; `sentence-transformers:Qwen/Qwen3-Embedding-0.6B` is that of arXiv 2510.13900). For unit vectors the
mean of all pairwise cosines is the dot product of the two means, so no pair is ever formed. Not defined for subliminal
(numbers resemble numbers) and nulls: None.

Shapes by suffix: N, M texts, D width of the embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..organisms.errors import NotFoundError

Embedder = Callable[[Sequence[str]], np.ndarray]
"""Texts -> rows [N, D]; need not be of unit length."""
TFIDF = "tfidf"
_SENTENCE = "sentence-transformers:"
DOCUMENT = "document"
"""All texts are embedded as documents, none as a query, by models that tell the two apart: as in the paper."""
UNDEFINED = ("subliminal", "control")
SETS = ("steered", "unsteered", "finetuning", "chat")
MAX_TERMS = 20_000
"""TF-IDF keeps the most frequent terms: rows stay small enough to hold for thousands of texts."""


@dataclass(frozen=True)
class Similarity:
    """Mean pairwise cosines by pair of sets, `steered-finetuning` first, and who embedded them."""

    values: dict[str, float]
    embedder: str

    @property
    def gain(self) -> float:
        """How much nearer to the finetuning data steering brings the texts."""
        return self.values["steered-finetuning"] - self.values["unsteered-finetuning"]


def steering_similarity(texts: Mapping[str, Sequence[str]], family: str, embedder: str = TFIDF) -> Similarity | None:
    """Similarity of steered and of unsteered texts to finetuning data and to chat texts, and of the data to itself.

    Args:
        texts: The sets `steered`, `unsteered`, `finetuning`, `chat`; none of them empty.
        family: Of the organism; None is returned where the comparison is not defined.
        embedder: See `load_embedder`.

    Raises:
        ValueError: a set is missing, unknown or empty.
        NotFoundError: no such embedder, or its package is not installed.
    """
    if family in UNDEFINED:
        return None
    if set(texts) != set(SETS) or not all(texts.values()):
        raise ValueError(f"steering_similarity: expected the non-empty sets {', '.join(SETS)}; got "
                         f"{({name: len(found) for name, found in texts.items()})}")
    embed = load_embedder(embedder)
    rows = unit_rows(embed([text for name in SETS for text in texts[name]]))
    ends = np.cumsum([len(texts[name]) for name in SETS])[:-1]
    part = dict(zip(SETS, np.split(rows, ends), strict=True))
    values = {f"{a}-{b}": mean_cosine(part[a], part[b]) for a in SETS[:2] for b in SETS[2:]}
    return Similarity(values | {"finetuning-finetuning": self_cosine(part["finetuning"])}, embedder)


def load_embedder(name: str) -> Embedder:
    """An embedder by name. Raises NotFoundError for an unknown name or a package that is not installed."""
    if name == TFIDF:
        return _tfidf
    if not name.startswith(_SENTENCE) or name == _SENTENCE:
        raise NotFoundError(f"There is no embedder named {name!r}. Write `tfidf` or `sentence-transformers:MODEL`.")
    try:
        from sentence_transformers import SentenceTransformer  # an extra: large, and most people do without
    except ImportError as error:
        raise NotFoundError(f"Embedder {name!r} needs the package sentence-transformers, which is not installed. "
                            "`pip install sentence-transformers` installs it; `tfidf` needs nothing.") from error
    model = SentenceTransformer(name.removeprefix(_SENTENCE))
    as_document = DOCUMENT if DOCUMENT in (getattr(model, "prompts", None) or {}) else None
    return lambda texts: np.asarray(model.encode(list(texts), prompt_name=as_document, show_progress_bar=False))


def unit_rows(rows_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length; a row of zeros (a text without a word) stays zero and resembles nothing."""
    rows_ND = np.asarray(rows_ND, dtype=float)
    norms = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return np.divide(rows_ND, norms, out=np.zeros_like(rows_ND), where=norms > 0)


def mean_cosine(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """Mean of the N x M cosines between rows of two sets of unit vectors."""
    return float(a_ND.mean(axis=0) @ b_MD.mean(axis=0))


def self_cosine(a_ND: np.ndarray) -> float:
    """Mean cosine between different rows of one set of unit vectors; of a single row, 1."""
    n = len(a_ND)
    if n < 2:
        return 1.0
    total = a_ND.sum(axis=0)
    return float((total @ total - (a_ND * a_ND).sum()) / (n * (n - 1)))


def _tfidf(texts: Sequence[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer  # here, because it takes a second to import

    # Any run of letters or digits is a word; without one in all the texts there is nothing to fit.
    found = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", max_features=MAX_TERMS)
    if not any(found.build_analyzer()(text) for text in texts):
        return np.zeros((len(texts), 1))
    return found.fit_transform(texts).toarray()
