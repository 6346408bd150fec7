from __future__ import annotations

import json
import stat

import pytest

import hmdrn
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends import selection, stored_profile
from hmdrn_runtime.backends.selection import choose_backend
from hmdrn_runtime.backends.stored_profile import load_profile, save_profile
from hmdrn_runtime.bundle import variants
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.device.cpu import Cpu
from hmdrn_runtime.errors import HmdrnError

CPU = "onnxruntime"
INT8_FASTER = {"fp32": 40.0, "int8-ort": 30.0}
FP32_FASTER = {"fp32": 20.0, "int8-ort": 30.5}


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(resolve_bundle("default"))


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The state folder of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def on_fast_int8(monkeypatch):
    """A CPU that multiplies 8-bit numbers fast, whichever runs the test."""
    monkeypatch.setattr(variants, "has_fast_int8_products", lambda: True)


@pytest.fixture
def be_slow(monkeypatch):
    """Let the CPU be one without fast 8-bit products: be_slow("aarch64")."""

    def be(machine):
        monkeypatch.setattr(variants, "has_fast_int8_products", lambda: False)
        monkeypatch.setattr(variants.platform, "machine", lambda: machine)

    return be


def choose(bundle, **settings):
    opened, backend = choose_backend(bundle, CPU, threads=1, **settings)
    return opened.variant, backend


def test_what_was_stored_is_read_and_is_the_users_alone(bundle, state):
    assert load_profile(bundle, CPU) == stored_profile.StoredProfile()
    path = save_profile(bundle, CPU, INT8_FASTER)
    assert path.is_relative_to(state / "hmdrn")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    stored = load_profile(bundle, CPU)
    assert (stored.milliseconds, stored.issue) == (INT8_FASTER, None)
    assert stored.measured_at.endswith("+00:00")
    save_profile(bundle, CPU, FP32_FASTER)
    assert load_profile(bundle, CPU).milliseconds == FP32_FASTER
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_quicker_graphs_run_and_the_report_has_both_times(bundle):
    assert choose(bundle)[0] == "int8-ort"
    save_profile(bundle, CPU, FP32_FASTER)
    report = hmdrn.load("default", backend=CPU, threads=1).backend_report
    assert (report.variant, report.measured) == ("fp32", FP32_FASTER)
    assert report.passed_over["int8-ort"] == "measured here at 30.5 ms"
    assert "runs the fp32 graphs, measured here at 20 ms; not int8-ort: measured" in str(report).replace(
        "; not int8-trt: they are for tensorrt", ""
    )


def test_arm_without_sdot_runs_int8_where_it_was_measured_faster(bundle, be_slow):
    be_slow("aarch64")
    assert choose(bundle)[0] == "fp32"
    save_profile(bundle, CPU, INT8_FASTER)
    assert choose(bundle)[0] == "int8-ort"
    save_profile(bundle, CPU, FP32_FASTER)
    assert choose(bundle)[0] == "fp32"


def test_int8_that_would_be_wrong_never_runs_however_fast(bundle, be_slow, monkeypatch):
    be_slow("x86_64")
    save_profile(bundle, CPU, INT8_FASTER)
    monkeypatch.setattr(selection, "load_profile", lambda *_: pytest.fail("one variant: nothing to read"))
    variant, backend = choose(bundle)
    assert (variant, backend.measured) == ("fp32", {})


def test_a_variant_that_the_caller_names_runs(bundle):
    save_profile(bundle, CPU, FP32_FASTER)
    variant, backend = choose(bundle, variant="int8-ort")
    assert (variant, backend.measured) == ("int8-ort", {})


def change(key, value):
    def damage(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return damage


@pytest.mark.parametrize(
    ("damage", "issue"),
    [
        (lambda path: path.write_bytes(b"\xff{"), "damaged"),
        (lambda path: path.write_text("[]"), "damaged"),
        (lambda path: path.write_text(" " * 20_000), "damaged, with over"),
        (change("milliseconds", {}), "above 0"),
        (change("milliseconds", {"fp32": -1, "int8-ort": 2}), "above 0"),
        (change("milliseconds", {"fp32": "fast"}), "expected float"),
        (change("schema", "hmdrn.stored-profile/2"), "another schema"),
        (change("bundle", "0" * 64), "another bundle"),
        (change("backend", "tensorrt"), "another backend"),
        (change("ONNX Runtime", "1.0"), "another ONNX Runtime: 1.0"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_with_the_reason(bundle, damage, issue):
    damage(save_profile(bundle, CPU, FP32_FASTER))
    stored = load_profile(bundle, CPU)
    assert issue in stored.issue
    assert stored.milliseconds == {}


def test_a_damaged_file_leaves_the_choice_to_the_rule(bundle):
    save_profile(bundle, CPU, FP32_FASTER).write_text("{")
    assert choose(bundle)[0] == "int8-ort"


def test_the_profile_of_another_cpu_is_ignored(bundle, monkeypatch):
    save_profile(bundle, CPU, FP32_FASTER)
    monkeypatch.setattr(stored_profile, "read_cpu", lambda: Cpu("Cortex-X1", "aarch64", 4, ("NEON",)))
    assert "another CPU" in load_profile(bundle, CPU).issue


def test_a_folder_that_cannot_be_written_is_reported(bundle, state):
    (state / "hmdrn").write_text("")
    with pytest.raises(HmdrnError, match=r"cannot store the profile .*set XDG_STATE_HOME"):
        save_profile(bundle, CPU, INT8_FASTER)
