"""Fingerprint of engines: the device, compiler and graphs that they were built for. They fit no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.bundle.manifest import Manifest
from hmdrn_runtime.device.jetson import find_l4t_feature, read_l4t_release
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

FORMAT_VERSION = 3
_NAMES = {"gpu": "GPU", "compute_capability": "compute capability", "compiler": "compiler", "l4t": "L4T"}


@dataclass(frozen=True)
class Platform:
    """The device and compiler that an engine is bound to.

    Attributes:
        gpu: Name of the GPU, as the driver calls it.
        compute_capability: For example "8.7".
        compiler: Name and version of the compiler's module, e.g. "tensorrt 10.3.0".
        l4t: Release of Jetson's Linux, of which its feature version counts, e.g. 36.4; None elsewhere.
        multiprocessors: Number of the GPU's multiprocessors; None if unknown. A power mode may turn some off,
            so it counts only for engines from another device.
    """

    gpu: str
    compute_capability: str
    compiler: str
    l4t: str | None
    multiprocessors: int | None = None


@dataclass(frozen=True)
class Fingerprint:
    """The platform and graphs that the engines of one folder are for.

    Attributes:
        platform: The platform that they are bound to.
        variant: The bundle's variant that they were built from.
        precision: "fp32", "fp16" or "int8".
        files: SHA-256 of every file of graphs and weights that they were built from, by path in the bundle.
        options: Options of the build; TF32 is off.
        plans: SHA-256 of every engine, by graph.
        check: Figures of the comparison with ONNX Runtime that ended the build, and "rejected", the reasons
            why engines of lower precision were not kept. None if nothing was compared.
    """

    platform: Platform
    variant: str
    precision: str
    files: Mapping[str, str]
    options: Mapping[str, Any]
    plans: Mapping[str, str]
    check: Mapping[str, Any] | None = None

    @property
    def result_variant(self) -> str:
        """Variant of the results. Half engines by flags, without strong typing, come from float32 graphs."""
        return "fp16" if self.precision == "fp16" else self.variant

    @property
    def dla_core(self) -> int | None:
        """Deep-learning accelerator that the engines were built for; None without one."""
        core = self.options.get("dla_core")
        return core if isinstance(core, int) else None

    def to_json(self) -> str:
        """Return the text of fingerprint.json."""
        values = asdict(self)
        return canonical_json({"format_version": FORMAT_VERSION, **values.pop("platform"), **values})

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Fingerprint:
        """Read a fingerprint.

        Raises:
            BackendError: It is damaged, or has another format version.
        """
        document = JsonObject.parse(text, where, BackendError)
        version = document.get("format_version", int)
        if version != FORMAT_VERSION:
            raise BackendError(f"{where} has format version {version}, this SDK reads {FORMAT_VERSION}")
        gpu, compute_capability, compiler, variant, precision = (
            document.get(key, str)
            for key in ("gpu", "compute_capability", "compiler", "variant", "precision")
        )
        l4t = None if document.values.get("l4t") is None else document.get("l4t", str)
        known = document.values.get("multiprocessors") is not None
        count = document.get("multiprocessors", int) if known else None
        platform = Platform(gpu, compute_capability, compiler, l4t, count)
        files, plans = (
            {name: digests.get(name, str) for name in digests.values}
            for digests in (document.child("files"), document.child("plans"))
        )
        check = None if document.values.get("check") is None else document.get("check", dict)
        return cls(platform, variant, precision, files, document.get("options", dict), plans, check)

    def find_differences(self, platform: Platform, manifest: Manifest) -> Iterator[str]:
        """Yield each reason why the engines do not fit a platform or the bundle that holds them."""
        built, here = find_binding(self.platform), find_binding(platform)
        for key, name in _NAMES.items():
            if built[key] != here[key]:
                yield f"built for {name} {built[key] or 'none'}, here is {here[key] or 'none'}"
        graphs = manifest.variants.get(self.variant)
        if graphs is None:
            yield f"built from variant {self.variant!r}, which the bundle does not have"
            return
        for name, digest in select_digests(manifest, self.variant).items():
            if self.files.get(name) != digest:
                yield f"built from a {name} that differs from the bundle's"
        if self.plans.keys() != graphs.keys():
            yield f"it has engines for {', '.join(self.plans) or 'no graph'}, not for {', '.join(graphs)}"
        if self.options.get("tf32") is not False:
            yield "built with TF32, with which the ridge solve does not converge"


def detect_platform(trt: Any, gpu: Gpu) -> Platform:
    """Return the platform that engines built here by the compiler `trt` are bound to."""
    compiler = f"{trt.__name__} {trt.__version__}"
    return Platform(gpu.name, gpu.compute_capability, compiler, read_l4t_release(), gpu.multiprocessors)


def find_binding(platform: Platform) -> dict[str, str | None]:
    """Return the parts of a platform that bind an engine, by the attribute's name."""
    l4t = platform.l4t and (find_l4t_feature(platform.l4t) or platform.l4t)
    return {
        "gpu": platform.gpu,
        "compute_capability": platform.compute_capability,
        "compiler": platform.compiler,
        "l4t": l4t,
    }


def select_digests(manifest: Manifest, variant: str) -> dict[str, str]:
    """Return the SHA-256 of a variant's graphs and of the weights beside them, by path in the bundle."""
    graphs = {graph.file for graph in manifest.variants[variant].values()}
    folders = {file.rpartition("/")[0] for file in graphs}
    return {
        file: digest
        for file, digest in manifest.files.items()
        if file in graphs or (file.rpartition("/")[0] in folders and not file.endswith(".onnx"))
    }
