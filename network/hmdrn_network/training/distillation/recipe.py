"""Recipes: all that a distillation depends on besides photos and teachers, in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from hmdrn_network.config import NetworkConfig
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_runtime.errors import HmdrnError, TrainingError
from hmdrn_runtime.io.files import describe_os_error

_RECIPES = files("hmdrn_network.training.distillation") / "recipes"


@dataclass(frozen=True)
class TeacherChoice:
    """The teacher of a group.

    Attributes:
        model: Name of a `.tflite` file, or of a pretrained backbone.
        views: Number of views whose features are computed.
    """

    model: str
    views: int = 2


@dataclass(frozen=True)
class Recipe:
    """A distillation that can be repeated.

    Attributes:
        name: Name of the model.
        network: The student.
        training: Settings of the steps.
        views: Number of augmented views that are cached of each photo.
        group_views: The same for single groups.
        teachers: Teacher by group; groups without one learn from classes and episodes alone.
        merged: Groups whose classes of the same name are one class.
        guide_side: Side in pixels at which the guide runs, 0 for its own; None if the recipe needs no guide.
        val_photos: Share of each class's photos to validate on, 0-0.5, of data without splits; 0 for none.
        license: SPDX identifier of the resulting weights.
        intended_use: Purpose and known weaknesses, for the model card.
    """

    name: str
    network: NetworkConfig
    training: DistillationConfig
    views: int = 4
    group_views: Mapping[str, int] = field(default_factory=dict)
    teachers: Mapping[str, TeacherChoice] = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    guide_side: int | None = None
    val_photos: float = 0.0
    license: str = "Apache-2.0"
    intended_use: str = "not stated"

    def views_of(self, group: str) -> int:
        """Number of augmented views of a group's photos."""
        return self.group_views.get(group, self.views)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, the inverse of `from_dict`."""
        return {**asdict(self), "network": self.network.to_dict(), "merged": list(self.merged)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build from the result of `to_dict`; settings that are left out have their defaults.

        Raises:
            TrainingError: Unknown entries or values out of their range.
            CheckpointError: A network that cannot be built.
        """
        try:
            return cls(
                **{
                    **values,
                    "network": NetworkConfig.from_dict(values["network"]),
                    "training": DistillationConfig(**values.get("training", {})),
                    "teachers": {g: TeacherChoice(**t) for g, t in values.get("teachers", {}).items()},
                    "merged": tuple(values.get("merged", ())),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"the recipe has missing or unknown entries: {error}") from error


def load_recipe(source: str, start: NetworkConfig | None = None) -> Recipe:
    """Read a recipe: the name of one of the package's own, or the path of a JSON file.

    Args:
        source: Name or path.
        start: The network that a recipe without a network of its own continues; None for none.

    Raises:
        TrainingError: No such recipe, entries that are missing or unknown, or no network.
        CheckpointError: A network that cannot be built.
    """
    names = sorted(entry.name.removesuffix(".json") for entry in _RECIPES.iterdir() if entry.is_file())
    try:
        text = (_RECIPES / f"{source}.json").read_text() if source in names else Path(source).read_text()
        values = json.loads(text)
        if "network" not in values:
            if start is None:
                raise TrainingError(
                    f"the recipe {source!r} continues a trained network: give it by --init, `default` for "
                    "the package's"
                )
            values = {**values, "network": start.to_dict()}
        return Recipe.from_dict(values)
    except (OSError, ValueError) as error:
        if isinstance(error, HmdrnError):
            raise
        cause = describe_os_error(error) if isinstance(error, OSError) else error
        raise TrainingError(
            f"recipe {source!r} cannot be read ({cause}): give the name of one of the package "
            f"({', '.join(names)}) or a JSON file"
        ) from error
