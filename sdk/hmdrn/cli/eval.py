"""`hmdrn eval`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.common import bundle_argument, json_option, print_facts, print_json, progress, threads_option
from hmdrn.evaluation import Setting, evaluate
from hmdrn.loading import load
from hmdrn_runtime.datasets import open_dataset


@click.command("eval")
@bundle_argument
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--split", default="all", show_default=True, help="Split of DATA, where it has splits.")
@click.option("--way", type=int, default=5, show_default=True, help="Classes in an episode.")
@click.option("--shot", type=int, default=5, show_default=True, help="Support photos of a class.")
@click.option("--queries", type=int, default=16, show_default=True, help="Query photos of a class.")
@click.option("--episodes", type=int, default=600, show_default=True, help="Number of episodes.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed draws the same episodes.")
@threads_option
@json_option
def command(
    bundle: str,
    data: Path,
    split: str,
    way: int,
    shot: int,
    queries: int,
    episodes: int,
    seed: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how often a bundle names new photos of new classes rightly, over episodes drawn from DATA.

    DATA is a folder or zip of <class>/<image> or <split>/<class>/<image>.

    Example: hmdrn eval default birds.zip --split val --way 5 --shot 1
    """
    setting = Setting(way, shot, queries, episodes, seed)
    recognizer = load(bundle, threads=threads)
    with progress() as report:
        result = evaluate(recognizer, open_dataset(data, split), setting, report)
    if as_json:
        values = asdict(result)
        values.update(values.pop("setting"))
        print_json("eval", {"bundle": bundle, "data": str(data), "split": split, **values})
        return
    print_facts(
        f"{bundle} on {data} ({split})",
        [
            ("accuracy", f"{result.accuracy:.2f} ± {result.ci95:.2f} % (95 % interval)"),
            ("episodes", f"{episodes} of {way}-way {shot}-shot, {queries} queries a class, seed {seed}"),
            ("data", f"{result.photos} photos of {result.classes} classes"),
            ("computed by", result.executor),
        ],
    )
