"""The folder of one audit: three sealed layers (facts, judgement, looks), each naming the digest of the one below."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from auditor.catalogue import Catalogue
from auditor.energy import Energy
from auditor.errors import IntegrityError
from auditor.policy import Findings
from auditor.record import Frozen, Record, Result, canonical_json

Arrays = dict[str, npt.NDArray[Any]]  # of any number type or text
Layer = Literal["facts", "judgement", "looks"]
BELOW: Mapping[Layer, Layer] = {"judgement": "facts", "looks": "judgement"}
REMEDIES: Mapping[Layer, str] = {
    "facts": "Run the audit again",
    "judgement": "Run `auditor gate --save {bundle}`, then `auditor report {bundle}`",
    "looks": "Run `auditor report {bundle}`",
}
Model = TypeVar("Model", bound=Frozen)


class UnitTiming(Frozen):
    """What one unit cost when it really ran.

    `peak_bytes` is the most that its process has held until then, so earlier units of the same worker are in it.
    `detail` is what the unit measured of itself: a training its seconds without evaluation and the peak of its tensors,
    a probe whatever it timed.
    """

    unit: str
    kind: str
    label: str
    subject: str | None = None
    probe: str | None = None
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None
    energy: Energy | None = None
    detail: dict[str, float] = Field(default_factory=dict)


class Timings(Frozen):
    """Times, machine and versions: everything that may differ between two runs with the same record."""

    schema_: Literal["auditor/timings/1"] = Field("auditor/timings/1", alias="schema")
    units: tuple[UnitTiming, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)  # machine, versions, dates as JSON


class Manifest(Frozen):
    """The files of a layer with their sha256, and the digest of the layer below."""

    schema_: Literal["auditor/manifest/1"] = Field("auditor/manifest/1", alias="schema")
    layer: Layer
    below: str | None = None
    made_by: str | None = None
    files: dict[str, str]


@dataclass(frozen=True)
class Observed:
    """A record with its per-sample outcomes: enough to judge by."""

    root: Path
    record: Record

    def samples(self, result: Result) -> Arrays:
        """The arrays of a result's samples file; empty where it has none."""
        return _arrays(self.root / result.samples) if result.samples else {}

    def gallery(self, result: Result) -> Arrays:
        """The exemplars of a result; empty where it has none."""
        return _arrays(self.root / result.gallery) if result.gallery else {}


