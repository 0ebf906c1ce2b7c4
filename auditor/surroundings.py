"""The process around a unit: one thread, its own random state, the audit file's folder; all as it was afterwards."""

import copy
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: two are slower on small models, and not reproducible. Restored after."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Inside, the global generators start from this seed: a model that draws from them is the same every time.

    They are not ours to use, and are afterwards as they were.
    """
    import torch

    state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextmanager
def settings_restored() -> Iterator[None]:
    """What a user's code may set for the whole process, the next unit does not meet.

    That is the working folder, the environment, torch's gradient mode and number type, and numpy's errors.
    """
    import torch

    folder, variables = Path.cwd(), dict(os.environ)
    gradients, number = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        with np.errstate():
            yield
    finally:
        os.chdir(folder)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(number)
        if variables != dict(os.environ):
            os.environ.clear()
            os.environ.update(variables)


def own_copy(model: Any) -> Any:  # a torch module or a scikit-learn estimator
    """A copy of a model that was handed in: what a forward pass leaves in it, its owner and the next unit do not see.

    The model itself where it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
        return model


@contextmanager
def importable(directory: Path) -> Iterator[None]:
    """Inside, modules beside the audit file can be imported, as code that the audit file names does.

    They come last: a file beside the audit file that is called like an installed package is never run in its place.
    """
    own = str(directory)
    sys.path.append(own)
    try:
        yield
    finally:
        sys.path.reverse()
        sys.path.remove(own)
        sys.path.reverse()
