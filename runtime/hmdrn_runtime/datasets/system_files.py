"""Files and folders that systems, drives and tools leave among photos."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAMES = re.compile(
    r"\..*|:2e.*"  # hidden; as Netatalk writes hidden names
    # macOS
    r"|__macosx|icon\r|network trash folder|temporary items|thevolumesettingsfolder|desktop d[bf]"
    r"|backups\.backupdb"
    # Windows
    r"|\$recycle\.bin|recycle[rd]|system volume information|\$extend|\$windows\.~.*|found\.\d{3}"
    r"|windowsimagebackup|config\.msi"
    r"|(eh)?thumbs(_vista)?\.db|desktop\.ini|~\$.*"
    # NAS: Synology, QNAP, NetApp
    r"|@eadir|@tmp|@sharesnap.*|@syno.*|.*@syno(eastream|resource)|#recycle|#snapshot"
    r"|@recycle|@recently-snapshot|@sharebin|@__thumb|~snapshot"
    # Linux, Android, Python
    r"|lost\+found|lost\.dir|__pycache__",
    re.IGNORECASE | re.DOTALL,
)


def is_system_path(parts: Iterable[str]) -> bool:
    """Return whether a path, given by its parts, belongs to a system or tool, and is passed over."""
    return any(_NAMES.fullmatch(part) for part in parts)
