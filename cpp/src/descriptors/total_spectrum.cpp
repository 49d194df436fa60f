#include "castile/descriptors/total_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "descriptors/pair_contraction.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

/// total[lm][n] = Σ_a values[lm][a][n].
template <typename T>
void sum_channels(const Coefficients<T>& layout, const std::vector<T>& values, std::vector<T>& total) {
  const std::int64_t n_lm = static_cast<std::int64_t>(layout.l_max + 1) * (layout.l_max + 1);
  total.assign(static_cast<std::size_t>(n_lm * layout.n_padded), T(0));
  for (std::int64_t lm = 0; lm < n_lm; ++lm) {
    T* out = total.data() + lm * layout.n_padded;
    const T* in = values.data() + lm * layout.stride();
    for (int channel = 0; channel < layout.n_channels(); ++channel, in += layout.n_padded) {
      for (int n = 0; n < layout.n_padded; ++n) out[n] += in[n];
    }
  }
}

/// out[l][n][n'] (+)= Σ_m a[lm][n] b[lm][n'], rows of a and b apart by strides of their own.
template <typename T>
void forms_of(int l_max, int n_max, int n_padded, const T* a, std::int64_t a_stride, const T* b, std::int64_t b_stride,
              T* out) {
  for (int l = 0; l <= l_max; ++l, out += n_max * n_padded) {
    simd::kernels<T>().small_product(n_max, n_padded, 2 * l + 1, a + l * l * a_stride, 1, a_stride,
                                     b + l * l * b_stride, b_stride, out, n_padded);
  }
}

}  // namespace

template <typename T>
TotalSpectrum<T>::TotalSpectrum(const FeatureHeadParameters& parameters) : FeatureHead<T>(parameters) {
  for (int l = 0; l <= this->l_max(); ++l) weights_.push_back(static_cast<T>(1.0 / std::sqrt(2.0 * l + 1.0)));
}

template <typename T>
void TotalSpectrum<T>::pack(const T* forms, int n_padded, T* out) const {
  for (const T weight : weights_) {
    for (int n = 0; n < this->n_max(); ++n, forms += n_padded) {
      for (int k = 0; k < this->n_max(); ++k) *out++ = weight * forms[k];
    }
  }
}

template <typename T>
void TotalSpectrum<T>::forward(const Coefficients<T>& c, T* features, Scratch& scratch) const {
  if (c.n_channels() < this->n_channels()) std::fill_n(features, n_features(), T(0));
  sum_channels(c, c.values, scratch.total);
  scratch.forms.resize(static_cast<std::size_t>((this->l_max() + 1) * this->n_max() * c.n_padded));
  for (int a = 0; a < c.n_channels(); ++a) {
    forms_of(this->l_max(), this->n_max(), c.n_padded, c.channel(a), c.stride(), scratch.total.data(),
             std::int64_t{c.n_padded}, scratch.forms.data());
    pack(scratch.forms.data(), c.n_padded, features + c.channels[static_cast<std::size_t>(a)] * block_size());
  }
}

template <typename T>
void TotalSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                           Scratch& scratch) const {
  if (c.n_channels() < this->n_channels()) std::fill_n(features_dot, n_features(), T(0));
  sum_channels(c, c.values, scratch.total);
  sum_channels(c, c_dot, scratch.mixed_dot);
  scratch.forms.resize(static_cast<std::size_t>((this->l_max() + 1) * this->n_max() * c.n_padded));
  scratch.other.resize(scratch.forms.size());
  for (int a = 0; a < c.n_channels(); ++a) {
    const T* channel_dot = c_dot.data() + static_cast<std::int64_t>(a) * c.n_padded;
    forms_of(this->l_max(), this->n_max(), c.n_padded, channel_dot, c.stride(), scratch.total.data(),
             std::int64_t{c.n_padded}, scratch.forms.data());
    forms_of(this->l_max(), this->n_max(), c.n_padded, c.channel(a), c.stride(), scratch.mixed_dot.data(),
             std::int64_t{c.n_padded}, scratch.other.data());
    for (std::size_t k = 0; k < scratch.forms.size(); ++k) scratch.forms[k] += scratch.other[k];
    pack(scratch.forms.data(), c.n_padded, features_dot + c.channels[static_cast<std::size_t>(a)] * block_size());
  }
}

