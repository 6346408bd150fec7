"""The names of species: how they are kept, and which of them people take for the same."""

from __future__ import annotations

import unicodedata

from hmdrn_runtime.errors import EnrollmentError

_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_LABEL = 120
"""Characters of a label at most."""


def clean_label(label: str) -> str:
    """A label as it is kept: Unicode NFC, without surrounding blanks.

    Raises:
        EnrollmentError: It is no string, has nothing to see, is longer than `MAX_LABEL`, or has characters
            that control the text around it.
    """
    if not isinstance(label, str):
        raise EnrollmentError(f"a label must be a string, not {type(label).__name__}")
    cleaned = normalised(label)
    if all(unicodedata.category(c) in _UNSEEN for c in cleaned):
        raise EnrollmentError(f"the label {label!r} is empty: give the species a name")
    if len(cleaned) > MAX_LABEL:
        raise EnrollmentError(
            f"the label {cleaned[:40]!r}... has {len(cleaned)} characters: use at most {MAX_LABEL}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in _BIDIRECTIONAL for c in cleaned):
        raise EnrollmentError(f"the label {cleaned!r} has control characters: use plain text")
    return cleaned


def normalised(label: object) -> str:
    """The form under which a label is looked up."""
    return unicodedata.normalize("NFC", str(label)).strip()


def folded(label: str) -> str:
    """The form in which labels that people take for the same are the same."""
    return "".join(label.casefold().split())
