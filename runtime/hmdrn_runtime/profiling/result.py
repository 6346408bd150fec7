"""What was found of a bundle's speed on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hmdrn_runtime.profiling.conditions import Conditions
from hmdrn_runtime.profiling.latency import UNSTABLE, Latency
from hmdrn_runtime.profiling.operators import OperatorTime
from hmdrn_runtime.profiling.stages import Stages


@dataclass(frozen=True)
class Point:
    """Latency at one value of what is varied; of prepared photos, in calls of `photos` photos."""

    value: int
    latency: Latency
    photos_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "value": self.value,
            "latency": self.latency.to_dict(),
            "photos_per_second": self.photos_per_second,
        }


@dataclass(frozen=True)
class Profile:
    """What was found; parts not measured yet are empty.

    Attributes:
        conditions: The machine meanwhile.
        species: Species of the gallery.
        stages: By source.
        watts: Mean power of a Jetson's module while each source was classified; none elsewhere.
        enrollment: As `measure_enrollment` returns it.
        batches: Prepared photos in calls of several.
        by_species: A prepared photo among more and more species.
        by_threads: A prepared photo by number of CPU threads.
        operators: Those of the graph that classifies.
    """

    conditions: Conditions
    species: int
    stages: Mapping[str, Stages] = field(default_factory=dict)
    watts: Mapping[str, float] = field(default_factory=dict)
    enrollment: Mapping[str, Latency] = field(default_factory=dict)
    batches: tuple[Point, ...] = ()
    by_species: tuple[Point, ...] = ()
    by_threads: tuple[Point, ...] = ()
    operators: tuple[OperatorTime, ...] = ()

    @property
    def p90(self) -> float | None:
        """Milliseconds that nine in ten calls take at most, of the source that takes longest."""
        return max((one.total.p90 for one in self.stages.values()), default=None)

    @property
    def joules(self) -> float | None:
        """Energy of one classification of the first source; None where no sensor measures power."""
        source, first = next(iter(self.stages.items()), ("", None))
        watts = self.watts.get(source)
        return None if watts is None or first is None else watts * first.total.mean / 1e3

    @property
    def unstable(self) -> list[str]:
        """Lines about measurements during which the clocks changed."""
        named = {
            **{f"from {source} to prediction": one.total for source, one in self.stages.items()},
            **{f"enrolling ({name})": latency for name, latency in self.enrollment.items()},
            **{f"{p.value} photos": p.latency for p in self.batches},
            **{f"{p.value} species": p.latency for p in self.by_species},
            **{f"{p.value} threads": p.latency for p in self.by_threads},
        }
        return [
            f"{name}: latency moved by {latency.spread:.1%}"
            for name, latency in named.items()
            if latency.unstable
        ]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "conditions": self.conditions.to_dict(),
            "species": self.species,
            "stages": {source: one.to_dict() for source, one in self.stages.items()},
            "p90": self.p90,
            "joules": self.joules,
            "enrollment": {name: latency.to_dict() for name, latency in self.enrollment.items()},
            "batches": [point.to_dict() for point in self.batches],
            "by_species": [point.to_dict() for point in self.by_species],
            "by_threads": [point.to_dict() for point in self.by_threads],
            "operators": [one.to_dict() for one in self.operators],
            "unstable": self.unstable,
            "unstable_above": UNSTABLE,
        }
