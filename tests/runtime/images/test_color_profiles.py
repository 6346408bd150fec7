from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image
import pytest
from drawn_images import encoded, picture
from icc_profiles import (
    cmyk_profile,
    gray_profile,
    gray_to_srgb,
    lab_to_srgb,
    rgb_profile,
    rgb_to_srgb,
)
from PIL import ImageCms
from preprocessings import DEFAULT

from hmdrn_runtime.images import color_profiles, decoding
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.images.query_preprocessing import prepare_query

WIDE = [("Adobe RGB", 563 / 256), ("Display P3", 2.2), ("ProPhoto", 1.8)]


@pytest.fixture(autouse=True)
def fresh():
    color_profiles._make_transform.cache_clear()


@pytest.fixture
def colors():
    return np.random.default_rng(1).integers(30, 226, (12, 12, 3), dtype=np.uint8)


def difference(image, expected):
    return np.abs(np.asarray(image, dtype=float)[..., :3] - expected).max()


@pytest.mark.parametrize(("name", "gamma"), WIDE)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_photo_of_a_wide_color_space_has_its_colors_in_srgb(colors, name, gamma, form):
    image = PIL.Image.fromarray(np.kron(colors, np.ones((8, 8, 1), np.uint8)))
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    data = encoded(image, form, icc_profile=rgb_profile(name, gamma, name), **options[form])
    stored = np.asarray(PIL.Image.open(BytesIO(data)))
    expected = rgb_to_srgb(stored, gamma, name)
    assert difference(stored, expected) > 5
    loaded = load_image(data)
    assert difference(loaded, expected) <= 2
    assert loaded.info == {}
    assert load_image(PIL.Image.open(BytesIO(data))).tobytes() == loaded.tobytes()


def test_enrolling_and_classifying_see_the_same_colors(colors):
    image = PIL.Image.fromarray(np.kron(colors, np.ones((8, 8, 1), np.uint8)))
    data = encoded(image, "PNG", icc_profile=rgb_profile("ProPhoto", 1.8, "ProPhoto"))
    assert np.array_equal(prepare(data, DEFAULT), prepare_query(data, DEFAULT))


@pytest.mark.parametrize("gamma", [1.4, 1.8])
def test_gray_profiles_apply_to_gray_of_8_and_16_bits_and_with_alpha(gamma):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    profile, expected = gray_profile("dot gain", gamma), gray_to_srgb(gray, gamma)
    image = PIL.Image.fromarray(gray)
    assert difference(load_image(encoded(image, "PNG", icc_profile=profile)), expected) <= 2
    opaque = PIL.Image.merge("LA", (image, PIL.Image.new("L", image.size, 255)))
    assert difference(load_image(encoded(opaque, "PNG", icc_profile=profile)), expected) <= 2
    wide = PIL.Image.frombytes("I;16", (16, 16), (gray.astype("<u2") * 257).tobytes())
    assert difference(load_image(encoded(wide, "PNG", icc_profile=profile)), expected) <= 2


@pytest.mark.parametrize("inks", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)])
def test_printing_inks_have_the_colors_of_their_profile(inks):
    def lab(c, m, y, k):
        return max(0, 100 - 30 * c - 40 * m - 5 * y - 55 * k), 20 * m - 20 * c, 40 * y - 30 * c

    image = PIL.Image.new("CMYK", (16, 16), tuple(255 * ink for ink in inks))
    expected = lab_to_srgb(lab(*inks))
    data = encoded(image, "TIFF", icc_profile=cmyk_profile("press", lab))
    assert difference(load_image(data), expected) <= 3
    assert sum(inks) == 0 or difference(load_image(encoded(image, "TIFF")), expected) > 20


def test_transparent_pixels_stay_transparent(colors):
    rgba = PIL.Image.fromarray(np.dstack([colors, np.full((12, 12), 255, np.uint8)]))
    rgba.putpixel((0, 0), (9, 9, 9, 0))
    profile = rgb_profile("Adobe RGB", 563 / 256, "Adobe RGB")
    loaded = np.asarray(load_image(encoded(rgba, "PNG", icc_profile=profile)))
    assert loaded[0, 0].tolist() == [255] * 3
    assert difference(loaded[1:], rgb_to_srgb(colors[1:], 563 / 256, "Adobe RGB")) <= 2
    keyed = PIL.Image.fromarray(colors)
    data = encoded(keyed, "PNG", icc_profile=profile, transparency=tuple(map(int, colors[3, 4])))
    assert np.asarray(load_image(data))[3, 4].tolist() == [255] * 3


def test_a_palette_has_its_profiles_colors(colors):
    paletted = PIL.Image.fromarray(colors).quantize(16)
    plain = np.asarray(paletted.convert("RGB"))
    loaded = load_image(encoded(paletted, "PNG", icc_profile=rgb_profile("ProPhoto", 1.8, "ProPhoto")))
    assert difference(loaded, rgb_to_srgb(plain, 1.8, "ProPhoto")) <= 2


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        gray_profile("of another space", 1.0),
        b"junk",
        rgb_profile("cut off", 1.8, "ProPhoto")[:200],
        rgb_profile("no curves", 1.8, "ProPhoto").replace(b"TRC", b"XXX"),
        bytes(5_000_000),
    ],
    ids=["sRGB", "gray", "junk", "cut off", "no curves", "huge"],
)
def test_a_profile_of_srgb_or_a_broken_one_changes_nothing(profile):
    image = picture()
    image.info["icc_profile"] = profile
    assert load_image(image).tobytes() == picture().tobytes()


def test_a_profile_is_read_once_and_a_photo_without_one_needs_no_transform(colors, monkeypatch):
    image, built = PIL.Image.fromarray(colors), []
    build = ImageCms.buildTransform
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *a, **k: built.append(1) or build(*a, **k))
    data = encoded(image, "PNG", icc_profile=rgb_profile("ProPhoto", 1.8, "ProPhoto"))
    for _ in range(3):
        load_image(data)
    assert len(built) == 1
    monkeypatch.setattr("hmdrn_runtime.images.pixel_modes.convert_to_srgb", None)
    assert decoding.load_image(encoded(image, "PNG")).tobytes() == image.tobytes()
