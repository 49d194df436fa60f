// What several tests need.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "castile/math/spherical_harmonics.hpp"
#include "castile/parallel.hpp"

#include "castile/descriptors/feature_head.hpp"

namespace castile::test {

/// Every name that `make_feature_head` knows.
inline const std::vector<std::string> feature_heads = castile::feature_head_names();

inline std::vector<double> random_numbers(std::size_t n, unsigned seed, double low = -1.0, double high = 1.0) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> numbers(n);
  for (double& number : numbers) number = uniform(generator);
  return numbers;
}

/// Parameters of a head; "tensor_spectrum" gets five features per degree and random matrices, "product_spectrum"
/// products of up to five coefficients.
inline FeatureHeadParameters head_parameters(const std::string& name, int n_channels, int n_max, int l_max) {
  FeatureHeadParameters p;
  p.name = name;
  p.n_channels = n_channels;
  p.n_max = n_max;
  p.l_max = l_max;
  if (name == "product_spectrum") p.product_rule.degrees = {2, 4, 4, 5, 5};
  if (name == "tensor_spectrum") {
    p.n_tensor_features = 5;
    p.tensor_matrices = random_numbers(static_cast<std::size_t>(2 * (l_max + 1) * 5 * n_channels * n_max), 99);
  }
  return p;
}

inline std::vector<std::array<double, 3>> random_directions(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<std::array<double, 3>> directions(n);
  for (auto& u : directions) {
    for (double& component : u) component = normal(generator);
    const double length = std::sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
    for (double& component : u) component /= length;
  }
  return directions;
}

template <typename A, typename B>
double dot(const std::vector<A>& a, const std::vector<B>& b) {
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  return sum;
}

template <typename T>
double largest(const std::vector<T>& values) {
  double result = 0.0;
  for (const T value : values) result = std::max(result, std::abs(static_cast<double>(value)));
  return result;
}

/// Largest difference, relative to the largest value of the second.
template <typename A, typename B>
double relative_difference(const std::vector<A>& a, const std::vector<B>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double here = std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k]));
    if (std::isnan(here)) return INFINITY;
    difference = std::max(difference, here);
  }
  const double scale = largest(b);
  return scale > 0.0 ? difference / scale : difference;
}

/// The number of threads of this scope.
class Threads {
 public:
  explicit Threads(int n) : previous_(set_num_threads_of_this_thread(n)) {}
  ~Threads() { set_num_threads_of_this_thread(previous_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int previous_;
};

/// Real orthonormal spherical harmonics of the direction of (x, y, z), which need not be of norm one, from the
/// textbook recurrence (l-m) P_l^m = (2l-1) z P_{l-1}^m - (l+m-1) P_{l-2}^m, P_m^m = (2m-1)!!.
/// With S complex, an imaginary step differentiates them.
template <typename S>
std::vector<S> reference_harmonics(int l_max, S x, S y, S z) {
  const S r = std::sqrt(x * x + y * y + z * z);
  x /= r;
  y /= r;
  z /= r;
  constexpr long double pi = 3.14159265358979323846264338327950288L;
  std::vector<S> Y(static_cast<std::size_t>(n_lm(l_max)));
  S c = S(1.0L);
  S s = S(0.0L);
  long double double_factorial = 1.0L;
  for (int m = 0; m <= l_max; ++m) {
    if (m > 0) double_factorial *= static_cast<long double>(2 * m - 1);
    S below = S(0.0L);
    S legendre = S(double_factorial);
    for (int l = m; l <= l_max; ++l) {
      if (l > m) {
        const S next =
            (static_cast<long double>(2 * l - 1) * z * legendre - static_cast<long double>(l + m - 1) * below) /
            static_cast<long double>(l - m);
        below = legendre;
        legendre = next;
      }
      long double quotient = 1.0L;  // (l-m)!/(l+m)!
      for (int k = l - m + 1; k <= l + m; ++k) quotient /= static_cast<long double>(k);
      const long double factor =
          std::sqrt(static_cast<long double>(2 * l + 1) / (4.0L * pi) * quotient) * (m > 0 ? std::sqrt(2.0L) : 1.0L);
      Y[static_cast<std::size_t>(lm_index(l, m))] = factor * legendre * c;
      if (m > 0) Y[static_cast<std::size_t>(lm_index(l, -m))] = factor * legendre * s;
    }
    const S next_c = x * c - y * s;
    s = x * s + y * c;
    c = next_c;
  }
  return Y;
}

/// Nodes and weights of Gauss and Legendre on [-1, 1], by Newton's method.
struct GaussLegendre {
  std::vector<long double> nodes, weights;

  explicit GaussLegendre(int n) {
    constexpr long double pi = 3.14159265358979323846264338327950288L;
    for (int k = 0; k < n; ++k) {
      long double x = std::cos(pi * (static_cast<long double>(k) + 0.75L) / (static_cast<long double>(n) + 0.5L));
      long double slope = 0.0L;
      for (int iteration = 0; iteration < 10; ++iteration) {
        long double below = 0.0L;
        long double value = 1.0L;
        for (int l = 1; l <= n; ++l) {
          const auto degree = static_cast<long double>(l);
          const long double next = ((2.0L * degree - 1.0L) * x * value - (degree - 1.0L) * below) / degree;
          below = value;
          value = next;
        }
        slope = static_cast<long double>(n) * (x * value - below) / (x * x - 1.0L);
        x -= value / slope;
      }
      nodes.push_back(x);
      weights.push_back(2.0L / ((1.0L - x * x) * slope * slope));
    }
  }
};

}  // namespace castile::test
