"""`hmdrn eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.data_messages import print_unreadable, print_warnings
from hmdrn.cli.options import (
    PATH,
    bundle_argument,
    data_argument,
    false_accept_rate_option,
    json_option,
    option,
    preprocess_option,
    require_package,
    strict_data_option,
    threads_option,
)
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.output_paths import check_output_path, list_dataset_paths
from hmdrn.cli.parameters import parse_counts
from hmdrn.cli.unknown_evaluation import evaluate_unknown, show_rejections
from hmdrn.loading import load, resolve_bundle
from hmdrn_runtime.datasets.dataset import Dataset, Photo, open_dataset, pool_classes
from hmdrn_runtime.datasets.reading import PhotoReader, apply_to_all, read_classes
from hmdrn_runtime.errors import DatasetError, HmdrnError
from hmdrn_runtime.evaluation.episodes import fit_episode_size, sample_episodes
from hmdrn_runtime.evaluation.evaluation import (
    BundleScorer,
    EpisodeSetting,
    Evaluation,
    Scorer,
    compare_accuracy,
    evaluate_episodes,
)
from hmdrn_runtime.gallery.labels import normalize_label
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

_CHECKPOINTS = (".safetensors", ".pth", ".pt")


@click.command("eval")
@bundle_argument
@data_argument
@option("--split", default="all", help="Split of DATA, where it has splits.")
@option(
    "--way",
    "ways",
    callback=parse_counts,
    help="Classes in an episode; several: 5,10,20.  [default: 5, or as many as there are]",
)
@option(
    "--shot", "shots", callback=parse_counts, default="5", help="Support photos of a class; several: 1,5,10."
)
@option("--queries", type=int, help="Query photos of a class.  [default: 16, or as many as there are]")
@option("--episodes", type=int, default=600, help="Number of episodes.")
@option("--seed", type=int, default=0, help="The same seed draws the same episodes.")
@option("--held-out", is_flag=True, help="Leave out the classes of DATA that BUNDLE records as trained on.")
@option("--cross-group", is_flag=True, help="Draw the classes of an episode from all DATA together.")
@option("--against", metavar="OTHER", help="Another bundle or checkpoint, compared on the same episodes.")
@preprocess_option("For checkpoints; a bundle has its own.")
@option("--per-class", is_flag=True, help="Show the accuracy of every class too (--json always does).")
@option("--confusion", type=PATH, help="Draw the confusion matrix of the classes into this picture.")
@option(
    "--unknown",
    is_flag=True,
    help="Measure how well species that a gallery lacks are refused, and how honest probabilities are.",
)
@false_accept_rate_option("With --unknown: the share of unknown photos that may pass as known.", 0.05)
@strict_data_option
@threads_option
@json_option
def command(
    bundle: str,
    data: tuple[Path, ...],
    split: str,
    ways: tuple[int, ...] | None,
    shots: tuple[int, ...],
    queries: int | None,
    episodes: int,
    seed: int,
    held_out: bool,
    cross_group: bool,
    against: str | None,
    preprocess: str,
    per_class: bool,
    confusion: Path | None,
    unknown: bool,
    false_accept_rate: float,
    strict_data: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how often a bundle names new photos of new classes correctly, over episodes drawn from DATA.

    BUNDLE may be a checkpoint too (.safetensors or .pth), which torch then computes. DATA is a folder or
    zip of <class>/<image> or <split>/<class>/<image>; several are measured one by one.

    Example: hmdrn eval default birds.zip --split val --way 5 --shot 1,5
    """
    if confusion is not None:
        require_package("matplotlib", "drawing pictures", "plots")
        models = [resolve_bundle(model) for model in (bundle, against) if model is not None]
        photos = [path for item in data for path in list_dataset_paths(item)]
        confusion = check_output_path(confusion, "picture", [*models, *photos])
    if unknown:
        if against is not None or confusion is not None or per_class or cross_group:
            raise HmdrnError("--unknown measures a single bundle: leave out the options for comparing others")
        if bundle.lower().endswith(_CHECKPOINTS):
            raise HmdrnError(f"{bundle} is a checkpoint, and --unknown measures bundles: export it first")
    datasets = apply_to_all(lambda path: open_dataset(path, split), data)
    model = _open(bundle, preprocess, threads)
    if held_out:
        datasets = apply_to_all(lambda dataset: _hold_out(dataset, model.recipe, bundle), datasets)
    print_warnings(datasets)
    if strict_data:
        with progress() as report:
            PhotoReader().check(datasets, report)
    if model.recognizer is not None and unknown:
        default = EpisodeSetting()
        ways = (default.way,) if ways is None else ways
        queries = default.queries if queries is None else queries
        settings = [EpisodeSetting(way, shot, queries, episodes, seed) for way in ways for shot in shots]
        known = ", ".join(map(str, ways))
        title = f"{bundle} ({split}), {known} known species, {episodes} galleries, FAR {false_accept_rate:g}"
        reader = PhotoReader()
        results = evaluate_unknown(model.recognizer, datasets, settings, false_accept_rate, reader)
        print_unreadable(reader.unreadable)
        if as_json:
            values = {"bundle": bundle, "split": split, **results[0], "results": results}
            print_json("eval.unknown", {**values, "unreadable": reader.unreadable})
        else:
            show_rejections(title, results)
        return
    other = None if against is None else _open(against, preprocess, threads)
    groups: dict[str, Mapping[str, tuple[Photo, ...]]] = (
        {", ".join(map(str, data)): pool_classes(datasets)}
        if cross_group
        else {str(path): dataset.classes for path, dataset in zip(data, datasets, strict=True)}
    )
    results = []
    unreadable: list[str] = []
    pictures: list[tuple[str, Evaluation]] = []
    with progress() as report:
        for name, classes in groups.items():
            fit = partial(
                _fit_settings, shots=shots, ways=ways, queries=queries, episodes=episodes, seed=seed
            )
            mine = _evaluate(model, classes, fit, report)
            others = _evaluate(other, classes, fit, report) if other else [None] * len(mine)
            results += [_result(name, *pair) for pair in zip(mine, others, strict=True)]
            pictures.append((f"{name}, {mine[-1].setting.way}-way {shots[-1]}-shot", mine[-1]))
            unreadable += mine[0].unreadable
    print_unreadable(unreadable)
    if confusion is not None:
        from hmdrn.plotting.figures import draw_confusion

        draw_confusion(pictures, confusion)
    if as_json:
        # The first result is at the top too: most programs ask for a single one.
        values = {"bundle": bundle, "split": split, "cross_group": cross_group, "against": against}
        print_json("eval", {**values, **results[0], "results": results, "unreadable": unreadable})
        return
    title = f"{bundle} ({split}), {episodes} episodes, seed {seed}, by {results[0]['executor']}"
    _show(title, results, against)
    for result in results if per_class else ():
        accuracies = sorted(result["per_class"].items(), key=lambda item: item[1])
        rows = [[label, f"{accuracy:.1f} %"] for label, accuracy in accuracies]
        print_table(f"{result['data']}, {result['shot']}-shot", ["class", "accuracy"], rows)


