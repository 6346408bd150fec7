"""Makes quantised candidates of one bundle, and measures them against its FP32 graphs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hmdrn_calibration.quantization.calibration_data import CalibrationPhotos, Report
from hmdrn_calibration.quantization.histograms import Histogram
from hmdrn_calibration.quantization.in_memory_backend import CandidateBackend, recognizer
from hmdrn_calibration.quantization.paired_trials import Trial
from hmdrn_calibration.quantization.qdq_placement import Dialect
from hmdrn_calibration.quantization.qdq_writer import quantise
from hmdrn_calibration.quantization.ranges import METHODS, Range
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.evaluation.evaluation import BundleScorer, Evaluation, TokenScorer, evaluate

Ranges = Mapping[str, Range]


@dataclass(frozen=True, eq=False)
class Workbench:
    """What every measurement of a calibration shares.

    Attributes:
        bundle: The FP32 bundle.
        backend: Runs its graphs.
        models: Its graphs that look at photos, weights inside.
        histograms: Of every tensor that may be quantised.
        photos: What accuracy is measured on.
        threads: CPU threads; all cores if None.
    """

    bundle: Bundle
    backend: Backend
    models: Mapping[str, onnx.ModelProto]
    histograms: Mapping[str, Histogram]
    photos: CalibrationPhotos
    threads: int | None = None

    def ranges(self, method: str, dialect: Dialect) -> Ranges:
        """Ranges of all tensors by one method."""
        return {name: METHODS[method](h, dialect.symmetric) for name, h in self.histograms.items()}

    def graphs(
        self, dialect: Dialect, ranges: Ranges, kept: Collection[str] = ()
    ) -> dict[str, onnx.ModelProto]:
        """All photo graphs in a placement."""
        return {name: quantise(model, ranges, dialect, kept) for name, model in self.models.items()}

    def candidate(self, dialect: Dialect, ranges: Ranges, kept: Collection[str] = ()) -> BundleScorer:
        """Scores episodes with quantised graphs: those that accuracy depends on.

        NVIDIA's placement is imitated: rounded to its grids, and computed in float32.
        """
        models = {name: quantise(self.models[name], ranges, dialect, kept) for name in self._needed}
        # Integer kernels are what a CPU runs the one with; the other is not for CPUs.
        return self._scorer(models, dialect.variant, dialect.quantised_outputs)

    def reference(self) -> BundleScorer:
        """Scores episodes with the FP32 graphs."""
        return self._scorer({name: self.models[name] for name in self._needed}, self.bundle.variant, True)

    @property
    def _needed(self) -> tuple[str, ...]:
        # With ridge, queries are matched outside the graphs, by the statistics that `enroll` gives.
        return ("enroll",) if self._ridge else ("enroll", "explain", "classify")

    @property
    def _ridge(self) -> bool:
        return self.bundle.manifest.network.head == "ridge"

    def _scorer(
        self, models: Mapping[str, onnx.ModelProto], variant: str, integer_kernels: bool
    ) -> BundleScorer:
        backend = CandidateBackend(models, self.backend, self.threads, integer_kernels)
        scorer = BundleScorer if self._ridge else TokenScorer
        return scorer(recognizer(self.bundle, backend, variant))

    def trial(self) -> Trial:
        """Rounds to compare candidates on."""
        classes = [np.stack([p.pixels for p in photos]) for photos in self.photos.accuracy.values()]
        return Trial(classes, self.photos.settings(1))

    def evaluate(self, candidate: BundleScorer, episodes: int, report: Report) -> list[Evaluation]:
        """Episodic accuracy as `hmdrn eval` measures it."""
        settings = self.photos.settings(episodes)
        return evaluate(candidate, self.photos.accuracy, settings, report)
