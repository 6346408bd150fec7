"""Bundles: folders of graphs whose manifest holds the digest of every file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.messages import suggest_names

MANIFEST_NAME = "manifest.json"
CHECKPOINT = "graphs/fp32/weights.safetensors"
"""File of a bundle that is its model's checkpoint; the float32 graphs read their weights from it."""
MAX_MANIFEST_BYTES = 1_000_000
"""Most bytes of a manifest; the exporter's have tens of thousands."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are complete and unchanged.

    Attributes:
        path: Its folder.
        manifest: Its manifest.
        variant: The variant of its graphs in use.

    Examples:
        >>> bundle = hmdrn.open_bundle("birds.hmdrn")
        >>> bundle.manifest.network.head
        'ridge'
    """

    path: Path
    manifest: Manifest
    variant: str

    def graph(self, name: str) -> Graph:
        """Return the graph `name` of the variant in use.

        Raises:
            BundleError: It has no graph of that name.
        """
        graphs = self.manifest.variants[self.variant]
        if name not in graphs:
            raise BundleError(
                f"{self.path} has no graph {name!r} in variant {self.variant!r}: it has {', '.join(graphs)}"
            )
        return graphs[name]

    def graph_path(self, name: str) -> Path:
        """Return the file of the graph `name` of the variant in use."""
        return self.path / self.graph(name).file

    def check_graph(self, name: str) -> None:
        """Check the digests of a graph and its weights again, just before they are loaded.

        A bundle may be replaced after it was opened, and graphs of two networks must not be mixed.

        Raises:
            BundleError: A file is missing or changed.
        """
        for file in self.graph_files(name):
            _check_file(self.path, file, self.manifest)

    def graph_digest(self, name: str) -> str:
        """Return a SHA-256 in hexadecimal that identifies a graph with its weights."""
        digests = [self.manifest.files[file] for file in self.graph_files(name)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    def graph_files(self, name: str) -> tuple[str, ...]:
        """Return the files of a graph, as the manifest names them: its own and the variant's weights."""
        own = PurePosixPath(self.graph(name).file)
        paths = map(PurePosixPath, self.manifest.files)
        return tuple(
            str(path)
            for path in paths
            if path == own or (path.parent == own.parent and path.suffix != ".onnx")
        )


def open_bundle(path: str | os.PathLike[str], variant: str = "fp32") -> Bundle:
    """Open a bundle after checking the digest of each of its files.

    Args:
        path: The bundle's folder, NAME.hmdrn.
        variant: The variant to use.

    Raises:
        BundleError: Not a bundle, files missing or changed, another format version, or no such variant.
    """
    path = expand_path(path, BundleError)
    if path.is_file():
        raise BundleError(
            f"{path} is {detect_file_kind(path) or 'a file'}, and a bundle is a folder, NAME.hmdrn: "
            "give its path, or use 'default'"
        )
    if not path.is_dir():
        meant = suggest_names(str(path), ("default",))
        raise BundleError(f"no bundle at {path}: {meant}make one with hmdrn-export, or use 'default'")
    manifest = _read_manifest(path)
    for name in manifest.files:
        _check_file(path, name, manifest)
    graphs = manifest.variants.get(variant) if isinstance(variant, str) else None
    if graphs is None:
        raise BundleError(f"{path} has no variant {variant!r}: it has {', '.join(manifest.variants)}")
    for graph in graphs.values():
        if graph.file not in manifest.files:
            raise BundleError(f"{path} is damaged: no digest for {graph.file}")
    return Bundle(path, manifest, variant)


def _read_manifest(bundle: Path) -> Manifest:
    path = bundle / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{path} is damaged, with over {MAX_MANIFEST_BYTES} bytes: export the bundle again"
            )
        return Manifest.from_json(data.decode(), str(path))
    except OSError as error:
        raise BundleError(
            f"{bundle} is not a bundle: cannot read its {path.name} ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is damaged: not UTF-8; export the bundle again") from error


def compute_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _check_file(folder: Path, name: str, manifest: Manifest) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BundleError(f"{folder} is damaged: its manifest names {name!r}, outside the bundle")
    expected = manifest.files[name]
    try:
        actual = compute_sha256(folder / name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"{folder} is incomplete: cannot read {name} ({reason})") from error
    if actual != expected:
        raise BundleError(
            f"{folder / name} was changed or damaged: its SHA-256 is {actual[:12]}..., the manifest says "
            f"{expected[:12]}...; export the bundle again or copy it anew"
        )
