"""A bundle appears under its name when it is complete, and not before."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hmdrn_runtime.errors import ExportError
from hmdrn_runtime.io.files import reason


@contextmanager
def published(output: Path) -> Iterator[Path]:
    """A folder to write into that takes its final name when the block ends well, and vanishes otherwise.

    Args:
        output: The final name; what is there is replaced as a whole.

    Raises:
        ExportError: A place that cannot be written.
    """
    token = secrets.token_hex(4)
    folder = output.with_name(f".{output.name}.{token}.part")
    parents = [parent for parent in output.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ExportError(f"cannot write to {output.parent}: {reason(error)}") from error
    try:
        yield folder
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
        raise ExportError(f"cannot write {output}: {reason(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in parents:  # from the innermost; they are not empty if all went well
            with suppress(OSError):
                parent.rmdir()
