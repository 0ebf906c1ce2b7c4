"""The comparison of optimizers: security beside accuracy beside cost, and what the differences allow to be said."""

from collections.abc import Sequence

from . import cells, wording
from .charts import Point
from .material import Line, Material
from .page import Cell, Column, Optimizers, Table
from .view_ablations import ablations
from .view_contrasts import contrasts, deployed, forests
from .view_costs import costs, paretos
from .view_efficiency import beside, use
from .view_sensitivity import trials


def optimizers_section(material: Material) -> Optimizers:
    """Everything that compares groups with each other."""
    if len(material.groups) < 2:
        alone = "One group of models was audited, so there is nothing to compare."
        return Optimizers(alone, None, costs(material), None, (), "", beside=beside(material), use=use(material))
    drawn = [*forests(material), *paretos(material)]
    drawn += [chart] if (chart := trials(material)) else []
    return Optimizers(
        _lead(material),
        _heat(material),
        costs(material),
        contrasts(material),
        tuple(drawn),
        _note(material),
        ablations(material),
        beside(material),
        use(material),
        deployed(material),
    )


def _lead(material: Material) -> str:
    pairs = {c.pairs for c in material.record.contrasts}
    if not pairs:
        return "The groups stand side by side below. No paired contrasts were computed, so a difference may be chance."
    return (
        f"Groups are compared on the same rows, splits and initialisations, in {wording.count(min(pairs), 'pair')} of "
        "seeds. A difference is called improved or regressed only where its adjusted p-value is below alpha, its "
        "interval excludes zero, and the two groups were shown to be equally accurate; where they differ by what was "
        "minimised, or by a variant, the price in accuracy stands beside it instead."
    )


def _note(material: Material) -> str:
    if not material.record.contrasts:
        return ""
    deltas = sorted({c.delta for c in material.record.contrasts if c.delta is not None})
    margin = wording.listed(f"±{100 * d:g}{wording.THIN}pp" for d in deltas)
    alike = f" Equivalent means that the whole interval lies within {margin}." if margin else ""
    return (
        f"Differences are b minus a.{alike} The p-values are adjusted by Holm over the pairs of one metric. The least "
        "detectable difference is what these seeds and rows would find four times in five, were it the first that Holm "
        "lets pass: an inconclusive row with a large number says that the audit was too small, not that the "
        "optimizers are alike."
    )


def _heat(material: Material) -> Table:
    lines = material.representatives
    columns = (Column("Group"), *(Column(line.metric.title, "number", wording.place(line.at)) for line in lines))
    shades = {id(line): _shades(material, line) for line in lines}
    rows = tuple(
        (
            Cell(g.name, head=True, tone=f"swatch-{g.index % 8 + 1}"),
            *(cells.cell(material.number(line, g), line.metric, tone=shades[id(line)].get(g.id, "")) for line in lines),
        )
        for g in material.groups
    )
    note = "The stronger its shade, the better a cell is in its column; a column whose intervals all overlap has none."
    return Table("Groups by headline metric", columns, rows, note, tone="heat")


def _shades(material: Material, line: Line) -> dict[str, str]:
    """A shade from 1 (worst) to 5 (best) for each group; none where direction or difference is unknown."""
    points = {g.id: cells.point(material.number(line, g)) for g in material.groups}
    known = {name: p for name, p in points.items() if p is not None}
    if line.metric.better == "neither" or len(known) < 2 or _overlap(list(known.values())):
        return {}
    sign = 1 if line.metric.better == "higher" else -1
    scores = {name: sign * p.value for name, p in known.items()}
    least, most = min(scores.values()), max(scores.values())
    return {name: f"shade-{1 + round(4 * (score - least) / (most - least))}" for name, score in scores.items()}


def _overlap(points: Sequence[Point]) -> bool:
    lows = [p.value if p.low is None else p.low for p in points]
    highs = [p.value if p.high is None else p.high for p in points]
    return max(lows) <= min(highs) or len({p.value for p in points}) == 1
