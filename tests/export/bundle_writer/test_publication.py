"""A bundle that is replaced keeps the modes and groups that its folder and files had."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from users import BIRDS, as_root

from hmdrn_export.bundle_writer.publication import publish_atomically

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes and groups")


def publish(path: Path) -> None:
    with publish_atomically(path) as folder:
        (folder / "graphs").mkdir()
        for name in ("manifest.json", "graphs/new.onnx"):
            (folder / name).write_text("new")


def modes(path: Path) -> list[int]:
    return [stat.S_IMODE((path / name).stat().st_mode) for name in (".", "manifest.json", "graphs/new.onnx")]


@pytest.mark.parametrize(("folder", "file"), [(0o750, 0o640), (0o2770, 0o660), (0o500, 0o400)])
def test_a_replaced_folder_keeps_its_modes(tmp_path, folder, file):
    path = tmp_path / "birds.hmdrn"
    publish(path)
    *_, usual = modes(path)
    (path / "manifest.json").chmod(file)
    path.chmod(folder)
    publish(path)
    assert modes(path) == [folder, file, usual]
    assert (path / "manifest.json").read_text() == "new"


@as_root
def test_new_files_of_a_shared_folder_get_its_group(tmp_path):
    path = tmp_path / "birds.hmdrn"
    publish(path)
    shutil.rmtree(path / "graphs")
    os.chown(path, -1, BIRDS)
    path.chmod(0o2770)
    publish(path)
    assert {p.stat().st_gid for p in (path, *path.rglob("*.onnx"))} == {BIRDS}
