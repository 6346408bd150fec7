"""A gallery on disk: one file, replaced as a whole and by one process at a time; the one before is kept."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file_format import FORMAT_VERSION, Glance, decode, encode, glance
from hmdrn_runtime.gallery.gallery import Gallery, State, Written, check_network
from hmdrn_runtime.gallery.three_way_merge import reconciled
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import check_folder_of, reason, user_path, write_atomically
from hmdrn_runtime.io.locking import WAIT, file_lock


def previous_path(path: Path) -> Path:
    """Where the generation before the one at `path` is kept."""
    return path.with_name(path.name + ".previous")


def check_gallery_place(path: str | os.PathLike[str]) -> Path:
    """The path of a gallery to write, with `~` expanded; to be asked before the work that fills the gallery.

    Raises:
        GalleryError: It is a folder, or in a folder that does not exist.
    """
    path = user_path(path, GalleryError)
    if not path.name or path.is_dir():
        raise GalleryError(
            f"cannot write gallery {path}: it is {detect_file_kind(path)}; give the path of a gallery file"
        )
    check_folder_of(path, "gallery", GalleryError)
    return path


def load_gallery(path: str | os.PathLike[str]) -> Gallery:
    """Read a gallery.

    Args:
        path: The file.

    Raises:
        GalleryError: It is missing, no gallery, of another format version, or damaged; where an earlier
            generation lies beside it, the message says so.
    """
    path = user_path(path, GalleryError)
    if path.is_dir():
        raise GalleryError(f"{path} is {detect_file_kind(path)}; give the path of a gallery file")
    if not path.is_file():
        raise GalleryError(f"no gallery at {path}: enroll species first, or check the path")
    try:
        gallery, seal = decode(path)
    except GalleryError as error:
        earlier = previous_path(path)
        hint = f"; the generation before it is in {earlier}" if earlier.is_file() else ""
        raise GalleryError(f"{error}{hint}") from error
    gallery.files[path.resolve()] = Written(seal, gallery.snapshot())
    return gallery


def save_gallery(gallery: Gallery, path: str | os.PathLike[str]) -> None:
    """Put a gallery in the place of what is at `path`, whatever that is; `sync_gallery` keeps both.

    After a power cut the file is the old one or the new one, never half of one.

    Args:
        gallery: What to write.
        path: The file; its former content is kept as `<path>.previous`, or as `<path>.damaged` where it
            is no gallery that can be read.

    Raises:
        GalleryError: The file cannot be written, another process holds it, or a newer hmdrn has written
            it; what was there is untouched.
    """
    path = check_gallery_place(path).resolve()  # a link stays a link
    with file_lock(path, "gallery", GalleryError):
        _glance(path)
        _write(gallery, path)


def sync_gallery(
    gallery: Gallery, path: str | os.PathLike[str], settle: Callable[[], object] | None = None
) -> None:
    """Write a gallery to its file and lose nothing that other processes have written there in the meantime.

    Where the file is another than this gallery last read or wrote, both are brought together first, in the
    file and in memory: a photo that either has added since is there, one that either has forgotten is
    gone. A file that this gallery never met keeps all that is in it.

    Args:
        gallery: What to write; afterwards it is what the file is.
        path: The file; its former content is kept, as by `save_gallery`.
        settle: Called once both are together, before they are written and while no other process can write,
            for changes that depend on all species, such as a calibration. Where it raises, the file stays.

    Raises:
        GalleryError: As `save_gallery`; or the file is of another network.
    """
    path = check_gallery_place(path).resolve()
    with file_lock(path, "gallery", GalleryError):
        found, known = _glance(path), gallery.files.get(path)
        if found is not None and (known is None or known.seal != found.seal):
            with contextlib.suppress(_Damaged):
                theirs = _readable(path)
                check_network(gallery.network, theirs.network, f"gallery {path}, which is there already,")
                base = None if known is None else known.state
                gallery.update(lambda ours: reconciled(base, ours, theirs.snapshot()))
        if settle is not None:
            settle()
        _write(gallery, path)


@contextmanager
def edit_gallery(
    path: str | os.PathLike[str], network: Network | None = None, wait: float = WAIT
) -> Iterator[Gallery]:
    """Change the file of a gallery while no other process can.

        with edit_gallery("site7.gallery") as gallery:
            gallery.rename("Moth", "Hawk-moth")

    It is written at the end of the block if the gallery was changed, and not at all if the block raises.

    Args:
        path: The file.
        network: Of the gallery to begin where there is no file; None if there has to be one.
        wait: Seconds to wait for another process.

    Raises:
        GalleryError: The file cannot be read or written, or another process holds it all that time.
    """
    if network is None and not user_path(path, GalleryError).exists():
        load_gallery(path)  # says what is missing
    path = check_gallery_place(path).resolve()
    with file_lock(path, "gallery", GalleryError, wait):
        gallery = load_gallery(path) if path.exists() or network is None else Gallery(network)
        before = gallery.snapshot()
        yield gallery
        if gallery.snapshot() is not before:
            _write(gallery, path)


class _Damaged(Exception):  # noqa: N818 (a signal within this module)
    """What is at a path cannot be read as a gallery."""


def _readable(path: Path) -> Gallery:
    try:
        return decode(path)[0]
    except GalleryError as error:
        raise _Damaged from error


def _glance(path: Path) -> Glance | None:
    """What the file says of itself, if it is a gallery.

    Raises:
        GalleryError: It is one of a newer format, which must not be taken for a damaged one.
    """
    found = glance(path)
    if found is not None and found.version > FORMAT_VERSION:
        raise GalleryError(
            f"cannot write gallery {path}: a newer hmdrn has written it (format version {found.version}, "
            f"this one writes {FORMAT_VERSION}); update hmdrn, or give another path"
        )
    return found


def _write(gallery: Gallery, path: Path) -> None:
    """Write a gallery to a path whose lock is held."""
    state: State = gallery.snapshot()
    data, seal = encode(gallery.network, state)
    try:
        _remove_remains(path)
        # Where nothing changed, the generation before must stay the one before.
        found = glance(path)
        if found is None or found.seal != seal or path.read_bytes() != data:
            write_atomically(path, data, before=lambda: _keep_previous(path))
    except OSError as error:
        kept = "; what was there before is untouched" if path.exists() else ""
        raise GalleryError(f"cannot write gallery {path}: {reason(error)}{kept}") from error
    gallery.files[path] = Written(seal, state)


def _remove_remains(path: Path) -> None:
    """Delete what processes that were killed while writing have left; nobody is writing now."""
    for name in os.listdir(path.parent):  # noqa: PTH208 (iterdir makes a Path of every file of the folder)
        if name.startswith(f".{path.name}.") and name.endswith(".part"):
            path.with_name(name).unlink(missing_ok=True)


def _keep_previous(path: Path) -> None:
    """Give the present file a second name, so that replacing it loses nothing."""
    if not path.exists():
        return
    try:
        decode(path)
        kept = previous_path(path)
    except GalleryError:
        # The generation before may be the only good one: a damaged file must not take its place.
        kept = path.with_name(path.name + ".damaged")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)  # file systems without hard links, such as FAT on memory cards
        temporary.replace(kept)
    finally:
        # Still there after an error, and where both names were of one file already.
        with contextlib.suppress(OSError):
            temporary.unlink()
