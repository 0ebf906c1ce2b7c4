"""audit.yaml: what is audited, with what; a profile under it and flags over it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from auditor.datasets.spec import DataConfig
from auditor.documents import Document, read, text_of, validated
from auditor.documents import loads as read_text
from auditor.errors import ConfigError, UnknownNameError
from auditor.record import Frozen, digest
from auditor.subjects.spec import Load
from auditor.train_section import OptimizerConfig, TrainConfig, TuneConfig
from auditor.variants.names import variant_of

__all__ = [
    "AuditConfig",
    "ContrastConfig",
    "Loaded",
    "OptimizerConfig",
    "SubjectConfig",
    "TrainConfig",
    "TuneConfig",
    "load_audit",
    "narrowed",
    "read_profile",
    "resolve",
    "text_digest",
]

SHIPPED = Path(__file__).parent
PROFILES = ("quick", "standard", "thorough")
OFF = ("off", False)
WITH_LAYERS = ("state-dict", "object")


class SubjectConfig(Frozen):
    """What is audited: models to train, or one that exists.

    Beside `load` there may stand: `recipe`, how it was made, as under `train` with one optimizer, which unlocks probes
    that retrain; and `optimizer`, `group` and `seed`, by which existing checkpoints form groups that are compared.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    train: TrainConfig | None = None
    load: Load | None = None
    recipe: TrainConfig | None = None
    optimizer: str | None = None
    group: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
    seed: int | None = Field(None, ge=0)
    variants: tuple[str, ...] = ()  # int8, int4, bfloat16, pruned-N: audited beside the model as it is

    @field_validator("variants")
    @classmethod
    def _known_variants(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                variant_of(name)
            except UnknownNameError as error:
                raise ValueError(str(error)) from None
        if doubled := next((n for n in names if names.count(n) > 1), None):
            raise ValueError(f"the variant {doubled!r} is named twice")
        return names

    @model_validator(mode="after")
    def _layers_in_reach(self) -> Self:
        """A variant changes the layers of a network, which only these formats keep as such."""
        if self.variants and self.load is not None and self.load.format not in WITH_LAYERS:
            raise ValueError(
                f"subject {self.id!r}: variants need a torch network whose layers can be reached, and the format "
                f"{self.load.format} has none: load its state-dict, or leave variants out"
            )
        return self

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.train is None) == (self.load is None):
            raise ValueError(f"subject {self.id!r} needs exactly one of train, load")
        beside = {"recipe", "optimizer", "group", "seed"} & self.model_fields_set
        if self.train is not None and beside:
            raise ValueError(f"subject {self.id!r}: {min(beside)} stands beside `load`; `train` says it itself")
        if self.group is not None and self.seed is None:
            raise ValueError(f"subject {self.id!r}: a group is made of seeds; say `seed: 0`, and so on for the others")
        return self

    @model_validator(mode="after")
    def _one_recipe(self) -> Self:
        if self.recipe is None:
            return self
        if self.recipe.ablations:
            raise ValueError(f"subject {self.id!r}: a loaded model has one recipe; remove recipe.ablations")
        if "seeds" in self.recipe.model_fields_set:
            raise ValueError(f"subject {self.id!r}: a loaded model is one: replace recipe.seeds by `seed` beside it")
        if "optimizers" not in self.recipe.model_fields_set and self.optimizer is None:
            raise ValueError(f"subject {self.id!r}: the recipe needs its optimizer: say `optimizers: [adamw]`")
        if "optimizers" in self.recipe.model_fields_set and len(self.recipe.optimizers) != 1:
            raise ValueError(f"subject {self.id!r}: a loaded model has one optimizer; recipe.optimizers names more")
        return self

    @property
    def retraining(self) -> TrainConfig | None:
        """The recipe of a loaded model, its optimizer named."""
        if self.recipe is None or "optimizers" in self.recipe.model_fields_set:
            return self.recipe
        return self.recipe.model_copy(update={"optimizers": (self.optimizer,)})


class ContrastConfig(Frozen):
    """Which groups are compared, on what, and how small a difference does not matter."""

    reference: str | None = None
    metrics: tuple[str, ...] | None = None
    delta: float = Field(0.02, gt=0)
    alpha: float = Field(0.05, gt=0, lt=1)


class Card(Frozen):
    """What only people know of the model."""

    intended_use: str | None = None
    out_of_scope: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    contact: str | None = None
    limitations: tuple[str, ...] = ()


