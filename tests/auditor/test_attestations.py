"""Attestations: what a person states is shown as attested, and never as measured."""

import pytest

from auditor import frameworks
from auditor.attestations import load_attestations
from auditor.errors import AuditorError

STATED = """
schema: auditor/attestations/1
attestations:
  - {id: GOVERN 2.1, statement: Roles are written down in the handbook., by: A. Person, date: 2026-11-01}
"""


def test_a_statement_names_who_made_it_and_when() -> None:
    statements = load_attestations(STATED, "attestations.yaml").statements()
    assert statements == {"GOVERN 2.1": "Roles are written down in the handbook. (A. Person, 2026-11-01)"}


def test_an_item_that_the_framework_has_not_is_answered_with_the_nearest() -> None:
    with pytest.raises(AuditorError, match=r"unknown subcategory 'GOVERN 2\.9'; did you mean 'GOVERN 2\."):
        load_attestations(STATED.replace("GOVERN 2.1", "GOVERN 2.9"), "attestations.yaml")


def test_a_statement_without_a_name_is_refused_with_its_line() -> None:
    with pytest.raises(AuditorError, match=r"attestations\.yaml:4: attestations\.0\.by is missing"):
        load_attestations(STATED.replace(" by: A. Person,", ""), "attestations.yaml")


def test_every_stated_item_is_one_of_the_seventy_two() -> None:
    assert len(frameworks.load("nist-ai-rmf").items) == 72
