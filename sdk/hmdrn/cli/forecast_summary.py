"""Text about a gallery's forecast."""

from __future__ import annotations

from hmdrn_runtime.enrollment.forecast import Forecast

_MOST_PAIRS = 5
"""Pairs of species named at most."""


def describe_forecast(forecast: Forecast) -> str:
    """Return the expected results on new photos, and the species that will be mixed up."""
    lines = [f"expected on new photos like these: {forecast.accuracy} get the right label"]
    if forecast.known is not None:
        lines[0] += f", {forecast.known} count as known"
    lines += [
        f"{species.label}: {species.accuracy}" + ("" if species.known is None else f", known {species.known}")
        for species in forecast.species
        if len(forecast.species) == 1
    ]
    single = [species.label for species in forecast.species if species.views < 2]
    if single:
        lines.append(f"photos of one scene only, so this is a guess: {', '.join(single)}; add other photos")
    lines += [
        f"expect {first!r} and {second!r} to be mixed up, in up to {100 * share:.0f} % of photos"
        for first, second, share in forecast.mixed_up[:_MOST_PAIRS]
    ]
    return "\n".join(lines)
