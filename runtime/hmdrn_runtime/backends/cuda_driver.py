"""Is there an NVIDIA GPU? Asked of the driver itself, before anything that would crash without one."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from hmdrn_runtime.errors import BackendError

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_SIZE = 128


@dataclass(frozen=True)
class Gpu:
    """The first GPU.

    Attributes:
        name: As the driver calls it.
        compute_capability: For example "8.7".
    """

    name: str
    compute_capability: str


def find_gpu() -> Gpu:
    """The machine's first NVIDIA GPU.

    Raises:
        BackendError: There is no driver, or it finds no GPU.
    """
    driver = _driver()
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or count.value < 1:
        raise BackendError(f"the NVIDIA driver finds no GPU (CUDA error {status})")
    name = ctypes.create_string_buffer(_NAME_SIZE)
    major, minor = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetName(name, _NAME_SIZE, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, 0)
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")


def cuda_version() -> str:
    """The newest CUDA that the driver serves, e.g. "12.6".

    Raises:
        BackendError: There is no driver, or it does not tell.
    """
    version = ctypes.c_int()
    status = _driver().cuDriverGetVersion(ctypes.byref(version))
    if status:
        raise BackendError(f"the NVIDIA driver does not tell its version (CUDA error {status})")
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _driver() -> ctypes.CDLL:
    for library in _LIBRARIES:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    raise BackendError(f"there is no NVIDIA driver ({_LIBRARIES[0]} is not found)")
