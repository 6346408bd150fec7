"""Quantized candidates of one bundle, measured against its FP32 graphs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hmdrn_calibration.quantization.calibration_data import CalibrationPhotos
from hmdrn_calibration.quantization.histograms import Histogram, Range
from hmdrn_calibration.quantization.in_memory_backend import InMemoryBackend, make_recognizer
from hmdrn_calibration.quantization.paired_trials import PairedTrial
from hmdrn_calibration.quantization.qdq_placement import Dialect
from hmdrn_calibration.quantization.qdq_writer import quantize_graph
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.evaluation.evaluation import BundleScorer, Evaluation, TokenScorer, evaluate
from hmdrn_runtime.progress import ProgressCallback

Ranges = Mapping[str, Range]


@dataclass(frozen=True, eq=False)
class QuantizationExperiment:
    """Everything that the measurements of a calibration share.

    Attributes:
        bundle: The FP32 bundle.
        backend: Runs its graphs.
        models: Its graphs that take photos, weights inside.
        histograms: Of every tensor that may be quantized.
        photos: Photos that accuracy is measured on.
        threads: CPU threads; all cores if None.
    """

    bundle: Bundle
    backend: Backend
    models: Mapping[str, onnx.ModelProto]
    histograms: Mapping[str, Histogram]
    photos: CalibrationPhotos
    threads: int | None = None

    def compute_ranges(self, method: str, dialect: Dialect) -> Ranges:
        """Compute the ranges of all tensors by one method."""
        return {name: METHODS[method](h, dialect.symmetric) for name, h in self.histograms.items()}

    def quantize_graphs(
        self, dialect: Dialect, ranges: Ranges, float32_layers: Collection[str] = ()
    ) -> dict[str, onnx.ModelProto]:
        """Quantize all photo graphs in one placement."""
        return {
            name: quantize_graph(model, ranges, dialect, float32_layers)
            for name, model in self.models.items()
        }

    def make_candidate(
        self, dialect: Dialect, ranges: Ranges, float32_layers: Collection[str] = ()
    ) -> BundleScorer:
        """Return a scorer of episodes with the quantized graphs that accuracy depends on.

        NVIDIA's placement is imitated: rounded to its grids, and computed in float32.
        """
        models = {
            name: quantize_graph(self.models[name], ranges, dialect, float32_layers) for name in self._scored
        }
        # Integer kernels are how a CPU runs its own placement; the other one is not for CPUs.
        return self._make_scorer(models, dialect.variant, dialect.quantized_outputs)

    def make_reference(self) -> BundleScorer:
        """Return a scorer of episodes with the FP32 graphs."""
        return self._make_scorer(
            {name: self.models[name] for name in self._scored}, self.bundle.variant, True
        )

    def make_trial(self) -> PairedTrial:
        """Draw rounds to compare candidates on."""
        classes = [np.stack([p.pixels for p in photos]) for photos in self.photos.accuracy.values()]
        return PairedTrial(classes, self.photos.settings(1))

    def evaluate(self, scorer: BundleScorer, episodes: int, report: ProgressCallback) -> list[Evaluation]:
        """Measure episodic accuracy as `hmdrn eval` does."""
        return evaluate(scorer, self.photos.accuracy, self.photos.settings(episodes), report)

    @property
    def _scored(self) -> tuple[str, ...]:
        # With ridge, queries are matched outside the graphs, by the statistics that `enroll` returns.
        return ("enroll",) if self._ridge else ("enroll", "explain", "classify")

    @property
    def _ridge(self) -> bool:
        return self.bundle.manifest.network.head == "ridge"

    def _make_scorer(
        self, models: Mapping[str, onnx.ModelProto], variant: str, integer_kernels: bool
    ) -> BundleScorer:
        backend = InMemoryBackend(models, self.backend, self.threads, integer_kernels)
        scorer = BundleScorer if self._ridge else TokenScorer
        return scorer(make_recognizer(self.bundle, backend, variant))
