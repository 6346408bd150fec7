"""A distillation from photos to a checkpoint, in a folder that a later call continues in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from hmdrn_network.backbones.pretrained import load_pretrained
from hmdrn_network.checkpoints import ModelCard
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.cache import describe_groups
from hmdrn_network.training.distillation.preparation import PreparedData
from hmdrn_network.training.distillation.recipe import Recipe
from hmdrn_network.training.distillation.sampling import Sampler
from hmdrn_network.training.distillation.trainer import DistillationTrainer
from hmdrn_network.training.distillation.validation import CachedValidation
from hmdrn_network.training.listener import Listener
from hmdrn_network.training.run import run_in_folder
from hmdrn_network.training.workers import join_workers
from hmdrn_runtime.errors import CheckpointError, TrainingError

_MAP_TOLERANCE = 0.02
"""Norm of the difference between maps by the norm of the maps; half weights give about 1e-3."""


def distill(
    recipe: Recipe,
    data: PreparedData,
    folder: Path,
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    save_interval: float = 180.0,
    start: HMDRN | None = None,
) -> HMDRN:
    """Train the student of a recipe.

    Several processes, as `torchrun` starts them, share the work; each draws its own batches and episodes.

    Args:
        recipe: The recipe.
        data: Its cached data, with the guide if there is one.
        folder: Folder of the run: `state.pt`, `model.safetensors`, `history.json`.
        listener: Receives the events of the run.
        save_interval: Seconds between two saved states.
        start: Trained network to continue from, at any side; it is the result unless later weights beat it.
            None for ImageNet's weights alone.

    Returns:
        The trained network, in evaluation mode: the best on validation, or the last without validation.

    Raises:
        CheckpointError: Pretrained weights are missing, or `start` is another network.
        TrainingError: Unusable settings, or a folder that cannot be written.
    """
    network = build_student(recipe, start)
    settings = recipe.to_dict()
    del settings["training"]  # the run records it
    guide = {} if data.guide is None else {"guide": data.guide.record}
    card = ModelCard(
        recipe.name,
        recipe.license,
        training_data=_describe(data, recipe),
        intended_use=recipe.intended_use,
        recipe={"distillation": settings, "data": dict(data.record), **guide},
    )
    validation = CachedValidation(data.validation, recipe.training.frozen_stages) if data.validation else None
    with join_workers(torch.device("cpu")) as workers:
        sampler = Sampler(data.groups, recipe.training, recipe.merged)
        trainer = DistillationTrainer(network, sampler, recipe.training, workers, data.guide)
        return run_in_folder(
            trainer, folder, card, validation, listener, save_interval, keep_start=start is not None
        )


def build_student(recipe: Recipe, start: HMDRN | None = None) -> HMDRN:
    """Build the student with ImageNet's weights, or with those of a trained network.

    Without `start` the new layers depend on the seed alone.

    Raises:
        CheckpointError: The backbone has no pretrained weights, their package is missing, or `start` differs
            from the student in more than its side and further transformer layers, or in the frozen stages
            from ImageNet's weights.
        TrainingError: More frozen stages than the mid level leaves.
    """
    torch.manual_seed(recipe.training.seed)
    network = HMDRN(recipe.network)
    limit = network.backbone.level_stages["mid"] + 1
    frozen = max(recipe.training.frozen_stages, recipe.training.episode_frozen_stages)
    if frozen > limit:
        raise TrainingError(
            f"{frozen} stages are to be frozen: {recipe.network.backbone} can freeze at most the {limit} "
            "up to the mid level"
        )
    load_pretrained(network.backbone, recipe.network.spec)
    if start is not None:
        _continue_from(start, network, recipe.training.frozen_stages)
    return network


def _continue_from(start: HMDRN, network: HMDRN, frozen_stages: int) -> None:
    ours, theirs = network.config, start.config
    layers = ours.transformer_layers
    if (
        replace(theirs, side=ours.side, transformer_layers=layers) != ours
        or theirs.transformer_layers < layers
    ):
        raise CheckpointError(
            f"the recipe's network is {ours.to_dict()}, the start is {theirs.to_dict()}: a start may differ "
            "in its side, and have more transformer layers, of which the first are taken"
        )
    _check_frozen_stages(start, network, frozen_stages)
    weights = start.state_dict()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})


def _check_frozen_stages(start: HMDRN, network: HMDRN, frozen_stages: int) -> None:
    # The cached maps are those of ImageNet's weights. Maps are compared, not weights: it may hold its
    # weights in half precision, or with scales moved between layers for INT8.
    photo = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        cached, own = (n.backbone.eval().run_prefix(photo, frozen_stages) for n in (network, start))
    difference = float((cached - own).norm() / cached.norm())
    if difference > _MAP_TOLERANCE:
        raise CheckpointError(
            f"the first {frozen_stages} stages of the start are not ImageNet's, whose maps are cached (they "
            f"differ by {difference:.2g} of the norm): give a network whose first stages stayed frozen"
        )


def _describe(data: PreparedData, recipe: Recipe) -> str:
    package = recipe.network.spec.pretrained
    start = f"start: {recipe.network.backbone} trained on {package.trained_on}" if package else ""
    return "; ".join(filter(None, [start, describe_groups(data.groups)]))
