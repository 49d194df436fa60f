#include "castile/descriptors/power_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "simd/kernels.hpp"

namespace castile {
namespace {

template <typename T>
constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);

}  // namespace

template <typename T>
PowerSpectrum<T>::PowerSpectrum(int n_species, int n_max, int l_max) : FeatureHead<T>(n_species, n_max, l_max) {
  for (int l = 0; l <= l_max; ++l) weights_.push_back(static_cast<T>(1.0 / std::sqrt(2.0 * l + 1.0)));
}

template <typename T>
std::int64_t PowerSpectrum<T>::block_size(bool like_species) const {
  const std::int64_t n = this->n_max();
  return (this->l_max() + 1) * (like_species ? n * (n + 1) / 2 : n * n);
}

template <typename T>
std::int64_t PowerSpectrum<T>::block_start(std::int32_t a, std::int32_t b) const {
  // Before (a, b): the rows of all species below a, each one like block and (n_species - 1 - row) unlike ones.
  const std::int64_t rows = a;
  const std::int64_t unlike_above = rows * (this->n_species() - 1) - rows * (rows - 1) / 2;
  const std::int64_t like = rows + (b > a ? 1 : 0);
  const std::int64_t unlike = unlike_above + (b > a ? b - a - 1 : 0);
  return like * block_size(true) + unlike * block_size(false);
}

template <typename T>
std::int64_t PowerSpectrum<T>::n_features() const {
  return block_start(this->n_species(), this->n_species());
}

template <typename T>
void PowerSpectrum<T>::pack_unlike(const T* forms, int n_padded, T* out) const {
  const int n_max = this->n_max();
  for (const T weight : weights_) {
    const T factor = sqrt2<T> * weight;
    for (int n = 0; n < n_max; ++n, forms += n_padded) {
      for (int k = 0; k < n_max; ++k) *out++ = factor * forms[k];
    }
  }
}

template <typename T>
void PowerSpectrum<T>::pack_like(const T* forms, int n_padded, T* out) const {
  const int n_max = this->n_max();
  for (const T weight : weights_) {
    const T factor = sqrt2<T> * weight;
    for (int n = 0; n < n_max; ++n, forms += n_padded) {
      *out++ = weight * forms[n];
      for (int k = n + 1; k < n_max; ++k) *out++ = factor * forms[k];
    }
  }
}

template <typename T>
void PowerSpectrum<T>::forward(const Coefficients<T>& c, T* features) const {
  if (c.n_channels() < this->n_species()) std::fill_n(features, n_features(), T(0));
  const auto& kernels = simd::kernels<T>();
  std::vector<T> forms(static_cast<std::size_t>((this->l_max() + 1) * this->n_max() * c.n_padded));
  for (int a = 0; a < c.n_channels(); ++a) {
    for (int b = a; b < c.n_channels(); ++b) {
      kernels.bilinear_forms(this->l_max(), this->n_max(), c.n_padded, c.channel(a), c.channel(b), c.stride(),
                             forms.data());
      T* out = features + block_start(c.species[static_cast<std::size_t>(a)], c.species[static_cast<std::size_t>(b)]);
      a == b ? pack_like(forms.data(), c.n_padded, out) : pack_unlike(forms.data(), c.n_padded, out);
    }
  }
}

template <typename T>
void PowerSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot) const {
  std::fill_n(features_dot, n_features(), T(0));
  const auto& kernels = simd::kernels<T>();
  std::vector<T> forms(static_cast<std::size_t>((this->l_max() + 1) * this->n_max() * c.n_padded));
  std::vector<T> other(forms.size());
  const auto channel_dot = [&](int k) { return c_dot.data() + static_cast<std::int64_t>(k) * c.n_padded; };
  for (int a = 0; a < c.n_channels(); ++a) {
    for (int b = a; b < c.n_channels(); ++b) {
      kernels.bilinear_forms(this->l_max(), this->n_max(), c.n_padded, channel_dot(a), c.channel(b), c.stride(),
                             forms.data());
      kernels.bilinear_forms(this->l_max(), this->n_max(), c.n_padded, c.channel(a), channel_dot(b), c.stride(),
                             other.data());
      for (std::size_t k = 0; k < forms.size(); ++k) forms[k] += other[k];
      T* out =
          features_dot + block_start(c.species[static_cast<std::size_t>(a)], c.species[static_cast<std::size_t>(b)]);
      a == b ? pack_like(forms.data(), c.n_padded, out) : pack_unlike(forms.data(), c.n_padded, out);
    }
  }
}

