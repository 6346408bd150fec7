"""Clocks, temperatures, power mode and rails, from recorded trees of files."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from hmdrn_runtime.device.clocks import Clock, read_clocks
from hmdrn_runtime.device.jetson import Jetson, has_dla_compiler, parse_l4t, read_jetson, read_l4t_release
from hmdrn_runtime.device.nvidia import GpuState, parse_gpu_state, read_cuda_toolkit
from hmdrn_runtime.device.power import (
    PowerMode,
    Rail,
    find_module_input,
    parse_power_mode,
    query_power_mode,
    read_power_mode,
    read_power_modes,
    read_rails,
)
from hmdrn_runtime.device.state import read_state
from hmdrn_runtime.device.thermal import find_hottest, read_temperatures

ORIN_RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)
ORIN = {
    "etc/nv_tegra_release": ORIN_RELEASE,
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nvpmodel.conf": (
        "# < POWER_MODEL ID=1 NAME=NOT_THIS >\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "sys/devices/system/cpu/cpufreq/policy0/affected_cpus": "0 1 2 3\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "729600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1344000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpufreq/policy4/affected_cpus": "4 5\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "1344000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq": "1344000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq": "1344000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_governor": "performance\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "435200000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "918000000\n",
    "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "47281\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "45906\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone3/type": "off-thermal\n",
    "sys/class/thermal/thermal_zone3/temp": "-256000\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input": "5072\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input": "928\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_input": "5064\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input": "152\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in3_label": "NC\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in3_input": "0\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr3_input": "0\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in7_input": "3440\n",
}
"""The files of an Orin Nano under JetPack 6 that are read."""


@pytest.fixture
def tree(tmp_path):
    """Write files under a root: tree({"etc/name": "text"})."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_an_orin_reports_its_board_release_and_jetpack(tree):
    assert read_jetson(tree(ORIN)) == Jetson("NVIDIA Jetson Orin Nano Developer Kit", "36.4.3", "6")


@pytest.mark.parametrize(
    ("line", "l4t", "jetpack"),
    [
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "32.7.1", "4"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1", "5"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic", "38.2.0", "7"),
        ("# R39 (release), REVISION: 2.0, GCID: 45000000, BOARD: generic", "39.2.0", "7"),
        ("# R99 (release), REVISION: 1.0, GCID: 1, BOARD: generic", "99.1.0", None),
    ],
)
def test_every_release_of_linux_for_tegra_belongs_to_a_jetpack(line, l4t, jetpack, tree):
    assert read_jetson(tree({"etc/nv_tegra_release": line})) == Jetson(None, l4t, jetpack)


def test_the_compiler_of_accelerators_is_found_where_jetpack_has_it(tree):
    assert not has_dla_compiler(tree({"usr/lib/aarch64-linux-gnu/libcuda.so": ""}))
    assert has_dla_compiler(tree({"usr/lib/aarch64-linux-gnu/nvidia/libnvdla_compiler.so": ""}))


def test_another_makers_board_and_a_damaged_release_are_not_a_jetson(tree):
    root = tree({"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0", "etc/nv_tegra_release": "R?"})
    assert read_jetson(root) is None
    assert parse_l4t("R36 (release)") is None


def test_the_release_line_of_fingerprints_lacks_only_its_comment_sign(tree):
    assert read_l4t_release(tree(ORIN)) == ORIN_RELEASE.splitlines()[0].removeprefix("# ")


def test_the_power_mode_has_the_name_that_the_boards_table_gives_it(tree):
    root = tree(ORIN)
    assert read_power_mode(root) == PowerMode(1, "25W")
    assert str(read_power_mode(root)) == "25W (mode 1)"
    (root / "etc/nvpmodel.conf").unlink()
    assert str(read_power_mode(root)) == "mode 1"
    (root / "var/lib/nvpmodel/status").write_text("?")
    assert read_power_mode(root) is None


def test_the_power_mode_is_found_in_what_nvpmodel_prints():
    assert parse_power_mode("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n") == PowerMode(0, "MAXN")
    assert parse_power_mode("command not found") is None


def test_nvpmodel_is_run_where_its_files_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert query_power_mode() is None
    program = tmp_path / "nvpmodel"
    program.write_text('#!/bin/sh\n[ "$1" = -q ] && echo "NV Power Mode: 15W" && echo 2\n')
    program.chmod(0o755)
    assert query_power_mode() == PowerMode(2, "15W")
    program.write_text("#!/bin/sh\necho must be root >&2; exit 1\n")
    assert query_power_mode() is None


