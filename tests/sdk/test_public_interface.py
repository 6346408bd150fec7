"""The public interface is one list of names, and every name has one home."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import hmdrn

ROOT = Path(__file__).parents[2]
COMPONENTS = ("runtime", "network", "export", "calibration", "sdk")
SOURCE = Path(hmdrn.__file__).read_text(encoding="utf-8")


def test_type_checkers_see_the_same_names_as_programs_do():
    seen = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if alias.name == alias.asname
    }
    assert seen == {(module, name) for name, module in hmdrn._MODULES.items()}


def test_every_public_name_is_defined_in_the_module_listed_for_it():
    for name, module in hmdrn._MODULES.items():
        value = getattr(hmdrn, name)
        assert value is getattr(importlib.import_module(module), name)
        assert getattr(value, "__module__", module) == module, f"{name} comes from {value.__module__}"


def test_star_imports_give_the_public_names():
    namespace: dict[str, object] = {}
    exec("from hmdrn import *", namespace)
    assert set(hmdrn.__all__) <= set(namespace)
    assert set(dir(hmdrn)) == set(hmdrn.__all__)


def test_the_api_page_documents_exactly_the_public_names():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    errors = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: hmdrn\.(\w+)$", page, re.MULTILINE)
    documented += re.findall(r"^## (\w+Error)$", errors, re.MULTILINE)
    assert sorted([*documented, "__version__"]) == sorted(hmdrn.__all__)


def test_packages_export_nothing_a_second_time():
    for component in COMPONENTS:
        for init in (ROOT / component).rglob("__init__.py"):
            if init == ROOT / "sdk" / "hmdrn" / "__init__.py":
                continue
            imports = [
                node
                for node in ast.parse(init.read_text(encoding="utf-8")).body
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hmdrn")
            ]
            names = {alias.name for node in imports for alias in node.names}
            used = {
                node.id for node in ast.walk(ast.parse(init.read_text("utf-8"))) if isinstance(node, ast.Name)
            }
            assert names <= used, (init, names - used)
            assert "__all__" not in used, f"{init} has a list of exports"
