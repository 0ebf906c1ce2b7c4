"""Whether a folder may hold an audit: nothing that somebody else put there is ever overwritten."""

import os
import shutil
from pathlib import Path

from auditor.bundle import Layer, check_files, read_model
from auditor.errors import ConfigError, IntegrityError
from auditor.record import Record

UNFINISHED = (".facts-", ".judgement-", ".looks-", ".old-")  # what a writer that was killed leaves behind


def claim(bundle: Path, plan_sha256: str) -> None:
    """Make this audit's folder, or make sure that it is empty or holds the same plan.

    Raises ConfigError or, for a bundle that was edited by hand, IntegrityError; changing nothing.
    """
    if not bundle.exists():
        _make(bundle)
        return
    if not bundle.is_dir():
        raise ConfigError(f"{bundle} is a file; name a folder for the bundle with --out")
    _put_back(bundle)
    record = bundle / "facts" / "record.json"
    if record.is_file():
        _refuse_edited(bundle)
        held = read_model(record, Record).audit
        if held.plan_sha256 != plan_sha256:
            raise ConfigError(
                f"{bundle} holds another audit ({held.name!r}, plan {held.plan_sha256[:12]}; "
                f"this one is {plan_sha256[:12]}); "
                "choose another folder with --out, or remove that one"
            )
    elif any(
        p.name not in {"events.jsonl", "artifacts"} and not p.name.startswith(UNFINISHED) for p in bundle.iterdir()
    ):
        raise ConfigError(f"{bundle} is not empty and holds no audit; choose another folder with --out")
    for left in (p for p in bundle.iterdir() if p.name.startswith(UNFINISHED)):
        shutil.rmtree(left)


def _refuse_edited(bundle: Path) -> None:
    layers: tuple[Layer, ...] = ("facts", "judgement", "looks")
    for layer in (one for one in layers if (bundle / one).exists()):
        try:
            check_files(bundle, layer)
        except IntegrityError as error:
            elsewhere = " into another folder (--out)" if layer == "facts" else ""
            raise IntegrityError(f"{error}{elsewhere}; nothing was overwritten") from None


def _put_back(bundle: Path) -> None:
    """Put a layer back that a writer had set aside when it was killed."""
    for layer in bundle.glob(".old-*/*"):
        if not (bundle / layer.name).exists():
            os.rename(layer, bundle / layer.name)


def _make(bundle: Path) -> None:
    try:
        bundle.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{bundle} cannot be written: {error.strerror}; choose another folder with --out") from None
