"""Small galleries of random statistics, their files, and files that were changed by hand."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes

LEVELS = (Level("high", 3, 2), Level("mid", 2, 4))


RIDGE = Network(
    "ab" * 32, "conv4", "ridge", LEVELS, Fusion({"high": 1.0625, "mid": 0.3}, 9.876543, 6.0), "gram"
)


NETWORKS = {
    "ridge": RIDGE,
    "ridge of tokens": replace(RIDGE, statistics="tokens"),
    "attention": replace(RIDGE, head="attention", statistics="keys_values"),
}


def photo(network: Network, seed: int, variant: str = "fp32") -> PhotoStatistics:
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in array_shapes(network).items()
    }
    return PhotoStatistics(hashlib.sha256(bytes([seed])).hexdigest(), variant, arrays)


def sample(network: Network = RIDGE, first: int = 0) -> Gallery:
    gallery = Gallery(network)
    gallery.add("Zimtkäfer", [photo(network, first + i) for i in range(3)])
    gallery.add("ant", [photo(network, first + 3), photo(network, first, "fp16")])
    return gallery


def contents(gallery: Gallery) -> dict[str, Any]:
    """All that a gallery knows, to the last bit."""
    return {
        "network": gallery.network,
        "generation": gallery.generation,
        "species": [
            (
                label,
                species.label,
                [
                    (
                        digest,
                        p.digest,
                        p.variant,
                        [(n, a.dtype, a.shape, a.tobytes()) for n, a in p.arrays.items()],
                    )
                    for digest, p in sorted(species.photos.items())
                ],
            )
            for label, species in gallery.species.items()
        ],
    }


def refused(path: Path, match: str) -> None:
    with pytest.raises(GalleryError, match=match) as caught:
        load_gallery(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], **tensors: np.ndarray) -> None:
    """Change what a gallery says of itself, and give it the seal that it calls for, made by hand."""
    found = {**load_file(path), **tensors}
    metadata = header(path)
    change(metadata)
    metadata.pop("sha256", None)

    def text(values: object) -> str:
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    digest = hashlib.sha256(text(metadata).encode())
    for name, array in sorted(found.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    path.write_bytes(save(found, {"hmdrn_gallery": text({**metadata, "sha256": digest.hexdigest()})}))


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["hmdrn_gallery"])
