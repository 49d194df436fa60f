#include "castile/descriptors/spherical_expansion.hpp"

#include <algorithm>
#include <cstddef>

namespace castile {

template <typename T>
std::int64_t SphericalExpansion<T>::n_features() const {
  return this->n_channels() * block_size();
}

template <typename T>
void SphericalExpansion<T>::write(const Coefficients<T>& layout, const std::vector<T>& values, T* features) const {
  std::fill_n(features, n_features(), T(0));
  for (int channel = 0; channel < layout.n_channels(); ++channel) {
    T* block = features + layout.channels[static_cast<std::size_t>(channel)] * block_size();
    const T* own = values.data() + static_cast<std::int64_t>(channel) * layout.n_padded;
    for (std::int64_t lm = 0; lm < this->n_lm(); ++lm) {
      for (int n = 0; n < this->n_max(); ++n) block[n * this->n_lm() + lm] = own[lm * layout.stride() + n];
    }
  }
}

template <typename T>
void SphericalExpansion<T>::forward(const Coefficients<T>& c, T* features, Scratch& /*scratch*/) const {
  write(c, c.values, features);
}

template <typename T>
void SphericalExpansion<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                                Scratch& /*scratch*/) const {
  write(c, c_dot, features_dot);
}

template <typename T>
void SphericalExpansion<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                                Scratch& /*scratch*/) const {
  grad_c.assign(c.values.size(), T(0));
  for (int channel = 0; channel < c.n_channels(); ++channel) {
    const T* block = grad_features + c.channels[static_cast<std::size_t>(channel)] * block_size();
    T* own = grad_c.data() + static_cast<std::int64_t>(channel) * c.n_padded;
    for (std::int64_t lm = 0; lm < this->n_lm(); ++lm) {
      for (int n = 0; n < this->n_max(); ++n) own[lm * c.stride() + n] = block[n * this->n_lm() + lm];
    }
  }
}

template <typename T>
std::vector<ColumnRange> SphericalExpansion<T>::columns_of_channels(const std::vector<std::int32_t>& channels) const {
  std::vector<ColumnRange> ranges;
  for (const std::int32_t channel : channels) ranges.push_back({channel * block_size(), block_size()});
  return ranges;
}

template <typename T>
std::vector<ColumnRange> SphericalExpansion<T>::columns_touched_by(std::int32_t channel) const {
  return {{channel * block_size(), block_size()}};
}

template <typename T>
void SphericalExpansion<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                          const TouchedChannels<T>& touched, Scratch& /*scratch*/, T* out) const {
  const auto write_channel = [&](T weight, std::size_t axis) {
    const T* gradient = terms.h + static_cast<std::int64_t>(axis + 1) * this->n_lm();
    for (int n = 0; n < this->n_max(); ++n) {
      for (int l = 0; l <= this->l_max(); ++l) {
        const T R = weight * terms.R[l * c.n_padded + n];
        const T dR = weight * terms.dR[l * c.n_padded + n] * terms.u[axis];
        for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) *out++ = dR * terms.h[lm] + R * gradient[lm];
      }
    }
  };
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (touched.only >= 0) {
      write_channel(T(1), axis);
    } else {
      for (int k = 0; k < c.n_channels(); ++k) write_channel(touched.weights[k], axis);
    }
  }
}

template class SphericalExpansion<double>;
template class SphericalExpansion<float>;

}  // namespace castile
