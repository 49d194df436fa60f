#include "castile/descriptors/product_spectrum.hpp"

#include <algorithm>
#include <cstddef>

#include "simd/kernels.hpp"

namespace castile {
namespace {

template <typename T>
constexpr std::int64_t lanes = simd::lanes<T>;

template <typename T>
void fill_node(T* nodes, std::int32_t node, T value) {
  std::fill_n(nodes + node * lanes<T>, lanes<T>, value);
}

}  // namespace

template <typename T>
ProductSpectrum<T>::ProductSpectrum(const FeatureHeadParameters& p)
    : FeatureHead<T>(p), basis_(p.n_channels, p.n_max, p.l_max, p.product_rule) {
  for (const ProductBasis::Entry& entry : basis_.entries()) {
    left_.push_back(entry.i);
    right_.push_back(entry.j);
    coefficients_.push_back(static_cast<T>(entry.coefficient));
  }
  for (int channel = 0; channel < p.n_channels; ++channel) {
    touched_.push_back(columns_where([&](const ProductFunction& function) {
      return std::any_of(function.factors.begin(), function.factors.end(),
                         [&](const ProductFactor& factor) { return factor.channel == channel; });
    }));
  }
}

template <typename T>
simd::ProductList<T> ProductSpectrum<T>::list() const {
  const auto& first = basis_.first_entries();
  return {basis_.n_input_nodes(), static_cast<std::int32_t>(first.size()) - 1,
          first.data(),           left_.data(),
          right_.data(),          coefficients_.data()};
}

template <typename T>
std::int64_t ProductSpectrum<T>::n_features() const {
  return static_cast<std::int64_t>(basis_.functions().size());
}

template <typename T>
template <typename Visit>
void ProductSpectrum<T>::for_each_input(const Coefficients<T>& c, const Visit& visit) const {
  // Both are sorted by channels.
  std::size_t index = 0;
  for (const ProductBasis::Input& input : basis_.inputs()) {
    while (index < c.channels.size() && c.channels[index] < input.factor.channel) ++index;
    if (index < c.channels.size() && c.channels[index] == input.factor.channel) visit(input, static_cast<int>(index));
  }
}

template <typename T>
std::int64_t ProductSpectrum<T>::nodes_size() const {
  return static_cast<std::int64_t>(basis_.n_nodes()) * lanes<T>;
}

template <typename T>
void ProductSpectrum<T>::write_inputs(const Coefficients<T>& c, const std::vector<T>& values, std::int64_t lane,
                                      std::int64_t n_lanes, T* nodes) const {
  for_each_input(c, [&](const ProductBasis::Input& input, int index) {
    const int l = input.factor.l;
    const T* from = values.data() + l * l * c.stride() + static_cast<std::int64_t>(index) * c.n_padded + input.factor.n;
    T* to = nodes + input.first_node * lanes<T> + lane;
    for (int m = 0; m <= 2 * l; ++m) std::fill_n(to + m * lanes<T>, n_lanes, from[m * c.stride()]);
  });
}

template <typename T>
void ProductSpectrum<T>::read_gradients(const Coefficients<T>& c, const T* gradients, std::int64_t lane,
                                        std::vector<T>& grad_c) const {
  grad_c.assign(c.values.size(), T(0));
  for_each_input(c, [&](const ProductBasis::Input& input, int index) {
    const int l = input.factor.l;
    T* to = grad_c.data() + l * l * c.stride() + static_cast<std::int64_t>(index) * c.n_padded + input.factor.n;
    const T* from = gradients + input.first_node * lanes<T> + lane;
    for (int m = 0; m <= 2 * l; ++m) to[m * c.stride()] = from[m * lanes<T>];
  });
}

template <typename T>
void ProductSpectrum<T>::prepare_center(const Coefficients<T>& c, Scratch& scratch) const {
  scratch.nodes.resize(static_cast<std::size_t>(nodes_size()));
  std::fill_n(scratch.nodes.data(), basis_.n_input_nodes() * lanes<T>, T(0));
  write_inputs(c, c.values, 0, lanes<T>, scratch.nodes.data());
  fill_node(scratch.nodes.data(), basis_.one(), T(1));
  simd::kernels<T>().evaluate_products(list(), scratch.nodes.data());
}

template <typename T>
void ProductSpectrum<T>::forward(const Coefficients<T>& c, T* features, Scratch& scratch) const {
  const Coefficients<T>* center = &c;
  forward_rows(1, &center, features, scratch);
}

template <typename T>
void ProductSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                             Scratch& scratch) const {
  const Coefficients<T>* center = &c;
  std::vector<T>* gradient = &grad_c;
  prepare_center(c, scratch);
  vjp_rows(1, &center, grad_features, &gradient, scratch);
}

