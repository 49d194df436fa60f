#include "castile/math/extended.hpp"

#include <array>
#include <cmath>

namespace castile {
namespace {

constexpr Extended ln_2{6.931471805599452862e-01, 2.319046813846299558e-17};
constexpr double underflow_below = -700.0;  // the low part of the result would no longer be a normal number

/// a + b for |a| >= |b|, with its rounding error.
Extended fast_two_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

Extended two_sum(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// The upper and the lower half of the digits.
Extended split(double a) {
  const double shifted = 134217729.0 * a;  // 2^27 + 1
  const double high = shifted - (shifted - a);
  return {high, a - high};
}

Extended two_product(double a, double b) {
  const double product = a * b;
  const Extended x = split(a);
  const Extended y = split(b);
  return {product, ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low};
}

/// 1/n! of n = 1..9.
const std::array<Extended, 9>& inverse_factorials() {
  static const std::array<Extended, 9> values = [] {
    std::array<Extended, 9> result;
    Extended factorial = 1;
    for (std::size_t n = 0; n < result.size(); ++n) {
      factorial = factorial * static_cast<double>(n + 1);
      result[n] = Extended(1) / factorial;
    }
    return result;
  }();
  return values;
}

}  // namespace

Extended operator+(Extended a, Extended b) {
  Extended sum = two_sum(a.high, b.high);
  const Extended rest = two_sum(a.low, b.low);
  sum = fast_two_sum(sum.high, sum.low + rest.high);
  return fast_two_sum(sum.high, sum.low + rest.low);
}

Extended operator-(Extended a, Extended b) { return a + (-b); }

Extended operator*(Extended a, Extended b) {
  const Extended product = two_product(a.high, b.high);
  return fast_two_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

Extended operator/(Extended a, Extended b) {
  const double first = a.high / b.high;
  const Extended rest = a - b * first;
  const double second = rest.high / b.high;
  const double third = (rest - b * second).high / b.high;
  return fast_two_sum(first, second) + third;
}

bool operator<(Extended a, Extended b) { return a.high < b.high || (a.high == b.high && a.low < b.low); }

Extended abs(Extended x) { return x < Extended(0) ? -x : x; }

Extended sqrt(Extended x) {
  if (x.high <= 0.0) return 0;
  const double root = std::sqrt(x.high);
  return Extended(root) + (x - two_product(root, root)).high / (2.0 * root);
}

// exp(x) = 2^k (1 + s)^512 with s = expm1((x - k ln 2)/512); squaring 1 + s without the one loses no digits.
Extended exp(Extended x) {
  if (x.high < underflow_below) return 0;
  const double k = std::round(x.high / ln_2.high);
  const Extended reduced = x - ln_2 * k;
  const Extended r{std::ldexp(reduced.high, -9), std::ldexp(reduced.low, -9)};
  Extended s = inverse_factorials().back();
  for (std::size_t n = inverse_factorials().size() - 1; n-- > 0;) s = s * r + inverse_factorials()[n];
  s = s * r;
  for (int squaring = 0; squaring < 9; ++squaring) s = s * s + s * 2.0;
  s = s + 1.0;
  return {std::ldexp(s.high, static_cast<int>(k)), std::ldexp(s.low, static_cast<int>(k))};
}

// One step of Newton's method for exp(y) = x doubles the digits.
Extended log(Extended x) {
  const Extended y = std::log(x.high);
  return y + (x * exp(-y) - 1.0);
}

Extended power(Extended x, int exponent) {
  Extended result = 1;
  Extended square = x;
  for (int rest = std::abs(exponent); rest > 0; rest /= 2) {
    if (rest % 2 == 1) result = result * square;
    square = square * square;
  }
  return exponent < 0 ? Extended(1) / result : result;
}

Extended gamma_of_half(int k) {
  Extended value = k % 2 == 0 ? Extended(1) : sqrt(extended_pi);
  for (int j = k % 2 == 0 ? 2 : 1; j < k; j += 2) value = value * (0.5 * j);
  return value;
}

Extended dot(const Extended* a, const Extended* b, std::size_t n) {
  Extended sum = 0;
  for (std::size_t k = 0; k < n; ++k) sum = sum + a[k] * b[k];
  return sum;
}

}  // namespace castile
