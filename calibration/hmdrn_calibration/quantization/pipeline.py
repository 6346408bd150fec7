"""INT8 graphs that keep their accuracy, made of an FP32 bundle and photos."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from hmdrn_calibration.quantization.activation_observer import observe_activations
from hmdrn_calibration.quantization.calibration_data import (
    CalibrationPhotos,
    fit_settings,
    load_calibration_photos,
)
from hmdrn_calibration.quantization.experiment import QuantizationExperiment
from hmdrn_calibration.quantization.histogram_cache import cache_key, load_or_observe
from hmdrn_calibration.quantization.layer_search import (
    choose_methods,
    measure_drops,
    measure_layer_costs,
    search_float32_layers,
)
from hmdrn_calibration.quantization.layers import load_photo_graphs
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, Dialect
from hmdrn_calibration.quantization.report import Budget, LayerCost, QuantizationReport
from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BundleError, VerificationError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

_RANGE_EPISODES = 16
_RANGE_QUERIES = 5


@dataclass(frozen=True, eq=False)
class QuantizationResult:
    """INT8 graphs of a bundle by variant and name, weights inside, and the report on them.

    Attributes:
        variants: The graphs.
        report: The measurements.
        unreadable: A message for each photo that cannot be read and was left out.

    Examples:
        >>> hmdrn.QuantizationResult(variants={}, report=None).variants  # see quantize_bundle
        {}
    """

    variants: Mapping[str, Mapping[str, onnx.ModelProto]]
    report: QuantizationReport
    unreadable: tuple[str, ...] = ()


def quantize_bundle(
    bundle: Bundle,
    data: str | os.PathLike[str],
    budget: Budget,
    *,
    every_layer: bool = False,
    dialects: Sequence[Dialect] = DIALECTS,
    cache: Path | None = None,
    threads: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> QuantizationResult:
    """Observe activations, choose ranges, and keep layers in FP32 until the accuracy budget holds.

    Args:
        bundle: The bundle, in its variant "fp32".
        data: Photos, see `load_calibration_photos`.
        budget: The accuracy that INT8 may cost.
        every_layer: Measure the cost of each layer even if the budget holds without.
        dialects: Placements to make; ONNX Runtime's is among them.
        cache: Folder for observed histograms.
        threads: CPU threads; all cores if None.
        report: Receives the progress.

    Returns:
        The graphs; their report says whether they are within the budget.

    Raises:
        DatasetError: Too few photos that can be read.
        BundleError: The bundle's graphs are not plain FP32.
    """
    check_kind(bundle, Bundle, "bundle", "pass what hmdrn.open_bundle returns", BundleError)
    if any(graph.precision != "fp32" for graph in bundle.manifest.variants[bundle.variant].values()):
        raise BundleError(
            f"variant {bundle.variant!r} of {bundle.path} is not FP32: calibrate the variant 'fp32'"
        )
    photos = load_calibration_photos(data, bundle.manifest.input.to_preprocessing(), report)
    experiment = _prepare_experiment(bundle, photos, cache, threads, report)
    trial = experiment.make_trial()
    reference = trial.run(experiment.make_reference())
    methods, ranges = choose_methods(experiment, trial, reference, dialects, report)
    costs: list[LayerCost] = []

    def measure_costs_once() -> Sequence[LayerCost]:
        if not costs:
            costs.extend(measure_layer_costs(experiment, trial, reference, ranges[ORT], report))
        return costs

    if every_layer:
        measure_costs_once()
    evaluations = experiment.evaluate(experiment.make_reference(), budget.episodes, report)
    float32_layers, drops = search_float32_layers(
        budget,
        measure_costs_once,
        lambda layers: measure_drops(experiment, ranges, layers, evaluations, budget.episodes, report),
    )
    return QuantizationResult(
        {d.variant: experiment.quantize_graphs(d, ranges[d], float32_layers) for d in ranges},
        QuantizationReport(
            data=photos.digest,
            rule=photos.rule,
            photos=sum(map(len, photos.accuracy.values())),
            reference_accuracy=reference.accuracy,
            methods=methods,
            layers=tuple(replace(cost, kept=cost.layer in float32_layers) for cost in costs),
            kept=float32_layers,
            drops=drops,
            budget=budget,
        ),
        photos.unreadable,
    )


def check_budget(report: QuantizationReport) -> None:
    """Check that INT8 costs no more than the budget allows.

    Raises:
        VerificationError: It costs more; the message says how much, what was tried and what to do.
    """
    if report.failures:
        budget = report.budget
        raise VerificationError(
            f"INT8 misses its accuracy budget: {'; '.join(report.failures)} (at most {budget.max_drop:g}, "
            f"interval to {budget.max_interval:g}) with {len(report.kept)} layers kept in FP32, the most "
            "that are allowed: calibrate on more photos of your own kind, raise --max-accuracy-drop, "
            "or use --precision fp16"
        )


def _prepare_experiment(
    bundle: Bundle,
    photos: CalibrationPhotos,
    cache: Path | None,
    threads: int | None,
    report: ProgressCallback,
) -> QuantizationExperiment:
    models = load_photo_graphs(bundle)
    classes = list(photos.ranges.values())
    # As many shots as the classes allow, and fewer queries than accuracy is measured on.
    setting = fit_settings([len(members) for members in classes], _RANGE_EPISODES)[-1]
    setting = replace(setting, queries=min(setting.queries, _RANGE_QUERIES))
    preprocessing = bundle.manifest.input.to_preprocessing()
    folder = f"graphs/{bundle.variant}/"
    digests = {name: value for name, value in bundle.manifest.files.items() if name.startswith(folder)}
    histograms = load_or_observe(
        cache,
        cache_key(
            digests,
            photos.digest,
            {"rule": photos.rule, "preprocessing": asdict(preprocessing), **asdict(setting)},
        ),
        lambda: observe_activations(models, classes, preprocessing, setting, report),
    )
    backend = open_backend(bundle, threads=threads)
    return QuantizationExperiment(bundle, backend, models, histograms, photos, threads)
