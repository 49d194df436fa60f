#include "castile/descriptors/product_rule.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <stdexcept>
#include <string>

namespace castile {
namespace {

using Polynomial = std::vector<double>;   // coefficient of each power up to the highest total degree
using ByOrder = std::vector<Polynomial>;  // for each number of factors, from none

constexpr double pi = 3.14159265358979323846;

void add_product(const Polynomial& a, const Polynomial& b, Polynomial& sum) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == 0.0) continue;
    for (std::size_t k = 0; i + k < sum.size(); ++k) sum[i + k] += a[i] * b[k];
  }
}

ByOrder none(std::size_t n_orders, std::size_t size) { return ByOrder(n_orders + 1, Polynomial(size, 0.0)); }

ByOrder empty_product(std::size_t n_orders, std::size_t size) {
  ByOrder result = none(n_orders, size);
  result[0][0] = 1.0;
  return result;
}

/// A rotation by an angle, with or without an inversion.
struct Element {
  double angle;
  double parity;

  /// The trace of its power for harmonics of degree l.
  double character(int l, int power) const {
    double sum = 1.0;
    for (int m = 1; m <= l; ++m) sum += 2.0 * std::cos(m * power * angle);
    return l * power % 2 == 0 ? sum : parity * sum;
  }
};

/// Traces of an element for the symmetric powers of one channel's coefficients, from Newton's sums over its powers.
ByOrder symmetric_powers(const Element& g, int n_max, int l_max, int channel_degree, const ByOrder& like) {
  const std::size_t n_orders = like.size() - 1, size = like[0].size();
  ByOrder sums = none(n_orders, size);
  for (std::size_t j = 1; j <= n_orders; ++j) {
    for (int l = 0; l <= l_max; ++l) {
      const double character = g.character(l, static_cast<int>(j));
      for (int n = 1; n <= n_max; ++n) {
        const std::size_t degree = j * static_cast<std::size_t>(n + l + channel_degree);
        if (degree < size) sums[j][degree] += character;
      }
    }
  }
  ByOrder powers = empty_product(n_orders, size);
  for (std::size_t k = 1; k <= n_orders; ++k) {
    for (std::size_t j = 1; j <= k; ++j) add_product(powers[k - j], sums[j], powers[k]);
    for (double& value : powers[k]) value /= static_cast<double>(k);
  }
  return powers;
}

int degree_of_channel(const ProductRule& rule, int channel) {
  return rule.channel_degrees.empty() ? 0 : rule.channel_degrees[static_cast<std::size_t>(channel)];
}

/// Traces of an element for products of no more than so many channels.
ByOrder traces(const Element& g, int n_channels, int n_max, int l_max, const ProductRule& rule, std::size_t size) {
  const std::size_t n_orders = rule.degrees.size();
  const std::size_t most = std::min(static_cast<std::size_t>(rule.most_channels), n_orders);
  std::vector<ByOrder> of_channels(most + 1, none(n_orders, size));  // by the number of different ones
  of_channels[0][0][0] = 1.0;
  std::map<int, ByOrder> known;
  for (int channel = 0; channel < n_channels; ++channel) {
    const int degree = degree_of_channel(rule, channel);
    auto own = known.find(degree);
    if (own == known.end()) {
      own = known.emplace(degree, symmetric_powers(g, n_max, l_max, degree, of_channels[0])).first;
    }
    for (std::size_t n = most; n >= 1; --n) {
      for (std::size_t k = n; k <= n_orders; ++k) {
        for (std::size_t j = 1; j + n <= k + 1; ++j) {
          add_product(of_channels[n - 1][k - j], own->second[j], of_channels[n][k]);
        }
      }
    }
  }
  ByOrder total = none(n_orders, size);
  for (std::size_t n = 1; n <= most; ++n) {
    for (std::size_t k = 1; k <= n_orders; ++k) {
      for (std::size_t degree = 0; degree < size; ++degree) total[k][degree] += of_channels[n][k][degree];
    }
  }
  return total;
}

/// Of all products that there can be.
int highest_degree(int n_max, int l_max, const ProductRule& rule) {
  const auto& own = rule.channel_degrees;
  const int channel = own.empty() ? 0 : *std::max_element(own.begin(), own.end());
  const int possible = static_cast<int>(rule.degrees.size()) * (n_max + l_max + channel);
  return std::max(0, std::min(possible, *std::max_element(rule.degrees.begin(), rule.degrees.end())));
}

}  // namespace

void check_rule(int n_channels, const ProductRule& rule) {
  if (rule.degrees.empty() || rule.degrees.size() > 5) {
    throw std::invalid_argument("degrees must be one for each order, of 1 to 5 factors, got " +
                                std::to_string(rule.degrees.size()));
  }
  const auto& own = rule.channel_degrees;
  if (!own.empty() && own.size() != static_cast<std::size_t>(n_channels)) {
    throw std::invalid_argument("degrees of channels must be one for each of " + std::to_string(n_channels) + ", got " +
                                std::to_string(own.size()));
  }
  if (std::any_of(own.begin(), own.end(), [](int degree) { return degree < 0; })) {
    throw std::invalid_argument("degrees of channels must be 0 or more");
  }
  if (rule.most_channels < 1) {
    throw std::invalid_argument("products must have one channel or more, got " + std::to_string(rule.most_channels));
  }
}

double count_products(int n_channels, int n_max, int l_max, const ProductRule& rule) {
  check_rule(n_channels, rule);
  const auto size = static_cast<std::size_t>(highest_degree(n_max, l_max, rule)) + 1;
  // As many angles as make the sum exact for the frequencies that there are.
  const int n_angles = static_cast<int>(rule.degrees.size()) * l_max + 2;
  double count = 0.0;
  for (int k = 0; k < n_angles; ++k) {
    const double angle = 2.0 * pi * k / n_angles;
    const double measure = (1.0 - std::cos(angle)) / (2.0 * n_angles);
    for (const double parity : {1.0, -1.0}) {
      const ByOrder found = traces({angle, parity}, n_channels, n_max, l_max, rule, size);
      for (std::size_t order = 1; order < found.size(); ++order) {
        for (int degree = 0; degree <= rule.degrees[order - 1] && degree < static_cast<int>(size); ++degree) {
          count += measure * found[order][static_cast<std::size_t>(degree)];
        }
      }
    }
  }
  return std::round(count);
}

}  // namespace castile