class AuditConfig(Frozen):
    """A whole audit, profile and flags included."""

    schema_: Literal["auditor/audit/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")
    seed: int = Field(0, ge=0)
    profile: str = "standard"
    data: DataConfig
    subjects: tuple[SubjectConfig, ...] = Field(min_length=1)
    contrasts: ContrastConfig = ContrastConfig()
    probes: dict[str, dict[str, Any] | Literal["off", "on"] | bool | None] = Field(
        default_factory=dict
    )  # parameters: JSON
    confidence: float = Field(0.95, gt=0, lt=1)
    card: Card = Card()
    policy: str | None = None
    waivers: str | None = None
    baseline: str | None = None
    attestations: str | None = None
    gallery: Literal["on", "off"] | bool = "on"
    unit_seconds: float = Field(900, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:  # whatever stands in the file
        """A section that holds nothing but comments is as if it were not there."""
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values

    @field_validator("card", "contrasts", "probes", mode="before")
    @classmethod
    def _nothing_said(cls, value: object) -> object:
        return {} if value is None else value  # a key with nothing but comments below it

    def declared(self) -> dict[str, Any]:
        """What decides the numbers of an audit, as JSON, with files by their name alone."""
        decides_none = {"policy", "waivers", "baseline", "attestations", "card", "gallery", "unit_seconds"}
        return dict(_without_folders(self.model_dump(mode="json", exclude=decides_none)))

    @model_validator(mode="after")
    def _distinct_subjects(self) -> Self:
        ids = [s.id for s in self.subjects]
        if doubled := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"two subjects are called {doubled[0]!r}")
        seeded = [(s.group or s.optimizer or s.id, s.seed) for s in self.subjects if s.seed is not None]
        if twice := next((pair for pair in seeded if seeded.count(pair) > 1), None):
            raise ValueError(f"two loaded models are seed {twice[1]} of the group {twice[0]!r}")
        if unclear := next((i for i in ids if "__" in i or i.endswith("_")), None):
            raise ValueError(f"the subject {unclear!r}: __ stands for / in file names; use no __, and no _ at the end")
        return self


@dataclass(frozen=True)
class Loaded:
    """An audit's configuration with where it came from."""

    config: AuditConfig
    document: Document
    directory: Path
    text: str

    @cached_property
    def policy_text(self) -> str:
        """The policy file, or the shipped baseline policy where none is named."""
        if self.config.policy is None:
            return (SHIPPED / "builtin" / "baseline-policy.yaml").read_text(encoding="utf-8")
        return self.input_text(self.config.policy, "policy")

    def input_text(self, name: str, key: str) -> str:
        """A file named by the configuration. Raises ConfigError with the place of the key."""
        path = self.directory / name
        if not path.is_file():
            raise ConfigError(f"{self.document.place((key,))}: {key}: {path} does not exist")
        return text_of(path)

    @property
    def sha256(self) -> str:
        """Digest of the resolved configuration."""
        return digest(self.config)

    def enabled(self) -> dict[str, dict[str, Any]]:
        """Probes that are on, with the parameters that were set: naming one turns it on, off turns it off."""
        return {
            name: dict(p) if isinstance(p, Mapping) else {} for name, p in self.config.probes.items() if p not in OFF
        }


def load_audit(path: Path | None, *, profile: str | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """The configuration of an audit file (the built-in audit where none is given) over its profile, under the flags."""
    place = path or SHIPPED / "builtin" / "audit.yaml"
    document = read(place) if path else _shipped("builtin", "audit.yaml")
    return resolve(document, place.read_text(encoding="utf-8"), place.parent.resolve(), profile=profile, flags=flags)


def resolve(
    document: Document,
    text: str,
    directory: Path,
    *,
    profile: str | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """A document as a configuration: profile below, flags above. Raises ConfigError with file and line."""
    chosen = profile or str(document.values.get("profile", "standard"))
    merged = document.over(read_profile(chosen, directory, Document("--profile") if profile else document))
    over = {**(flags or {}), **({"profile": chosen} if profile else {})}
    merged = Document("the command line", over).over(merged)
    config = validated(Document(document.source, merged.values, merged.places), AuditConfig)
    return Loaded(config, merged, directory, text)


def read_profile(name: str, directory: Path, document: Document) -> Document:
    """A shipped profile, or a file of the same schema."""
    if name in PROFILES:
        return _shipped("profiles", f"{name}.yaml")
    path = directory / name
    if not path.is_file():
        raise UnknownNameError("profile", name, PROFILES, where=document.place(("profile",)))
    return read(path)


def _shipped(package: str, name: str) -> Document:
    return read_text((SHIPPED / package / name).read_text(encoding="utf-8"), source=f"{package}/{name}")


def narrowed(probes: Sequence[str], known: Sequence[str], flag: str) -> list[str]:
    """The known names that a list of names and globs selects. Raises UnknownNameError for one that selects none."""
    from fnmatch import fnmatchcase

    chosen: list[str] = []
    for pattern in probes:
        found = [k for k in known if fnmatchcase(k, pattern)]
        if not found:
            raise UnknownNameError("probe", pattern, known, where=flag)
        chosen += found
    return chosen


def _without_folders(value: Any) -> Any:  # any JSON value
    """A resolved configuration with files by their name alone: the same audit in another folder is the same."""
    if isinstance(value, Mapping):
        files = {k: Path(v).name for k, v in value.items() if k in ("path", "profile") and isinstance(v, str)}
        return {k: _without_folders(v) for k, v in value.items()} | files
    return [_without_folders(v) for v in value] if isinstance(value, list) else value


def text_digest(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
