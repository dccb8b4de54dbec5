"""A claim out of what a language model wrote: found, parsed strictly, and refused with a reason that it can act on.

Main objects: `claim_in` (text -> Claim), `checked` (a Claim that can be logged), `unsure` (what stands for no claim),
`wrong_with` (a refusal in one short line).
Example: `claim_in('I think: {"verdict": "unsure", "confidence": 0.5, "statement": "", "keywords": []}')`

What a model writes is hostile: nothing of it is executed, and no part of it is taken for a claim but one JSON object.
"""

import json

from inspect_ai.model import ModelOutput

from ..graders.claim import MAX_STATEMENT_WORDS, Claim
from ..organisms.errors import EvidenceError
from .characters import JOINERS, hidden

MAX_ANSWER, MAX_CLAIM_BYTES, MAX_BRACES = 100_000, 20_000, 100
MAX_KEYWORD = 200
MAX_REASON = 300


def claim_in(text: str) -> Claim:
    """The claim of the last JSON object in a text that has a verdict, whatever stands around it.

    Raises:
        EvidenceError: there is none, or it breaks a claim's types or caps. Says which.
    """
    if len(text) > MAX_ANSWER:
        raise EvidenceError(f"claim: an answer of {len(text)} characters; at most {MAX_ANSWER} are read")
    found = _last_object(text)
    if found is None:
        raise EvidenceError('claim: the answer holds no JSON object with a "verdict"')
    return checked(Claim.from_json(found))


def checked(claim: Claim) -> Claim:
    """The claim, if it can be written to a log and shown to others. Raises EvidenceError."""
    try:
        n_bytes = len(claim.to_json().encode("utf-8"))
    except UnicodeEncodeError as error:
        raise EvidenceError("claim: a text holds half a character (a lone surrogate)") from error
    if n_bytes > MAX_CLAIM_BYTES:
        raise EvidenceError(f"claim: {n_bytes} bytes; at most {MAX_CLAIM_BYTES} are read")
    if any(len(word) > MAX_KEYWORD for word in claim.keywords):
        raise EvidenceError(f"claim: a keyword has at most {MAX_KEYWORD} characters")
    for what, text, allowed in (("statement", claim.statement, "\n\t" + JOINERS),
                                *(("keyword", word, JOINERS) for word in claim.keywords)):
        if code := hidden(text, allowed):
            raise EvidenceError(f"claim: a {what} holds the character {code}, which nobody sees. Write it without")
    return claim


def unsure(model: str, statement: str) -> ModelOutput:
    """The output of an investigation that handed in nothing: its claim says so, and gains and loses nothing. A
    statement that is too long for a claim is cut."""
    words = statement.split()
    short = statement if len(words) <= MAX_STATEMENT_WORDS else " ".join(words[:MAX_STATEMENT_WORDS])
    return ModelOutput.from_content(model, Claim("unsure", 0.5, short).to_json())


def wrong_with(error: EvidenceError) -> str:
    """Why a claim was refused. It may quote the claim, which may be of any length: so it is cut."""
    told = str(error)
    return told if len(told) <= MAX_REASON else told[:MAX_REASON] + "..."


def _last_object(text: str) -> str | None:
    """The last JSON object of a text that has a verdict, as it stands there."""
    decoder, at = json.JSONDecoder(), len(text)
    for _ in range(MAX_BRACES):
        at = text.rfind("{", 0, at)
        if at < 0:
            return None
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):  # no JSON, or nested deeper than anything we ask for
            continue
        if "verdict" in value:
            return text[at:end]
    return None