@dataclass(frozen=True)
class Facts(Observed):
    """The facts layer of a bundle: `root` is its folder."""

    catalogue: Catalogue
    timings: Timings
    config: dict[str, Any]  # the resolved audit.yaml as JSON, `card` among it
    sha256: str  # digest of the facts manifest

    def input_text(self, name: str) -> str | None:
        """A YAML file that was handed in, verbatim."""
        path = self.root / "inputs" / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def baseline(self) -> Observed | None:
        """The baseline's record and samples, where the audit had one."""
        root = self.root / "inputs" / "baseline"
        return Observed(root, read_model(root / "record.json", Record)) if root.is_dir() else None


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_model(path: Path, model: type[Model]) -> Model:
    """A JSON file as its model; IntegrityError where it does not fit."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: this is not a complete bundle") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise IntegrityError(f"{path}: {place}: {first['msg']}") from None


def read_facts(bundle: Path) -> Facts:
    """The facts of a bundle, every file checked against what was sealed. Raises IntegrityError."""
    root = bundle / "facts"
    if not (root / "manifest.json").is_file():
        raise IntegrityError(
            f"{bundle} holds no sealed facts (no facts/manifest.json); name the folder that `auditor run` wrote"
        )
    sha256 = check_layer(bundle, "facts")
    try:
        config = json.loads((root / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{root / 'config.json'}: {error}") from None
    return Facts(
        root=root,
        record=read_model(root / "record.json", Record),
        config=config,
        sha256=sha256,
        catalogue=read_model(root / "catalogue.json", Catalogue),
        timings=read_model(root / "timings.json", Timings),
    )


def read_findings(bundle: Path) -> Findings:
    """The judgement of a bundle, checked against what was sealed. Raises IntegrityError."""
    check_layer(bundle, "judgement")
    return read_model(bundle / "judgement" / "findings.json", Findings)


def check_layer(bundle: Path, layer: Layer) -> str:
    """The digest of a layer's manifest, after comparing every file with it.

    Raises IntegrityError naming the first difference.
    """
    manifest = check_files(bundle, layer)
    if (below := BELOW.get(layer)) and manifest.below != file_sha256(bundle / below / "manifest.json"):
        raise IntegrityError(
            f"{bundle / layer} was made from other {below} than this bundle holds; run `auditor report {bundle}` again"
        )
    return file_sha256(bundle / layer / "manifest.json")


def check_files(bundle: Path, layer: Layer) -> Manifest:
    """The manifest of a layer whose files are as it says. Raises IntegrityError naming the first difference."""
    root = bundle / layer
    manifest = read_model(root / "manifest.json", Manifest)
    was, remedy = "was" if layer == "judgement" else "were", REMEDIES[layer].format(bundle=bundle)
    for name, expected in manifest.files.items():
        path = root / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; the {layer} {was} sealed with it. {remedy}")
        if file_sha256(path) != expected:
            raise IntegrityError(f"{path} was changed after the {layer} {was} sealed. {remedy}")
    extra = sorted(set(_files(root)) - set(manifest.files))
    if extra:
        raise IntegrityError(
            f"{root / extra[0]} is not among the files the {layer} {was} sealed with; move it elsewhere"
        )
    return manifest


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}") from None


def _files(root: Path) -> list[str]:
    paths = (p for p in root.rglob("*") if p.is_file())
    return [name for p in paths if (name := p.relative_to(root).as_posix()) != "manifest.json"]


class LayerWriter:
    """Writes a layer beside its place and moves it there whole, so that a reader never sees half of one."""

    def __init__(self, bundle: Path, layer: Layer) -> None:
        self.bundle, self.layer = bundle, layer
        bundle.mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix=f".{layer}-", dir=bundle))

    def write(self, name: str, content: bytes) -> None:
        """Put one file into the layer."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def copy(self, name: str, source: Path) -> None:
        """Put a copy of a file, or of a folder, into the layer."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, path)
        else:
            shutil.copyfile(source, path)

    def seal(self, *, made_by: str | None = None, may_differ: frozenset[str] = frozenset()) -> str:
        """Write the manifest, replace the layer, and return the manifest's digest.

        A layer that is there already and differs in nothing but the files that may differ is kept as it is, so that
        what was made from it stays valid.
        """
        below = BELOW.get(self.layer)
        manifest = Manifest(
            layer=self.layer,
            files={name: file_sha256(self.root / name) for name in sorted(_files(self.root))},
            below=file_sha256(self.bundle / below / "manifest.json") if below else None,
            made_by=made_by,
        )
        held = sealed(self.bundle, self.layer)
        if held is not None and _without(held, may_differ) == _without(manifest, may_differ):
            shutil.rmtree(self.root)
            return file_sha256(self.bundle / self.layer / "manifest.json")
        self.write("manifest.json", canonical_json(manifest))
        self.root.chmod(0o755)
        _replace(self.root, self.bundle / self.layer)
        return file_sha256(self.bundle / self.layer / "manifest.json")


def sealed(bundle: Path, layer: Layer) -> Manifest | None:
    """The manifest of a layer whose every file is as it was sealed; None where there is no such layer."""
    try:
        check_layer(bundle, layer)
        return read_model(bundle / layer / "manifest.json", Manifest)
    except IntegrityError:
        return None


def _without(manifest: Manifest, names: frozenset[str]) -> Manifest:
    return manifest.model_copy(update={"files": {n: d for n, d in manifest.files.items() if n not in names}})


def _replace(new: Path, place: Path) -> None:
    if place.exists():
        old = Path(tempfile.mkdtemp(prefix=f".old-{place.name}-", dir=place.parent))
        os.rename(place, old / place.name)
        os.rename(new, place)
        shutil.rmtree(old)
    else:
        os.rename(new, place)
