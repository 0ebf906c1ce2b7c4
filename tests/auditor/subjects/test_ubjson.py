"""Whether a UBJSON document is whole: real models of XGBoost, documents by hand, and every way to cut them short."""

import numpy as np
import pytest
import xgboost

from auditor.subjects.ubjson import is_whole

EMPTY, TEXT = b"{}", b"{U\x01aSU\x02hi}"
COUNTED = b"{U\x01a[#U\x02U\x01T}"  # two values: 1 and true
TYPED = b"{i\x01a[$d#L" + (2).to_bytes(8, "big") + bytes(8) + b"}"


@pytest.mark.parametrize("content", [EMPTY, TEXT, COUNTED, TYPED, b"{U\x01a{U\x01b[ZNF]}}"])
def test_a_whole_document_is_whole_and_no_part_of_it_is(content):
    assert is_whole(content)
    assert not any(is_whole(content[:length]) for length in range(len(content)))
    assert not is_whole(content + b"}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{U\x01aq}",
        b"{i\xffa}",
        b"{U\x01a[$d]}",
        b"{U\x01a[$S#U\x01]}",
        b"{U\x01a" * 200 + b"Z" + b"}" * 200,
    ],
)
def test_what_is_no_such_document_is_not_whole(content):
    assert not is_whole(content)


def test_a_model_is_whole_and_no_part_of_it_is(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(60, 3)), np.arange(60) % 3
    xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(x, y).save_model(tmp_path / "m.ubj")
    content = (tmp_path / "m.ubj").read_bytes()
    assert is_whole(content)
    assert not any(is_whole(content[:length]) for length in range(0, len(content), 7))
