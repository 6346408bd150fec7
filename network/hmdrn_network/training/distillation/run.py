"""A distillation from photos to a checkpoint, in a folder that a later call continues in."""

from __future__ import annotations

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
from hmdrn_runtime.errors import TrainingError


def distill(
    recipe: Recipe,
    data: PreparedData,
    folder: Path,
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    save_interval: float = 180.0,
) -> HMDRN:
    """Train the student of a recipe.

    Several processes, as `torchrun` starts them, share the work; each draws its own batches and episodes.

    Args:
        recipe: The recipe.
        data: Its cached data.
        folder: Folder of the run: `state.pt`, `model.safetensors`, `history.json`.
        listener: Receives the events of the run.
        save_interval: Seconds between two saved states.

    Returns:
        The trained network, in evaluation mode: the best on validation, or the last without validation.

    Raises:
        CheckpointError: Pretrained weights are missing.
        TrainingError: Unusable settings, or a folder that cannot be written.
    """
    network = build_student(recipe)
    settings = recipe.to_dict()
    del settings["training"]  # the run records it
    card = ModelCard(
        recipe.name,
        recipe.license,
        training_data=_describe(data, recipe),
        intended_use=recipe.intended_use,
        recipe={"distillation": settings, "data": dict(data.record)},
    )
    validation = CachedValidation(data.validation, recipe.training.frozen_stages) if data.validation else None
    with join_workers(torch.device("cpu")) as workers:
        sampler = Sampler(data.groups, recipe.training, recipe.merged)
        trainer = DistillationTrainer(network, sampler, recipe.training, workers)
        return run_in_folder(trainer, folder, card, validation, listener, save_interval)


def build_student(recipe: Recipe) -> HMDRN:
    """Build the student with pretrained weights; the new layers depend on the seed alone.

    Raises:
        CheckpointError: The backbone has no pretrained weights, or their package is missing.
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
    return network


def _describe(data: PreparedData, recipe: Recipe) -> str:
    package = recipe.network.spec.pretrained
    start = f"start: {recipe.network.backbone} trained on {package.trained_on}" if package else ""
    return "; ".join(filter(None, [start, describe_groups(data.groups)]))
