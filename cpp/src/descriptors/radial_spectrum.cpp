#include "castile/descriptors/radial_spectrum.hpp"

#include <algorithm>
#include <cstddef>

namespace castile {

template <typename T>
std::int64_t RadialSpectrum<T>::n_features() const {
  return static_cast<std::int64_t>(this->n_channels()) * this->n_max();
}

template <typename T>
void RadialSpectrum<T>::write(const Coefficients<T>& layout, const std::vector<T>& values, T* features) const {
  std::fill_n(features, n_features(), T(0));
  for (int channel = 0; channel < layout.n_channels(); ++channel) {
    std::copy_n(values.data() + static_cast<std::int64_t>(channel) * layout.n_padded, this->n_max(),
                features + layout.channels[static_cast<std::size_t>(channel)] * this->n_max());
  }
}

template <typename T>
void RadialSpectrum<T>::forward(const Coefficients<T>& c, T* features, Scratch& /*scratch*/) const {
  write(c, c.values, features);
}

template <typename T>
void RadialSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                            Scratch& /*scratch*/) const {
  write(c, c_dot, features_dot);
}

template <typename T>
void RadialSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                            Scratch& /*scratch*/) const {
  grad_c.assign(c.values.size(), T(0));
  for (int channel = 0; channel < c.n_channels(); ++channel) {
    std::copy_n(grad_features + c.channels[static_cast<std::size_t>(channel)] * this->n_max(), this->n_max(),
                grad_c.data() + static_cast<std::int64_t>(channel) * c.n_padded);
  }
}

template <typename T>
std::vector<ColumnRange> RadialSpectrum<T>::columns_of_channels(const std::vector<std::int32_t>& channels) const {
  std::vector<ColumnRange> ranges;
  for (const std::int32_t channel : channels) {
    ranges.push_back({static_cast<std::int64_t>(channel) * this->n_max(), this->n_max()});
  }
  return ranges;
}

template <typename T>
std::vector<ColumnRange> RadialSpectrum<T>::columns_touched_by(std::int32_t channel) const {
  return columns_of_channels({channel});
}

template <typename T>
void RadialSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                      const TouchedChannels<T>& touched, Scratch& /*scratch*/, T* out) const {
  // Y_00 is a constant: only the radial direction is left.
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const T along = terms.u[axis] * terms.h[0];
    if (touched.only >= 0) {
      for (int n = 0; n < this->n_max(); ++n) *out++ = terms.dR[n] * along;
      continue;
    }
    for (int k = 0; k < c.n_channels(); ++k) {
      for (int n = 0; n < this->n_max(); ++n) *out++ = touched.weights[k] * terms.dR[n] * along;
    }
  }
}

template class RadialSpectrum<double>;
template class RadialSpectrum<float>;

}  // namespace castile
