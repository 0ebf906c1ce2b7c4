"""How numbers and states are worded: every rounding, unit, sign and icon of the reports is chosen here."""

from collections.abc import Iterable, Mapping

from auditor.policy import State
from auditor.record import Coordinate, Kind, Reliability, Severity, Unit

from .page import Chip, Fact

THIN = "\u202f"  # a narrow space that does not break
SIGNS: Mapping[Unit, str] = {"share": f"{THIN}%", "difference": f"{THIN}pp", "number": ""}

AT_NAMES: Mapping[str, str] = {"epsilon": "ε", "fpr": "FPR"}
AT_SHARES = frozenset({"rate", "fpr", "level"})
BOUNDS: Mapping[Kind, str] = {"upper-bound": "≤ ", "lower-bound": "≥ ", "exact": "", "estimate": ""}
KINDS: Mapping[Kind, str] = {
    "upper-bound": "an upper bound, the truth is at most this",
    "lower-bound": "a lower bound, the truth is at least this",
    "exact": "counted exactly on the rows shown",
    "estimate": "estimate",
}
STATES: Mapping[State, Chip] = {
    "pass": Chip("pass", "pass", "✓"),
    "fail": Chip("fail", "fail", "✕"),
    "inconclusive": Chip("inconclusive", "unsure", "?"),
    "not-assessed": Chip("not assessed", "none", "○"),
    "waived": Chip("waived", "waived", "◐"),
}
RELIABILITY: Mapping[Reliability, Chip] = {
    "reliable": Chip("reliable", "pass", "✓"),
    "suspicious": Chip("suspicious", "unsure", "?"),
    "invalid": Chip("invalid", "fail", "✕"),
}
CAVEATS: Mapping[Severity, Chip] = {
    "info": Chip("info", "none", "i"),
    "suspicious": Chip("suspicious", "unsure", "?"),
    "invalid": Chip("invalid", "fail", "✕"),
}
FRAMEWORKS: Mapping[str, str] = {
    "nist-ai-rmf": "NIST AI RMF",
    "nist-aml": "NIST AI 100-2",
    "atlas": "MITRE ATLAS",
    "owasp-ml": "OWASP ML Top 10",
    "eu-ai-act": "EU AI Act, Article",
}
FAMILIES: Mapping[str, str] = {
    "preflight": "Preflight",
    "performance": "Performance",
    "evasion": "Evasion",
    "poisoning": "Poisoning",
    "backdoor": "Backdoors",
    "ood": "Out of distribution",
    "privacy": "Privacy",
    "extraction": "Extraction",
    "efficiency": "Efficiency",
}
ROUNDING = 1e-12
WORST: Mapping[State, int] = {"fail": 0, "inconclusive": 1, "not-assessed": 2, "waived": 3, "pass": 4}


def decimals(value: float, wanted: int, ends: tuple[float, float] = (0.0, 100.0)) -> str:
    """A number with so many decimals, and more where fewer would print "0" or "100 %" for what only comes near."""
    texts = [f"{value:.{places}f}" for places in range(wanted, wanted + 4)]
    text = next((t for t in texts if float(t) == value or float(t) not in ends), texts[-1])
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def bare(value: float, unit: Unit) -> str:
    """A value without its unit sign: percent for shares, decimals or figures for numbers, whole ones whole."""
    if unit != "number":
        return decimals(100 * value, 1)
    if abs(value) < 10:
        return decimals(value, 3, (0.0, 1.0))
    places = 0 if value == int(value) else 1
    return f"{value:,.{places}f}".replace(",", THIN).replace("-", "−") if abs(value) < 1e6 else f"{value:.3g}"


def amount(value: float, unit: Unit) -> str:
    """A value with its unit."""
    return bare(value, unit) + SIGNS[unit]


def interval(low: float | None, high: float | None, unit: Unit) -> str:
    """The interval beside a value, or that there is none."""
    if low is None or high is None:
        return "no interval"
    joint = " to " if min(low, high) < 0 else "–"
    return f"{bare(low, unit)}{joint}{amount(high, unit)}"


def difference(value: float, unit: Unit) -> str:
    """A signed difference: percentage points for shares. What rounding left of equal means is 0."""
    value = 0.0 if abs(value) < ROUNDING else value
    sign = "+" if value > 0 else ""
    return sign + (f"{decimals(100 * value, 1)}{THIN}pp" if unit != "number" else decimals(value, 3, (0.0, 1.0)))


def signed_interval(low: float, high: float, unit: Unit) -> str:
    """The interval of a difference."""
    return f"{difference(low, unit).removesuffix(f'{THIN}pp')} to {difference(high, unit)}"


def coordinate(name: str, value: Coordinate) -> str:
    """One coordinate's value: shares as percent, multiples of 1/255 as such, text as it is."""
    if isinstance(value, str):
        return value
    if name in AT_SHARES:
        return f"{100 * value:g}{THIN}%"
    short = f"{value:.4g}"
    steps = round(value * 255)
    if float(short) != value and steps and abs(value * 255 - steps) < 1e-6:
        return f"{steps}/255"
    return short


def place(at: Mapping[str, Coordinate]) -> str:
    """Where a number was measured, such as "ε 0.1"."""
    return ", ".join(f"{AT_NAMES.get(name, name)} {coordinate(name, at[name])}" for name in sorted(at))


def count(n: int, one: str, many: str = "") -> str:
    """A counted noun: "1 row", "2 rows"."""
    return f"{whole(n)} {one if n == 1 else many or one + 's'}"


def whole(n: int) -> str:
    """A whole number in groups of three digits."""
    return f"{n:,}".replace(",", THIN)


def listed(words: Iterable[str], *, most: int = 0) -> str:
    """Words joined with commas and "and"; past `most` of them, how many more there are."""
    items = list(words)
    if most and len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    if 0 < value < 0.001:
        return f"{1e6 * value:.0f}{THIN}µs"
    if value < 1:
        return f"{1000 * value:.0f}{THIN}ms"
    return f"{value:.1f}{THIN}s" if value < 120 else f"{value / 60:.1f}{THIN}min"


def scaled(value: float) -> str:
    """A large count in thousands, millions and so on: 1.2 G."""
    for size, sign in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{THIN}{sign}"
    return f"{value:g}"


def sized(value: float, unit: str) -> str:
    """An amount with its unit: 1.2 kB."""
    text = scaled(value) if abs(value) >= 1e3 else f"{value:.3g}"
    return f"{text}{unit}" if text[-1].isalpha() or not unit else f"{text}{THIN}{unit}"


def threshold(bar: Mapping[str, float], unit: Unit) -> str:
    """A rule's bar in words."""
    signs = {"at_least": "at least", "at_most": "at most", "max_drop": "drop at most"}
    return ", ".join(f"{signs.get(name, name.replace('_', ' '))} {amount(bar[name], unit)}" for name in sorted(bar))


def p_value(p: float | None) -> str:
    """A p-value: three decimals, and never a zero."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def references(of: Mapping[str, tuple[str, ...]]) -> tuple[Fact, ...]:
    """Framework references, by the framework's name."""
    return tuple(Fact(FRAMEWORKS.get(name, name), ", ".join(of[name])) for name in sorted(of) if of[name])
