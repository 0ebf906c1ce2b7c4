"""Auditor: a security and robustness audit for classifiers.

The public API, imported when it is used: `audit(model, data)` returns a Record; `judge` holds facts against a policy.
`Probe`, `Case` and their companions are what a third party writes a probe with.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.api import audit as audit
    from auditor.dataset import Dataset as Dataset
    from auditor.dataset import Domain as Domain
    from auditor.errors import AuditorError as AuditorError
    from auditor.judgement import judge as judge
    from auditor.probe import Case as Case
    from auditor.probe import Metric as Metric
    from auditor.probe import Outcome as Outcome
    from auditor.probe import Probe as Probe
    from auditor.record import Caveat as Caveat
    from auditor.record import Measurement as Measurement
    from auditor.record import Record as Record
    from auditor.straight import straight_through as straight_through
    from auditor.subject import Access as Access

PUBLIC = {
    "audit": "auditor.api",
    "judge": "auditor.judgement",
    "Dataset": "auditor.dataset",
    "Domain": "auditor.dataset",
    "AuditorError": "auditor.errors",
    "Probe": "auditor.probe",
    "Case": "auditor.probe",
    "Metric": "auditor.probe",
    "Outcome": "auditor.probe",
    "Caveat": "auditor.record",
    "Measurement": "auditor.record",
    "Record": "auditor.record",
    "Access": "auditor.subject",
    "straight_through": "auditor.straight",
}
__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:  # any public object
    if name not in PUBLIC:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)
