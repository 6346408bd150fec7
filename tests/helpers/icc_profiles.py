"""ICC profiles made from numbers, and the sRGB colors that they stand for by the equations."""

from __future__ import annotations

import itertools
import struct

import numpy as np

COLORANTS = {  # X, Y, Z of red, green and blue for the white point D50
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    "Display P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    "ProPhoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)),
}
WHITE = (0.9642, 1.0, 0.8249)


def _fixed(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space, connection, tags):
    """Write a profile of version 2 from its tags by name."""
    offset = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name.encode() + struct.pack(">II", offset + len(data), len(content))
        data += content
    kind = b"prtr" if space == "CMYK" else b"mntr"
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(data), b"none", 0x02400000, kind, space.encode(), connection
    )
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*WHITE)
    return header.ljust(128, b"\0") + table + data


def _named(name):
    text = name.encode() + b"\0"
    return {
        "desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        "wtpt": b"XYZ " + bytes(4) + _fixed(*WHITE),
    }


def _curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(name, gamma, colorants="sRGB"):
    tags = _named(name)
    for color, values in zip("rgb", COLORANTS[colorants], strict=True):
        tags |= {f"{color}XYZ": b"XYZ " + bytes(4) + _fixed(*values), f"{color}TRC": _curve(gamma)}
    return _profile("RGB ", b"XYZ ", tags)


def gray_profile(name, gamma):
    return _profile("GRAY", b"XYZ ", {**_named(name), "kTRC": _curve(gamma)})


def cmyk_profile(name, lab):
    """A profile whose sixteen full mixtures of inks have these colors: lab(c, m, y, k) gives L, a, b."""
    colors = [lab(*inks) for inks in itertools.product((0, 1), repeat=4)]
    grid = b"".join(bytes((round(255 * L / 100), round(a) + 128, round(b) + 128)) for L, a, b in colors)
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _profile("CMYK", b"Lab ", {**_named(name), "A2B0": lut + 4 * identity + grid + 3 * identity})


def _from_xyz(xyz):
    linear = np.clip(np.asarray(xyz) @ np.linalg.inv(COLORANTS["sRGB"]), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded)


def rgb_to_srgb(pixels, gamma, colorants):
    return _from_xyz((np.asarray(pixels) / 255) ** gamma @ np.array(COLORANTS[colorants]))


def gray_to_srgb(pixels, gamma):
    return _from_xyz(((np.asarray(pixels) / 255) ** gamma)[..., None] * np.array(WHITE))


def lab_to_srgb(lab):
    light = (lab[0] + 16) / 116
    factors = np.array([light + lab[1] / 500, light, light - lab[2] / 200])
    scaled = np.where(factors > 6 / 29, factors**3, 3 * (6 / 29) ** 2 * (factors - 4 / 29))
    return _from_xyz(scaled * np.array(WHITE))
