"""Numbers as people read them."""

from __future__ import annotations

import math

__all__ = ["plain"]

_SMALLEST = 1e-6  # below which decimals are no easier to read than a power of ten


def plain(value: float, digits: int = 2) -> str:
    """Return a number with so many significant digits, without a power of ten: ``250``, not ``2.5e+02``.

    Digits in front of the decimal point are all shown; numbers below a millionth keep their power of ten.

    Examples
    --------
    >>> plain(247.3), plain(0.00123), plain(0.0)
    ('247', '0.0012', '0')
    """
    if value == 0.0 or not math.isfinite(value) or abs(value) < _SMALLEST:
        return f"{value:.{digits}g}"
    leading = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))  # of the rounded number: 9.97 is 10
    return f"{value:.{max(digits - 1 - leading, 0)}f}"
