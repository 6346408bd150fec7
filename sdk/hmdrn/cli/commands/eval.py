"""`hmdrn eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import (
    bundle_argument,
    json_option,
    print_json,
    print_table,
    progress,
    require,
    threads_option,
)
from hmdrn.cli.output_paths import output_place, photos_of
from hmdrn.cli.unknown_evaluation import evaluate_unknown
from hmdrn.loading import bundle_path, load
from hmdrn_runtime.datasets.dataset import Dataset, Photo, open_dataset
from hmdrn_runtime.errors import DatasetError, HmdrnError
from hmdrn_runtime.evaluation.episodes import fitting
from hmdrn_runtime.evaluation.evaluation import (
    BundleScorer,
    Evaluation,
    Scorer,
    Setting,
    difference,
    evaluate,
    pooled,
)
from hmdrn_runtime.images.preprocessing import PREPROCESSINGS

_CHECKPOINTS = (".safetensors", ".pth", ".pt")


def _several(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """One or several numbers of shots."""
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor several such as 1,5,10") from error


@click.command("eval")
@bundle_argument
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option("--split", default="all", show_default=True, help="Split of DATA, where it has splits.")
@click.option("--way", type=int, help="Classes in an episode.  [default: 5, or as many as there are]")
@click.option(
    "--shot",
    "shots",
    callback=_several,
    default="5",
    show_default=True,
    help="Support photos of a class; several: 1,5,10.",
)
@click.option("--queries", type=int, help="Query photos of a class.  [default: 16, or as many as there are]")
@click.option("--episodes", type=int, default=600, show_default=True, help="Number of episodes.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed draws the same episodes.")
@click.option(
    "--held-out",
    is_flag=True,
    help="Leave out the classes of DATA that BUNDLE was trained on, by its own record.",
)
@click.option("--cross-group", is_flag=True, help="Draw the classes of an episode from all DATA together.")
@click.option(
    "--against", metavar="OTHER", help="Another bundle or checkpoint, compared on the same episodes."
)
@click.option(
    "--preprocess",
    type=click.Choice(PREPROCESSINGS),
    default="crop",
    show_default=True,
    help="For checkpoints; a bundle has its own.",
)
@click.option("--per-class", is_flag=True, help="Show the accuracy of every class too (--json always does).")
@click.option(
    "--confusion",
    type=click.Path(path_type=Path),
    help="Draw which class is taken for which into this picture.",
)
@click.option(
    "--unknown",
    is_flag=True,
    help="Measure how well species that a gallery lacks are refused, and how honest probabilities are.",
)
@click.option(
    "--far",
    type=FiniteRange(0.01, 0.5),
    default=0.05,
    show_default=True,
    help="With --unknown: the share of unknown photos that may be taken for known.",
)
@threads_option
@json_option
def command(
    bundle: str,
    data: tuple[Path, ...],
    split: str,
    way: int | None,
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
    far: float,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how often a bundle names new photos of new classes rightly, over episodes drawn from DATA.

    BUNDLE may be a checkpoint too (.safetensors or .pth), which torch then computes. DATA is a folder or
    zip of <class>/<image> or <split>/<class>/<image>; each of several is measured by itself.

    Example: hmdrn eval default birds.zip --split val --way 5 --shot 1,5
    """
    if confusion is not None:
        require("matplotlib", "drawing pictures", "plots")
        models = [bundle_path(one) for one in (bundle, against) if one is not None]
        read = [photos for path in data for photos in photos_of(path)]
        confusion = output_place(confusion, "picture", [*models, *read])
    datasets = [open_dataset(path, split) for path in data]
    if unknown:
        if against is not None or confusion is not None or per_class or cross_group:
            raise HmdrnError("--unknown measures a single bundle: leave out the options for comparing others")
        if bundle.lower().endswith(_CHECKPOINTS):
            raise HmdrnError(f"{bundle} is a checkpoint, and --unknown measures bundles: export it first")
        if held_out:
            recipe = load(bundle, threads=threads).bundle.manifest.model.get("recipe", {})
            datasets = [_without_trained(dataset, recipe, bundle) for dataset in datasets]
        usual = Setting()
        way, queries = usual.way if way is None else way, usual.queries if queries is None else queries
        settings = [Setting(way, shot, queries, episodes, seed) for shot in shots]
        evaluate_unknown(bundle, split, datasets, settings, far, threads, as_json)
        return
    model = _open(bundle, preprocess, threads)
    other = None if against is None else _open(against, preprocess, threads)
    if held_out:
        datasets = [_without_trained(dataset, model.recipe, bundle) for dataset in datasets]
    groups: dict[str, Mapping[str, tuple[Photo, ...]]] = (
        {", ".join(map(str, data)): pooled(datasets)}
        if cross_group
        else {str(path): dataset.classes for path, dataset in zip(data, datasets, strict=True)}
    )
    results: list[dict[str, Any]] = []
    pictures: list[tuple[str, Evaluation]] = []
    with progress() as report:
        for name, classes in groups.items():
            settings = _settings(classes, way, shots, queries, episodes, seed)
            found = evaluate(model.scorer(), classes, settings, report)
            others = evaluate(other.scorer(), classes, settings, report) if other else [None] * len(found)
            results += [_result(name, one, two) for one, two in zip(found, others, strict=True)]
            pictures.append((f"{name}, {settings[-1].way}-way {shots[-1]}-shot", found[-1]))
    if confusion is not None:
        from hmdrn.plotting.figures import draw_confusion

        draw_confusion(pictures, confusion)
    if as_json:
        # The first result once more at the top: most programs ask for a single one.
        values = {"bundle": bundle, "split": split, "cross_group": cross_group, "against": against}
        print_json("eval", {**values, **results[0], "results": results})
        return
    _show(
        f"{bundle} ({split}), {episodes} episodes, seed {seed}, by {results[0]['executor']}",
        results,
        against,
    )
    if per_class:
        for result in results:
            rows = [
                [name, f"{value:.1f} %"]
                for name, value in sorted(result["per_class"].items(), key=lambda r: r[1])
            ]
            print_table(f"{result['data']}, {result['shot']}-shot", ["class", "accuracy"], rows)


