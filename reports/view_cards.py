"""The model card and the dataset card: what the owner states, and what the record knows."""

from collections.abc import Mapping
from typing import Any

from auditor.record import SubjectRecord, Training

from . import wording
from .material import Group, Material
from .page import Cards, Cell, Column, Fact, Table

NOT_STATED = "not stated"
STATED: Mapping[str, str] = {
    "intended_use": "Intended use",
    "out_of_scope": "Out of scope",
    "limitations": "Limitations",
    "owners": "Owners",
    "contact": "Contact",
}
MADE_BY = ("architecture", "estimator", "function")  # of a recipe, the first that it has
MOST_CLASSES = 40


def cards(material: Material) -> Cards:
    """Both cards."""
    return Cards(_model(material), _recipes(material), _dataset(material), _balance(material))


def _model(material: Material) -> tuple[Fact, ...]:
    stated = material.facts.config.get("card") or {}
    more = [name for name in sorted(stated) if name not in STATED]
    names = {**STATED, **{name: name.replace("_", " ").capitalize() for name in more}}
    facts = [Fact(title, said(stated.get(name))) for name, title in names.items()]
    data = material.record.dataset
    shape = " × ".join(str(n) for n in data.shape)
    return (
        *facts,
        Fact(
            "Task",
            f"classification of inputs of shape {shape} into {wording.count(len(data.classes), 'class', 'classes')}",
        ),
        Fact("Evaluation data", f"{wording.whole(data.rows.get('test', 0))} test rows of {data.id}"),
        Fact("Results", "see the scorecard; each number has its interval"),
        Fact("Limits of the evidence", "see what was not tested, and each probe's blind spots"),
    )


def said(value: Any) -> str:  # any JSON value
    """What the owner stated, or that nothing was."""
    if isinstance(value, list | tuple):
        return "; ".join(str(v) for v in value) or NOT_STATED
    return str(value).strip() or NOT_STATED if value is not None else NOT_STATED


def _recipes(material: Material) -> Table:
    columns = (
        Column("Group"),
        Column("Architecture"),
        Column("Optimizer"),
        Column("Models", "number"),
        Column("Access"),
        Column("Weights, sha256"),
    )
    return Table("The models", columns, tuple(_recipe_row(g) for g in material.groups))


def _recipe_row(group: Group) -> tuple[Cell, ...]:
    first = group.members[0]
    recipe = first.training.recipe if first.training else {}
    digests = [m.sha256 for m in group.members if m.sha256]
    return (
        Cell(group.id, note=_origin(first), head=True, tone=f"swatch-{group.index % 8 + 1}"),
        Cell(next((recipe[k] for k in MADE_BY if recipe.get(k)), NOT_STATED), note=first.variant),
        Cell(first.optimizer or NOT_STATED, note="; ".join([*_training(recipe, first.training), *_iterated(group)])),
        Cell(str(len(group.members)), tone="number"),
        Cell(", ".join(first.access) or "none"),
        Cell(", ".join(d[:12] for d in digests) or NOT_STATED, tone="digest"),
    )


def _iterated(group: Group) -> list[str]:
    """How the solver of an estimator ended, by its tolerance or its most iterations, and what it warned of."""
    made = [m.training for m in group.members if m.training and m.training.recipe.get("estimator")]
    if not made:
        return []
    most = made[0].recipe["epochs"]
    stopped = sum(t.epochs >= most for t in made)
    ended = f"{stopped} of {len(made)} stopped at the {most} iterations allowed" if stopped else "ended by tolerance"
    return [ended, *(f"scikit-learn: {text}" for text in dict.fromkeys(text for t in made for text in t.said))]


def _training(recipe: Mapping[str, Any], training: Training | None) -> list[str]:  # a recipe's fields
    """What was minimised and how, as far as it is not plain: warm-up, clipping, changed rows, a start."""
    said = [_objective(recipe, training)]
    if recipe.get("schedule") not in (None, "cosine"):
        said.append(f"{recipe['schedule']} rate")
    if warmup := recipe.get("warmup"):
        said.append(f"warm-up over {wording.amount(warmup, 'share')} of steps")
    if clip := recipe.get("clip"):
        acted = training.clipped if training else None
        share = "" if acted is None else f" ({wording.amount(acted, 'share')} of them)"
        said.append(f"gradients clipped at {clip:g}{share}")
    if parts := recipe.get("augment"):
        said.append("rows changed by " + ", ".join("{name} {amount:.3g}".format(**part) for part in parts))
    if recipe.get("layout") == "channels-last":
        said.append("images held channels last")
    if start := recipe.get("start"):
        said.append(f"from the weights {start['sha256'][:12]}" + (", new head" if start["head"] == "new" else ""))
    return said


