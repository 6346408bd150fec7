"""Every name of TensorRT's API that builder and backend use is there in every version that they may meet."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import hmdrn_export.tensorrt
import hmdrn_runtime.backends.tensorrt
from hmdrn_export.tensorrt.versions import FEATURES, CompilerFeatures, find_features
from hmdrn_runtime.errors import BackendError

VERSIONS = ["8.6", "10.3", "10.13", "10.16", "11.4"]
BUILDER = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "tensor": "ITensor",
    "cache": "ITimingCache",
    "error": "ParserError",
}
BACKEND = {
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
}
"""Variables of these names hold objects of these classes, as the packages' docstrings promise."""
PACKAGES = [(hmdrn_export.tensorrt, BUILDER, 30), (hmdrn_runtime.backends.tensorrt, BACKEND, 15)]
OBJECTS = {**BUILDER, **BACKEND}
ASKED = {"trt", *OBJECTS}
PYTHON = {"__name__", "__version__", "__members__", "__init__"}


def guard(test: ast.expr, features: CompilerFeatures, api: dict) -> bool | None:
    """The value of a condition on a version's features or names; None if it depends on more, or on others."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        value = guard(test.operand, features, api)
        return None if value is None else not value
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return False if any(guard(part, features, api) is False for part in test.values) else None
    match test:
        case ast.Call(ast.Name("hasattr"), [ast.Name(owner), ast.Constant(name)]) if owner in ASKED:
            return not missing((owner, name), api)
    if (
        isinstance(test, ast.Attribute)
        and isinstance(test.value, ast.Name)
        and test.value.id == "features"
        and isinstance(getattr(features, test.attr), bool)
    ):
        return bool(getattr(features, test.attr))
    return None


def used(node: ast.AST, features: CompilerFeatures, api: dict, objects=OBJECTS) -> list[tuple[str, ...]]:
    """Names that code reaches in a version: ("trt", "BuilderFlag", "TF32"), ("config", "set_flag")."""
    if isinstance(node, ast.If):
        value = guard(node.test, features, api)
        parts = [node.test, *(node.body if value is not False else [])]
        return [
            name
            for part in [*parts, *(node.orelse if value is not True else [])]
            for name in used(part, features, api, objects)
        ]
    if isinstance(node, ast.FunctionDef) and node.name == "make_monitor" and not features.progress:
        return []
    chain: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        chain.insert(0, inner.attr)
        inner = inner.value
    if chain and isinstance(inner, ast.Name) and inner.id in {"trt", *objects}:
        return [(inner.id, *chain)]
    return [name for child in ast.iter_child_nodes(node) for name in used(child, features, api, objects)]


def missing(name: tuple[str, ...], api: dict) -> bool:
    """Whether a version lacks a name."""
    first, *rest = name
    if set(rest) & PYTHON:
        rest = rest[: next(i for i, part in enumerate(rest) if part in PYTHON)]
    if first in OBJECTS:
        members = api["classes"][OBJECTS[first]]
        # A local variable of this name may be an exception of ours: those have no API.
        return rest[0] not in members
    if rest and rest[0] not in api["names"]:
        return True
    members = api["enums"].get(rest[0]) if rest else None
    members = api["classes"].get(rest[0], []) if rest and members is None else members
    return len(rest) > 1 and rest[1] not in (members or [])


@pytest.fixture(params=VERSIONS)
def recorded(request, shared):
    """The recorded API of a version, and the row of the builder's table for it."""
    api = json.loads(shared(f"trt_api/tensorrt_{request.param}.json").read_text())
    return api, find_features("tensorrt", api["version"])


@pytest.mark.parametrize(("package", "objects", "least"), PACKAGES, ids=["builder", "backend"])
def test_every_name_that_is_used_is_in_the_versions_api(package, objects, least, recorded):
    api, features = recorded
    sources = sorted(Path(package.__file__).parent.glob("*.py"))
    names = {
        name for source in sources for name in used(ast.parse(source.read_text()), features, api, objects)
    }
    assert len(names) > least
    assert sorted(name for name in names if missing(name, api)) == []


def test_a_name_used_outside_its_versions_is_found(recorded):
    api, features = recorded
    code = ast.parse("config.set_flag(trt.BuilderFlag.FP16); config.progress_monitor = 1; trt.NoSuchThing")
    absent = {name for name in used(code, features, api) if missing(name, api)}
    assert ("trt", "NoSuchThing") in absent
    assert (("trt", "BuilderFlag", "FP16") in absent) == api["version"].startswith("11")
    assert (("config", "progress_monitor") in absent) == api["version"].startswith("8")


def test_a_name_of_an_engine_or_context_that_a_version_lacks_is_found(recorded):
    api, features = recorded
    code = ast.parse("engine.num_bindings; context.execute_async_v2(1); runtime.deserialize_cuda_engine(b'')")
    absent = {name for name in used(code, features, api) if missing(name, api)}
    old = {("engine", "num_bindings"), ("context", "execute_async_v2")}
    assert absent == (set() if api["version"].startswith("8") else old)


def test_names_behind_a_question_for_them_are_used_only_where_they_are(recorded):
    api, features = recorded
    code = ast.parse(
        "if hasattr(engine, 'device_memory_size_v2'):\n    engine.device_memory_size_v2\n"
        "else:\n    engine.device_memory_size"
    )
    (name,) = (name for name in used(code, features, api))
    assert name[1] == ("device_memory_size" if api["version"].startswith("8") else "device_memory_size_v2")


@pytest.mark.parametrize(
    ("version", "strong_typing", "flags"),
    [("8.6", False, True), ("10.0.1", True, True), ("10.16", True, True), ("11.4", True, False)],
)
def test_strong_typing_begins_with_10_0_and_flags_end_with_11(version, strong_typing, flags):
    features = find_features("tensorrt", version)
    assert (features.strong_typing, features.precision_flags) == (strong_typing, flags)


def test_every_supported_range_of_versions_has_a_recorded_api():
    ranges = {find_features("tensorrt", version) for version in VERSIONS}
    assert ranges == {features for features in FEATURES if features.module == "tensorrt"}


def test_a_version_older_than_the_table_is_refused_with_what_to_install():
    with pytest.raises(BackendError, match=r"tensorrt 8.5.3 is too old: install tensorrt 8.6 or newer"):
        find_features("tensorrt", "8.5.3")
    with pytest.raises(BackendError, match=r"tensorrt_rtx 1.6.1 is too old: install tensorrt_rtx 1.7"):
        find_features("tensorrt_rtx", "1.6.1")
