"""Uploaded files in temporary folders: they outlive their requests, and may come in several."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from hmdrn.studio.uploads import FOLDER_PREFIX, MAX_PHOTOS, StoredUpload, Upload, describe_excess
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error

MAX_BYTES = 10**9
"""Most bytes of an upload in all its requests."""
MAX_OPEN = 2
"""Uploads that have begun and not ended; a further one replaces the oldest."""


class UploadFolder:
    """A temporary folder with uploaded files, which are gone when it is closed.

    Attributes:
        uploads: The files, in the order in which they came.
    """

    def __init__(self) -> None:
        self.uploads: list[StoredUpload] = []
        self._folder = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX)
        self._bytes = 0

    def add(self, uploads: Sequence[Upload]) -> None:
        """Keep files of a request, under names of ours.

        Raises:
            HmdrnError: Too many or too large files, or no room for them.
        """
        if len(self.uploads) + len(uploads) > MAX_PHOTOS:
            raise HmdrnError(describe_excess())
        for upload in uploads:
            path = Path(self._folder.name) / str(len(self.uploads))
            try:
                with path.open("wb") as file:
                    shutil.copyfileobj(upload.stream, file, 1 << 20)
                self._bytes += path.stat().st_size
            except OSError as error:
                raise HmdrnError(
                    f"cannot keep the upload until it is read ({describe_os_error(error)}): make room for "
                    "temporary files, or send fewer photos at once"
                ) from error
            if self._bytes > MAX_BYTES:
                raise HmdrnError(f"over {MAX_BYTES // 10**6} MB at once: send fewer photos at a time")
            self.uploads.append(StoredUpload(upload.name, path, upload.field))

    def close(self) -> None:
        """Delete the files."""
        self._folder.cleanup()


class UploadFolders:
    """Uploads that come in several requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, UploadFolder] = OrderedDict()

    def add(self, key: str, uploads: Sequence[Upload]) -> str:
        """Keep a part of an upload, and return the upload's key.

        Args:
            key: The key that the first part was given; empty for the first part.
            uploads: Files of the request.

        Raises:
            HmdrnError: As `take`.
        """
        folder = self.take(key, uploads)
        key = key or secrets.token_urlsafe(12)
        with self._lock:
            while len(self._folders) >= MAX_OPEN:
                self._folders.popitem(last=False)[1].close()
            self._folders[key] = folder
        return key

    def take(self, key: str, uploads: Sequence[Upload]) -> UploadFolder:
        """Return an upload with its last part, for the caller to close; its key is gone.

        Args:
            key: Its key; empty if this is the only part.
            uploads: Files of the request.

        Raises:
            HmdrnError: As `UploadFolder.add`, which ends the upload; or there is no such upload.
        """
        with self._lock:
            folder = self._folders.pop(key, None) if key else UploadFolder()
        if folder is None:
            raise HmdrnError("this upload was given up, as others have begun since: send it again")
        try:
            folder.add(uploads)
        except BaseException:
            folder.close()
            raise
        return folder
