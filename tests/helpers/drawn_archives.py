"""Archives of the original data sets' layouts, drawn and tiny."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import PIL.Image

GREY, RED, BLUE = (128, 128, 128), (220, 20, 20), (20, 20, 220)


def jpeg(width: int = 40, height: int = 30, box=None, banner: int = 0, **saving) -> bytes:
    """A grey photo with a red box in it (left, top, right, bottom) and a blue banner below."""
    image = PIL.Image.new("RGB", (width, height), GREY)
    if box:
        image.paste(RED, box)
    if banner:
        image.paste(BLUE, (0, height - banner, width, height))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0, **saving)
    return file.getvalue()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Write files as a .tgz, .tar, .zip or, without a suffix, as a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif path.suffix:
        with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def table(rows) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()


def cub_files(classes: int = 200, photo: bytes | None = None) -> dict[str, bytes]:
    names = [f"{i:03d}.Bird_{i}" for i in range(1, classes + 1)]
    paths = [f"{name}/Bird_{i:04d}.jpg" for i, name in enumerate(names, 1)]
    photo = photo or jpeg(box=(5, 4, 25, 24))
    # Lists behind the photos, as a .tgz cannot be asked for them first.
    return {
        **{f"CUB_200_2011/images/{path}": photo for path in paths},
        "CUB_200_2011/._images": b"left by a Mac",
        "CUB_200_2011/images.txt": table(enumerate(paths, 1)),
        "CUB_200_2011/image_class_labels.txt": table((i, i) for i in range(1, classes + 1)),
        "CUB_200_2011/bounding_boxes.txt": table((i, 5.0, 4.0, 20.0, 20.0) for i in range(1, classes + 1)),
        "CUB_200_2011/classes.txt": table(enumerate(names, 1)),
    }
