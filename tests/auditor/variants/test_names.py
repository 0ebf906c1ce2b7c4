"""Names of variants: what each means, and the nearest one for a name nobody knows."""

import pytest

from auditor.errors import UnknownNameError
from auditor.variants.names import variant_of


def test_what_each_name_means() -> None:
    assert (variant_of("int8").weight_bits, variant_of("int8").activation_bits) == (8, 8)
    assert (variant_of("int4").weight_bits, variant_of("int4").activation_bits) == (4, None)
    assert (variant_of("bfloat16").weight_bits, variant_of("bfloat16").kind) == (16, "lowered")
    assert (variant_of("pruned-80").pruned, variant_of("pruned-80").weight_bits) == (0.8, 32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("int9", "did you mean 'int8'"),
        ("bf16", "did you mean 'bfloat16'"),
        ("pruned-0", "from 1 to 99"),
        ("pruned-100", "from 1 to 99"),
        ("pruned-050", "from 1 to 99"),
        ("float32", "unknown variant"),
    ],
)
def test_a_name_nobody_knows_is_told_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        variant_of(name)
