"""One page about a self-test, in Markdown: for an issue, and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ERRORS = ("distance_error", "mask_bits_differing")


def format_page(values: Mapping[str, Any]) -> str:
    """Return the page of a self-test, from its redacted JSON values."""
    return "\n".join(_list_lines(values)) + "\n"


def _list_lines(values: Mapping[str, Any]) -> Iterator[str]:
    extent = "quick test" if values["quick"] else "full test"
    verdict = "nothing failed" if values["works"] else "some parts failed"
    yield f"# hmdrn selftest: {verdict}"
    yield f"\nBundle {values['bundle']}, {extent}, {values['seconds']:.0f} s.\n"
    if (device := values["device"]) is not None:
        yield from _table(("device", ""), list(_device_rows(device)))
    parts = values["parts"]
    rows = [(part["name"], part["status"], f"{part['seconds']:.1f}", _cell(part["reason"])) for part in parts]
    yield from _table(("part", "result", "seconds", "reason"), rows)
    runs = [(part["name"], part["answer"]) for part in parts if (part["answer"] or {}).get("checks")]
    if runs:
        yield "Accuracy, and agreement with the float32 graphs on the CPU:\n"
        columns = (
            "part",
            "photos",
            "queries",
            "right %",
            "float32 right %",
            "same answer %",
            "distances differ by",
        )
        yield from _table(columns, [row for name, answer in runs for row in _accuracy_rows(name, answer)])
        compared = [row for name, answer in runs for row in _quantized_rows(name, answer)]
        if compared:
            yield "INT8 against its own graphs, computed in float32 on the CPU:\n"
            yield from _table(("part", "photos", "outputs", "differ by", "distances", "differ by"), compared)
        yield "Milliseconds from a JPEG of 500 x 375 pixels to the answer:\n"
        yield from _table(
            ("part", "stage", "p50", "p90", "runs"),
            [row for name, answer in runs for row in _latency_rows(name, answer)],
        )
    if builds := [row for part in parts for row in _build_rows(part["name"], part["answer"] or {})]:
        yield "Engines, compared with the float32 graphs on the CPU when they were built:\n"
        yield from _table(
            ("part", "built", "distances differ by", "mask bits differ %", "same answer %", "not kept"),
            builds,
        )
    peaks = [
        (part["name"], f"{peak:.0f}") for part in parts if (peak := (part["answer"] or {}).get("peak_mib"))
    ]
    if peaks:
        yield "Most memory of the part's process, in MiB:\n"
        yield from _table(("part", "memory"), peaks)
    if device is not None:
        yield "Row for the table of hmdrn's page on hardware:\n"
        yield f"```\n{_format_hardware_row(values)}\n```"


def _device_rows(device: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    cpu, jetson, memory, gpu = (device[key] for key in ("cpu", "jetson", "memory", "gpu"))
    yield "hmdrn", f"{device['hmdrn']}, Python {device['python']}, {device['system']}"
    if jetson is not None:
        yield "board", f"{jetson['model']}, L4T {jetson['l4t']}, JetPack {jetson['jetpack']}"
    yield "CPU", f"{cpu['model']}, {cpu['cores']} cores, {cpu['architecture']}, {' '.join(cpu['features'])}"
    if memory is not None:
        yield "memory", f"{memory['total_mib']} MiB"
    yield "GPU", _cell(gpu.get("name") or gpu["error"])
    for name in ("tensorrt", "onnxruntime"):
        yield name, _cell(device[name].get("version") or device[name]["error"])
    if mode := device["state"]["power_mode"]:
        yield "power mode", f"{mode['name']} ({mode['id']})"


def _accuracy_rows(name: str, answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, check in answer["checks"].items():
        shares = (check[key] for key in ("accuracy", "reference_accuracy", "top1_agreement"))
        yield (
            name,
            kind,
            str(check["queries"]),
            *(f"{share:.1f}" for share in shares),
            f"{check['distance_error']:.1e}",
        )


def _build_rows(name: str, answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if "compiler" not in answer:
        return
    check = answer["check"]
    rejected = [f"{precision}: {reason}" for precision, reason in check["rejected"].items()]
    yield (
        name,
        f"{answer['precision']}, {answer['compiler']}",
        f"{check['distance_error']:.1e}",
        f"{100 * check['mask_bits_differing']:.2f}",
        f"{check['top1_agreement']:.1f}",
        _cell("; ".join(rejected)),
    )


def _format_hardware_row(values: Mapping[str, Any]) -> str:
    """Return the row for the table in docs/hardware.md: the hardware, what has run there, and how."""
    device, parts = values["device"], values["parts"]
    cpu, jetson, gpu = (device[key] for key in ("cpu", "jetson", "gpu"))
    hardware = [f"{cpu['model']}, {cpu['cores']} cores, {cpu['architecture']}", " ".join(cpu["features"])]
    if jetson is not None:
        hardware.insert(0, f"{jetson['model']}, L4T {jetson['l4t']}")
    if "name" in gpu:
        hardware.append(f"GPU {gpu['name']}, TensorRT {device['tensorrt'].get('version', 'none')}")
    software = f"{device['system']}, Python {device['python']}"
    hardware.append(f"{software}, ONNX Runtime {device['onnxruntime'].get('version', 'none')}")
    runs = [
        part["name"] for part in parts if part["status"] == "passed" and (part["answer"] or {}).get("checks")
    ]
    failed = ", ".join(part["name"] for part in parts if part["status"] == "failed") or "nothing"
    extent = " --quick" if values["quick"] else ""
    how = f"`hmdrn selftest {values['bundle']}{extent}`, hmdrn {device['hmdrn']}; failed: {failed}"
    cells = ("; ".join(filter(None, hardware)), ", ".join(runs), how)
    return f"| {' | '.join(map(_cell, cells))} |"


def _quantized_rows(name: str, answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, check in answer["checks"].items():
        if values := check.get("quantized"):
            yield name, kind, *(cell for part in ("output", "distance") for cell in _compare(values, part))


def _compare(values: Mapping[str, Any], part: str) -> tuple[str, str]:
    """Return the factor and the norm of the difference; empty if they were not measured."""
    factor, error = values[f"{part}_factor"], values[f"{part}_norm_error"]
    return ("", "") if error is None else (f"{factor:.3f} times", f"{error:.1e}")


def _latency_rows(name: str, answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    latency = answer["latency"]
    for stage, value in {**latency["stages"], "total": latency["total"]}.items():
        yield name, stage, f"{value['p50']:.2f}", f"{value['p90']:.2f}", str(value["runs"])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _cell(text: object) -> str:
    """Return text for a cell of a table."""
    return " ".join(str(text).replace("|", "\\|").split())