@dataclass(frozen=True)
class _Model:
    """A bundle (then with its recognizer) or a checkpoint, and the recipe it was trained with."""

    scorer: Callable[[], Scorer]
    recipe: Mapping[str, Any]
    recognizer: Recognizer | None = None


def _open(source: str, preprocess: str, threads: int | None) -> _Model:
    if not source.lower().endswith(_CHECKPOINTS):
        recognizer = load(source, threads=threads)
        recipe = recognizer.bundle.manifest.model.get("recipe", {})
        return _Model(lambda: BundleScorer(recognizer), recipe, recognizer)
    require_package("torch", "evaluating a checkpoint", "train")
    import torch

    from hmdrn_network.checkpoints import load_checkpoint
    from hmdrn_network.scoring import NetworkScorer

    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = load_checkpoint(source)
    return _Model(lambda: NetworkScorer(checkpoint.network, preprocess), checkpoint.card.recipe)


def _fit_settings(
    sizes: Sequence[int],
    shots: Sequence[int],
    ways: Sequence[int] | None,
    queries: int | None,
    episodes: int,
    seed: int,
) -> list[EpisodeSetting]:
    """Return the settings for classes of these sizes; those not given are the usual ones, or smaller.

    Of several ways, those beyond the number of classes are left out.
    """
    present = [size for size in sizes if size]
    wanted: list[int | None] = [*ways] if ways else [None]
    possible = [way for way in wanted if way is None or way <= len(present)] or wanted[:1]
    settings = []
    for way in possible:
        fitted_way, fitted_queries = fit_episode_size(present, max(shots), way, queries)
        settings += [EpisodeSetting(fitted_way, shot, fitted_queries, episodes, seed) for shot in shots]
    for setting in settings:
        sample_episodes(sizes, **asdict(setting))  # raises if there are too few
    return settings


def _evaluate(
    model: _Model,
    classes: Mapping[str, Sequence[Photo]],
    fit: Callable[[Sequence[int]], list[EpisodeSetting]],
    report: ProgressCallback,
) -> list[Evaluation]:
    fit([len(photos) for photos in classes.values()])  # raises before a photo is read
    scorer = model.scorer()
    read = read_classes(classes, scorer.preprocessing, BATCH, scorer.add_photos, report)
    return evaluate_episodes(scorer, read, fit(list(read.sizes.values())), report)


def _hold_out(dataset: Dataset, recipe: Mapping[str, Any], source: str) -> Dataset:
    """Return the classes that a model was not trained on, by its own record."""
    digest = dataset.digest()
    records = [record for record in recipe.get("data", {}).values() if record.get("sha256") == digest]
    if not records:
        raise DatasetError(
            f"{source} has no record of having been trained on {dataset.source}: give the same photographs, "
            "or leave out --held-out"
        )
    trained = set(map(normalize_label, records[0]["train"]))
    classes = {label: photos for label, photos in dataset.classes.items() if label not in trained}
    if not classes:
        raise DatasetError(f"{source} was trained on all {len(trained)} classes of {dataset.source}")
    return replace(dataset, classes=classes)


def _result(data: str, evaluation: Evaluation, other: Evaluation | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "data": data,
        "accuracy": evaluation.accuracy,
        "ci95": evaluation.ci95,
        **asdict(evaluation.setting),
        "classes": len(evaluation.classes),
        "photos": evaluation.photos,
        "executor": evaluation.executor,
        "per_class": evaluation.class_accuracies,
    }
    if other is not None:
        values |= {"other_accuracy": other.accuracy, "other_ci95": other.ci95}
        difference = compare_accuracy(evaluation, other)
        values |= {"difference": difference.points, "difference_ci95": difference.ci95}
    return values


def _show(title: str, results: list[dict[str, Any]], against: str | None) -> None:
    columns = ["data", "classes", "photos", "way", "shots", "queries", "accuracy"]
    rows = []
    for r in results:
        row = [str(r[key]) for key in ("data", "classes", "photos", "way", "shot", "queries")]
        row.append(f"{r['accuracy']:.2f} ± {r['ci95']:.2f} %")
        if against:
            row.append(f"{r['other_accuracy']:.2f} ± {r['other_ci95']:.2f} %")
            row.append(f"{r['difference']:+.2f} ± {r['difference_ci95']:.2f}")
        rows.append(row)
    print_table(title, [*columns, *([against, "difference"] if against else [])], rows)
