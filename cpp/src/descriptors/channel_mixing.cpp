#include "castile/descriptors/channel_mixing.hpp"

#include <numeric>
#include <stdexcept>
#include <string>

namespace castile {

template <typename T>
ChannelMixing<T>::ChannelMixing(int n_species, int n_channels, const std::vector<double>& matrix)
    : n_channels_(matrix.empty() ? n_species : n_channels) {
  if (matrix.empty()) return;
  if (n_channels < 1 || matrix.size() != static_cast<std::size_t>(n_channels) * static_cast<std::size_t>(n_species)) {
    throw std::invalid_argument("the mixing of species must have a row per channel and a column per species (" +
                                std::to_string(n_species) + ")");
  }
  for (int a = 0; a < n_species; ++a) {
    for (int k = 0; k < n_channels; ++k)
      matrix_.push_back(static_cast<T>(matrix[static_cast<std::size_t>(k * n_species + a)]));
  }
}

template <typename T>
void ChannelMixing<T>::apply(const Coefficients<T>& c, Coefficients<T>& mixed) const {
  mixed.channels.resize(static_cast<std::size_t>(n_channels_));
  std::iota(mixed.channels.begin(), mixed.channels.end(), 0);
  mixed.l_max = c.l_max;
  mixed.n_max = c.n_max;
  mixed.n_padded = c.n_padded;
  const int n_lm = (c.l_max + 1) * (c.l_max + 1);
  mixed.values.assign(static_cast<std::size_t>(n_lm * mixed.stride()), T(0));
  for (int lm = 0; lm < n_lm; ++lm) {
    T* out = mixed.values.data() + lm * mixed.stride();
    for (int channel = 0; channel < c.n_channels(); ++channel) {
      const T* in = c.channel(channel) + lm * c.stride();
      const T* weights = column(c.channels[static_cast<std::size_t>(channel)]);
      for (int k = 0; k < n_channels_; ++k) {
        for (int n = 0; n < c.n_padded; ++n) out[k * c.n_padded + n] += weights[k] * in[n];
      }
    }
  }
}

template <typename T>
void ChannelMixing<T>::apply_adjoint(const std::vector<T>& grad_mixed, const Coefficients<T>& c,
                                     std::vector<T>& grad_c) const {
  const int n_lm = (c.l_max + 1) * (c.l_max + 1);
  const std::int64_t stride_mixed = static_cast<std::int64_t>(n_channels_) * c.n_padded;
  grad_c.assign(static_cast<std::size_t>(n_lm * c.stride()), T(0));
  for (int lm = 0; lm < n_lm; ++lm) {
    const T* in = grad_mixed.data() + lm * stride_mixed;
    for (int channel = 0; channel < c.n_channels(); ++channel) {
      T* out = grad_c.data() + lm * c.stride() + static_cast<std::int64_t>(channel) * c.n_padded;
      const T* weights = column(c.channels[static_cast<std::size_t>(channel)]);
      for (int k = 0; k < n_channels_; ++k) {
        for (int n = 0; n < c.n_padded; ++n) out[n] += weights[k] * in[k * c.n_padded + n];
      }
    }
  }
}

template class ChannelMixing<double>;
template class ChannelMixing<float>;

}  // namespace castile
