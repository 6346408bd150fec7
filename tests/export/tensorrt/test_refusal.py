"""The record of a build that kept no engines holds until anything changes that decides how a build ends."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt.builder import BuildOptions
from hmdrn_export.tensorrt.profiles import ShapeBounds
from hmdrn_export.tensorrt.refusal import REFUSAL, describe_build, find_refusal, record_refusal
from hmdrn_export.tensorrt.samples import Samples
from hmdrn_runtime.backends.tensorrt.fingerprint import Platform
from hmdrn_runtime.bundle.bundle import open_bundle

HERE = Platform("Orin (nvgpu)", "8.7", "tensorrt 10.3.0", "# R36 (release), REVISION: 4.3, GCID: 1", 16)
CHANGES = {
    "another GPU": {"platform": replace(HERE, gpu="Thor")},
    "another TensorRT": {"platform": replace(HERE, compiler="tensorrt 10.16.1")},
    "another Jetson Linux": {"platform": replace(HERE, l4t="# R36 (release), REVISION: 5.0")},
    "more memory": {"options": BuildOptions(workspace_mib=2048)},
    "an accelerator": {"options": BuildOptions(dla_core=0)},
    "other sizes": {"bounds": ShapeBounds(batch=(1, 1, 4))},
}


def build(platform=HERE, options=None, bounds=None, photographs=None):
    bundle = open_bundle(resolve_bundle("default"))
    return describe_build(bundle, platform, options or BuildOptions(), bounds or ShapeBounds(), photographs)


def samples(value):
    photos = np.full((2, 4, 4, 3), value, np.uint8)
    return Samples(photos, 1, photos, np.arange(2))


def test_the_same_build_is_found_with_its_reason(tmp_path):
    record_refusal(tmp_path / "engines" / "orin", build(), "outputs differ by nan")
    assert find_refusal(tmp_path / "engines" / "orin", build()) == "outputs differ by nan"
    patch = build(
        replace(HERE, l4t="# R36 (release), REVISION: 4.4, GCID: 2")
    )  # a patch of Jetson Linux changes nothing
    assert find_refusal(tmp_path / "engines" / "orin", patch) == "outputs differ by nan"


@pytest.mark.parametrize("change", CHANGES)
def test_a_build_with_any_change_is_tried(change, tmp_path):
    record_refusal(tmp_path, build(), "no")
    assert find_refusal(tmp_path, build(**CHANGES[change])) is None


@pytest.mark.parametrize("key", ["manifest", "hmdrn"])
def test_a_build_of_another_bundle_or_version_is_tried(key, tmp_path):
    record_refusal(tmp_path, {**build(), key: "another"}, "no")
    assert find_refusal(tmp_path, build()) is None


def test_engines_refused_on_photographs_are_refused_without_them_too(tmp_path):
    record_refusal(tmp_path, build(photographs=samples(1)), "no")
    assert find_refusal(tmp_path, build(photographs=samples(1))) == "no"
    assert find_refusal(tmp_path, build()) == "no"
    assert find_refusal(tmp_path, build(photographs=samples(2))) is None
    record_refusal(tmp_path, build(), "no")
    assert find_refusal(tmp_path, build(photographs=samples(1))) is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format_version": 2})])
def test_a_record_that_cannot_be_read_is_none(text, tmp_path):
    assert find_refusal(tmp_path, build()) is None
    (tmp_path / REFUSAL).write_text(text)
    assert find_refusal(tmp_path, build()) is None
