"""Where data lies: the path that a configuration names, and files that are not what they seem."""

from pathlib import Path

from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError

LFS_POINTER = b"version https://git-lfs"


def located(config: DataConfig, directory: Path) -> Path:
    """The path that the data section names. Raises DataError where it names none, or nothing is there."""
    if config.path is None:
        raise DataError(f"data.source {config.source} needs data.path, relative to the audit file")
    path = directory / config.path
    if not path.exists():
        raise DataError(f"data.path: {path} does not exist")
    return path


def folder(config: DataConfig, directory: Path, holds: str) -> Path:
    """The same, which must be a folder; `holds` says what should be in it."""
    path = located(config, directory)
    if not path.is_dir():
        raise DataError(f"data.path: {path} is a file; {config.source} reads a folder of {holds}")
    return path


def refuse_range(config: DataConfig) -> None:
    """Raises ConfigError for a range beside data whose pixels are bytes."""
    if config.range is not None and config.range != (0, 255):
        raise ConfigError(f"data.range: pixels of {config.source} are bytes, 0 to 255; remove it")


def refuse_pointer(path: Path) -> None:
    """Raises DataError for a file that git-LFS has not fetched."""
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise DataError(f"{path} is a git-LFS pointer, not the file itself; run `git lfs pull`")
