"""The conditions under which a training gives the same weights every time, and the process as it was afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable() -> Iterator[None]:
    """One thread, deterministic kernels and a random state of its own; all of it is put back at the end.

    Two threads add numbers in another order and give other weights. An operation without a deterministic kernel raises.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # its one attribute is not in torch's types
    fill = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # a debugging aid that writes all memory twice
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        memory.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.set_num_threads(threads)
