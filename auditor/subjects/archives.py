"""Archives on their way to torch: read once, and rebuilt from what was checked, as two readers of one file may differ.

A zip may hold two entries of one name, two folders with the same entries, or two lists of its entries; Python and
torch each settle that in their own way, and what the one has checked the other need not see.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from auditor.errors import ModelError

TOP = "model"


def entries(path: Path) -> dict[str, bytes]:
    """What a torch archive holds, by the names below its one folder.

    Raises ModelError where a name is there twice; what zipfile raises, for an archive that is not whole, goes through.
    """
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if info.is_dir():
                continue
            if name in found:
                raise ModelError(f"{path} holds {name} twice, so that it is not clear which counts: save it again")
            found[name] = archive.read(info)
    return found


def rebuilt(content: Mapping[str, bytes]) -> BinaryIO:
    """An archive in memory that holds these entries and nothing else."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
        for name, entry in content.items():
            made.writestr(f"{TOP}/{name}", entry)
    archive.seek(0)
    return archive