def test_cores_that_are_clocked_together_are_one_clock_and_the_gpu_another(tree):
    assert read_clocks(tree(ORIN)) == (
        Clock("cpu 0-3", 729.6, 729.6, 1344.0, "schedutil"),
        Clock("cpu 4-5", 1344.0, 1344.0, 1344.0, "performance"),
        Clock("gpu", 306.0, 306.0, 918.0, "nvhost_podgov"),
    )
    assert [clock.locked for clock in read_clocks(tree(ORIN))] == [False, True, False]


def test_policies_are_in_the_order_of_their_numbers(tree):
    files = {f"sys/devices/system/cpu/cpufreq/policy{n}/affected_cpus": f"{n}" for n in (10, 2, 0)}
    clocks = read_clocks(tree(files))
    assert [clock.name for clock in clocks] == ["cpu 0", "cpu 2", "cpu 10"]
    assert not clocks[0].locked


@pytest.mark.parametrize(
    "name", ["57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "gpu-gpc-0"]
)
def test_the_gpu_of_every_jetson_is_found(name, tree):
    (clock,) = read_clocks(tree({f"sys/class/devfreq/{name}/cur_freq": "921600000"}))
    assert (clock.name, clock.mhz) == ("gpu", 921.6)


def test_zones_that_are_off_or_cannot_be_read_are_left_out(tree):
    temperatures = read_temperatures(tree(ORIN))
    assert temperatures == {"cpu-thermal": 47.281, "gpu-thermal": 45.906}
    assert find_hottest(temperatures) == ("cpu-thermal", 47.281)
    assert find_hottest({}) is None


def test_without_thermal_zones_the_cpus_own_sensor_is_read(tree):
    root = tree(
        {
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "39850",
            "sys/class/hwmon/hwmon3/name": "k10temp",
            "sys/class/hwmon/hwmon3/temp1_input": "61250",
            "sys/class/hwmon/hwmon3/temp1_label": "Tctl",
        }
    )
    assert read_temperatures(root) == {"k10temp Tctl": 61.25}


def test_rails_are_volts_times_amperes_of_the_channels_that_are_connected(tree):
    rails = read_rails(tree(ORIN))
    assert rails == (Rail("VDD_IN", 5.072 * 0.928), Rail("VDD_CPU_GPU_CV", 5.064 * 0.152))
    assert find_module_input(rails) == rails[0]
    assert find_module_input(rails[1:]) is None


def test_rails_of_jetpack_4_are_read_in_milliwatts(tree):
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files = {f"{folder}/rail_name_0": "POM_5V_IN\n", f"{folder}/in_power0_input": "2193\n"}
    assert read_rails(tree(files)) == (Rail("POM_5V_IN", 2.193),)


def test_a_machine_without_sensors_has_an_empty_state(tmp_path):
    state = read_state(tmp_path)
    assert (state.power_mode, state.clocks, state.temperatures, state.rails) == (None, (), {}, ())
    assert read_jetson(tmp_path) is None


def test_the_state_is_ready_for_json(tree):
    values = json.loads(json.dumps(asdict(read_state(tree(ORIN)))))
    assert values["power_mode"] == {"id": 1, "name": "25W"}
    assert values["clocks"][0]["governor"] == "schedutil"
    assert values["rails"][0]["name"] == "VDD_IN"


def test_values_that_are_not_numbers_are_left_out(tree):
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "warm",
        "sys/class/devfreq/17000000.gpu/cur_freq": "",
    }
    root = tree(files)
    assert read_temperatures(root) == {}
    assert read_clocks(root) == (Clock("gpu", None, None, None, None),)


def test_all_power_modes_of_a_board_are_listed(tree):
    modes = (PowerMode(0, "15W"), PowerMode(1, "25W"), PowerMode(2, "MAXN_SUPER"))
    assert read_power_modes(tree(ORIN)) == modes


def test_nvidia_smis_first_line_is_the_first_gpu():
    text = "41, 345, 1980, 75.31, 81559, 81040\n39, 345, 1980, 70.00, 81559, 81040\n"
    assert parse_gpu_state(text) == GpuState(41, 345, 1980, 75.31, 81559, 81040)
    assert parse_gpu_state("41, [N/A], 1980, [Not Supported], 1, 1") == GpuState(41, None, 1980, None, 1, 1)
    assert parse_gpu_state("") is None
    assert parse_gpu_state("NVIDIA-SMI has failed because it couldn't communicate") is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}', "12.6.68"),
        ("version.json", '{"cuda": []}', None),
        ("version.json", "{", None),
        ("version.txt", "CUDA Version 10.2.300\n", "10.2.300"),
        ("other", "", None),
    ],
)
def test_the_toolkits_version_is_read_where_it_is_installed(name, text, expected, tree):
    assert read_cuda_toolkit(tree({f"usr/local/cuda/{name}": text})) == expected
