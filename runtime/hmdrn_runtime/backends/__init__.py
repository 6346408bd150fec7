"""Executors of a bundle's graphs behind one interface."""

from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.backends.choosing import BACKENDS, choose_backend, open_backend

__all__ = ["BACKENDS", "Backend", "Resident", "choose_backend", "open_backend"]
