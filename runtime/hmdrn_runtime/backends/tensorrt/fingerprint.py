"""What engines are for: one runs on the device and for the graphs that it was built for, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.bundle.manifest import Manifest
from hmdrn_runtime.device.jetson import read_l4t_release
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

FORMAT_VERSION = 2
_NAMES = {"gpu": "GPU", "compute_capability": "compute capability", "compiler": "compiler", "l4t": "L4T"}


@dataclass(frozen=True)
class Platform:
    """What an engine is bound to.

    Attributes:
        gpu: Name of the GPU, as the driver calls it.
        compute_capability: For example "8.7".
        compiler: Name and version of the compiler's module, e.g. "tensorrt 10.3.0".
        l4t: Release of Jetson's Linux; None elsewhere.
    """

    gpu: str
    compute_capability: str
    compiler: str
    l4t: str | None


@dataclass(frozen=True)
class Fingerprint:
    """What the engines of one folder are for.

    Attributes:
        platform: What they are bound to.
        variant: The bundle's variant that they were built of.
        precision: "fp32", "fp16" or "int8".
        files: SHA-256 of every file of graphs and weights that they were built of, by path in the bundle.
        options: How they were built; TF32 is off.
        plans: SHA-256 of every engine, by graph.
    """

    platform: Platform
    variant: str
    precision: str
    files: Mapping[str, str]
    options: Mapping[str, Any]
    plans: Mapping[str, str]

    @property
    def runs_as(self) -> str:
        """The variant that results are of: before strong typing, half engines are built of float32 graphs."""
        return "fp16" if self.precision == "fp16" else self.variant

    @property
    def dla_core(self) -> int | None:
        """The deep-learning accelerator that the engines were built for; None without."""
        core = self.options.get("dla_core")
        return core if isinstance(core, int) else None

    @property
    def one_context(self) -> bool:
        """Whether the engines admit one execution context at a time.

        Before TensorRT 10 an optimisation profile, of which they have one, admits one, unless the engine was
        built to share it.
        """
        version = re.match(r"tensorrt (\d+)", self.platform.compiler)
        return (
            version is not None and int(version[1]) < 10 and self.options.get("profile_sharing") is not True
        )

    def to_json(self) -> str:
        """The text of fingerprint.json."""
        values = asdict(self)
        return canonical_json({"format_version": FORMAT_VERSION, **values.pop("platform"), **values})

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Fingerprint:
        """Read a fingerprint.

        Raises:
            BackendError: It is damaged, or of another format version.
        """
        document = JsonObject.parse(text, where, BackendError)
        version = document.get("format_version", int)
        if version != FORMAT_VERSION:
            raise BackendError(f"{where} has format version {version}, this SDK reads {FORMAT_VERSION}")
        platform = Platform(
            document.get("gpu", str),
            document.get("compute_capability", str),
            document.get("compiler", str),
            None if document.values.get("l4t") is None else document.get("l4t", str),
        )
        files, plans = document.child("files"), document.child("plans")
        return cls(
            platform=platform,
            variant=document.get("variant", str),
            precision=document.get("precision", str),
            files={name: files.get(name, str) for name in files.values},
            options=document.get("options", dict),
            plans={name: plans.get(name, str) for name in plans.values},
        )

    def differences(self, platform: Platform, manifest: Manifest) -> Iterator[str]:
        """Why the engines are not for this platform or this bundle, part by part; nothing if they are.

        Args:
            platform: Where they are to run.
            manifest: The bundle that they lie in.
        """
        built, here = asdict(self.platform), asdict(platform)
        for key, name in _NAMES.items():
            if built[key] != here[key]:
                yield f"built for {name} {built[key] or 'none'}, here is {here[key] or 'none'}"
        graphs = manifest.variants.get(self.variant)
        if graphs is None:
            yield f"built of variant {self.variant!r}, which the bundle does not have"
            return
        for name, digest in files_of(manifest, self.variant).items():
            if self.files.get(name) != digest:
                yield f"built of another {name} than the bundle has now"
        if self.plans.keys() != graphs.keys():
            yield f"it has engines for {', '.join(self.plans) or 'no graph'}, not for {', '.join(graphs)}"
        if self.options.get("tf32") is not False:
            yield "built with TF32, with which the ridge solve does not converge"


def platform_of(trt: Any, gpu: Gpu) -> Platform:
    """What engines are bound to that a compiler builds here."""
    return Platform(gpu.name, gpu.compute_capability, f"{trt.__name__} {trt.__version__}", read_l4t_release())


def files_of(manifest: Manifest, variant: str) -> dict[str, str]:
    """SHA-256 of the files of a variant's graphs and of the weights beside them, by path in the bundle."""
    graphs = {graph.file for graph in manifest.variants[variant].values()}
    folders = {file.rpartition("/")[0] for file in graphs}
    return {
        file: digest
        for file, digest in manifest.files.items()
        if file in graphs or (file.rpartition("/")[0] in folders and not file.endswith(".onnx"))
    }
