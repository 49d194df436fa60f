#include "castile/descriptors/product_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "castile/math/coupling.hpp"

namespace castile {
namespace {

using Tensor = std::vector<double>;  // (2l + 1)

int degree_of(const Tensor& x) { return (static_cast<int>(x.size()) - 1) / 2; }

Tensor coupled(const Tensor& x, const Tensor& y, int l) {
  Tensor result(static_cast<std::size_t>(2 * l + 1), 0.0);
  for (const CouplingEntry& e : real_coupling(degree_of(x), degree_of(y), l)) {
    result[static_cast<std::size_t>(e.third)] +=
        e.coefficient * x[static_cast<std::size_t>(e.first)] * y[static_cast<std::size_t>(e.second)];
  }
  return result;
}

double scalar_product(const Tensor& x, const Tensor& y) {
  double sum = 0.0;
  for (std::size_t k = 0; k < x.size(); ++k) sum += x[k] * y[k];
  return sum;
}

/// Degrees of couplings that factors of these degrees have; all tensors and no pseudo-tensors, once they are scalars.
std::vector<std::vector<int>> coupling_paths(const std::vector<int>& l) {
  int total = 0;
  for (const int degree : l) total += degree;
  if (total % 2 != 0) return {};
  const auto couple = [](int a, int b, int c) { return std::abs(a - b) <= c && c <= a + b; };
  std::vector<std::vector<int>> paths;
  switch (l.size()) {
    case 1:
      if (l[0] == 0) paths.emplace_back();
      break;
    case 2:
      if (l[0] == l[1]) paths.emplace_back();
      break;
    case 3:
      if (couple(l[0], l[1], l[2])) paths.push_back({l[2]});
      break;
    case 4:
      for (int L = std::abs(l[0] - l[1]); L <= l[0] + l[1]; ++L) {
        if (couple(l[2], l[3], L)) paths.push_back({L});
      }
      break;
    default:
      for (int L12 = std::abs(l[0] - l[1]); L12 <= l[0] + l[1]; ++L12) {
        for (int L34 = std::abs(l[2] - l[3]); L34 <= l[2] + l[3]; ++L34) {
          if (couple(L12, L34, l[4])) paths.push_back({L12, L34});
        }
      }
  }
  return paths;
}

/// The product of some tensors along a path, but for the factor of its last scalar product.
double product_along(const std::vector<const Tensor*>& x, const std::vector<int>& path) {
  switch (x.size()) {
    case 1:
      return x[0]->front();
    case 2:
      return scalar_product(*x[0], *x[1]);
    case 3:
      return scalar_product(coupled(*x[0], *x[1], path[0]), *x[2]);
    case 4:
      return scalar_product(coupled(*x[0], *x[1], path[0]), coupled(*x[2], *x[3], path[0]));
    default: {
      const Tensor left = coupled(*x[0], *x[1], path[0]), right = coupled(*x[2], *x[3], path[1]);
      return scalar_product(coupled(left, right, degree_of(*x[4])), *x[4]);
    }
  }
}

/// Which paths are linearly independent, where factors of the same number in `which` are one and the same tensor:
/// columns of values for random tensors, taken as long as those before do not explain them.
std::vector<std::vector<int>> independent_paths(const std::vector<int>& l, const std::vector<int>& which) {
  constexpr double dependent = 1e-8;
  auto paths = coupling_paths(l);
  const bool distinct = static_cast<std::size_t>(which.back()) + 1 == which.size();
  if (distinct || paths.empty()) return paths;
  const std::size_t n_samples = 2 * paths.size() + 6;
  std::mt19937 generator(20);
  const auto random = [&] { return static_cast<double>(generator()) / 2147483648.0 - 1.0; };
  std::vector<std::vector<double>> columns(paths.size(), std::vector<double>(n_samples));
  for (std::size_t s = 0; s < n_samples; ++s) {
    std::vector<Tensor> tensors;
    std::vector<const Tensor*> factors;
    tensors.reserve(l.size());
    for (std::size_t k = 0; k < l.size(); ++k) {
      if (k == 0 || which[k] != which[k - 1]) {
        tensors.emplace_back(static_cast<std::size_t>(2 * l[k] + 1));
        for (double& value : tensors.back()) value = random();
      }
      factors.push_back(&tensors.back());
    }
    for (std::size_t p = 0; p < paths.size(); ++p) columns[p][s] = product_along(factors, paths[p]);
  }
  std::vector<std::vector<int>> kept;
  std::vector<std::vector<double>> directions;
  for (std::size_t p = 0; p < paths.size(); ++p) {
    auto& column = columns[p];
    // Coupled tensors are of the order of one, so that a path that vanishes shows in its size.
    const double scale = std::sqrt(static_cast<double>(n_samples));
    for (int pass = 0; pass < 2; ++pass) {
      for (const auto& direction : directions) {
        const double along = scalar_product(column, direction);
        for (std::size_t s = 0; s < n_samples; ++s) column[s] -= along * direction[s];
      }
    }
    const double left = std::sqrt(scalar_product(column, column));
    if (left < dependent * scale) continue;
    for (double& value : column) value /= left;
    directions.push_back(column);
    kept.push_back(paths[p]);
  }
  return kept;
}

/// Before any of them is made.
void check_count(int n_channels, int n_max, int l_max, const ProductRule& rule) {
  const double count = count_products(n_channels, n_max, l_max, rule);
  if (count <= static_cast<double>(ProductBasis::most_functions)) return;
  std::ostringstream message;
  message << "there are " << std::setprecision(15) << count << " products of " << n_channels << " species, more than "
          << ProductBasis::most_functions << "; lower the degrees (or n_max and l_max), or use most_species, "
          << "species_degrees or compression={'species': k}";
  throw std::invalid_argument(message.str());
}

[[noreturn]] void refuse_entries() {
  throw std::invalid_argument("the products take more than " + std::to_string(ProductBasis::most_entries) +
                              " multiplications; lower l_max (or the degrees)");
}

}  // namespace

int ProductBasis::n_max(const std::vector<int>& degrees) {
  int result = 0;
  for (std::size_t k = 0; k < degrees.size(); ++k) result = std::max(result, degrees[k] - static_cast<int>(k));
  return result;
}

int ProductBasis::l_max(const std::vector<int>& degrees) {
  int result = 0;
  for (std::size_t k = 1; k < degrees.size(); ++k) {
    result = std::max(result, (degrees[k] - static_cast<int>(k) - 1) / 2);
  }
  return result;
}

ProductBasis::ProductBasis(int n_channels, int n_max, int l_max, const ProductRule& rule) {
  check_count(n_channels, n_max, l_max, rule);
  find_functions(n_channels, n_max, l_max, rule);
  make_list();
}

void ProductBasis::find_functions(int n_channels, int n_max, int l_max, const ProductRule& rule) {
  const auto& degrees = rule.degrees;
  const auto degree = [&rule](const ProductFactor& f) {
    const int own = rule.channel_degrees.empty() ? 0 : rule.channel_degrees[static_cast<std::size_t>(f.channel)];
    return f.n + 1 + f.l + own;
  };
  const int highest = *std::max_element(degrees.begin(), degrees.end());
  std::vector<ProductFactor> factors;
  for (int channel = 0; channel < n_channels; ++channel) {
    for (int l = 0; l <= l_max; ++l) {
      for (int n = 0; n < n_max; ++n) {
        const ProductFactor factor{channel, n, l};
        if (degree(factor) <= highest) factors.push_back(factor);
      }
    }
  }
  std::map<std::pair<std::vector<int>, std::vector<int>>, std::vector<std::vector<int>>> known;
  std::vector<std::size_t> chosen;
  const auto add_chosen = [&] {
    std::vector<int> l, which;
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      l.push_back(factors[chosen[k]].l);
      which.push_back(k == 0 ? 0 : which.back() + (chosen[k] != chosen[k - 1] ? 1 : 0));
    }
    auto found = known.find({l, which});
    if (found == known.end()) found = known.emplace(std::make_pair(l, which), independent_paths(l, which)).first;
    for (const auto& path : found->second) {
      ProductFunction function;
      for (const std::size_t index : chosen) function.factors.push_back(factors[index]);
      function.degrees = path;
      functions_.push_back(std::move(function));
    }
  };
  const auto extend = [&](const auto& self, std::size_t n_left, std::size_t from, int budget, int n_met) -> void {
    if (n_left == 0) return add_chosen();
    for (std::size_t index = from; index < factors.size(); ++index) {
      const bool is_met = !chosen.empty() && factors[chosen.back()].channel == factors[index].channel;
      if (!is_met && n_met == rule.most_channels) break;  // nor are the channels of those that follow
      // Each of those that follow takes at least one.
      if (degree(factors[index]) + static_cast<int>(n_left) - 1 > budget) continue;
      chosen.push_back(index);
      self(self, n_left - 1, index, budget - degree(factors[index]), n_met + (is_met ? 0 : 1));
      chosen.pop_back();
    }
  };
  for (std::size_t order = 1; order <= degrees.size(); ++order) extend(extend, order, 0, degrees[order - 1], 0);
  // Columns that rows with few channels have are then few runs.
  const auto channels = [](const ProductFunction& f) {
    std::set<int> set;
    for (const ProductFactor& factor : f.factors) set.insert(factor.channel);
    return set;
  };
  std::stable_sort(functions_.begin(), functions_.end(),
                   [&](const ProductFunction& a, const ProductFunction& b) { return channels(a) < channels(b); });
}

