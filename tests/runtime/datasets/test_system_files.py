from __future__ import annotations

import os

import pytest
from photo_folders import CLASSES, make_folder, names_of

from hmdrn_runtime.datasets.dataset import open_dataset, open_species
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.datasets.system_files import is_system_path

FOLDERS = (
    *("$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "System Volume Information", "FOUND.000", "$WINDOWS.~BT"),
    *("WindowsImageBackup", "Config.Msi", "Backups.backupdb"),
    *("lost+found", ".Trash-1000", "LOST.DIR", ".thumbnails", "__pycache__", ".ipynb_checkpoints"),
    *("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", ".AppleDouble", "Network Trash Folder"),
    *("@eaDir", "@EADIR", "#recycle", "#snapshot", "@tmp", "@SynoDrive", "@Recycle", "@Recently-Snapshot"),
    *(".@__thumb", "@__thumb", "~snapshot", ":2eDS_Store"),
)
FILES = (
    "._robin.jpg",
    ".DS_Store",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "1.jpg@SynoEAStream",
    "Icon\r",
)


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_names_of_systems_are_known(name):
    assert is_system_path(["birds", name, "1.jpg"])


@pytest.mark.parametrize(
    "name",
    ["robin", "Recycled Robin", "@robin", "#1", "$1", "Foundling", "Thumbs.dbx", "tmp", "lost", "~", "a.b"],
)
def test_names_of_species_are_not_those_of_systems(name):
    assert not is_system_path([name])


def test_folders_and_files_of_systems_are_passed_over(make):
    litter = [f"{folder}/{name}" for folder in FOLDERS for name in ("1.jpg", "sub/2.jpg")]
    litter += [f"robin/{folder}/1.jpg" for folder in FOLDERS] + [f"robin/{name}" for name in FILES[:-1]]
    path = make((*CLASSES, *litter, *FILES[:-1]))
    for opened in (open_dataset(path), open_species(path)):
        assert names_of(opened) == names_of(open_dataset(path))
        assert list(opened.classes) == ["robin", "wren"]
        assert opened.empty_classes == ()
        assert opened.notes == ()


def test_a_system_folder_is_never_opened(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "data", (*CLASSES, "System Volume Information/x", "robin/lost+found/x"))
    scandir = os.scandir

    def guarded(folder):
        if "System" in str(folder) or "lost" in str(folder):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    assert len(open_dataset(root)) == len(find_photos(root)) == 3
