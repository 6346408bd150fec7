"""The names of species: their stored form, and the form in which look-alikes are equal."""

from __future__ import annotations

import unicodedata

from hmdrn_runtime.errors import EnrollmentError

_INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_LABEL = 120
"""Most characters of a label."""


def clean_label(label: str) -> str:
    """Return a label as it is stored: Unicode NFC, without surrounding blanks.

    Raises:
        EnrollmentError: It is not a string, has nothing visible, is longer than `MAX_LABEL`, or has
            characters that control the text around it.
    """
    if not isinstance(label, str):
        raise EnrollmentError(f"a label must be a string, not {type(label).__name__}")
    cleaned = normalize_label(label)
    if all(unicodedata.category(c) in _INVISIBLE for c in cleaned):
        raise EnrollmentError(f"the label {label!r} is empty: give the species a name")
    if len(cleaned) > MAX_LABEL:
        raise EnrollmentError(
            f"the label {cleaned[:40]!r}... has {len(cleaned)} characters: use at most {MAX_LABEL}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in _BIDIRECTIONAL for c in cleaned):
        raise EnrollmentError(f"the label {cleaned!r} has control characters: use plain text")
    return cleaned


def normalize_label(label: object) -> str:
    """Return the form under which a label is looked up."""
    return unicodedata.normalize("NFC", str(label)).strip()


def fold_label(label: str) -> str:
    """Return a form that is equal for labels that differ only in case or blanks."""
    return "".join(label.casefold().split())
