// Lists of products: sums of coefficient times two earlier nodes, for several centers, or directions, in lanes.
#pragma once

#include <cstdint>

#include "simd/kernels.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Nodes of `lanes` numbers each.
template <typename T>
using NodeVector = Vector<T, lanes<T>>;

template <typename T>
[[gnu::always_inline]] inline NodeVector<T> load_node(const T* nodes, std::int32_t node) {
  return load<lanes<T>>(nodes + static_cast<std::int64_t>(node) * lanes<T>);
}

template <typename T>
[[gnu::always_inline]] inline void store_node(T* nodes, std::int32_t node, NodeVector<T> value) {
  store<lanes<T>>(nodes + static_cast<std::int64_t>(node) * lanes<T>, value);
}

template <typename T>
void evaluate_products(const ProductList<T>& list, T* nodes) {
  for (std::int32_t k = 0; k < list.n_products; ++k) {
    NodeVector<T> sum{};
    for (std::int32_t e = list.first[k]; e < list.first[k + 1]; ++e) {
      sum += (list.coefficients[e] * load_node(nodes, list.left[e])) * load_node(nodes, list.right[e]);
    }
    store_node(nodes, list.n_inputs + k, sum);
  }
  end_kernel();
}

template <typename T>
void differentiate_products(const ProductList<T>& list, const T* nodes, T* dots) {
  for (std::int32_t k = 0; k < list.n_products; ++k) {
    NodeVector<T> sum{};
    for (std::int32_t e = list.first[k]; e < list.first[k + 1]; ++e) {
      const std::int32_t i = list.left[e], j = list.right[e];
      sum +=
          list.coefficients[e] * (load_node(dots, i) * load_node(nodes, j) + load_node(nodes, i) * load_node(dots, j));
    }
    store_node(dots, list.n_inputs + k, sum);
  }
  end_kernel();
}

template <typename T>
void pull_back_products(const ProductList<T>& list, const T* nodes, T* gradients) {
  for (std::int32_t k = list.n_products - 1; k >= 0; --k) {
    const NodeVector<T> own = load_node(gradients, list.n_inputs + k);
    for (std::int32_t e = list.first[k]; e < list.first[k + 1]; ++e) {
      const std::int32_t i = list.left[e], j = list.right[e];
      const NodeVector<T> g = list.coefficients[e] * own;
      store_node(gradients, i, load_node(gradients, i) + g * load_node(nodes, j));
      store_node(gradients, j, load_node(gradients, j) + g * load_node(nodes, i));
    }
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