template <typename T>
void ProductSpectrum<T>::forward_rows(std::int64_t n, const Coefficients<T>* const* centers, T* features,
                                      Scratch& scratch) const {
  // One center in each lane.
  scratch.nodes.resize(static_cast<std::size_t>((n + lanes<T> - 1) / lanes<T> * nodes_size()));
  T* nodes = scratch.nodes.data();
  for (std::int64_t first = 0; first < n; first += lanes<T>, nodes += nodes_size()) {
    const std::int64_t n_centers = std::min(lanes<T>, n - first);
    std::fill_n(nodes, basis_.n_input_nodes() * lanes<T>, T(0));
    for (std::int64_t lane = 0; lane < n_centers; ++lane) {
      write_inputs(*centers[first + lane], centers[first + lane]->values, lane, 1, nodes);
    }
    fill_node(nodes, basis_.one(), T(1));
    simd::kernels<T>().evaluate_products(list(), nodes);
    const T* from = nodes + first_feature() * lanes<T>;
    T* out = features + first * n_features();
    for (std::int64_t k = 0; k < n_features(); ++k) {
      for (std::int64_t lane = 0; lane < n_centers; ++lane) out[lane * n_features() + k] = from[k * lanes<T> + lane];
    }
  }
}

template <typename T>
void ProductSpectrum<T>::vjp_rows(std::int64_t n, const Coefficients<T>* const* centers, const T* grad_features,
                                  std::vector<T>* const* grad_c, Scratch& scratch) const {
  const T* nodes = scratch.nodes.data();
  for (std::int64_t first = 0; first < n; first += lanes<T>, nodes += nodes_size()) {
    const std::int64_t n_centers = std::min(lanes<T>, n - first);
    AlignedVector<T>& gradients = scratch.node_derivatives;
    gradients.assign(static_cast<std::size_t>(nodes_size()), T(0));
    T* to = gradients.data() + first_feature() * lanes<T>;
    const T* from = grad_features + first * n_features();
    for (std::int64_t k = 0; k < n_features(); ++k) {
      for (std::int64_t lane = 0; lane < n_centers; ++lane) to[k * lanes<T> + lane] = from[lane * n_features() + k];
    }
    simd::kernels<T>().pull_back_products(list(), nodes, gradients.data());
    for (std::int64_t lane = 0; lane < n_centers; ++lane) {
      read_gradients(*centers[first + lane], gradients.data(), lane, *grad_c[first + lane]);
    }
  }
}

template <typename T>
void ProductSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                             Scratch& scratch) const {
  prepare_center(c, scratch);
  AlignedVector<T>& dots = scratch.node_derivatives;
  dots.resize(static_cast<std::size_t>(nodes_size()));
  std::fill_n(dots.data(), basis_.n_input_nodes() * lanes<T>, T(0));
  write_inputs(c, c_dot, 0, 1, dots.data());
  simd::kernels<T>().differentiate_products(list(), scratch.nodes.data(), dots.data());
  const T* from = dots.data() + first_feature() * lanes<T>;
  for (std::int64_t k = 0; k < n_features(); ++k) features_dot[k] = from[k * lanes<T>];
}

template <typename T>
std::vector<int> ProductSpectrum<T>::functions_of_degree() const {
  std::vector<int> used(static_cast<std::size_t>(this->l_max()) + 1, 0);
  for (const ProductBasis::Input& input : basis_.inputs()) {
    for (int l = 0; l <= input.factor.l; ++l) {
      int& functions = used[static_cast<std::size_t>(l)];
      functions = std::max(functions, input.factor.n + 1);
    }
  }
  return used;
}

