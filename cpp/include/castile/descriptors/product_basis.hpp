#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "castile/descriptors/product_rule.hpp"

namespace castile {

/// A density coefficient without its m; n counts from 0.
struct ProductFactor {
  int channel, n, l;
};

/// An invariant product of up to five coefficients, coupled ((12) L12, (34) L34) L12, 5.
struct ProductFunction {
  std::vector<ProductFactor> factors;
  std::vector<int> degrees;  ///< of the couplings: none up to two factors, L12 up to four, L12 and L34 of five
};

/// All invariant and linearly independent products of density coefficients under a rule, and the list of
/// multiplications that computes them with shared factors.
///
/// Drautz, Phys. Rev. B 99, 014104 (2019), doi:10.1103/PhysRevB.99.014104; Dusson et al., J. Comput. Phys. 454, 110946
/// (2022), doi:10.1016/j.jcp.2022.110946.
class ProductBasis {
 public:
  /// Beside the rule, there are no more than `n_max` radial functions and no degrees beyond `l_max`. Throws
  /// std::invalid_argument for more than `most_functions`, and for more multiplications than `most_entries`.
  ProductBasis(int n_channels, int n_max, int l_max, const ProductRule& rule);

  static constexpr std::int64_t most_functions = 200000;
  static constexpr std::int64_t most_entries = 1 << 24;  ///< of couplings, a quarter of a gigabyte

  /// Sizes of the coefficients that a rule can use.
  static int n_max(const std::vector<int>& degrees);
  static int l_max(const std::vector<int>& degrees);

  /// Sorted by their sets of channels.
  const std::vector<ProductFunction>& functions() const { return functions_; }

  /// Components of a coefficient, which the first nodes are.
  struct Input {
    ProductFactor factor;
    std::int32_t first_node;  ///< of 2l + 1
  };
  const std::vector<Input>& inputs() const { return inputs_; }

  /// Node `n_inputs + k` is the sum over entries [first[k], first[k + 1]) of coefficient times nodes i and j; the last
  /// nodes are the functions.
  struct Entry {
    std::int32_t i, j;
    double coefficient;
  };
  std::int32_t n_input_nodes() const { return n_input_nodes_; }
  /// The last input, which is one: what multiplies that which is linear.
  std::int32_t one() const { return n_input_nodes_ - 1; }
  std::int32_t n_nodes() const { return n_input_nodes_ + static_cast<std::int32_t>(first_entry_.size()) - 1; }
  const std::vector<std::int32_t>& first_entries() const { return first_entry_; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  void find_functions(int n_channels, int n_max, int l_max, const ProductRule& rule);
  void make_list();

  std::vector<ProductFunction> functions_;
  std::vector<Input> inputs_;
  std::int32_t n_input_nodes_ = 0;
  std::vector<std::int32_t> first_entry_{0};
  std::vector<Entry> entries_;
};

}  // namespace castile
