"""A distillation from photos to a checkpoint, in a folder that a later call continues in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from hmdrn_network.training.interfaces import Listener
from hmdrn_network.training.run import run_in_folder
from hmdrn_network.training.workers import joined
from hmdrn_runtime.errors import TrainingError


def distill(
    recipe: Recipe,
    data: PreparedData,
    folder: Path,
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    every: float = 180.0,
) -> HMDRN:
    """Train the student of a recipe.

    Several processes, as `torchrun` starts them, share the work; each draws batches and episodes of its own.

    Args:
        recipe: The recipe.
        data: Its cached data.
        folder: Folder of the run: `state.pt`, `model.safetensors`, `history.json`.
        listener: Receives the events of the run.
        every: Seconds between two saved states.

    Returns:
        The trained network, in evaluation mode: the best on validation, or the last without validation.

    Raises:
        CheckpointError: Pretrained weights are missing.
        TrainingError: Unusable settings, or a folder that cannot be written.
    """
    network = build_student(recipe)
    card = ModelCard(
        recipe.name,
        recipe.license,
        training_data=_describe(data, recipe),
        intended_use=recipe.intended_use,
        recipe={"distillation": _without_training(recipe.to_dict()), "data": dict(data.record)},
    )
    validation = CachedValidation(data.validation, recipe.training.frozen_stages) if data.validation else None
    with joined(torch.device("cpu")) as workers:
        sampler = Sampler(data.groups, recipe.training, recipe.merged)
        trainer = DistillationTrainer(network, sampler, recipe.training, workers)
        return run_in_folder(trainer, folder, card, validation, listener, every)


def build_student(recipe: Recipe) -> HMDRN:
    """Build the student with pretrained weights; the new layers depend on the seed alone.

    Raises:
        CheckpointError: The backbone has no pretrained weights, or their package is missing.
        TrainingError: More frozen stages than the mid level leaves.
    """
    torch.manual_seed(recipe.training.seed)
    network = HMDRN(recipe.network)
    most = network.backbone.level_stages["mid"] + 1
    frozen = max(recipe.training.frozen_stages, recipe.training.frozen_stages_episodes)
    if frozen > most:
        raise TrainingError(
            f"{frozen} stages are to be frozen: {recipe.network.backbone} can freeze at most the {most} "
            "up to the mid level"
        )
    load_pretrained(network.backbone, recipe.network.spec)
    return network


def _describe(data: PreparedData, recipe: Recipe) -> str:
    package = recipe.network.spec.pretrained
    start = f"start: {recipe.network.backbone} trained on {package.trained_on}" if package else ""
    groups: Sequence[str] = [f"{name} ({text})" for name, text in describe_groups(data.groups).items()]
    return "; ".join(filter(None, [start, ", ".join(groups)]))


def _without_training(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run records its training settings itself."""
    return {key: value for key, value in values.items() if key != "training"}
