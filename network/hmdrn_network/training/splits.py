"""Split of classes into those to train on and those to validate on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def split_classes(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Choose classes for validation by a hash of their names.

    A class stays on its side when others are added. Either side has at least two classes, or validation has
    none.

    Args:
        names: Classes.
        share: Share of the classes for validation, 0-1.

    Returns:
        Classes to train on and classes to validate on, each sorted.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    count = round(share * len(ranked))
    if count < 2 and share > 0:
        count = 2
    if count < 2 or len(ranked) - count < 2:
        count = 0
    return sorted(ranked[count:]), sorted(ranked[:count])
