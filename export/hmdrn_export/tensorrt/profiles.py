"""Sizes that an engine is built for: batch, classes and shots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hmdrn_runtime.backends.tensorrt.batching import pad_class_count
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Graph, Level, Network
from hmdrn_runtime.errors import ExportError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import check_network
from hmdrn_runtime.matching.ridge import SOLVE_BATCH
from hmdrn_runtime.open_set.background import open_background
from hmdrn_runtime.open_set.threshold import active_calibration

SizeRange = tuple[int, int, int]
"""The smallest size, the one to optimize for, and the largest."""
Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Smallest, usual and largest shape of every input."""

_OPERATOR_MEMORY = 200 * 2**20
"""Most bytes of all classes' operators, float32, in an engine's largest shape."""


@dataclass(frozen=True)
class ShapeBounds:
    """Ranges of the sizes that are free in our graphs.

    Attributes:
        batch: Photos at once.
        classes: Species that a photo is compared with, at once.
        shots: Photos of a species; matters where a class is all of its tokens (the attention head).
    """

    batch: SizeRange = (1, 1, 8)
    classes: SizeRange = (1, 10, 1000)
    shots: SizeRange = (1, 5, 10)

    def __post_init__(self) -> None:
        for name, (least, best, most) in vars(self).items():
            if not 1 <= least <= best <= most:
                raise ExportError(
                    f"{name} is ({least}, {best}, {most}): give a smallest, a usual and a largest size"
                )

    def find_range(self, axis: str, levels: tuple[Level, ...]) -> SizeRange:
        """Find the range of an axis by its name in the graph: "batch", "classes" or "tokens_<level>".

        Raises:
            ExportError: No graph of ours has this axis.
        """
        if axis in ("batch", "classes"):
            return self.batch if axis == "batch" else self.classes
        for level in levels:
            if axis == f"tokens_{level.name}":
                least, best, most = self.shots
                return least * level.tokens, best * level.tokens, most * level.tokens
        raise ExportError(f"no bounds for a size named {axis!r}: export the bundle again")


def default_bounds(model: Network) -> ShapeBounds:
    """Return bounds whose engines fit into a small device's memory.

    Classes of the ridge head are as many as `_OPERATOR_MEMORY` holds: an operator is 17 KB for Conv-4, 41 KB
    for levels of 128 and 64 channels, and 1 MB for ResNet-12. A class of the attention head is all its
    tokens.
    """
    if model.head == "attention":
        return ShapeBounds(classes=(1, 5, 20))
    least, usual, most = ShapeBounds.classes
    return ShapeBounds(classes=(least, usual, max(usual, min(most, _OPERATOR_MEMORY // (4 * model.packed)))))


def fit_gallery(bounds: ShapeBounds, bundle: Bundle, gallery: Gallery | None = None) -> ShapeBounds:
    """Return bounds optimized for the number of classes that the backend runs for a gallery.

    These are the gallery's species, followed by the bundle's background species if it is calibrated with
    them, and padded as on the device.

    Args:
        bounds: The bounds; the range of classes stays.
        bundle: The bundle.
        gallery: The gallery that will run; None for the bounds' usual number of species, calibrated.

    Raises:
        BundleError: The bundle's background is damaged.
        GalleryError: The gallery is of another network, or its calibration is damaged.
    """
    least, species, most = bounds.classes
    background = open_background(bundle)
    if gallery is not None:
        check_network(bundle.manifest.network, gallery.network, "the gallery")
        species = max(len(gallery), 1)
        if active_calibration(gallery.calibration, background) is None:
            background = None
    classes = species + (0 if background is None else len(background.operators))
    return replace(bounds, classes=(least, min(pad_class_count(classes, most), most), most))


def find_misfit(options: Mapping[str, Any], bundle: Bundle, gallery: Gallery) -> str | None:
    """Return why engines are not quickest for a gallery's number of classes; None if they are.

    Args:
        options: Options of their build, from the fingerprint.
        bundle: Their bundle.
        gallery: The gallery that will run.

    Raises:
        BundleError: The bundle's background is damaged.
        GalleryError: The gallery is of another network, or its calibration is damaged.
    """
    built = ShapeBounds(**{name: tuple(sizes) for name, sizes in options["bounds"].items()})
    needed, fitted = fit_gallery(built, bundle, gallery).classes[1], built.classes[1]
    if needed == fitted:
        return None
    return f"are quickest for {fitted} species, and the gallery needs {needed}, with background and padding"


def profile_shapes(name: str, graph: Graph, levels: tuple[Level, ...], bounds: ShapeBounds) -> Shapes:
    """Return the shapes of every input of the graph `name`."""
    if name == "solve":  # the runtime solves up to this many at once, and usually one
        bounds = replace(bounds, classes=(1, 1, SOLVE_BATCH))
    shapes = {}
    for tensor in graph.inputs:
        ranges = [
            (size,) * 3 if isinstance(size, int) else bounds.find_range(size, levels) for size in tensor.shape
        ]
        least, best, most = (tuple(r[i] for r in ranges) for i in range(3))
        shapes[tensor.name] = (least, best, most)
    return shapes