// dE/dc_a gets W_a Σ_b c_b from its own block, and every channel Σ_a W_aᵀ c_a from being part of the sum.
template <typename T>
void TotalSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                           Scratch& scratch) const {
  const int n_max = this->n_max();
  const int n_padded = c.n_padded;
  const auto& kernels = simd::kernels<T>();
  grad_c.assign(c.values.size(), T(0));
  sum_channels(c, c.values, scratch.total);
  std::vector<T>& grad_total = scratch.mixed_dot;
  grad_total.assign(scratch.total.size(), T(0));
  scratch.forms.assign(static_cast<std::size_t>(n_max * n_padded), T(0));
  scratch.other.assign(scratch.forms.size(), T(0));
  for (int a = 0; a < c.n_channels(); ++a) {
    const T* g = grad_features + c.channels[static_cast<std::size_t>(a)] * block_size();
    for (int l = 0; l <= this->l_max(); ++l) {
      for (int n = 0; n < n_max; ++n) {
        for (int k = 0; k < n_max; ++k) {
          const T entry = weights_[static_cast<std::size_t>(l)] * *g++;
          scratch.forms[static_cast<std::size_t>(n * n_padded + k)] = entry;
          scratch.other[static_cast<std::size_t>(k * n_padded + n)] = entry;
        }
      }
      // (2l+1, n') = (2l+1, n) (n, n')
      const std::int64_t first = static_cast<std::int64_t>(l) * l;
      scratch.left.resize(static_cast<std::size_t>((2 * l + 1) * n_padded));
      kernels.small_product(2 * l + 1, n_padded, n_max, c.channel(a) + first * c.stride(), c.stride(), 1,
                            scratch.forms.data(), n_padded, scratch.left.data(), n_padded);
      T* out = grad_total.data() + first * n_padded;
      for (std::size_t k = 0; k < scratch.left.size(); ++k) out[k] += scratch.left[k];
      kernels.small_product(2 * l + 1, n_padded, n_max, scratch.total.data() + first * n_padded, n_padded, 1,
                            scratch.other.data(), n_padded,
                            grad_c.data() + first * c.stride() + static_cast<std::int64_t>(a) * n_padded, c.stride());
    }
  }
  for (std::int64_t lm = 0; lm < this->n_lm(); ++lm) {
    T* out = grad_c.data() + lm * c.stride();
    for (int a = 0; a < c.n_channels(); ++a, out += n_padded) {
      for (int n = 0; n < n_padded; ++n) out[n] += grad_total[static_cast<std::size_t>(lm * n_padded + n)];
    }
  }
}

template <typename T>
std::vector<ColumnRange> TotalSpectrum<T>::columns_of_channels(const std::vector<std::int32_t>& channels) const {
  std::vector<ColumnRange> ranges;
  for (const std::int32_t channel : channels) ranges.push_back({channel * block_size(), block_size()});
  return ranges;
}

template <typename T>
void TotalSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                     const TouchedChannels<T>& touched, Scratch& scratch, T* out) const {
  const auto& kernels = simd::kernels<T>();
  const int n_max = this->n_max();
  const int n_padded = c.n_padded;
  contract_degrees(c, terms, scratch.contracted);
  // The contraction of the sum is the sum of the contractions.
  const std::int64_t n_rows = 4 * static_cast<std::int64_t>(this->l_max() + 1);
  scratch.mixed.assign(static_cast<std::size_t>(n_rows * n_padded), T(0));
  for (std::int64_t row = 0; row < n_rows; ++row) {
    const T* in = scratch.contracted.data() + row * c.stride();
    T* sum = scratch.mixed.data() + row * n_padded;
    for (int a = 0; a < c.n_channels(); ++a, in += n_padded) {
      for (int n = 0; n < n_padded; ++n) sum[n] += in[n];
    }
  }
  T weight_in_total = T(0);
  for (int a = 0; a < c.n_channels(); ++a) weight_in_total += touched.weights[a];
  scratch.left.resize(static_cast<std::size_t>(4 * n_padded));
  scratch.right.resize(static_cast<std::size_t>(4 * n_padded));
  scratch.forms.resize(static_cast<std::size_t>((this->l_max() + 1) * n_max * n_padded));
  for (std::size_t axis = 0; axis < 3; ++axis, out += n_features()) {
    if (c.n_channels() < this->n_channels()) std::fill_n(out, n_features(), T(0));
    for (int a = 0; a < c.n_channels(); ++a) {
      for (int l = 0; l <= this->l_max(); ++l) {
        const PairContraction<T> contraction(c, terms, l, axis, scratch.contracted.data());
        contraction.density(a, scratch.left.data());
        contraction.radial(weight_in_total, scratch.right.data());
        int depth = 2;
        if (touched.weights[a] != T(0)) {
          contraction.radial(touched.weights[a], scratch.left.data() + 2 * n_padded);
          const T* U = scratch.mixed.data() + l * n_padded;
          const T* V = U + static_cast<std::int64_t>(axis + 1) * (this->l_max() + 1) * n_padded;
          std::copy_n(U, n_padded, scratch.right.data() + 2 * n_padded);
          std::copy_n(V, n_padded, scratch.right.data() + 3 * n_padded);
          depth = 4;
        }
        kernels.small_product(n_max, n_padded, depth, scratch.left.data(), 1, n_padded, scratch.right.data(), n_padded,
                              scratch.forms.data() + l * n_max * n_padded, n_padded);
      }
      pack(scratch.forms.data(), n_padded, out + c.channels[static_cast<std::size_t>(a)] * block_size());
    }
  }
}

template class TotalSpectrum<double>;
template class TotalSpectrum<float>;

}  // namespace castile
