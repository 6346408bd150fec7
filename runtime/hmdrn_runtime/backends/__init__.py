"""Executors of a bundle's graphs behind one interface."""

from hmdrn_runtime.backends.base import Backend, Resident, open_backend

__all__ = ["Backend", "Resident", "open_backend"]