template <typename T>
template <typename Wanted>
std::vector<ColumnRange> ProductSpectrum<T>::columns_where(const Wanted& wanted) const {
  std::vector<ColumnRange> ranges;
  const auto& functions = basis_.functions();
  for (std::size_t k = 0; k < functions.size(); ++k) {
    if (!wanted(functions[k])) continue;
    const auto column = static_cast<std::int64_t>(k);
    if (!ranges.empty() && ranges.back().first + ranges.back().size == column) {
      ++ranges.back().size;
    } else {
      ranges.push_back({column, 1});
    }
  }
  return ranges;
}

template <typename T>
std::vector<ColumnRange> ProductSpectrum<T>::columns_of_channels(const std::vector<std::int32_t>& channels) const {
  return columns_where([&](const ProductFunction& function) {
    return std::all_of(function.factors.begin(), function.factors.end(), [&](const ProductFactor& factor) {
      return std::binary_search(channels.begin(), channels.end(), factor.channel);
    });
  });
}

template <typename T>
std::vector<ColumnRange> ProductSpectrum<T>::columns_touched_by(std::int32_t channel) const {
  return touched_[static_cast<std::size_t>(channel)];
}

template <typename T>
void ProductSpectrum<T>::write_direction(const Coefficients<T>& c, const PairTerms<T>& terms, std::size_t axis,
                                         const TouchedChannels<T>& touched, T* lane) const {
  const T* gradient = terms.h + static_cast<std::int64_t>(axis + 1) * this->n_lm();
  for_each_input(c, [&](const ProductBasis::Input& input, int index) {
    if (touched.only >= 0 && index != touched.only) return;
    const T weight = touched.only >= 0 ? T(1) : touched.weights[index];
    const int l = input.factor.l, n = input.factor.n;
    const T R = weight * terms.R[l * c.n_padded + n], along = weight * terms.dR[l * c.n_padded + n] * terms.u[axis];
    T* node = lane + input.first_node * lanes<T>;
    for (std::int64_t lm = l * l; lm < (l + 1) * (l + 1); ++lm, node += lanes<T>) {
      *node = along * terms.h[lm] + R * gradient[lm];
    }
  });
}

template <typename T>
void ProductSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                       const TouchedChannels<T>& touched, Scratch& scratch, T* out) const {
  pair_jacobians(c, &terms, 1, touched, 0, scratch, out);
}

template <typename T>
void ProductSpectrum<T>::pair_jacobians(const Coefficients<T>& c, const PairTerms<T>* terms, std::int64_t n,
                                        const TouchedChannels<T>& touched, std::int64_t /*size*/, Scratch& scratch,
                                        T* out) const {
  const auto ranges =
      touched.only >= 0 ? columns_touched_by(c.channels[static_cast<std::size_t>(touched.only)]) : this->all_columns();
  AlignedVector<T>& dots = scratch.node_derivatives;
  dots.resize(static_cast<std::size_t>(nodes_size()));
  // Directions, three of each neighbor, are lanes.
  for (std::int64_t first = 0; first < 3 * n; first += lanes<T>) {
    const std::int64_t n_lanes = std::min(lanes<T>, 3 * n - first);
    std::fill_n(dots.data(), basis_.n_input_nodes() * lanes<T>, T(0));
    for (std::int64_t lane = 0; lane < n_lanes; ++lane) {
      const std::int64_t direction = first + lane;
      write_direction(c, terms[direction / 3], static_cast<std::size_t>(direction % 3), touched, dots.data() + lane);
    }
    simd::kernels<T>().differentiate_products(list(), scratch.nodes.data(), dots.data());
    const T* from = dots.data() + first_feature() * lanes<T>;
    for (std::int64_t lane = 0; lane < n_lanes; ++lane) {
      for (const ColumnRange range : ranges) {
        for (std::int64_t k = range.first; k < range.first + range.size; ++k) *out++ = from[k * lanes<T> + lane];
      }
    }
  }
}

template class ProductSpectrum<double>;
template class ProductSpectrum<float>;

}  // namespace castile