def _objective(recipe: Mapping[str, Any], training: Training | None) -> str:  # a recipe's fields
    """What was minimised, with its settings; nothing is known of the user's own function."""
    if training and training.privacy:
        spent = training.privacy
        return f"objective dp: epsilon {spent['epsilon']:.3g} at delta {spent['delta']:.3g}"
    stated = recipe.get("objective")
    if stated is None or recipe.get("function"):
        return f"objective {NOT_STATED}"
    if isinstance(stated, str):  # as bundles of earlier versions have it
        return f"objective {stated}"
    settings = ", ".join(f"{k} {v:.4g}" for k, v in stated.items() if k != "name" and v is not None)
    return f"objective {stated['name']}" + (f" ({settings})" if settings else "")


def _origin(subject: SubjectRecord) -> str:
    if subject.loaded:
        return _loaded(subject.loaded)
    if subject.training and subject.training.recipe.get("function"):
        return "trained by the owner's function"
    return "trained by this audit" if subject.training else "handed in"


def _loaded(how: Mapping[str, Any]) -> str:  # the load section of a subject
    """From what a model was loaded, with what was trusted and done to its inputs."""
    parts = [f"loaded from {how.get('format', 'a file')}"]
    if how.get("trust") == "pickle":
        parts.append("a pickle, which ran code on loading: trusted by the audit file")
    if isinstance(how.get("normalisation"), Mapping):
        parts.append("inputs normalised before it")
    if how.get("input_range"):
        parts.append("inputs from {:g} to {:g}".format(*how["input_range"]))
    if how.get("recipe"):
        parts.append("retrained by its stated recipe")
    return "; ".join(parts)


def _dataset(material: Material) -> tuple[Fact, ...]:
    data = material.record.dataset
    rows = ", ".join(f"{split} {wording.whole(n)}" for split, n in sorted(data.rows.items(), reverse=True))
    return (
        Fact("Name", data.id),
        Fact("Description", data.description or NOT_STATED),
        Fact("Licence", data.licence or NOT_STATED),
        Fact("Origin", data.origin or NOT_STATED),
        Fact("How it was collected", data.collection or NOT_STATED),
        Fact("Rows", rows),
        Fact("Shape of one input", " × ".join(str(n) for n in data.shape)),
        Fact("Range of values", _range(data.range, data.stored_range)),
        Fact("Classes", _class_line(data.classes)),
        Fact("Balance", _imbalance(data.class_counts)),
        Fact("Missing values", _missing(data.missing)),
        Fact("Groups", _groups(data.groups)),
        *([Fact("What holds for every row", "; ".join(data.constraints))] if data.constraints else []),
        Fact("Out-of-distribution sets", ", ".join(data.ood) or "none"),
        Fact("Content, sha256", data.sha256, code=True),
    )


def _range(seen: tuple[float, float], stored: tuple[float, float] | None) -> str:
    """What a model is shown, and what stood in the files."""
    told = f"{seen[0]:g} to {seen[1]:g}"
    return told if stored is None or stored == seen else f"{told}; as stored, {stored[0]:g} to {stored[1]:g}"


def _missing(cells: Mapping[str, int]) -> str:
    """How many cells were empty as stored, and where: no array can hold such, so without a count there were none."""
    empty = {name: n for name, n in cells.items() if n}
    return "; ".join(f"{name} {wording.whole(n)}" for name, n in empty.items()) or "none"


def _groups(groups: Mapping[str, tuple[str, ...]]) -> str:
    """Who rows are about, by attribute."""
    stated = [f"{name} ({', '.join(values[:8])})" if values else name for name, values in groups.items()]
    return "; ".join(stated) or "none named"


def _class_line(classes: tuple[str, ...]) -> str:
    return f"{len(classes)}: {wording.listed(classes, most=MOST_CLASSES)}"


def _imbalance(counts: Mapping[str, tuple[int, ...]]) -> str:
    train = [n for n in counts.get("train", ()) if n]
    if not train:
        return NOT_STATED
    missing = sum(n == 0 for n in counts["train"])
    gap = f"; {wording.count(missing, 'class', 'classes')} without a training row" if missing else ""
    return f"the commonest class has {max(train) / min(train):.3g} times the training rows of the rarest{gap}"


def _balance(material: Material) -> Table:
    data = material.record.dataset
    splits = sorted(data.class_counts, reverse=True)
    columns = (Column("Class"), *(Column(f"{split.capitalize()} rows", "number") for split in splits))
    rows = tuple(
        (Cell(name, head=True), *(Cell(wording.whole(data.class_counts[s][i]), tone="number") for s in splits))
        for i, name in enumerate(data.classes)
    )
    return Table("Rows by class", columns, rows)
