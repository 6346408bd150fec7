"""A gallery's file: replaced as a whole, by one process at a time; the previous one is kept."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.arguments import check_callable, check_kind, check_number
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file_format import FORMAT_VERSION, FileHeader, decode, encode, read_header
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import check_network
from hmdrn_runtime.gallery.state import FileStamp, GalleryState
from hmdrn_runtime.gallery.three_way_merge import merge_states
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path, write_atomically
from hmdrn_runtime.io.locking import LOCK_TIMEOUT, file_lock
from hmdrn_runtime.io.permissions import copy_permissions


def previous_path(path: Path) -> Path:
    """Return the path of the generation before the one at `path`."""
    return path.with_name(path.name + ".previous")


def check_gallery_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a gallery to write, with `~` expanded; called before the work that fills it.

    Raises:
        GalleryError: It is a folder, or in a folder that does not exist.
    """
    path = expand_path(path, GalleryError)
    if not path.name or path.is_dir():
        raise GalleryError(
            f"cannot write gallery {path}: it is {detect_file_kind(path)}; give the path of a gallery file"
        )
    check_parent_folder(path, "gallery", GalleryError)
    return path


def load_gallery(path: str | os.PathLike[str]) -> Gallery:
    """Read a gallery.

    Raises:
        GalleryError: It is missing, not a gallery, of another format version, or damaged; the message
            mentions an earlier generation beside it.

    Examples:
        >>> gallery = hmdrn.load_gallery("site7.gallery")
        >>> gallery.merge(hmdrn.load_gallery("site8.gallery")).added
        ()
    """
    path = expand_path(path, GalleryError)
    if path.is_dir():
        raise GalleryError(f"{path} is {detect_file_kind(path)}; give the path of a gallery file")
    if not path.is_file():
        raise GalleryError(f"no gallery at {path}: enroll species first, or check the path")
    try:
        gallery, checksum = decode(path)
    except GalleryError as error:
        earlier = previous_path(path)
        hint = f"; the generation before it is in {earlier}" if earlier.is_file() else ""
        raise GalleryError(f"{error}{hint}") from error
    gallery.files[path.resolve()] = FileStamp(checksum, gallery.state)
    return gallery


def save_gallery(gallery: Gallery, path: str | os.PathLike[str]) -> None:
    """Replace the file at `path` by a gallery, whatever the file is; `sync_gallery` merges both instead.

    After a power cut the file is the old one or the new one, never half of one.

    Args:
        gallery: The gallery to write.
        path: The file; its former content is kept as `<path>.previous`, or as `<path>.damaged` if it is not
            a readable gallery.

    Raises:
        GalleryError: The file cannot be written, another process holds it, or a newer hmdrn has written
            it; the file stays as it was.
    """
    check_kind(gallery, Gallery, "gallery", "pass what hmdrn.load_gallery returns", GalleryError)
    path = check_gallery_path(path).resolve()  # a link stays a link
    with file_lock(path, "gallery", GalleryError):
        _check_header(path)
        _write(gallery, path)


def sync_gallery(
    gallery: Gallery, path: str | os.PathLike[str], settle: Callable[[], object] | None = None
) -> None:
    """Merge a gallery with its file, so that nothing is lost that other processes have written there.

    If the file has changed since this gallery last read or wrote it, both are merged first, in the file and
    in memory: photos that either has added since are there, photos that either has forgotten are removed.
    If this gallery never read or wrote the file, everything in the file is kept.

    Args:
        gallery: The gallery to write; afterwards it equals the file.
        path: The file; its former content is kept, as by `save_gallery`.
        settle: Called after the merge, before the write and while no other process can write, for changes
            that depend on all species, such as a calibration. If it raises, the file stays as it was.

    Raises:
        GalleryError: As `save_gallery`; or the file is of another network.
    """
    if settle is not None:
        check_callable(settle, "settle", "pass a function, or None", GalleryError)
    path = check_gallery_path(path).resolve()
    with file_lock(path, "gallery", GalleryError):
        header, known = _check_header(path), gallery.files.get(path)
        if header is not None and (known is None or known.checksum != header.checksum):
            try:
                theirs, _ = decode(path)
            except GalleryError:
                pass  # damaged: replaced below, and kept as such
            else:
                check_network(gallery.network, theirs.network, f"gallery {path}, which is there already,")
                base = None if known is None else known.state
                gallery.update(lambda ours: merge_states(base, ours, theirs.state))
        if settle is not None:
            settle()
        _write(gallery, path)


