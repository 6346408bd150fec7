"""A device needs neither torch nor onnx; each test runs a new process."""

from __future__ import annotations

import pytest
from device_python import run_python


def test_importing_hmdrn_loads_next_to_nothing():
    code = "import hmdrn; print(sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    done = run_python(code, "numpy", "onnxruntime", "PIL", "click", "rich", "safetensors")
    assert done.stdout.strip() == "[]", done.stderr


def test_errors_and_version_are_available_without_torch_and_onnx():
    code = """
import hmdrn, inspect
from hmdrn_runtime import errors
kinds = [name for name, value in vars(errors).items() if inspect.isclass(value)]
print(all(getattr(hmdrn, name) is getattr(errors, name) for name in kinds), set(kinds) <= set(dir(hmdrn)))
print(hmdrn.__version__)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    first, version = done.stdout.split("\n")[:2]
    assert first == "True True"
    assert version[0].isdigit()


@pytest.mark.parametrize("entry", ["main", "export_main"])
def test_an_interrupt_during_imports_ends_without_a_traceback(entry):
    code = f"""
import builtins
find = builtins.__import__
def interrupted(name, *rest):
    if name == "click":
        raise KeyboardInterrupt
    return find(name, *rest)
from hmdrn._entry_points import {entry}
builtins.__import__ = interrupted
sys.exit({entry}())
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_device_enrolls_classifies_and_saves_without_torch_and_onnx(tmp_path):
    code = """
import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
birds = hmdrn.load("default")
for s, images in enumerate(draw_specimens(range(2), 3, size=96)):
    birds.enroll(f"species {s}", images[:2])
print(birds.classify(images[2]).label)
birds.save_gallery(sys.argv[1])
again = hmdrn.load("default", gallery=sys.argv[1])
print(again.classify(images[2]).label)
"""
    done = run_python(code, tmp_path / "site.gallery")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\n")[:2]
    assert first == second
    assert first.startswith("species ")


def test_a_devices_commands_start_without_torch_and_onnx():
    code = (
        "from hmdrn.cli.main import cli, run; print([run(cli, 'hmdrn', [v, '--help']) for v in sys.argv[1:]])"
    )
    done = run_python(code, "enroll", "classify", "eval", "inspect", "demo", "doctor", "explain")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[0, 0, 0, 0, 0, 0, 0]\n"), done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("export", "--precision", "fp32"), "'.[export]'"),
        (("train", "x.zip", "--output", "run"), "'.[train]'"),
    ],
)
def test_a_workstations_commands_say_which_extra_they_need(arguments, extra, tmp_path):
    code = (
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name in ('torch', 'onnx') else find(name, *a)\n"
        "from hmdrn._entry_points import main; sys.argv[0] = 'hmdrn'; sys.exit(main())"
    )
    done = run_python(code, *arguments)
    assert done.returncode == 2
    assert extra in done.stderr
    assert done.stderr.count("\n") == 1
