"""Finished units by identity: written whole by rename, so the store is cache, resume, shards and merge in one."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor import blocks
from auditor.bundle import UnitTiming, file_sha256
from auditor.constraints import Constraints
from auditor.dataset import Dataset, Domain
from auditor.errors import IntegrityError
from auditor.record import DatasetRecord, canonical_json

SEAL = "seal.json"  # sha256 of every other file of a folder: written last, it says that the folder is whole
ABANDONED_SECONDS = 24 * 3600
RENAMES = 100
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Store:
    """A folder of finished units: `units/<identity>/` with unit.json, and data sets under `data/<sha256>/`."""

    root: Path

    def has(self, identity: str) -> bool:
        """Whether this unit was finished."""
        return (self._folder(identity) / SEAL).is_file()

    def whole(self, identity: str) -> bool:
        """Whether this unit was finished and is as it was written; a damaged one is removed, to be done again."""
        return _kept_whole(self._folder(identity))

    def read(self, identity: str) -> dict[str, Any]:
        """What a finished unit said, as JSON."""
        path = self._folder(identity) / "unit.json"
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
        except ValueError:
            raise IntegrityError(f"{path} is damaged; remove {path.parent}, and the unit is done again") from None
        return content

    def timing(self, identity: str) -> UnitTiming:
        """What a finished unit cost."""
        return UnitTiming.model_validate_json((self._folder(identity) / "timing.json").read_bytes())

    def path(self, identity: str, name: str) -> Path:
        """A file of a finished unit."""
        return self._folder(identity) / name

    @contextmanager
    def writing(self, identity: str, *, replace: bool = False) -> Iterator[Path]:
        """A folder to write a unit into; it appears under its identity when the block ends without an error."""
        with self._appearing(self._folder(identity), replace=replace) as folder:
            yield folder

    def write(self, identity: str, content: dict[str, Any], timing: UnitTiming, *, replace: bool = False) -> None:
        """A unit that is only a JSON value."""
        with self.writing(identity, replace=replace) as folder:
            put(folder, content, timing)

    def _folder(self, identity: str) -> Path:
        return self.root / "units" / identity[:2] / identity

    @contextmanager
    def _appearing(self, place: Path, *, replace: bool) -> Iterator[Path]:
        scratch = self.root / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            yield folder
            (folder / SEAL).write_bytes(canonical_json(_digests(folder)))
            place.parent.mkdir(parents=True, exist_ok=True)
            if replace:
                with suppress(FileNotFoundError):  # it is not there, or another writer was faster to take it away
                    os.rename(place, folder.with_suffix(".old"))
                shutil.rmtree(folder.with_suffix(".old"), ignore_errors=True)
            _rename_once(folder, place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what writers that died left behind; what is younger than a day may be another audit's, at work."""
        for folder in (self.root / "scratch").glob("*"):
            with suppress(FileNotFoundError):  # its writer was faster
                if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def has_dataset(self, sha256: str) -> bool:
        """Whether the data set of this content is here and as it was written; a damaged one is removed."""
        return _kept_whole(self.root / "data" / sha256)

    def write_dataset(self, data: Dataset) -> None:
        """Keep a data set as plain arrays, which workers map into memory."""
        if self.has_dataset(data.sha256):
            return
        with self._appearing(self.root / "data" / data.sha256, replace=False) as folder:
            arrays = {name: getattr(data, name) for name in ARRAYS} | {"low": data.domain.low, "high": data.domain.high}
            arrays |= {f"ood_{k}": v for k, v in data.ood.items()} | {f"groups_{k}": v for k, v in data.groups.items()}
            for name, array in arrays.items():
                blocks.save(folder / f"{name}.npy", array)
            facts = data.facts().model_dump(mode="json")
            meta = {
                "facts": facts,
                "groups": sorted(data.groups),
                "group_names": dict(data.group_names),
                "feature_names": data.domain.feature_names,
                "constraints": data.domain.constraints.model_dump(mode="json"),
            }
            (folder / "meta.json").write_bytes(canonical_json(meta))

    def dataset(self, sha256: str) -> Dataset:
        """A kept data set, its arrays mapped read-only. Raises IntegrityError where a file is not as it was written."""
        folder = self.root / "data" / sha256
        if not _as_sealed(folder):
            raise IntegrityError(f"{folder} is damaged; remove it, and the data is read again")
        meta = json.loads((folder / "meta.json").read_bytes())
        facts = DatasetRecord.model_validate(meta["facts"])

        def array(name: str) -> Any:  # float32 or int64
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

        data = Dataset(
            id=facts.id,
            classes=facts.classes,
            licence=facts.licence,
            description=facts.description,
            stored_range=facts.stored_range,
            origin=facts.origin,
            collection=facts.collection,
            domain=Domain(
                np.array(array("low")),
                np.array(array("high")),
                tuple(meta["feature_names"]),
                Constraints.model_validate(meta["constraints"]),
            ),
            ood={name: array(f"ood_{name}") for name in facts.ood},
            groups={name: array(f"groups_{name}") for name in meta["groups"]},
            group_names={name: tuple(names) for name, names in meta["group_names"].items()},
            missing=facts.missing,
            **{name: array(name) for name in ARRAYS},
        )
        data.__dict__["sha256"] = facts.sha256  # its seal holds, so the content is as it was when this was computed
        return data


def put(folder: Path, content: dict[str, Any], timing: UnitTiming) -> None:
    """Write a unit's JSON value and cost."""
    (folder / "timing.json").write_bytes(canonical_json(timing))
    (folder / "unit.json").write_bytes(canonical_json(content))


def _rename_once(folder: Path, place: Path) -> None:
    """Put a whole folder in its place, unless another writer's whole one is there first.

    Between any two steps another writer may put a folder there or take it away, so what was seen is tried again.
    """
    for _ in range(RENAMES):
        try:
            os.rename(folder, place)
        except OSError:
            if (place / SEAL).is_file():
                return
            with suppress(OSError):  # a folder that was copied in part is moved aside; one that went needs nothing
                os.rename(place, folder.with_suffix(".part"))
            shutil.rmtree(folder.with_suffix(".part"), ignore_errors=True)
        else:
            return
    os.rename(folder, place)  # what still fails is no race: its error says what it is


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: file_sha256(p) for p in sorted(folder.iterdir()) if p.name != SEAL}


def _kept_whole(folder: Path) -> bool:
    if not folder.exists() or _as_sealed(folder):
        return folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _as_sealed(folder: Path) -> bool:
    try:
        said = json.loads((folder / SEAL).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(said == _digests(folder))
