"""Search for an NVIDIA GPU through the driver itself, before any library that would crash without one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

from hmdrn_runtime.errors import BackendError

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_SIZE = 128
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC
_SET_FLAGS = "cuDevicePrimaryCtxSetFlags_v2"


@dataclass(frozen=True)
class Gpu:
    """The first GPU.

    Attributes:
        name: As the driver calls it.
        compute_capability: For example "8.7".
        multiprocessors: Their number; None if unknown. Boards with an Orin share a name, and differ in it.
    """

    name: str
    compute_capability: str
    multiprocessors: int | None = None


def find_gpu() -> Gpu:
    """Return the machine's first NVIDIA GPU.

    Raises:
        BackendError: The driver is missing, or finds no GPU.
    """
    driver = _load_driver()
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or count.value < 1:
        raise BackendError(f"the NVIDIA driver finds no GPU (CUDA error {status})")
    name = ctypes.create_string_buffer(_NAME_SIZE)
    major, minor, multiprocessors = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetName(name, _NAME_SIZE, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(multiprocessors), _MULTIPROCESSORS, 0)
    capability = f"{major.value}.{minor.value}"
    return Gpu(name.value.decode(errors="replace"), capability, multiprocessors.value or None)


def read_cuda_version() -> str:
    """Return the newest CUDA version that the driver supports, e.g. "12.6".

    Raises:
        BackendError: The driver is missing, or does not report a version.
    """
    version = ctypes.c_int()
    status = _load_driver().cuDriverGetVersion(ctypes.byref(version))
    if status:
        raise BackendError(f"the NVIDIA driver does not report its version (CUDA error {status})")
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def find_missing_functions(names: Iterable[str]) -> list[str]:
    """Return those functions, by their names in the library, that the driver is too old to have.

    Raises:
        BackendError: The driver is missing.
    """
    driver = _load_driver()
    return [name for name in names if not hasattr(driver, name)]


def set_blocking_sync() -> None:
    """Let threads that wait for the first GPU sleep in place of spinning: for boards that need the CPU.

    It holds for this process's primary context, which every library of CUDA shares.

    Raises:
        BackendError: The driver is missing, too old (before CUDA 11.0), or refuses.
    """
    driver = _load_driver()
    if find_missing_functions([_SET_FLAGS]):
        reason = f"it has no {_SET_FLAGS}"
    elif status := driver.cuInit(0) or getattr(driver, _SET_FLAGS)(0, _BLOCKING_SYNC):
        reason = f"CUDA error {status}"
    else:
        return
    raise BackendError(
        f"the NVIDIA driver does not let threads sleep while they wait ({reason}): "
        "leave HMDRN_BLOCKING_SYNC out"
    )


def _load_driver() -> ctypes.CDLL:
    for library in _LIBRARIES:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    raise BackendError(f"no NVIDIA driver is installed ({_LIBRARIES[0]} is not found)")
