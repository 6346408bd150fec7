"""Folders that appear under their name once they are complete, and not before."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hmdrn_runtime.errors import ExportError, HmdrnError
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.io.permissions import copy_permissions


@contextmanager
def publish_atomically(output: Path, error_type: type[HmdrnError] = ExportError) -> Iterator[Path]:
    """Yield a folder that is renamed if the block succeeds, and removed otherwise.

    Args:
        output: The final name; an existing folder is replaced as a whole, and keeps its modes and groups.
        error_type: Error to raise.

    Raises:
        HmdrnError: The folder cannot be written.
    """
    token = secrets.token_hex(4)
    folder = output.with_name(f".{output.name}.{token}.part")
    parents = [parent for parent in output.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise error_type(f"cannot write to {output.parent}: {describe_os_error(error)}") from error
    try:
        copy_permissions(output, folder)  # before it is filled: its files get its group, if it passes that on
        folder.chmod(folder.stat().st_mode | 0o700)
        yield folder
        for path in (folder, *folder.rglob("*")):
            copy_permissions(output / path.relative_to(folder), path)
        replaced = output.with_name(f".{output.name}.{token}.old")
        if output.exists():
            output.replace(replaced)
        try:
            folder.replace(output)
        except OSError:
            if replaced.exists():
                replaced.replace(output)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise error_type(f"cannot write {output}: {describe_os_error(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in parents:  # innermost first; after a success they are not empty
            with suppress(OSError):
                parent.rmdir()
