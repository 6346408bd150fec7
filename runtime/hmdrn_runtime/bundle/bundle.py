"""Opening a bundle: a folder of graphs with a manifest that vouches for every file in it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.messages import did_you_mean

MANIFEST = "manifest.json"
MAX_MANIFEST = 1_000_000
"""Most bytes of a manifest; those of the exporter have tens of thousands."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and unchanged.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
        variant: The variant of the graphs that is in use.
    """

    path: Path
    manifest: Manifest
    variant: str

    def graph(self, name: str) -> Graph:
        """The graph `name` of the variant in use.

        Raises:
            BundleError: There is none of that name.
        """
        graphs = self.manifest.variants[self.variant]
        if name not in graphs:
            raise BundleError(
                f"{self.path} has no graph {name!r} in variant {self.variant!r}: it has {', '.join(graphs)}"
            )
        return graphs[name]

    def graph_path(self, name: str) -> Path:
        """The file of the graph `name` of the variant in use."""
        return self.path / self.graph(name).file

    def check_graph(self, name: str) -> None:
        """Check the digests of a graph and its weights once more, just before they are loaded.

        The bundle may have been replaced since it was opened: graphs of two networks must not be mixed.

        Raises:
            BundleError: A file is missing or changed.
        """
        for file in self.files_of(name):
            _check_file(self.path, file, self.manifest)

    def digest_of(self, name: str) -> str:
        """SHA-256 in hexadecimal that tells a graph and its weights from others."""
        digests = [self.manifest.files[file] for file in self.files_of(name)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    def files_of(self, name: str) -> tuple[str, ...]:
        """The files that a graph is made of, as the manifest names them: its own, the variant's weights."""
        own = self.graph(name).file
        return tuple(
            file
            for file in self.manifest.files
            if file == own
            or (PurePosixPath(file).parent == PurePosixPath(own).parent and not file.endswith(".onnx"))
        )


def open_bundle(path: str | os.PathLike[str], variant: str = "fp32") -> Bundle:
    """Open a bundle after checking the digest of each of its files.

    Args:
        path: The bundle's folder, NAME.hmdrn.
        variant: Which of its variants to use.

    Raises:
        BundleError: No bundle, files missing or changed, another format version, or no such variant.
    """
    path = user_path(path, BundleError)
    if path.is_file():
        raise BundleError(
            f"{path} is {detect_file_kind(path) or 'a file'}, and a bundle is a folder, NAME.hmdrn: "
            "give its path, or use 'default'"
        )
    if not path.is_dir():
        meant = did_you_mean(str(path), ("default",))
        raise BundleError(f"no bundle at {path}: {meant}make one with hmdrn-export, or use 'default'")
    try:
        with (path / MANIFEST).open("rb") as file:
            data = file.read(MAX_MANIFEST + 1)
        if len(data) > MAX_MANIFEST:
            raise BundleError(
                f"{path / MANIFEST} is damaged, with over {MAX_MANIFEST} bytes: export the bundle again"
            )
        text = data.decode()
    except OSError as error:
        raise BundleError(f"{path} is no bundle: cannot read its {MANIFEST} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path / MANIFEST} is damaged: not UTF-8; export the bundle again") from error
    manifest = Manifest.from_json(text, str(path / MANIFEST))
    for name in manifest.files:
        _check_file(path, name, manifest)
    graphs = manifest.variants.get(variant)
    if graphs is None:
        raise BundleError(f"{path} has no variant {variant!r}: it has {', '.join(manifest.variants)}")
    for graph in graphs.values():
        if graph.file not in manifest.files:
            raise BundleError(f"{path} is damaged: no digest for {graph.file}")
    return Bundle(path, manifest, variant)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read piece by piece.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _check_file(folder: Path, name: str, manifest: Manifest) -> None:
    expected = manifest.files[name]
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BundleError(f"{folder} is damaged: its manifest names {name!r}, outside the bundle")
    try:
        found = sha256_of(folder / name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"{folder} is incomplete: cannot read {name} ({reason})") from error
    if found != expected:
        raise BundleError(
            f"{folder / name} was changed or damaged: its SHA-256 is {found[:12]}..., the manifest says "
            f"{expected[:12]}...; export the bundle again or copy it anew"
        )
