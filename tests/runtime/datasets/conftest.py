from __future__ import annotations

from pathlib import Path

import pytest
from photo_folders import make_folder, make_zip


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    """Makes a folder or a zip of the given names."""

    def made(names: tuple[str, ...], wrapper: str = "") -> Path:
        if request.param == "folder":
            return make_folder(tmp_path / "data", names, wrapper)
        return make_zip(tmp_path / "data.zip", names, wrapper)

    return made
