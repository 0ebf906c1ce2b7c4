"""The conditions under which a training gives the same weights every time, and the process as it was afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable() -> Iterator[None]:
    """One thread, deterministic kernels and a random state of its own; all of it is put back at the end.

    Two threads add numbers in another order and give other weights. An operation without a deterministic kernel raises.
    That is set as torch's debug mode, since `use_deterministic_algorithms` imports its compiler: seconds of a process.
    """
    threads = torch.get_num_threads()
    strict = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic  # its one attribute is not in torch's types
    fill = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")
    memory.fill_uninitialized_memory = False  # a debugging aid that writes all memory twice
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        memory.fill_uninitialized_memory = fill
        torch.set_deterministic_debug_mode(strict)
        torch.set_num_threads(threads)
