"""The unusual inputs that in-distribution rows are compared with."""

from collections.abc import Mapping

import numpy as np

from auditor.dataset import Array, Dataset
from auditor.errors import DataError
from auditor.seeds import Seeds


def foreign_sets(data: Dataset, familiar: Array, limit: int, seeds: Seeds, probe: str) -> Mapping[str, Array]:
    """Which inputs should look foreign? Sets by name, (at most `limit`, *shape), the same for every subject.

    `noise`: as many rows as `familiar`, uniform over the domain. `inverted`: familiar rows with high and low
    exchanged. Then the data's own sets, which replace these two where they have their names.

    Raises:
        DataError: one of the data's own sets is empty.
    """
    low, high = data.domain.low, data.domain.high
    uniform = seeds.numpy("attack", probe=probe, row="noise").random(familiar.shape)
    sets = {
        "noise": (low + uniform * (high - low)).astype(np.float32),
        "inverted": (low + high - familiar).astype(np.float32),
    }
    for name in sorted(data.ood):
        if not len(data.ood[name]):
            raise DataError(f"{data.id}: x_ood_{name} is empty; leave it out or give it rows")
        order = seeds.numpy("attack", probe=probe, row=f"set {name}").permutation(len(data.ood[name]))
        sets[name] = data.ood[name][np.sort(order[:limit])]
    return sets
