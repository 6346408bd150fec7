"""The processor and its memory, from recorded texts of the kernel."""

from __future__ import annotations

import pytest

from hmdrn_runtime.device.cpu import Memory, parse_cpu, parse_cpu_flags, parse_memory, read_cpu, read_memory

LAPTOP = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
flags\t\t: fpu sse sse2 ssse3 avx avx2 fma
bugs\t\t: cpu_meltdown avx512_vnni

processor\t: 1
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
flags\t\t: fpu sse sse2 ssse3 avx avx2 fma
"""
SERVER = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n"
ORIN = """processor\t: 0
model name\t: ARMv8 Processor rev 1 (v8l)
Features\t: fp asimd aes atomics fphp asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42
Serial\t\t: 1421423012345
"""
TX2 = "CPU part\t: 0x003\nCPU part\t: 0xd07\nCPU part\t: 0xd07\n"


def test_a_named_processor_has_its_name_and_features():
    laptop = parse_cpu(LAPTOP, "x86_64", 8)
    assert laptop.model == "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz"
    assert (laptop.architecture, laptop.cores, laptop.features) == ("x86_64", 8, ("AVX2",))
    assert parse_cpu(SERVER, "x86_64", 2).features == ("AVX2", "AVX-512", "AVX512-VNNI", "AMX-INT8")


def test_a_core_of_arms_is_named_by_its_part():
    orin = parse_cpu(ORIN, "aarch64", 6)
    assert (orin.model, orin.features) == ("Cortex-A78AE", ("NEON", "FP16", "dotprod"))
    assert parse_cpu(TX2, "aarch64", 6).model == "Denver 2 + Cortex-A57"
    assert parse_cpu("CPU part\t: 0xd0c\n", "aarch64", 64).model == "Neoverse N1"
    assert parse_cpu("CPU part\t: 0xabc\n", "aarch64", 1).model == "Arm part 0xabc"


def test_a_processor_without_details_is_its_architecture():
    silent = parse_cpu("", "riscv64", 4)
    assert (silent.model, silent.features) == ("riscv64", ())


def test_flags_come_from_the_line_of_flags_alone():
    assert "avx2" in parse_cpu_flags(LAPTOP)
    assert "avx512_vnni" not in parse_cpu_flags(LAPTOP)


def test_memory_is_in_mebibytes():
    meminfo = "MemTotal:        7802576 kB\nMemFree:          204800 kB\nMemAvailable:    5120512 kB\n"
    assert parse_memory(meminfo) == Memory(7619, 5000)
    assert parse_memory("MemTotal: 1 kB\n") is None


@pytest.mark.parametrize("recorded", [LAPTOP, ORIN])
def test_the_files_are_read_under_a_root(recorded, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(recorded)
    assert read_cpu(tmp_path).model == parse_cpu(recorded, "x", 1).model
    assert read_cpu(tmp_path).cores >= 1
    assert read_memory(tmp_path) is None
