"""`hmdrn doctor`: its report here, its advice for other devices, and the redaction of names."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hmdrn.cli.commands import doctor as command_module
from hmdrn.doctor import probes as child
from hmdrn.doctor.advice import advise
from hmdrn.doctor.probe_runner import run_probe
from hmdrn.doctor.redaction import private_names, redact, redact_text
from hmdrn.doctor.report import (
    EXTRAS,
    DeviceReport,
    _list_system_tensorrt,
    collect_report,
    find_provider_problem,
)
from hmdrn_runtime.device.clocks import Clock
from hmdrn_runtime.device.cpu import Cpu, Memory
from hmdrn_runtime.device.jetson import Jetson, read_jetson
from hmdrn_runtime.device.power import PowerMode
from hmdrn_runtime.device.state import DeviceState

SYNTAX = "pip install ", "hmdrn ", "hmdrn-export ", "sudo ", "python3 ", "pip uninstall ", "echo ", "ps "
OLD_DRIVER = "it is built for CUDA 13.0, the driver serves up to 12.2: update the driver, or install another"
TENSORRT_FAILS = {"tensorrt": "the bundle has no engines"}


def facts(**changes):
    """A laptop without a GPU on which everything is well, but for the changes."""
    well = DeviceReport(
        bundle="birds.hmdrn",
        hmdrn="0.1.0",
        python="3.11.7",
        system="Linux",
        cpu=Cpu("Some CPU", "x86_64", 8, ("AVX2",)),
        memory=Memory(8000, 4000),
        jetson=None,
        state=DeviceState(None, (), {}, ()),
        power_modes=(),
        int8=False,
        gpu={"error": "no NVIDIA driver is installed"},
        gpu_state=None,
        cuda_toolkit=None,
        tensorrt={"error": "it is not installed"},
        system_tensorrt=False,
        cuda_bindings={"error": "neither cuda-python nor pycuda is installed"},
        onnxruntime={"version": "1.20.0"},
        providers={"CPUExecutionProvider": None},
        missing_extras={},
        choice={
            "backend": "onnxruntime",
            "variant": "fp32",
            "passed_over": {},
            "not_used": {},
            "variants": ["fp32"],
        },
    )
    return dataclasses.replace(well, **changes)


def gpu(**changes):
    found = {"name": "NVIDIA RTX 4090", "compute_capability": "8.9", "cuda": "12.6"}
    return facts(**{"gpu": found, **changes})


def jetson(**changes):
    board = Jetson("NVIDIA Jetson Orin Nano Developer Kit", "36.4.3", "6")
    return gpu(
        **{"jetson": board, "cpu": Cpu("Cortex-A78AE", "aarch64", 6, ("NEON",)), "int8": True, **changes}
    )


@pytest.fixture(scope="module")
def here():
    """The report on this machine."""
    return collect_report("default")


def test_this_machine_works_and_every_provider_was_tried(here):
    assert here.choice["backend"] in ("onnxruntime", "onnxruntime-cuda", "tensorrt")
    assert here.providers["CPUExecutionProvider"] is None
    assert here.cpu.cores >= 1
    assert not any(one.needed for one in advise(here))


def test_the_command_ends_with_0_and_a_next_command(here, hmdrn, monkeypatch):
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: here)
    done = hmdrn("doctor")
    assert done.code == 0, done.err
    assert done.out.count("\nnext: ") == 1
    assert here.cpu.model in done.out
    found = hmdrn("doctor", "--json").json
    assert found["schema"] == "hmdrn.doctor/1"
    assert found["works"] is True
    assert found["advice"][0]["command"]
    assert set(found) == {f.name for f in dataclasses.fields(DeviceReport)} | {"schema", "works", "advice"}


STATES = {
    "nothing wrong": (facts(), "hmdrn enroll birds.hmdrn", "works here"),
    "INT8 is to be had": (facts(int8=True), "hmdrn-export --precision int8", "no INT8 variant"),
    "extras are missing": (
        facts(missing_extras={"plots": ("matplotlib",), "export": ("torch", "onnx")}),
        "pip install '.[plots,export]'",
        "plots (matplotlib)",
    ),
    "an OpenCV compiled for another NumPy": (
        facts(opencv={"error": "ImportError: numpy.core.multiarray; run pip install 'numpy<2'"}),
        "pip install 'numpy<2'",
        "OpenCV, which cannot be imported: ImportError: numpy",
    ),
    "a damaged OpenCV": (
        facts(opencv={"error": "ImportError: libGL.so.1"}),
        "pip install --force-reinstall opencv-python-headless",
        "libGL.so.1",
    ),
    "a GPU with an ONNX Runtime for CPUs": (gpu(), "onnxruntime-gpu", "for CPUs alone"),
    "a CUDA provider that does not load": (
        gpu(
            providers={
                "CUDAExecutionProvider": "it does not load: no libcublas",
                "CPUExecutionProvider": None,
            }
        ),
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        "no libcublas",
    ),
    "a driver that is too old for ONNX Runtime": (
        gpu(
            providers={"CUDAExecutionProvider": "it does not load: cuX", "CPUExecutionProvider": None},
            choice={**facts().choice, "not_used": {"onnxruntime-cuda": OLD_DRIVER}},
        ),
        "sudo ubuntu-drivers install",
        "the driver serves up to 12.2: update the driver",
    ),
    "no TensorRT on a Jetson": (jetson(), "sudo apt-get install python3-libnvinfer", "not installed"),
    "a Jetson's TensorRT out of sight": (
        jetson(system_tensorrt=True),
        "--system-site-packages",
        "does not see it",
    ),
    **{
        f"TensorRT without a package for CUDA {cuda}": (
            jetson(tensorrt={"version": "10.3.0"}, gpu={**gpu().gpu, "cuda": cuda}),
            f"pip install '.[{extra}]'",
            "neither cuda-python nor pycuda",
        )
        for cuda, extra in (("11.4", "tensorrt"), ("12.6", "cuda12"), ("13.2", "cuda13"))
    },
    "a package for CUDA that captures no graphs": (
        jetson(
            tensorrt={"version": "10.3.0"},
            cuda_bindings={"name": "pycuda", "captures_graphs": False},
            choice={**facts().choice, "backend": "tensorrt"},
        ),
        "pip install '.[cuda12]'",
        "pycuda captures no CUDA graphs",
    ),
    "TensorRT without engines": (
        jetson(
            tensorrt={"version": "10.3.0"},
            cuda_bindings={"name": "cuda-python", "captures_graphs": True},
            choice={**facts().choice, "not_used": TENSORRT_FAILS},
        ),
        "hmdrn build birds.hmdrn",
        "the bundle has no engines",
    ),
    "a TensorRT from pip before JetPack's": (
        jetson(tensorrt={"version": "10.14.1"}, hidden_tensorrt=True),
        "pip uninstall -y tensorrt",
        "(10.14.1) hides that of JetPack",
    ),
    "an INT8 bundle on TensorRT 10.3": (
        jetson(
            tensorrt={"version": "10.3.0"},
            cuda_bindings={"name": "cuda-python", "captures_graphs": True},
            choice={**facts().choice, "not_used": TENSORRT_FAILS, "variants": ["int8-trt", "fp32"]},
        ),
        "hmdrn build birds.hmdrn",
        "are often slower than FP16 ones",
    ),
    "INT8 engines of TensorRT 10.3 in use": (
        jetson(
            tensorrt={"version": "10.3.0"},
            cuda_bindings={"name": "cuda-python", "captures_graphs": True},
            choice={**facts().choice, "backend": "tensorrt", "variant": "int8-trt"},
        ),
        "hmdrn profile birds.hmdrn --compare FP16_BUNDLE",
        "are often slower than FP16 ones",
    ),
    "a Jetson's GPU that does not answer": (
        jetson(gpu={"error": "CUDA error 999"}),
        "sudo apt-get install --reinstall",
        "CUDA error 999",
    ),
    "a power mode that caps the clocks": (
        facts(
            state=DeviceState(PowerMode(0, "15W"), (), {}, ()),
            power_modes=(PowerMode(0, "15W"), PowerMode(2, "MAXN_SUPER")),
        ),
        "sudo nvpmodel -m 2",
        "15W (mode 0)",
    ),
    "a governor that saves power": (
        facts(
            state=DeviceState(None, (Clock("cpu 0-3", 600.0, 600.0, 2400.0, "powersave"),), {}, ()),
            cpu=Cpu("Cortex-A76", "aarch64", 4, ()),
        ),
        "scaling_governor",
        "cpu 0-3",
    ),
    "little memory": (facts(memory=Memory(2000, 120)), "ps aux", "120 MiB"),
    "heat": (facts(state=DeviceState(None, (), {"tj-thermal": 96.0}, ())), "hmdrn profile", "tj-thermal 96"),
}
BROKEN = {
    "no ONNX Runtime": (
        facts(onnxruntime={"error": "ImportError: libstdc++"}, providers={}),
        "pip install --force-reinstall onnxruntime",
        "libstdc++",
    ),
    "an ONNX Runtime that crashes": (
        facts(providers={"CPUExecutionProvider": "its process was ended by SIGILL"}),
        "pip install --force-reinstall onnxruntime",
        "SIGILL",
    ),
    "a damaged bundle": (facts(choice={"error": "it was changed"}), "hmdrn doctor default", "it was changed"),
    "a damaged default": (
        facts(bundle="default", choice={"error": "it was changed"}),
        "pip install --force-reinstall --no-deps .",
        "it was changed",
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_next_command_and_none_of_these_is_broken(state):
    found, command, words = STATES[state]
    advice = advise(found)
    (one,) = [a for a in advice if command in a.command]
    assert words in one.what
    assert not any(a.needed for a in advice)
    assert all(a.command.startswith(SYNTAX) for a in advice)
    assert state == "nothing wrong" or not any(command in a.command for a in advise(facts()))


@pytest.mark.parametrize("state", BROKEN)
def test_a_broken_need_is_all_that_is_reported_and_ends_with_2(state, hmdrn, monkeypatch):
    found, command, words = BROKEN[state]
    (one,) = advise(found)
    assert one.needed
    assert one.command == command
    assert words in one.what
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: found)
    done = hmdrn("doctor", "birds.hmdrn")
    assert done.code == 2
    assert f"next: {command}\n" in done.out
    assert hmdrn("doctor", "birds.hmdrn", "--json").json["works"] is False


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_shown(state, hmdrn, monkeypatch):
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: STATES[state][0])
    done = hmdrn("doctor", "birds.hmdrn")
    assert done.code == 0, done.err
    assert done.err == ""


def test_the_check_of_engines_in_use_is_shown_with_what_was_not_kept(hmdrn, monkeypatch):
    check = {"distance_error": 2e-4, "mask_bits_differing": 0.001, "top1_agreement": 100.0}
    check["rejected"] = {"fp16": "outputs differ by nan (at most 0.02)"}
    used = facts(choice={**facts().choice, "backend": "tensorrt", "engine_check": check})
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: used)
    shown = " ".join(hmdrn("doctor").out.split())
    assert "distances differ by 2.0e-04, 0.10% of the mask bits differ, 100.0 % of the answers agree" in shown
    assert "not kept: fp16 engines, outputs differ by nan (at most 0.02)" in shown


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"name": "pycuda", "captures_graphs": False}, "pycuda, which captures no CUDA graphs"),
        ({"name": "cuda-python", "captures_graphs": True}, "cuda-python │"),
        ({"error": "it does not start"}, "no: it does not start"),
    ],
)
def test_the_package_for_cuda_is_shown_with_what_it_lacks(hmdrn, monkeypatch, answer, line):
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: facts(cuda_bindings=answer))
    assert f"CUDA package │ {line}" in " ".join(hmdrn("doctor").out.split())


@pytest.mark.parametrize(
    ("stored", "line"),
    [
        ({"issue": None}, "fp32 12.3 ms, int8-ort 8.1 ms, measured 2026-11-29T06:00:00+00:00"),
        ({"issue": "it is of another CPU: x"}, "ignored: it is of another CPU: x"),
    ],
)
def test_the_stored_profile_is_shown(hmdrn, monkeypatch, stored, line):
    times = {"milliseconds": {"fp32": 12.345, "int8-ort": 8.1}, "measured_at": "2026-11-29T06:00:00+00:00"}
    choice = {**facts().choice, "stored_profile": {**times, **stored}}
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: facts(choice=choice))
    assert line in " ".join(hmdrn("doctor").out.split())


def test_int8_that_a_stored_profile_chose_is_said_to_be_faster(hmdrn, monkeypatch):
    pi = facts(
        cpu=Cpu("Cortex-A72", "aarch64", 4, ("NEON",)), choice={**facts().choice, "variant": "int8-ort"}
    )
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: pi)
    assert "exact, and faster by the stored profile" in " ".join(hmdrn("doctor").out.split())


def test_the_choice_has_the_stored_profile():
    stored = child.probe_choice("default")["stored_profile"]
    assert set(stored) == {"milliseconds", "measured_at", "issue"}


def test_int8_is_said_to_be_passed_over_where_it_would_be_wrong(hmdrn, monkeypatch):
    for exact in (True, False):
        monkeypatch.setattr(command_module, "collect_report", lambda bundle, exact=exact: facts(int8=exact))
        shown = hmdrn("doctor").out
        assert ("passed over: without VNNI" in shown) is not exact


# --- Trials -----------------------------------------------------------------------------------------------

FAKE = """
import os, sys
__version__ = "9.9"
class SessionOptions: pass
def get_available_providers(): return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class InferenceSession:
    def __init__(self, model, options, providers):
        if providers == ["CUDAExecutionProvider"]:
            {cuda}
    def get_providers(self): return ["CPUExecutionProvider"]
    def run(self, names, inputs): return [inputs["x"] + inputs["x"]]
