"""Models that a user's own training made, kept in the store for the units that ask them."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

from auditor.errors import ModelError

MODEL, WEIGHTS = "model.pickle", "model.safetensors"


def keep(model: Any, folder: Path, name: str, recipe: dict[str, Any]) -> str:  # a torch module or a classifier
    """Write a model that the function `name` made into a folder; its digest, of the weights where it has such.

    Raises ModelError for a model that cannot be pickled.
    """
    from torch import nn

    from auditor.bundle import file_sha256
    from auditor.subjects.weights import save_state

    try:
        content = pickle.dumps(model, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ModelError(
            f"what {name} returned cannot be kept for the probes ({error}): define its class at the top of a module, "
            "and let it hold no open files, lambdas or generators"
        ) from None
    partial = folder / f"{MODEL}.{os.getpid()}.partial"
    partial.write_bytes(content)
    partial.replace(folder / MODEL)
    if not isinstance(model, nn.Module):
        return hashlib.sha256(content).hexdigest()
    save_state(model.state_dict(), folder / WEIGHTS, {"recipe": recipe})
    return file_sha256(folder / WEIGHTS)


def kept(path: Path) -> Any:  # what `keep` was given
    """A model that `keep` wrote. The function's module must have been found before, so that its classes are known.

    What stands in the store was made by code that the audit file names, under the store's seal: to whom the store
    belongs, that code does too.
    """
    return pickle.loads(path.read_bytes())  # noqa: S301  # our own file: a user's training made it on this machine
