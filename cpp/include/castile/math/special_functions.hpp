#pragma once

namespace castile {

/// exp(-z) 1F1(a; b; z), Kummer's function scaled so that it neither overflows nor cancels, for z >= 0 and
/// b > 0, a > 0. Long double, because the radial bases multiply its error by the square root of the
/// condition number of their overlap (1e7 and more).
///
/// z < 600: the power series, whose terms are all positive; above, the asymptotic series cut at its smallest
/// term (NIST DLMF 13.2.2 and 13.7.1).
long double scaled_kummer(long double a, long double b, long double z);

}  // namespace castile
