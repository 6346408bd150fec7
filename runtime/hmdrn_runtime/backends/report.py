"""Report of the backend and variant that run a bundle, and of why others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.variants import find_incompatibility


@dataclass(frozen=True)
class BackendReport:
    """The backend and variant in use.

    Attributes:
        backend: The name of the backend.
        variant: The variant of the graphs that it runs.
        passed_over: The bundle's other variants, each with the reason.
        not_used: Backends that were tried before, each with the reason why it cannot be used.
        engines_issue: Reason why the bundle's TensorRT engines do not run, although they were tried, so that
            a slower backend answers; None if they run, or if there are none.
        measured: Milliseconds by variant that `hmdrn profile --save` measured here, which chose the variant;
            empty if the rule of the CPU did, or the caller.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> birds.backend_report.backend
        'onnxruntime'
    """

    backend: str
    variant: str
    passed_over: Mapping[str, str]
    not_used: Mapping[str, str]
    engines_issue: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Describe the choice in one line."""
        reasons = {**self.passed_over, **self.not_used}
        others = "".join(f"; not {name}: {reason}" for name, reason in reasons.items())
        time = describe_time(self.measured, self.variant)
        return f"{self.backend} runs the {self.variant} graphs{time and f', {time}'}{others}"


def make_backend_report(bundle: Bundle, backend: Backend) -> BackendReport:
    """Describe the choice of a backend for a bundle, which is at the variant in use."""
    reasons = {
        variant: describe_time(backend.measured, variant)
        or find_incompatibility(graphs, backend.name)
        or f"{bundle.variant} was chosen"
        for variant, graphs in bundle.manifest.variants.items()
        if variant != bundle.variant
    }
    issue = backend.rejected.get("tensorrt") if has_engines(bundle) else None
    return BackendReport(backend.name, bundle.variant, reasons, backend.rejected, issue, backend.measured)


def describe_time(milliseconds: Mapping[str, float], variant: str) -> str:
    """Describe the stored time of a variant; empty without one."""
    return f"measured here at {milliseconds[variant]:.3g} ms" if variant in milliseconds else ""


def has_engines(bundle: Bundle) -> bool:
    """Return True if a bundle has TensorRT engines, of whatever device."""
    return any(bundle.path.glob("engines/*/*.plan"))
