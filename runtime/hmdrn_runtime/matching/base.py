"""What the kinds of reconstruction heads have in common when a gallery is matched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.preprocessing import digest
from hmdrn_runtime.matching.index.index import Classes


@dataclass(frozen=True)
class Scores:
    """How photos compare with classes.

    Attributes:
        distances: Squared reconstruction distances by level, each (B, C), in the classes' order. In a large
            gallery those of the first `top` alone, and NaN elsewhere.
        logits: (B, C). In a large gallery those of the first `top` are computed in full, and no other is
            above them.
    """

    distances: Mapping[str, npt.NDArray[np.floating[Any]]]
    logits: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Indexed:
    """Many species, matched outside the graph.

    Attributes:
        classes: The species.
        background: Operators that are matched beside them, float32 (N, P); none if None.
    """

    classes: Classes
    background: Float32 | None = None


Operands: TypeAlias = Mapping[str, Resident] | Indexed
"""The classes of one generation, where they are matched."""


class Matcher(ABC):
    """What the kinds of heads have in common.

    Args:
        network: The network.
        backend: Runs its graphs.
        variant: The graphs' variant, noted with each photo.
    """

    def __init__(self, network: Network, backend: Backend, variant: str) -> None:
        self.network, self.backend, self.variant = network, backend, variant
        self.keep_thumbnails = False
        """Whether statistics come with the photo itself, small, for a network to come."""

    def photo_statistics(self, pixels: npt.NDArray[np.uint8]) -> list[PhotoStatistics]:
        """What a gallery keeps of photos (N, 84, 84, 3).

        Raises:
            EnrollmentError: The network gave values that are not finite.
        """
        outputs = self._enroll_outputs(pixels)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise EnrollmentError(
                    f"the network gave values that are not finite in {name!r}: the bundle is unusable"
                )
        return [
            PhotoStatistics(
                digest(image),
                self.variant,
                {name: array[i].copy() for name, array in outputs.items()},
                image.tobytes() if self.keep_thumbnails else None,
            )
            for i, image in enumerate(pixels)
        ]

    @abstractmethod
    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        """Arrays (N, ...) by the names of `statistics.array_shapes`."""

    @abstractmethod
    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """What `classify` takes of classes besides the images, stacked in their order.

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
        """Logits of photos whose statistics are known, for any classes, even without one of their photos.

        Args:
            photos: N photos.
            pixels: Network inputs by digest; needed where the statistics are of the support branch alone.
            species: C classes. The operators that `class_operands` remembers are left as they are.

        Returns:
            float32 (N, C); NaN in the rows of photos that cannot be compared.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """

    def place(self, operands: Mapping[str, npt.NDArray[Any]]) -> dict[str, Resident]:
        """Bring operands to where the graphs run."""
        return {name: self.backend.place(array) for name, array in operands.items()}

    def keep_operators(self, path: Path, bundle: Bundle) -> None:  # noqa: B027 - attention solves nothing
        """Spare the next start the solves: the first `operands` take them from a file, as far as it has them.

        The file is written by the first `operands`, and when this is called after them, if over half a
        second of work is not in it yet; quietly not where it cannot be.

        Args:
            path: The file.
            bundle: What solves: operators of another one are not taken.
        """

    def operands(self, species: Sequence[Species], background: Float32 | None = None) -> Operands:
        """Classes where they are matched, ready for `classify`.

        Args:
            species: C classes, at least one.
            background: Operators (N, P) of further classes, which come after them; ridge alone has them.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """
        found = self.class_operands(species)
        if background is not None:
            found["operator"] = np.concatenate([found["operator"], background])
        return self.place(found)

    def classify(self, pixels: npt.NDArray[np.uint8], operands: Operands, top: int = 5) -> Scores:
        """Compare photos (B, 84, 84, 3) with classes, of which the first `top` are wanted."""
        if isinstance(operands, Indexed):
            raise TypeError("these classes are another matcher's")
        return self.scores({"images": pixels, **operands})

    def scores(self, inputs: Mapping[str, npt.NDArray[Any] | Resident]) -> Scores:
        """What the graph `classify` gives; a backend that can start between may take other inputs too."""
        outputs = self.backend.run("classify", inputs)
        distances = {level.name: outputs[f"distance_{level.name}"] for level in self.network.levels}
        return Scores(distances, outputs["logits"])