template <typename T>
void PowerSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c) const {
  const auto& kernels = simd::kernels<T>();
  const int n_max = this->n_max();
  const int n_padded = c.n_padded;
  grad_c.assign(c.values.size(), T(0));
  // W[l][n][n'] and its transpose: dE/dc_a = W c_b, dE/dc_b = Wᵀ c_a; for one species W is symmetric.
  std::vector<T> W(static_cast<std::size_t>((this->l_max() + 1) * n_max * n_padded), T(0));
  std::vector<T> transposed(W.size(), T(0));
  const auto channel_grad = [&](int k) { return grad_c.data() + static_cast<std::int64_t>(k) * n_padded; };
  for (int a = 0; a < c.n_channels(); ++a) {
    for (int b = a; b < c.n_channels(); ++b) {
      const T* g =
          grad_features + block_start(c.species[static_cast<std::size_t>(a)], c.species[static_cast<std::size_t>(b)]);
      for (int l = 0; l <= this->l_max(); ++l) {
        const T weight = weights_[static_cast<std::size_t>(l)];
        T* block = W.data() + l * n_max * n_padded;
        T* block_transposed = transposed.data() + l * n_max * n_padded;
        for (int n = 0; n < n_max; ++n) {
          for (int k = a == b ? n : 0; k < n_max; ++k) {
            const T factor = a == b && n == k ? T(2) : sqrt2<T>;
            const T entry = factor * weight * *g++;
            block[n * n_padded + k] = entry;
            block_transposed[k * n_padded + n] = entry;
            if (a == b) block[k * n_padded + n] = entry;
          }
        }
      }
      // Rows of the right factor run over the summed index, so each side takes the other's transpose.
      kernels.bilinear_adjoint(this->l_max(), n_max, n_padded, W.data(), c.channel(a), channel_grad(b), c.stride());
      if (a != b) {
        kernels.bilinear_adjoint(this->l_max(), n_max, n_padded, transposed.data(), c.channel(b), channel_grad(a),
                                 c.stride());
      }
    }
  }
}

template <typename T>
std::vector<ColumnRange> PowerSpectrum<T>::columns_of_species(const std::vector<std::int32_t>& species) const {
  std::vector<ColumnRange> ranges;
  for (std::size_t a = 0; a < species.size(); ++a) {
    for (std::size_t b = a; b < species.size(); ++b) {
      ranges.push_back({block_start(species[a], species[b]), block_size(a == b)});
    }
  }
  return ranges;
}

template <typename T>
std::vector<ColumnRange> PowerSpectrum<T>::columns_of_neighbor(std::int32_t species) const {
  std::vector<ColumnRange> ranges;
  for (std::int32_t other = 0; other < this->n_species(); ++other) {
    ranges.push_back({block_start(std::min(species, other), std::max(species, other)), block_size(species == other)});
  }
  return ranges;
}

// dc_{n,lm}/dD = R'_n u Y + R_n ∂Y has rank two in (n, m), so m is contracted first: with U_q' = Σ_m c_{q',lm} Y_lm and
// V_q' = Σ_m c_{q',lm} ∂Y_lm, dp/dD = (2l+1)^{-1/2} (R'_q u U_q' + R_q V_q') plus q <-> q'.
template <typename T>
void PowerSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, int channel, Scratch& scratch,
                                     T* out) const {
  const auto& kernels = simd::kernels<T>();
  const int n_max = this->n_max();
  const int n_padded = c.n_padded;
  const int n_degrees = this->l_max() + 1;
  const std::int64_t n_lm = static_cast<std::int64_t>(n_degrees) * n_degrees;
  const std::int64_t stride = c.stride();
  const std::int64_t contracted_row = n_degrees * stride;
  scratch.contracted.resize(static_cast<std::size_t>(4 * contracted_row));
  scratch.left.resize(static_cast<std::size_t>(4 * n_padded));
  scratch.right.resize(static_cast<std::size_t>(4 * n_padded));
  scratch.block.resize(static_cast<std::size_t>(n_degrees * n_max * n_padded));
  for (int l = 0; l < n_degrees; ++l) {
    kernels.small_product(4, static_cast<int>(stride), 2 * l + 1, terms.h + l * l, n_lm, 1,
                          c.values.data() + l * l * stride, stride, scratch.contracted.data() + l * stride,
                          contracted_row);
  }
  const std::int32_t own = c.species[static_cast<std::size_t>(channel)];
  for (std::size_t axis = 0; axis < 3; ++axis) {
    int other_channel = 0;
    for (std::int32_t other = 0; other < this->n_species(); ++other) {
      const std::int64_t size = block_size(other == own);
      if (other_channel == c.n_channels() || c.species[static_cast<std::size_t>(other_channel)] != other) {
        std::fill_n(out, size, T(0));
        out += size;
        continue;
      }
      for (int l = 0; l < n_degrees; ++l) {
        // Rows of `left`: R' u and R of the neighbor's functions; rows of `right`: U and V of the other channel's.
        const T* U = scratch.contracted.data() + l * stride + other_channel * n_padded;
        const T* V = U + static_cast<std::int64_t>(axis + 1) * contracted_row;
        T* left = scratch.left.data();
        T* right = scratch.right.data();
        for (int n = 0; n < n_padded; ++n) {
          left[n] = terms.dR[l * n_padded + n] * terms.u[axis];
          left[n_padded + n] = terms.R[l * n_padded + n];
          right[n] = U[n];
          right[n_padded + n] = V[n];
        }
        int depth = 2;
        if (other == own) {
          std::copy_n(right, 2 * n_padded, left + 2 * n_padded);
          std::copy_n(left, 2 * n_padded, right + 2 * n_padded);
          depth = 4;
        } else if (other < own) {
          std::swap(left, right);
        }
        kernels.small_product(n_max, n_padded, depth, left, 1, n_padded, right, n_padded,
                              scratch.block.data() + l * n_max * n_padded, n_padded);
      }
      other == own ? pack_like(scratch.block.data(), n_padded, out) : pack_unlike(scratch.block.data(), n_padded, out);
      out += size;
      ++other_channel;
    }
  }
}

template class PowerSpectrum<double>;
template class PowerSpectrum<float>;

}  // namespace castile
