"""Odds in words."""

from __future__ import annotations

import math


def format_odds(log_odds: float) -> str:
    """Return the ratio of two probabilities, by its natural logarithm, e.g. "4.0 times"."""
    odds = math.exp(min(log_odds, 700.0))
    return f"{odds:.1f} times" if odds < 10 else f"{odds:.0f} times" if odds < 1000 else "over 1000 times"
