"""What runs a bundle's graphs, and why not another of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.variants import why_not


@dataclass(frozen=True)
class BackendReport:
    """What was chosen to run a bundle.

    Attributes:
        backend: The executor.
        variant: The variant of the graphs that it runs.
        passed_over: The bundle's other variants, each with the reason.
        not_used: Backends that were tried before, each with what was against it.
    """

    backend: str
    variant: str
    passed_over: Mapping[str, str]
    not_used: Mapping[str, str]

    def __str__(self) -> str:
        """One line for people."""
        against = {**self.passed_over, **self.not_used}
        others = "".join(f"; not {name}: {reason}" for name, reason in against.items())
        return f"{self.backend} runs the {self.variant} graphs{others}"


def backend_report(bundle: Bundle, backend: Backend) -> BackendReport:
    """Say what runs a bundle that was opened.

    Args:
        bundle: At the variant in use.
        backend: What runs it.
    """
    reasons = {
        variant: why_not(graphs, backend.name) or f"{bundle.variant} was chosen"
        for variant, graphs in bundle.manifest.variants.items()
        if variant != bundle.variant
    }
    return BackendReport(backend.name, bundle.variant, reasons, backend.passed_over)
