"""Checkpoints that trainings start from, looked at while planning: are they there, and do they fit?"""

from auditor.bundle import file_sha256
from auditor.config import TrainConfig
from auditor.errors import ConfigError, ModelError
from auditor.planning import Planner
from auditor.recipe import Recipe, Start


def checked_start(planner: Planner, train: TrainConfig, start: Start, where: str) -> Start:
    """A start with the digest of its file.

    Raises ConfigError for a file that is not there, ModelError for one that is no weights or, with an architecture of
    this package or a plug-in, does not fit. One of the user's is made in a worker, whose unit says so.
    """
    path = planner.directory / start.path
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{where}: train.start.path: {path} {what}; name the checkpoint's file")
    known = start.model_copy(update={"sha256": file_sha256(path)})
    if ":" not in train.architecture:
        try:
            _fits(planner, train, known)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
    return known


def _fits(planner: Planner, train: TrainConfig, start: Start) -> None:
    from auditor.subjects.loading import read_weights
    from auditor.training.architectures import build
    from auditor.training.start import begin

    recipe = Recipe(architecture=train.architecture, kwargs=train.kwargs, optimizer="sgd", epochs=1)
    begin(build(recipe, planner.data), start, read_weights(planner.directory / start.path))
