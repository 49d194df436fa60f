import pytest

from castile._text import plain


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (250.0, 2, "250"),
        (1234567.8, 3, "1234568"),
        (0.05, 3, "0.0500"),
        (9.96, 2, "10"),
        (0.0996, 2, "0.10"),
        (-12.34, 3, "-12.3"),
        (1.5e-5, 2, "0.000015"),
        (0.0, 2, "0"),
        (float("nan"), 2, "nan"),
        (float("inf"), 2, "inf"),
        (3e-9, 2, "3e-09"),
    ],
)
def test_numbers_are_written_out_with_their_significant_digits(value, digits, text):
    assert plain(value, digits) == text
