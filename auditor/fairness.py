"""Were the learning rates of two groups looked for alike, widely and finely enough to speak of their optimizers?"""

from collections.abc import Iterator
from itertools import pairwise

from auditor.ablations import parent_of
from auditor.record import Record, Training

COARSE = 10.0  # rates farther apart than this step over the best of most optimizers: built-in grids go by three to four


def unfair(a: str, b: str, record: Record) -> list[str]:
    """Why the searches behind two groups allow no verdict on their optimizers; nothing where they do.

    An edge at which a search ended, neighbours of the rate found that lie farther apart than a factor of ten, and, but
    for an ablation and its parent, searches of unequal size: as many trials for each is what makes a comparison fair.
    Where the trainings minimise different things, of which some allow no search, the sizes may differ. Groups that were
    not trained here have no searches.
    """
    trained = {group: _trained(record, group) for group in (a, b)}
    found = [said for group, one in trained.items() for said in (*_narrow(group, one), *_coarse(group, one))]
    ours, theirs = _trials(trained[a]), _trials(trained[b])
    alike = parent_of(b) != a and _aim(trained[a]) == _aim(trained[b])
    if alike and ours is not None and theirs is not None and ours != theirs:
        found.append(f"{a} had {_told(ours)}, {b} {_told(theirs)}: they were not tuned alike")
    return found


def _trained(record: Record, group: str) -> Training | None:
    """How the first of a group was trained: all have the rate of one search."""
    return next((s.training for s in record.subjects if s.group == group and s.training), None)


def _trials(training: Training | None) -> int | None:
    """How many trainings a search was given before any edge; none for a rate that was named.

    None where that is not known, a user's own affair, or where there is no rate to look for.
    """
    rate = training.recipe.get("learning_rate") if training else None
    if training is None or training.recipe.get("function") or rate is None:
        return None
    return len(rate["grid"]) * int(rate.get("seeds", 1)) if isinstance(rate, dict) else 0


def _aim(training: Training | None) -> object:
    return training.recipe.get("objective") if training else None


def _told(trials: int) -> str:
    return f"{trials} trials of its learning rate" if trials else "a learning rate that was named"


def _tried(training: Training | None) -> list[float]:
    """The rates of a search in their order; none where there was no search."""
    tuning = training.tuning if training else None
    return sorted({float(trial["learning_rate"]) for trial in tuning["trials"]}) if tuning else []


def _narrow(group: str, training: Training | None) -> Iterator[str]:
    """Why the search for a group's learning rate was too narrow."""
    if training and training.tuning and training.tuning["edge_limited"]:
        tried = _tried(training)
        if training.learning_rate not in (tried[0], tried[-1]):
            yield (
                f"the search of {group} never trained a rate beside the one it found, {training.learning_rate:g}, in "
                "full, and it may be better: raise tune.extend, or say method: grid"
            )
            return
        end = "greatest" if training.learning_rate == tried[-1] else "smallest"
        yield (
            f"the search of {group} ended at the {end} rate it tried, {training.learning_rate:g}, and one beyond may "
            "be better: widen tune.grid or raise tune.extend"
        )


def _coarse(group: str, training: Training | None) -> Iterator[str]:
    """Why the search for a group's learning rate was too coarse: too few trials for its range."""
    found = training.learning_rate if training else None
    steps = [high / low for low, high in pairwise(_tried(training)) if found in (low, high)]
    if max(steps, default=0.0) > COARSE * (1.0 + 1e-9):
        yield (
            f"the search of {group} tried rates a factor of {max(steps):.3g} apart around {found:g}, and one between "
            "may be better: raise tune.trials, or name a finer tune.grid"
        )
