"""The mark of a source that answers without a new frame."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Unchanged(Enum):
    """The frame is that of before, which is not classified again."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
