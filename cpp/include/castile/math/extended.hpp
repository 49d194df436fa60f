#pragma once

#include <cstddef>

namespace castile {

/// A number with twice the digits of double (32), the unevaluated sum of two of them, for set-up where differences
/// cancel more digits than long double has. Unlike long double it gives the same bits on every machine.
///
/// Dekker, Numerische Mathematik 18, 224 (1971), doi:10.1007/BF01397083; Knuth, The Art of Computer Programming
/// 2, 4.2.2.
struct Extended {
  double high = 0.0;
  double low = 0.0;

  constexpr Extended() = default;
  constexpr Extended(double value) : high(value) {}
  constexpr Extended(int value) : high(value) {}
  constexpr Extended(double high_part, double low_part) : high(high_part), low(low_part) {}

  explicit constexpr operator double() const { return high; }
  explicit constexpr operator long double() const {
    return static_cast<long double>(high) + static_cast<long double>(low);
  }
};

// Not inline: whoever includes this may compile with contraction or reassociation, which would break the error terms.
Extended operator+(Extended a, Extended b);
Extended operator-(Extended a, Extended b);
Extended operator*(Extended a, Extended b);
Extended operator/(Extended a, Extended b);
inline Extended operator-(Extended a) { return {-a.high, -a.low}; }
bool operator<(Extended a, Extended b);

Extended abs(Extended x);
/// For x >= 0.
Extended sqrt(Extended x);
Extended exp(Extended x);
/// For x > 0.
Extended log(Extended x);
/// x to a whole power, which may be negative.
Extended power(Extended x, int exponent);
/// Γ(k/2) for k >= 1.
Extended gamma_of_half(int k);
/// Σ_k a[k] b[k].
Extended dot(const Extended* a, const Extended* b, std::size_t n);

/// Relative rounding error of one operation.
constexpr double extended_epsilon = 0x1p-104;
constexpr Extended extended_pi{3.141592653589793116, 1.224646799147353207e-16};

}  // namespace castile
