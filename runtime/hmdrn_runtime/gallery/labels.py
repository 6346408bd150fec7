"""The names of species: their stored form, and the form in which look-alikes are equal.

`normalize_label` decides alone which names are one class, in folders, zips, records, galleries and commands.
Names that only look alike stay apart, and are reported.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from hmdrn_runtime.errors import EnrollmentError

_INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_LABEL = 120
"""Most characters of a label."""


def clean_label(label: str) -> str:
    """Return a label as it is stored: Unicode NFC, without surrounding blanks.

    Raises:
        EnrollmentError: It is not a string, has nothing visible, is longer than `MAX_LABEL`, is not UTF-8, or
            has characters that control the text around it.
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
    if any(unicodedata.category(c) == "Cs" for c in cleaned):
        raise EnrollmentError(
            f"the label {cleaned!r} is not UTF-8: give the species or its folder another name"
        )
    if any(unicodedata.category(c) == "Cc" or c in _BIDIRECTIONAL for c in cleaned):
        raise EnrollmentError(f"the label {cleaned!r} has control characters: use plain text")
    return cleaned


def normalize_label(label: object) -> str:
    """Return the form under which a label is stored and looked up: Unicode NFC, no surrounding blanks."""
    return unicodedata.normalize("NFC", str(label)).strip()


_APOSTROPHES = "'`´‘’‚‛′ʹʻʼʽʾʿˈ՚Ꞌꞌ"
# Small letters of other alphabets that most fonts draw as these Latin ones.
_HOMOGLYPHS = str.maketrans("аеорсухіјѕԛԝһο", "aeopcyxijsqwho", _APOSTROPHES)
_LATIN_WORD = re.compile(r"\w*[A-Za-z]\w*")
# Capitals whose small letters are drawn otherwise; they are taken for Latin ones in a word that has such.
_CAPITALS = str.maketrans("ВКМНТΑΒΕΖΗΙΚΜΝΡΤΥΧ", "BKMHTABEZHIKMNPTYX")
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")
# Joiners and tags choose between letters, or between emoji, in these places; elsewhere they are invisible.
_JOINED = "\u0600-\u18ff\ua800-\uabff\U00011000-\U00011fff\u2600-\u27bf\ufe0f\U0001f300-\U0001faff"
_UNSEEN = re.compile(
    f"(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])|"
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0100-\U000e01ef]"
)


def fold_label(label: str) -> str:
    """Return a form that is equal for labels that look alike.

    They differ only in case, blanks, hyphens and underscores, final dots, the kind of apostrophe, width and
    ligatures, invisible characters, or letters of other alphabets that are drawn like Latin ones.
    """
    folded = _UNSEEN.sub("", label.replace("´", ""))
    folded = unicodedata.normalize("NFKC", folded)
    folded = _LATIN_WORD.sub(lambda word: word[0].translate(_CAPITALS), folded)
    folded = unicodedata.normalize("NFKC", folded.casefold())
    folded = folded.translate(_HOMOGLYPHS).strip(" _").rstrip(". ")
    return _SEPARATORS.sub(_fold_separators, folded)


def _fold_separators(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    if end == len(text):
        return match[0]  # "A-" is not "A"
    return " " if text[start - 1 : start].isdigit() and text[end].isdigit() else ""  # "1 2" is not 12


def select_lookalikes(label: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return the labels other than `label` that look like it, sorted."""
    folded = fold_label(label)
    return tuple(sorted(other for other in labels if other != label and fold_label(other) == folded))


def find_lookalikes(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of labels that look alike, each sorted."""
    groups: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        groups[fold_label(label)].add(label)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def describe_lookalikes(labels: Iterable[str]) -> str:
    """Return labels that look alike for a message, with the characters in which they differ.

    Returns:
        Such as "'Anna’s Wren' (U+2019) and 'Annaʼs Wren' (U+02BC)".
    """
    names = list(labels)
    shared = set.intersection(*map(set, names))
    parts = []
    for name in names:
        codes = [f"U+{ord(c):04X}" for c in dict.fromkeys(name) if c not in shared and not c.isascii()]
        parts.append(f"{name!r} ({' '.join(codes)})" if codes else repr(name))
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