"""


@pytest.fixture
def fake_onnxruntime(tmp_path, monkeypatch):
    """Another onnxruntime for the trials: what its CUDA provider does is given as a statement."""

    def install(cuda="pass", text=FAKE):
        (tmp_path / "onnxruntime.py").write_text(text.replace("{cuda}", cuda))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def test_a_provider_that_crashes_takes_its_own_process_alone_with_it(fake_onnxruntime):
    fake_onnxruntime("os.abort()")
    assert run_probe("providers")["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    reason = find_provider_problem("CUDAExecutionProvider", run_probe("provider", "CUDAExecutionProvider"))
    assert reason is not None
    assert "SIGABRT" in reason
    assert (
        find_provider_problem("CPUExecutionProvider", run_probe("provider", "CPUExecutionProvider")) is None
    )


def test_a_provider_whose_library_fails_is_said_so_with_the_librarys_words(fake_onnxruntime):
    fake_onnxruntime("print('\\x1b[31mE] libcublasLt.so.12: cannot open shared object', file=sys.stderr)")
    reason = find_provider_problem("CUDAExecutionProvider", run_probe("provider", "CUDAExecutionProvider"))
    assert reason == "it does not load: E] libcublasLt.so.12: cannot open shared object"


def test_a_trial_that_raises_hangs_or_ends_early_answers_with_the_reason(fake_onnxruntime):
    fake_onnxruntime(text="raise ImportError('libgomp.so.1: cannot open')")
    assert run_probe("providers") == {"error": "ImportError: libgomp.so.1: cannot open"}
    fake_onnxruntime(text="import time; time.sleep(30)")
    assert run_probe("providers", timeout=0.5) == {"error": "it did not answer within 0.5 s"}
    fake_onnxruntime(text="import os; os._exit(7)")
    assert run_probe("providers") == {"error": "its process ended with code 7"}


def test_a_package_compiled_for_another_numpy_answers_with_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "compiled.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("numpy.__version__", "2.3.1")
    assert child.probe_package("compiled")["error"].endswith("run pip install 'numpy<2'")


def test_the_version_of_opencv_is_shown(hmdrn, monkeypatch):
    pytest.importorskip("cv2")
    assert collect_report("default", probe=lambda *_: {"version": "4.6.0", "providers": []}).opencv
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: facts(opencv={"version": "4.6.0"}))
    assert re.search(r"OpenCV\W+4\.6\.0", hmdrn("doctor").out)


def test_a_tensorrt_that_hides_the_systems_is_noticed(tmp_path, monkeypatch):
    system = tmp_path / "usr/lib/python3.12/dist-packages/tensorrt"
    pip = tmp_path / "venv/tensorrt"
    for folder in (system, pip):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    answer = {"error": "no", "providers": []}
    for seen, hidden in ((pip, True), (system, False)):
        monkeypatch.syspath_prepend(str(seen.parent))
        report = collect_report("default", tmp_path, lambda *_: answer)
        assert (report.hidden_tensorrt, report.system_tensorrt) == (hidden, False)


def test_the_tensorrt_of_jetpack_5_is_not_advised(tmp_path):
    """It is for Python 3.8."""
    release = tmp_path / "etc/nv_tegra_release"
    release.parent.mkdir()
    release.write_text("# R35 (release), REVISION: 6.0, GCID: 1, BOARD: t186ref")
    (tmp_path / "usr/lib/python3.8/dist-packages/tensorrt").mkdir(parents=True)
    report = dataclasses.replace(
        jetson(), jetson=read_jetson(tmp_path), system_tensorrt=bool(_list_system_tensorrt(tmp_path))
    )
    commands = [advice.command for advice in advise(report)]
    assert commands == ["hmdrn enroll birds.hmdrn FOLDER --gallery my.gallery"]
    (tmp_path / "usr/lib/python3.10/dist-packages/tensorrt").mkdir(parents=True)
    assert len(_list_system_tensorrt(tmp_path)) == 1


def test_doctor_itself_needs_no_onnxruntime(fake_onnxruntime):
    fake_onnxruntime(text="raise ImportError('libgomp.so.1: cannot open')")
    command = [sys.executable, "-m", "hmdrn", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert "next: pip install --force-reinstall onnxruntime\n" in done.stdout
    assert "libgomp.so.1" in done.stdout


def test_a_provider_that_computes_wrongly_does_not_work():
    answer = {"used": ["SomeProvider"], "right": False}
    assert "wrongly" in str(find_provider_problem("SomeProvider", answer))


def test_a_bundle_that_is_not_there_is_broken(tmp_path):
    assert "no bundle at" in run_probe("choice", str(tmp_path / "no.hmdrn"))["error"]


def test_the_smallest_of_models_is_what_it_says():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(base64.b64decode(child._ADD))
    onnx.checker.check_model(model)
    assert [(n.op_type, list(n.input), list(n.output)) for n in model.graph.node] == [
        ("Add", ["x", "x"], ["y"])
    ]


def test_the_extras_are_those_that_the_package_offers():
    from importlib.metadata import metadata

    offered = set(metadata("hmdrn").get_all("Provides-Extra") or ())
    assert {"export", "plots", "train", "camera"} <= offered
    assert {"export", "plots", "train", "camera"} <= set(EXTRAS)


# --- Privacy ----------------------------------------------------------------------------------------------

SECRETS = (
    *("zaphod", "heart-of-gold", "betelgeuse", "48:b0:2d:11:22:33", "48-B0-2D-11-22-33"),
    *("1421423012345", "secret-mount", "0xdeadbeefcafe"),
)


def test_a_report_names_no_user_host_folders_or_serial_numbers(tmp_path, monkeypatch, hmdrn):
    home = "/home/zaphod"
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("USER", "zaphod")
    monkeypatch.setattr("socket.gethostname", lambda: "heart-of-gold")
    planted = {
        "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd42\nSerial\t\t: 1421423012345\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "proc/device-tree/serial-number": "1421423012345\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, DATE: now by betelgeuse",
        "etc/hostname": "heart-of-gold\n",
        "etc/machine-id": "0xdeadbeefcafe\n",
        "sys/class/net/eth0/address": "48:b0:2d:11:22:33\n",
    }
    for name, text in planted.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    answers = {
        "gpu": {"error": f"cannot open {home}/.nv/libcuda.so.1 for zaphod@heart-of-gold"},
        "package": {"error": "no lib in /media/secret-mount/usb/libnvinfer.so.10"},
        "bindings": {"error": f"{home}/.venv/lib/python3.10/site-packages/cuda/__init__.py is damaged"},
        "providers": {"version": "1.20", "providers": ["CPUExecutionProvider", "CUDAExecutionProvider"]},
        "provider": {"error": "from 48:b0:2d:11:22:33 and 48-B0-2D-11-22-33, user zaphod"},
        "choice": {"error": rf"C:\Users\zaphod\secret-mount\x.hmdrn and {home}/birds.hmdrn: changed"},
    }
    found = collect_report(f"{home}/secret-mount/birds.hmdrn", tmp_path, lambda what, *_: answers[what])
    monkeypatch.setattr(command_module, "collect_report", lambda bundle: found)
    assert "zaphod" in json.dumps(dataclasses.asdict(found))
    done = hmdrn("doctor", found.bundle, "--json")
    assert done.json["bundle"] == "birds.hmdrn"
    assert done.json["jetson"] == {"model": "NVIDIA Jetson Orin Nano", "l4t": "36.4.3", "jetpack": "6"}
    for secret in SECRETS:
        assert secret not in done.out, secret
    assert "libcuda.so.1" in done.out


@pytest.mark.parametrize(
    "bundle", ["secret site/birds.hmdrn", "/media/my secret disk/birds.hmdrn", "~/the secret/birds.hmdrn/"]
)
def test_of_a_bundles_path_a_report_has_the_last_part_alone(bundle, monkeypatch, hmdrn):
    monkeypatch.setenv("HOME", "/home/ann")
    whole = [str(make(bundle)) for make in (Path, os.path.expanduser, os.path.abspath)]
    choice = {"error": f"no bundle at {whole[0]}, {whole[1]}/graphs/a.onnx or {whole[2]}"}
    for found in (facts(bundle=bundle), facts(bundle=bundle, choice=choice)):
        monkeypatch.setattr(command_module, "collect_report", lambda bundle, found=found: found)
        done = hmdrn("doctor", bundle, "--json")
        assert "secret" not in done.out
        assert done.json["bundle"].rstrip("/") == "birds.hmdrn"


def test_the_next_command_can_be_pasted_into_a_shell(hmdrn, monkeypatch):
    bundle = "my birds; $(rm x)/it's.hmdrn"
    for found in (facts(), STATES["TensorRT without engines"][0], STATES["heat"][0]):
        named = dataclasses.replace(found, bundle=bundle)
        monkeypatch.setattr(command_module, "collect_report", lambda bundle, named=named: named)
        commands = [line.partition(": ")[2] for line in hmdrn("doctor", bundle).out.splitlines()]
        ours = [
            shlex.split(one) for one in commands if one.startswith(("hmdrn build", "hmdrn pro", "hmdrn enr"))
        ]
        assert ours
        assert all(one[2] == bundle for one in ours)


def test_redaction_leaves_text_alone_that_identifies_nobody():
    private = {"ann": "<user>", "pi": "<host>"}
    text = "ann planned pip install '.[plots]' on pi: 5 x 5, R36 4.3, a/b, 12.6"
    assert redact_text(text, private, {}) == text.replace("ann planned", "<user> planned").replace(
        "on pi:", "on <host>:"
    )
    assert redact_text("/home/Ann Other/x/lib.so", {}, {"/home/Ann Other": "~"}) == ".../lib.so"
    assert redact({"a": [1, None, True, "ann"], "ann": 2.5}, private, {}) == {
        "a": [1, None, True, "<user>"],
        "<user>": 2.5,
    }


def test_a_report_shows_no_password_of_an_address_given_as_bundle():
    answer = {"error": "it does not run", "providers": []}
    report = collect_report("rtsp://keeper:s3cret@10.0.0.7/x", Path("/"), lambda *_: answer)
    assert report.bundle == "rtsp://***@10.0.0.7/x"
    assert "s3cret" not in repr(report) + repr(advise(report))


def test_names_of_one_or_two_letters_are_no_names(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "a")
    monkeypatch.setenv("USER", "io")
    monkeypatch.setenv("LOGNAME", "zaphod")
    found = private_names()
    assert "a" not in found
    assert "io" not in found
    assert found["zaphod"] == "<user>"
    assert Path.home().name not in found or found[Path.home().name] == "<user>"
