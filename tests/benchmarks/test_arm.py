"""Counts of instructions on an emulated core, by stage."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from benchmarks.arm.__main__ import build_counter, count_stages, make_system


def test_a_stage_has_the_instructions_since_the_one_before():
    stages = ["other", "decode", "motion", "other", "decode", "motion", "name"]
    counts = [n * 1_000_000 for n in (5, 8, 10, 11, 16, 17, 37)]
    assert count_stages(stages, counts) == {
        "decode": {"median": 4.0, "mean": 4.0},
        "motion": {"median": 1.5, "mean": 1.5},
        "name": {"median": 20.0, "mean": 20.0},
    }


def test_a_core_is_shown_as_its_kernel_would(tmp_path):
    (tmp_path / "root/lib").mkdir(parents=True)
    system = make_system(tmp_path, tmp_path / "root", "cortex-a72")
    assert (system / "lib").resolve() == tmp_path / "root/lib"
    text = (system / "proc/cpuinfo").read_text()
    assert "0xd08" in text
    assert "asimddp" not in text


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("nm")), reason="needs a C compiler and nm")
def test_the_counter_compiles_and_exports_what_the_emulator_looks_for(tmp_path):
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", build_counter(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "qemu_plugin_install" in symbols
    assert "qemu_plugin_version" in symbols
