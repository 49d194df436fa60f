#pragma once

#include <vector>

namespace castile {

/// Which products of density coefficients there are.
struct ProductRule {
  /// `degrees[k]` bounds the sum over the k + 1 factors of n + l, n counted from 1, and of what their channels add.
  std::vector<int> degrees;
  std::vector<int> channel_degrees{};  ///< what a factor of each channel adds to the sum; empty: nothing
  int most_channels = 5;               ///< different ones among the factors of a product
};

/// Throws std::invalid_argument for a rule that cannot be meant for so many channels.
void check_rule(int n_channels, const ProductRule& rule);

/// How many linearly independent invariants a rule leaves of coefficients with `n_max` radial functions and degrees up
/// to `l_max`. None of them is made: scalars in symmetric powers are counted by integrals of characters over rotations
/// and reflections (Molien's series), which are exact up to rounding.
double count_products(int n_channels, int n_max, int l_max, const ProductRule& rule);

}  // namespace castile
