"""Interface of the matchers: photos against classes, for one kind of reconstruction head each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, ResidentArray
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.preprocessing import hash_pixels
from hmdrn_runtime.images.quality import draw_sketch
from hmdrn_runtime.images.thumbnail import encode_thumbnail
from hmdrn_runtime.matching.index.index import IndexView


@dataclass(frozen=True)
class Scores:
    """Distances and logits of photos for classes.

    Attributes:
        distances: Squared reconstruction distances by level, each (B, C), in the classes' order. In a large
            gallery NaN except for the best `top` classes.
        logits: (B, C). In a large gallery exact for the best `top` classes, and estimates below them for the
            others.
    """

    distances: Mapping[str, npt.NDArray[np.floating[Any]]]
    logits: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class IndexedOperands:
    """Classes of a large gallery, matched outside the graph.

    Attributes:
        classes: The species.
        background: Operators of background species, float32 (N, P), or None.
    """

    classes: IndexView
    background: Float32 | None = None


Operands: TypeAlias = Mapping[str, ResidentArray] | IndexedOperands
"""Classes, placed where they are matched."""

BATCH = 32
"""Photos that go through the network at once; bounds its memory."""


class Matcher(ABC):
    """Base of the matchers.

    Args:
        network: The network.
        backend: Runs its graphs.
        variant: The graphs' variant, recorded with each photo.
    """

    def __init__(self, network: Network, backend: Backend, variant: str) -> None:
        self.network: Network = network
        self.backend: Backend = backend
        self.variant: str = variant
        self.keep_thumbnails = False
        """Store each photo's thumbnail with its statistics, for enrolling it under another network."""
        self.keep_file_names = True
        """Store the name of each photo's file with its statistics."""

    def compute_statistics(self, pixels: npt.NDArray[np.uint8]) -> list[PhotoStatistics]:
        """Compute the gallery's statistics of prepared photos, uint8 (N, side, side, 3).

        Raises:
            EnrollmentError: The network gave values that are not finite.
        """
        batches = (pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH))
        return [statistics for batch in batches for statistics in self._compute_batch(batch)]

    def _compute_batch(self, pixels: npt.NDArray[np.uint8]) -> list[PhotoStatistics]:
        outputs = self._enroll_outputs(pixels)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise EnrollmentError(
                    f"the network gave values that are not finite in {name!r}: the bundle is unusable"
                )
        return [
            PhotoStatistics(
                hash_pixels(image),
                self.variant,
                {name: array[i].copy() for name, array in outputs.items()},
                encode_thumbnail(image) if self.keep_thumbnails else None,
                draw_sketch(image),
            )
            for i, image in enumerate(pixels)
        ]

    @abstractmethod
    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        """Return arrays (N, ...) by the names of `array_shapes`."""

    @abstractmethod
    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """Return the inputs of the graph `classify` for classes, stacked in their order.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """

    @abstractmethod
    def compare(
        self,
        photos: Sequence[PhotoStatistics],
        pixels: Mapping[str, npt.NDArray[np.uint8]],
        species: Sequence[Species],
    ) -> Float32:
        """Return the logits of photos with known statistics for any classes, float32 (N, C).

        Rows of photos that cannot be compared are NaN.

        Args:
            photos: N photos.
            pixels: Network inputs by digest; needed if the statistics are of the support branch only.
            species: C classes. The operators cached by `class_operands` stay as they are.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """

    def place(self, operands: Mapping[str, npt.NDArray[Any]]) -> dict[str, ResidentArray]:
        """Copy operands to the device that runs the graphs."""
        return {name: self.backend.place(array) for name, array in operands.items()}

    def attach_operator_cache(self, path: Path, bundle: Bundle) -> None:  # noqa: B027 - attention solves nothing
        """Read solved operators from a file at the first `operands`, so that a start need not solve them.

        The file is written by the first `operands`, and by a call after them, if more than half a second of
        solving is not in it yet. Write errors and operators of another bundle are ignored.
        """

    def operands(self, species: Sequence[Species], background: Float32 | None = None) -> Operands:
        """Return classes ready for `classify`, on the device.

        Args:
            species: C classes, at least one.
            background: Operators (N, P) of further classes, appended to them; ridge only.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """
        operands = self.class_operands(species)
        if background is not None:
            operands["operator"] = np.concatenate([operands["operator"], background])
        return self.place(operands)

    def classify(self, pixels: npt.NDArray[np.uint8], operands: Operands, top: int = 5) -> Scores:
        """Compare photos (B, side, side, 3) with classes, exactly for the best `top`."""
        if isinstance(operands, IndexedOperands):
            raise TypeError("this matcher takes no indexed operands")
        return self.scores({"images": pixels, **operands})

    def scores(self, inputs: Mapping[str, npt.NDArray[Any] | ResidentArray]) -> Scores:
        """Run the graph `classify`; some backends also take its intermediate results as inputs."""
        outputs = self.backend.run("classify", inputs)
        distances = {level.name: outputs[f"distance_{level.name}"] for level in self.network.levels}
        return Scores(distances, outputs["logits"])