@contextmanager
def edit_gallery(
    path: str | os.PathLike[str], network: Network | None = None, wait: float = LOCK_TIMEOUT
) -> Iterator[Gallery]:
    """Change the file of a gallery while no other process can.

        with edit_gallery("site7.gallery") as gallery:
            gallery.rename("Moth", "Hawk-moth")

    It is written at the end of the block if the gallery was changed, and not at all if the block raises.

    Args:
        path: The file.
        network: Of the gallery to create if there is no file; None if it must exist.
        wait: Seconds to wait for another process.

    Raises:
        GalleryError: The file cannot be read or written, or another process holds it all that time.

    Examples:
        >>> with hmdrn.edit_gallery("site7.gallery") as gallery:
        ...     gallery.rename("Albatros", "Sooty Albatross", join=True)
    """
    check_number(wait, "wait", "give seconds, 0 or more", GalleryError, lambda seconds: seconds >= 0)
    if network is not None:
        check_kind(network, Network, "network", "pass Gallery.network or Manifest.network", GalleryError)
    if network is None and not expand_path(path, GalleryError).exists():
        load_gallery(path)  # raises the error of a missing gallery
    path = check_gallery_path(path).resolve()
    with file_lock(path, "gallery", GalleryError, wait):
        gallery = load_gallery(path) if path.exists() or network is None else Gallery(network)
        before = gallery.state
        yield gallery
        if gallery.state is not before:
            _write(gallery, path)


def _check_header(path: Path) -> FileHeader | None:
    """Read the file's header, None if it is not a gallery; refuse a newer format, which is not damage."""
    header = read_header(path)
    if header is not None and header.version > FORMAT_VERSION:
        raise GalleryError(
            f"cannot write gallery {path}: a newer hmdrn has written it (format version {header.version}, "
            f"this one writes {FORMAT_VERSION}); update hmdrn, or give another path"
        )
    return header


def _write(gallery: Gallery, path: Path) -> None:
    """Write a gallery to a path whose lock is held."""
    state = gallery.state
    data, checksum = encode(gallery.network, state)
    try:
        _remove_partial_files(path)
        # If nothing changed, the previous generation must stay the previous one.
        header = read_header(path)
        if header is None or header.checksum != checksum or path.read_bytes() != data:
            mode = 0o600 if _has_thumbnails(state) else 0o666
            write_atomically(path, data, before_rename=lambda: _keep_previous(path), mode=mode)
    except OSError as error:
        kept = "; the file stays as it was" if path.exists() else ""
        raise GalleryError(f"cannot write gallery {path}: {describe_os_error(error)}{kept}") from error
    gallery.files[path] = FileStamp(checksum, state)


def _has_thumbnails(state: GalleryState) -> bool:
    return any(photo.thumbnail for species in state.species.values() for photo in species.photos.values())


def _remove_partial_files(path: Path) -> None:
    """Delete files of processes that were killed while writing; nobody else holds the lock."""
    for name in os.listdir(path.parent):  # noqa: PTH208 (iterdir makes a Path of every file of the folder)
        if name.startswith(f".{path.name}.") and name.endswith(".part"):
            path.with_name(name).unlink(missing_ok=True)


def _keep_previous(path: Path) -> None:
    """Give the present file a second name, so that replacing it loses nothing."""
    if not path.exists():
        return
    try:
        decode(path)
        target = previous_path(path)
    except GalleryError:
        # The previous generation may be the only good one: a damaged file must not replace it.
        target = path.with_name(path.name + ".damaged")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            os.link(path, temporary)
        except OSError:
            # Another user's file, or a file system without hard links, such as FAT on memory cards.
            temporary.touch(0o600)
            shutil.copyfile(path, temporary)
            copy_permissions(path, temporary)
        temporary.replace(target)
    finally:
        # Still there after an error, and if both names were of one file already.
        with contextlib.suppress(OSError):
            temporary.unlink()
