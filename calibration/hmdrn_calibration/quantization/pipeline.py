"""From an FP32 bundle and photographs to INT8 graphs that keep their accuracy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from hmdrn_calibration.quantization.activation_observer import observe
from hmdrn_calibration.quantization.calibration_data import CalibrationPhotos, Report, fitting, open_photos
from hmdrn_calibration.quantization.experiment import Workbench
from hmdrn_calibration.quantization.histogram_cache import cache_key, cached
from hmdrn_calibration.quantization.layer_search import (
    choose_methods,
    chosen_ranges,
    drops,
    keep_until,
    layer_costs,
)
from hmdrn_calibration.quantization.layers import photo_graphs
from hmdrn_calibration.quantization.report import Budget, CalibrationReport, LayerCost
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BundleError, VerificationError
from hmdrn_runtime.evaluation.evaluation import Setting

_RANGE_EPISODES = 16
_RANGE_QUERIES = 5


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The INT8 graphs of a bundle by variant and name, weights inside, and how they were found."""

    variants: Mapping[str, Mapping[str, onnx.ModelProto]]
    report: CalibrationReport


def calibrate(
    bundle: Bundle,
    data: str | os.PathLike[str],
    budget: Budget,
    *,
    every_layer: bool = False,
    cache: Path | None = None,
    threads: int | None = None,
    report: Report = lambda what, done, of: None,
) -> Calibrated:
    """Observe ranges, choose how to make grids of them, and keep in FP32 what the budget needs.

    Args:
        bundle: The bundle, in its variant "fp32".
        data: Photographs, as for `open_photos`.
        budget: What INT8 may cost.
        every_layer: Measure what each layer costs even if the budget holds without.
        cache: Folder to keep observed ranges in.
        threads: CPU threads; all cores if None.
        report: Told of the progress.

    Returns:
        The graphs; whether they are within the budget, their report says.

    Raises:
        DatasetError: Too few photos.
        ImageError: A photo that cannot be read.
        BundleError: The bundle's graphs are not plain FP32.
    """
    if any(graph.precision != "fp32" for graph in bundle.manifest.variants[bundle.variant].values()):
        raise BundleError(
            f"variant {bundle.variant!r} of {bundle.path} is not FP32: calibrate the variant 'fp32'"
        )
    photos = open_photos(data, bundle.manifest.input.preprocessing, report)
    bench = _workbench(bundle, photos, cache, threads, report)
    trial = bench.trial()
    reference = trial.run(bench.reference())
    methods = choose_methods(bench, trial, reference, report)
    ranges = chosen_ranges(bench, methods)
    costs: list[LayerCost] = []

    def measured_costs() -> Sequence[LayerCost]:
        if not costs:
            (ort, *_) = ranges.values()
            costs.extend(layer_costs(bench, trial, reference, ort, report))
        return costs

    if every_layer:
        measured_costs()
    evaluated = bench.evaluate(bench.reference(), budget.episodes, report)
    kept, found = keep_until(
        budget,
        measured_costs,
        lambda kept: drops(bench, ranges, kept, evaluated, budget.episodes, report),
    )
    return Calibrated(
        {dialect.variant: bench.graphs(dialect, ranges[dialect], kept) for dialect in ranges},
        CalibrationReport(
            data=photos.digest,
            rule=photos.rule,
            photos=sum(map(len, photos.accuracy.values())),
            reference_accuracy=reference.accuracy,
            methods=methods,
            layers=tuple(replace(cost, kept=cost.layer in kept) for cost in costs),
            kept=kept,
            drops=found,
            budget=budget,
        ),
    )


def check_budget(report: CalibrationReport) -> None:
    """Refuse graphs that cost more than is allowed.

    Raises:
        VerificationError: They do; the message says how much, what was tried and what can be done.
    """
    if report.failures:
        allowed = report.budget
        raise VerificationError(
            f"INT8 misses its accuracy budget: {'; '.join(report.failures)} (at most {allowed.max_drop:g}, "
            f"interval to {allowed.max_interval:g}) with {len(report.kept)} layers kept in FP32, the most "
            "that are allowed: calibrate on more photos of your own kind, raise --max-accuracy-drop, "
            "or use --precision fp16"
        )


def _workbench(
    bundle: Bundle, photos: CalibrationPhotos, cache: Path | None, threads: int | None, report: Report
) -> Workbench:
    models = photo_graphs(bundle)
    classes = list(photos.ranges.values())
    setting = _range_setting([len(members) for members in classes])
    mode = bundle.manifest.input.preprocessing
    folder = f"graphs/{bundle.variant}/"
    digests = {name: value for name, value in bundle.manifest.files.items() if name.startswith(folder)}
    key = cache_key(digests, photos.digest, {"rule": photos.rule, "preprocessing": mode, **asdict(setting)})
    histograms, _ = cached(cache, key, lambda: observe(models, classes, mode, setting, report))
    return Workbench(bundle, open_backend(bundle, threads=threads), models, histograms, photos, threads)


def _range_setting(sizes: Sequence[int]) -> Setting:
    """Episodes with as many shots as the classes allow, and fewer queries than accuracy is measured on."""
    setting = fitting(sizes, _RANGE_EPISODES)[-1]
    return replace(setting, queries=min(setting.queries, _RANGE_QUERIES))
