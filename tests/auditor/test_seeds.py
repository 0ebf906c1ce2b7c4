"""Random streams are named by what they are for, and by nothing else."""

import hashlib

import torch

from auditor.seeds import Seeds

ROLES = ("validation", "init", "order", "craft", "attack", "bootstrap")


def test_a_stream_is_the_sha256_of_its_name() -> None:
    expected = int(hashlib.sha256(b"7|order|2||").hexdigest()[:16], 16) >> 1
    assert Seeds(7, 2).integer("order") == expected
    expected = int(hashlib.sha256(b"7|attack|2|evasion.linf|ab.1").hexdigest()[:16], 16) >> 1
    assert Seeds(7, 2).integer("attack", probe="evasion.linf", row="ab.1") == expected


def test_every_part_of_the_name_makes_another_stream() -> None:
    streams = [Seeds(root, index).integer(role) for root in (0, 1) for index in (0, 1) for role in ROLES]  # type: ignore[arg-type]
    streams += [Seeds(0, 0).integer("attack", probe=p, row=r) for p in ("a", "b") for r in ("", "x")]
    assert len(set(streams)) == len(streams)


def test_a_seed_fits_what_numpy_and_torch_take() -> None:
    assert all(0 <= Seeds(root).integer("init") < 2**63 for root in range(200))


def test_generators_of_one_stream_draw_the_same_and_disturb_no_global_state() -> None:
    before = torch.get_rng_state()
    assert (
        Seeds(3).numpy("order").integers(0, 2**62, 5).tolist() == Seeds(3).numpy("order").integers(0, 2**62, 5).tolist()
    )
    first, second = (torch.rand(5, generator=Seeds(3).torch("init")) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
