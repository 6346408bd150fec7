"""Result of profiling a bundle on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hmdrn_runtime.profiling.conditions import Conditions
from hmdrn_runtime.profiling.latency import UNSTABLE, Latency
from hmdrn_runtime.profiling.operators import OperatorTime
from hmdrn_runtime.profiling.stages import StageLatencies


@dataclass(frozen=True)
class LatencyPoint:
    """Latency of prepared photos at one value of a varied quantity, in calls of one or several photos."""

    value: int
    latency: Latency
    photos_per_second: float


@dataclass(frozen=True)
class Profile:
    """Result of profiling; parts not measured yet are empty.

    Attributes:
        conditions: State of the machine meanwhile.
        species: Number of species in the gallery.
        stages: Latencies by source.
        watts: Mean power of a Jetson's module while each source was classified; empty elsewhere.
        enrollment: As `measure_enrollment` returns it.
        batches: Prepared photos in calls of several.
        by_species: A prepared photo by number of species.
        by_threads: A prepared photo by number of CPU threads.
        operators: Operators of the graph that classifies.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> settings = hmdrn.ProfileSettings(("jpeg",), batches=(1,), species=(5,), threads=(1,))
        >>> *_, profile = hmdrn.profile_bundle(birds, settings)
        >>> profile.p90 > 0
        True
    """

    conditions: Conditions
    species: int
    stages: Mapping[str, StageLatencies] = field(default_factory=dict)
    watts: Mapping[str, float] = field(default_factory=dict)
    enrollment: Mapping[str, Latency] = field(default_factory=dict)
    batches: tuple[LatencyPoint, ...] = ()
    by_species: tuple[LatencyPoint, ...] = ()
    by_threads: tuple[LatencyPoint, ...] = ()
    operators: tuple[OperatorTime, ...] = ()

    @property
    def p90(self) -> float | None:
        """90th percentile of the slowest source's latency, milliseconds."""
        return max((stages.total.p90 for stages in self.stages.values()), default=None)

    @property
    def joules(self) -> float | None:
        """Energy of one classification of the first source; None where no sensor measures power."""
        source, stages = next(iter(self.stages.items()), ("", None))
        watts = self.watts.get(source)
        return None if watts is None or stages is None else watts * stages.total.mean / 1e3

    @property
    def unstable(self) -> list[str]:
        """Lines about measurements during which the clocks changed."""
        latencies = {
            **{f"from {source} to prediction": stages.total for source, stages in self.stages.items()},
            **{f"enrolling ({name})": latency for name, latency in self.enrollment.items()},
            **{f"{p.value} photos": p.latency for p in self.batches},
            **{f"{p.value} species": p.latency for p in self.by_species},
            **{f"{p.value} threads": p.latency for p in self.by_threads},
        }
        return [
            f"{name}: latency moved by {latency.spread:.1%}"
            for name, latency in latencies.items()
            if latency.unstable
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        values = asdict(self)
        del values["watts"]
        return {
            **values,
            "stages": {source: stages.to_dict() for source, stages in self.stages.items()},
            "p90": self.p90,
            "joules": self.joules,
            "unstable": self.unstable,
            "unstable_above": UNSTABLE,
        }