void ProductBasis::make_list() {
  using Key = std::tuple<int, int, int>;
  const auto key = [](const ProductFactor& f) { return Key{f.channel, f.l, f.n}; };
  std::map<Key, std::int32_t> input_of;
  for (const auto& function : functions_) {
    for (const ProductFactor& factor : function.factors) input_of.emplace(key(factor), -1);
  }
  for (auto& [k, node] : input_of) {
    node = n_input_nodes_;
    inputs_.push_back({{std::get<0>(k), std::get<2>(k), std::get<1>(k)}, node});
    n_input_nodes_ += 2 * std::get<1>(k) + 1;
  }
  std::int32_t next = ++n_input_nodes_;  // with the one
  const auto close_node = [&] {
    first_entry_.push_back(static_cast<std::int32_t>(entries_.size()));
    return next++;
  };
  // Nodes of coupled tensors: two tensors by their first nodes and degrees, and the degree of the result.
  std::map<std::array<std::int32_t, 5>, std::int32_t> coupled_of;
  std::map<std::array<int, 3>, std::vector<CouplingEntry>> coupling_of;
  const auto couple = [&](std::int32_t a, int la, std::int32_t b, int lb, int l) {
    const std::array<std::int32_t, 5> id{a, la, b, lb, l};
    const auto found = coupled_of.find(id);
    if (found != coupled_of.end()) return found->second;
    const std::int32_t first = next;
    auto coupling = coupling_of.find({la, lb, l});
    if (coupling == coupling_of.end()) {
      coupling = coupling_of.emplace(std::array<int, 3>{la, lb, l}, real_coupling(la, lb, l)).first;
    }
    const auto& all = coupling->second;
    if (static_cast<std::int64_t>(entries_.size() + all.size()) > most_entries) refuse_entries();
    auto entry = all.begin();
    for (int m = 0; m <= 2 * l; ++m) {
      for (; entry != all.end() && entry->third == m; ++entry) {
        // The same tensor twice: both orders are one product.
        if (a == b && entry->first > entry->second) continue;
        const double times = a == b && entry->first < entry->second ? 2.0 : 1.0;
        entries_.push_back({a + entry->first, b + entry->second, times * entry->coefficient});
      }
      close_node();
    }
    coupled_of.emplace(id, first);
    return first;
  };
  // In an order that does not depend on which other channels there are, nor do sums over nodes then.
  std::set<std::array<std::int32_t, 5>> pairs;
  const auto pair_of = [&](const ProductFunction& f, std::size_t k, int l) {
    const ProductFactor &a = f.factors[k], &b = f.factors[k + 1];
    return std::array<std::int32_t, 5>{input_of.at(key(a)), a.l, input_of.at(key(b)), b.l, l};
  };
  for (const auto& function : functions_) {
    if (function.factors.size() > 2) pairs.insert(pair_of(function, 0, function.degrees[0]));
    if (function.factors.size() > 3) pairs.insert(pair_of(function, 2, function.degrees.back()));
  }
  for (const auto& [a, la, b, lb, l] : pairs) couple(a, la, b, lb, l);
  std::set<std::array<std::int32_t, 5>> quadruples;
  for (const auto& function : functions_) {
    if (function.factors.size() != 5) continue;
    const int left = function.degrees[0], right = function.degrees[1];
    quadruples.insert({coupled_of.at(pair_of(function, 0, left)), left, coupled_of.at(pair_of(function, 2, right)),
                       right, function.factors[4].l});
  }
  for (const auto& [a, la, b, lb, l] : quadruples) couple(a, la, b, lb, l);
  struct Last {
    std::int32_t left, right;
    int l;
  };
  std::vector<Last> last;
  for (const auto& function : functions_) {
    std::vector<std::int32_t> x;
    std::vector<int> l;
    for (const ProductFactor& factor : function.factors) {
      x.push_back(input_of.at(key(factor)));
      l.push_back(factor.l);
    }
    const auto& path = function.degrees;
    switch (x.size()) {
      case 1:
        last.push_back({x[0], one(), 0});
        break;
      case 2:
        last.push_back({x[0], x[1], l[0]});
        break;
      case 3:
        last.push_back({couple(x[0], l[0], x[1], l[1], path[0]), x[2], l[2]});
        break;
      case 4:
        last.push_back({couple(x[0], l[0], x[1], l[1], path[0]), couple(x[2], l[2], x[3], l[3], path[0]), path[0]});
        break;
      default: {
        const std::int32_t left = couple(x[0], l[0], x[1], l[1], path[0]);
        const std::int32_t right = couple(x[2], l[2], x[3], l[3], path[1]);
        last.push_back({couple(left, path[0], right, path[1], l[4]), x[4], l[4]});
      }
    }
  }
  for (const Last& product : last) {
    const double factor = 1.0 / std::sqrt(2.0 * product.l + 1.0);
    for (int m = 0; m <= 2 * product.l; ++m) {
      entries_.push_back({product.left + m, product.right + m, factor});
    }
    close_node();
  }
}

}  // namespace castile