def _settings(
    classes: Mapping[str, tuple[Photo, ...]],
    way: int | None,
    shots: tuple[int, ...],
    queries: int | None,
    episodes: int,
    seed: int,
) -> list[Setting]:
    """What is asked for; what is not, as usual, or less where a data set is small. Alike for all shots."""
    way, queries = fitting([len(photos) for photos in classes.values()], max(shots), way, queries)
    return [Setting(way, shot, queries, episodes, seed) for shot in shots]


@dataclass(frozen=True)
class _Model:
    """A bundle or a checkpoint, opened once: makes scorers, and tells how it was trained."""

    scorer: Callable[[], Scorer]
    recipe: Mapping[str, Any]


def _open(source: str, preprocess: str, threads: int | None) -> _Model:
    if not source.lower().endswith(_CHECKPOINTS):
        recognizer = load(source, threads=threads)
        recipe = recognizer.bundle.manifest.model.get("recipe", {})
        return _Model(lambda: BundleScorer(recognizer), recipe)
    require("torch", "evaluating a checkpoint", "train")
    import torch

    from hmdrn_network.checkpoints import load_checkpoint
    from hmdrn_network.scoring import NetworkScorer

    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = load_checkpoint(source)
    return _Model(lambda: NetworkScorer(checkpoint.network, preprocess), checkpoint.card.recipe)


def _without_trained(dataset: Dataset, recipe: Mapping[str, Any], source: str) -> Dataset:
    """The classes that a model was not trained on.

    Raises:
        DatasetError: The model has no record of these photographs, or was trained on all of their classes.
    """
    digest = dataset.digest()
    records = [record for record in recipe.get("data", {}).values() if record.get("sha256") == digest]
    if not records:
        raise DatasetError(
            f"{source} has no record of having been trained on {dataset.source}: give the same photographs, "
            "or leave out --held-out"
        )
    trained = set(records[0]["train"])
    classes = {label: photos for label, photos in dataset.classes.items() if label not in trained}
    if not classes:
        raise DatasetError(f"{source} was trained on all {len(trained)} classes of {dataset.source}")
    return replace(dataset, classes=classes)


def _result(data: str, one: Evaluation, other: Evaluation | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "data": data,
        "accuracy": one.accuracy,
        "ci95": one.ci95,
        **asdict(one.setting),
        "classes": len(one.classes),
        "photos": one.photos,
        "executor": one.executor,
        "per_class": one.class_accuracies,
    }
    if other is not None:
        change = difference(one, other)
        values |= {
            "other_accuracy": other.accuracy,
            "other_ci95": other.ci95,
            "difference": change.points,
            "difference_ci95": change.ci95,
        }
    return values


def _show(title: str, results: list[dict[str, Any]], against: str | None) -> None:
    columns = ["data", "classes", "photos", "way", "shots", "queries", "accuracy"]
    if against:
        columns += [against, "difference"]
    rows = []
    for r in results:
        row = [
            r["data"],
            str(r["classes"]),
            str(r["photos"]),
            str(r["way"]),
            str(r["shot"]),
            str(r["queries"]),
        ]
        row.append(f"{r['accuracy']:.2f} ± {r['ci95']:.2f} %")
        if against:
            row.append(f"{r['other_accuracy']:.2f} ± {r['other_ci95']:.2f} %")
            row.append(f"{r['difference']:+.2f} ± {r['difference_ci95']:.2f}")
        rows.append(row)
    print_table(title, columns, rows)
