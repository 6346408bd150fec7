from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from photo_folders import refused

from hmdrn_runtime.datasets.dataset import open_dataset


def zip_of_bytes(
    path: Path, names: list[bytes], flag: int = 0, extras: dict[bytes, bytes] | None = None
) -> Path:
    """Write a zip whose names are these bytes; `flag` is the bit that declares UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, raw in enumerate(names):
            info = zipfile.ZipInfo(f"{i:04}" + "x" * (len(raw) - 4))
            info.extra = (extras or {}).get(raw, b"")
            archive.writestr(info, b"bytes of " + raw)
    data = path.read_bytes()
    for i, raw in enumerate(names):
        data = data.replace((f"{i:04}" + "x" * (len(raw) - 4)).encode(), raw)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = data.split(signature)
        parts[1:] = [p[: place - 4] + struct.pack("<H", flag) + p[place - 2 :] for p in parts[1:]]
        data = signature.join(parts)
    path.write_bytes(data)
    return path


def labels_of(path: Path) -> list[str]:
    dataset = open_dataset(path)
    for photos in dataset.classes.values():
        assert photos[0].read().startswith(b"bytes of ")
    return list(dataset.classes)


NAMES = ["知更鸟", "ツバメ", "까치", "Воробей", "Mésange", "Me\u0301sange bleue", "Αετός", "حسون", "Gęś"]


@pytest.mark.parametrize("flag", [0, 0x800])
@pytest.mark.parametrize("name", NAMES)
def test_utf8_is_read_with_and_without_the_flag(tmp_path, name, flag):
    path = zip_of_bytes(tmp_path / "a.zip", [f"{name}/1.jpg".encode(), b"wren/1.jpg"], flag)
    expected = name.replace("e\u0301", "é")
    assert labels_of(path) == sorted([expected, "wren"])
    assert open_dataset(path).notes == ()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *((name, "gbk") for name in ("知更鸟", "麻雀", "喜鹊", "大山雀A")),
        *((name, "cp932") for name in ("ツバメ", "スズメ", "ソリハシ", "すずめ", "ﾊﾄ", "夏鳥")),
        *((name, "big5") for name in ("知更鳥", "麻雀")),
        *((name, "euc_kr") for name in ("까치", "참새")),
        *((name, "cp866") for name in ("Воробей", "Гага")),
        *((name, "cp1253") for name in ("Αετός",)),
        *((name, "gb18030") for name in ("知更鸟",)),
    ],
)
def test_names_that_nobody_can_know_are_refused_with_their_bytes(tmp_path, name, encoding):
    raw = f"{name}/1.jpg".encode(encoding)
    path = zip_of_bytes(tmp_path / "a.zip", [raw, b"wren/1.jpg"])
    shown = repr(raw)[2:-1].replace("\\", "\\\\").replace("(", r"\(")
    refused(
        path, rf"a\.zip has 1 photos with names in an unknown encoding, of the bytes '{shown}': unpack it"
    )


def test_one_unknown_name_makes_all_undeclared_ones_unknown(tmp_path):
    # Two of the three are valid UTF-8 by chance.
    names = [f"{name}/1.jpg".encode("gbk") for name in ("鹰", "鹰 2", "麻雀")]
    refused(zip_of_bytes(tmp_path / "a.zip", names), "has 3 photos with names in an unknown encoding")


@pytest.mark.parametrize("encoding", ["cp437", "cp850"])
@pytest.mark.parametrize(
    "name", ["Grünfink", "Blåmes", "été", "Pájaro", "Señorita", "Bec à cuillère", "Ærfugl"]
)
def test_western_names_are_read_with_a_note(tmp_path, name, encoding):
    path = zip_of_bytes(tmp_path / "a.zip", [f"{name}/1.jpg".encode(encoding), b"wren/1.jpg"])
    assert labels_of(path) == sorted([name, "wren"])
    (note,) = open_dataset(path).notes
    assert f"'{name}/1.jpg'" in note
    assert "read as Western European" in note


def unicode_path(raw: bytes, name: str, crc: int | None = None, version: int = 1) -> bytes:
    field = struct.pack("<BL", version, zlib.crc32(raw) if crc is None else crc) + name.encode()
    return struct.pack("<HHH", 0x5455, 2, 0) + struct.pack("<HH", 0x7075, len(field)) + field


def test_info_zips_field_for_the_name_is_read(tmp_path):
    raw = "麻雀/1.jpg".encode("gbk")
    path = zip_of_bytes(tmp_path / "a.zip", [raw], extras={raw: unicode_path(raw, "麻雀/1.jpg")})
    assert labels_of(path) == ["麻雀"]


@pytest.mark.parametrize("wrong", [{"crc": 1}, {"version": 2}])
def test_info_zips_field_of_another_name_is_not_read(tmp_path, wrong):
    raw = "麻雀/1.jpg".encode("gbk")
    path = zip_of_bytes(tmp_path / "a.zip", [raw], extras={raw: unicode_path(raw, "wren/1.jpg", **wrong)})
    refused(path, "unknown encoding")


def test_unknown_names_of_other_files_do_not_matter(tmp_path):
    names = [b"wren/1.jpg", "说明.txt".encode("gbk"), "._麻雀.jpg".encode("gbk"), "麻雀/".encode("gbk")]
    assert labels_of(zip_of_bytes(tmp_path / "a.zip", names)) == ["wren"]
