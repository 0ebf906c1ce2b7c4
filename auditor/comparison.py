"""Groups beside each other: their own values, the contrasts between them, and what explains the gaps."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from auditor.catalogue import Catalogue
from auditor.config import AuditConfig, ContrastConfig
from auditor.contrast import (
    Member,
    NotComparableError,
    contrast,
    finish,
    group_measurement,
    shown_equivalent,
    sort_of,
    strictest,
)
from auditor.explained import shares
from auditor.groups import stated
from auditor.matching import Runs
from auditor.measured import Measured
from auditor.pairs import pairs
from auditor.record import Contrast, Explained, Measurement
from auditor.repeats import constant, models
from auditor.twins import twin_contrast, twins_equivalent


@dataclass
class Comparison:
    """What was measured, and the catalogue that says which of it is compared."""

    measured: Measured
    catalogue: Catalogue

    @property
    def _config(self) -> AuditConfig:
        return self.measured.plan.config

    @property
    def _settings(self) -> ContrastConfig:
        return self._config.contrasts

    def group_measurements(self) -> list[Measurement]:
        """Each group's own value of what every one of its subjects was measured on."""
        found = []
        for measured in self.measured.by_key.values():
            for group in self.measured.groups:
                if members := self.measured.members(group, measured):
                    with suppress(NotComparableError):  # no number for the group, so that nothing can pass by it
                        m = measured[members[0].subject]
                        metric = self.catalogue.metric(f"{m.probe}.{m.metric}")
                        unit = metric.unit if metric else None
                        found.append(group_measurement(m, members, self._config.confidence, unit))
        return found

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        return pairs(self.measured.plan.subjects, self._settings.reference)

    def _two_models(self, ours: list[Member], theirs: list[Member]) -> bool:
        """Whether only two models are compared: one and its variant, or groups whose seeds all gave one model each."""
        a, b = (self.measured.sides[side[0].group] for side in (ours, theirs))
        if len(a) == len(b) == 1 and b[0].original == a[0].unit:
            return True
        one_each = all(models([self.measured.weights(s) for s in side]) == 1 for side in (a, b))
        return one_each and constant(ours) and constant(theirs)

    @cached_property
    def _compared(self) -> tuple[str, ...]:
        """The metrics on which groups are compared."""
        return self._settings.metrics or tuple(
            f"{p.id}.{m.name}" for p in self.catalogue.probes for m in p.metrics if m.headline and m.better != "neither"
        )

    def contrasts(self) -> tuple[Contrast, ...]:
        """Every pair that is compared, on every metric that is."""
        made = [c for name in self._compared for a, b in self._pairs for c in self._contrasts_of(name, a, b)]
        measured = self.measured
        runs = Runs(measured.groups, measured.at, measured.finished, self._settings.alpha)
        return finish(made, {pair: self._equal_accuracy(*pair) for pair in self._pairs}, runs.matched)

    def _equal_accuracy(self, a: str, b: str) -> bool | None:
        """Whether two groups' accuracies are shown to be equal; None where they were not both measured."""
        measured = self.measured.by_key.get(("accuracy", "accuracy", ()), {})
        ours, theirs = self.measured.members(a, measured), self.measured.members(b, measured)
        settings = self._settings
        if not (ours and theirs):
            return None
        try:
            if self._two_models(ours, theirs):
                return twins_equivalent(ours[0], theirs[0], delta=settings.delta, alpha=settings.alpha)
            return shown_equivalent(ours, theirs, delta=settings.delta, alpha=settings.alpha)
        except NotComparableError:
            return None

    def _contrasts_of(self, qualified: str, a: str, b: str) -> list[Contrast]:
        found = []
        for (probe, metric, _), measured in self.measured.by_key.items():
            if f"{probe}.{metric}" != qualified:
                continue
            ours, theirs = self.measured.members(a, measured), self.measured.members(b, measured)
            if ours and theirs:
                with suppress(NotComparableError):  # groups asked different rows have no paired difference
                    found.append(self._contrast(qualified, ours, theirs))
        return found

    def _contrast(self, qualified: str, ours: list[Member], theirs: list[Member]) -> Contrast:
        template, settings = stated(ours[0]), self._settings
        better, confidence = template.better, self._config.confidence
        if self._two_models(ours, theirs):
            of = (qualified, template.at, ours[0], theirs[0])
            return twin_contrast(*of, delta=settings.delta, better=better, confidence=confidence)
        of_groups = (qualified, template.at, ours, theirs)
        alpha = strictest(settings.alpha, sort_of(ours[0].group, theirs[0].group), self._pairs)
        return contrast(*of_groups, alpha=alpha, delta=settings.delta, better=better, confidence=confidence)

    def explained(self) -> tuple[Explained, ...]:
        """What of the gaps between groups goes with each ablation, metric by metric."""
        found: list[Explained] = []
        for name in self._compared:
            for (probe, metric, _), measured in self.measured.by_key.items():
                if f"{probe}.{metric}" == name:
                    members = partial(self.measured.members, measured=measured)
                    found += shares(name, members, self._pairs, self._config.confidence)
        return tuple(found)
