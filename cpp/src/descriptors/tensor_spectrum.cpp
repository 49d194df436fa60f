#include "castile/descriptors/tensor_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "simd/kernels.hpp"

namespace castile {

template <typename T>
TensorSpectrum<T>::TensorSpectrum(const FeatureHeadParameters& p)
    : FeatureHead<T>(p), n_per_degree_(p.n_tensor_features) {
  constexpr int lanes = static_cast<int>(32 / sizeof(T));
  n_padded_ = (n_per_degree_ + lanes - 1) / lanes * lanes;
  const auto n_degrees = static_cast<std::size_t>(p.l_max) + 1;
  const auto n_features = static_cast<std::size_t>(std::max(n_per_degree_, 0));
  const auto n_functions = static_cast<std::size_t>(p.n_channels) * static_cast<std::size_t>(p.n_max);
  if (n_per_degree_ < 1 || p.tensor_matrices.size() != 2 * n_degrees * n_features * n_functions) {
    throw std::invalid_argument("the matrices of a tensor-reduced spectrum must have shape (2, l_max + 1, n, " +
                                std::to_string(p.n_channels) + ", n_max) with n of 1 or more");
  }
  const auto padded = static_cast<std::size_t>(n_padded_);
  matrices_.assign(2 * n_degrees * n_functions * padded, T(0));
  for (std::size_t block = 0; block < 2 * n_degrees; ++block) {
    for (std::size_t k = 0; k < n_features; ++k) {
      for (std::size_t q = 0; q < n_functions; ++q) {
        matrices_[(block * n_functions + q) * padded + k] =
            static_cast<T>(p.tensor_matrices[(block * n_features + k) * n_functions + q]);
      }
    }
  }
  for (int l = 0; l <= p.l_max; ++l) weights_.push_back(static_cast<T>(1.0 / std::sqrt(2.0 * l + 1.0)));
}

template <typename T>
const T* TensorSpectrum<T>::matrix(int side, int l, std::int32_t channel) const {
  const std::int64_t block = static_cast<std::int64_t>(side) * (this->l_max() + 1) + l;
  return matrices_.data() + (block * this->n_channels() + channel) * this->n_max() * n_padded_;
}

template <typename T>
void TensorSpectrum<T>::mix(const Coefficients<T>& layout, const std::vector<T>& values, Scratch& scratch,
                            std::vector<T>& mixed) const {
  const auto& kernels = simd::kernels<T>();
  mixed.assign(static_cast<std::size_t>(2 * side_size()), T(0));
  std::vector<T>& part = scratch.forms;
  part.resize(static_cast<std::size_t>((2 * this->l_max() + 1) * n_padded_));
  for (int side = 0; side < 2; ++side) {
    for (int l = 0; l <= this->l_max(); ++l) {
      const std::int64_t first = static_cast<std::int64_t>(l) * l;
      T* out = mixed.data() + side * side_size() + first * n_padded_;
      for (int channel = 0; channel < layout.n_channels(); ++channel) {
        kernels.small_product(
            2 * l + 1, n_padded_, this->n_max(),
            values.data() + first * layout.stride() + static_cast<std::int64_t>(channel) * layout.n_padded,
            layout.stride(), 1, matrix(side, l, layout.channels[static_cast<std::size_t>(channel)]), n_padded_,
            part.data(), n_padded_);
        for (std::int64_t k = 0; k < (2 * l + 1) * n_padded_; ++k) out[k] += part[static_cast<std::size_t>(k)];
      }
    }
  }
}

template <typename T>
void TensorSpectrum<T>::forward(const Coefficients<T>& c, T* features, Scratch& scratch) const {
  mix(c, c.values, scratch, scratch.mixed);
  std::fill_n(features, n_features(), T(0));
  for (int l = 0; l <= this->l_max(); ++l, features += n_per_degree_) {
    for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
      const T* A = scratch.mixed.data() + static_cast<std::int64_t>(lm) * n_padded_;
      const T* B = A + side_size();
      for (int k = 0; k < n_per_degree_; ++k) features[k] += weights_[static_cast<std::size_t>(l)] * A[k] * B[k];
    }
  }
}

template <typename T>
void TensorSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                            Scratch& scratch) const {
  mix(c, c.values, scratch, scratch.mixed);
  mix(c, c_dot, scratch, scratch.mixed_dot);
  std::fill_n(features_dot, n_features(), T(0));
  for (int l = 0; l <= this->l_max(); ++l, features_dot += n_per_degree_) {
    for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
      const T* A = scratch.mixed.data() + static_cast<std::int64_t>(lm) * n_padded_;
      const T* A_dot = scratch.mixed_dot.data() + static_cast<std::int64_t>(lm) * n_padded_;
      const T* B = A + side_size();
      const T* B_dot = A_dot + side_size();
      for (int k = 0; k < n_per_degree_; ++k) {
        features_dot[k] += weights_[static_cast<std::size_t>(l)] * (A_dot[k] * B[k] + A[k] * B_dot[k]);
      }
    }
  }
}

template <typename T>
void TensorSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                            Scratch& scratch) const {
  mix(c, c.values, scratch, scratch.mixed);
  std::vector<T>& grad_mixed = scratch.mixed_dot;
  grad_mixed.assign(scratch.mixed.size(), T(0));
  for (int l = 0; l <= this->l_max(); ++l, grad_features += n_per_degree_) {
    for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
      const std::int64_t row = static_cast<std::int64_t>(lm) * n_padded_;
      const T* A = scratch.mixed.data() + row;
      const T* B = A + side_size();
      T* grad_A = grad_mixed.data() + row;
      T* grad_B = grad_A + side_size();
      for (int k = 0; k < n_per_degree_; ++k) {
        const T g = weights_[static_cast<std::size_t>(l)] * grad_features[k];
        grad_A[k] = g * B[k];
        grad_B[k] = g * A[k];
      }
    }
  }
  grad_c.assign(c.values.size(), T(0));
  for (int side = 0; side < 2; ++side) {
    for (int lm = 0, l = 0; lm < static_cast<int>(this->n_lm()); ++lm) {
      if (lm == (l + 1) * (l + 1)) ++l;
      const T* g = grad_mixed.data() + side * side_size() + static_cast<std::int64_t>(lm) * n_padded_;
      for (int channel = 0; channel < c.n_channels(); ++channel) {
        const T* W = matrix(side, l, c.channels[static_cast<std::size_t>(channel)]);
        T* out = grad_c.data() + lm * c.stride() + static_cast<std::int64_t>(channel) * c.n_padded;
        for (int n = 0; n < this->n_max(); ++n, W += n_padded_) {
          T sum = T(0);
          for (int k = 0; k < n_padded_; ++k) sum += W[k] * g[k];
          out[n] += sum;
        }
      }
    }
  }
}

template <typename T>
void TensorSpectrum<T>::prepare_center(const Coefficients<T>& c, Scratch& scratch) const {
  mix(c, c.values, scratch, scratch.mixed);
}

// A neighbor changes A_k by (r'_k u Y + r_k ∂Y), r_k = Σ_n W1_{k,n} R_n in its channels, and B_k likewise.
template <typename T>
void TensorSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                      const TouchedChannels<T>& touched, Scratch& scratch, T* out) const {
  const auto& kernels = simd::kernels<T>();
  const auto padded = static_cast<std::size_t>(n_padded_);
  scratch.left.resize(4 * padded);   // r, r' of both sides
  scratch.right.resize(8 * padded);  // Σ_m (Y, ∂Y) of both sides
  for (int l = 0; l <= this->l_max(); ++l) {
    std::fill(scratch.left.begin(), scratch.left.end(), T(0));
    for (int side = 0; side < 2; ++side) {
      const std::int64_t first = static_cast<std::int64_t>(l) * l;
      kernels.small_product(4, n_padded_, 2 * l + 1, terms.h + first, this->n_lm(), 1,
                            scratch.mixed.data() + side * side_size() + first * n_padded_, n_padded_,
                            scratch.right.data() + 4 * static_cast<std::size_t>(side) * padded, n_padded_);
      T* r = scratch.left.data() + 2 * static_cast<std::size_t>(side) * padded;
      for (int channel = 0; channel < c.n_channels(); ++channel) {
        const T weight = touched.weights[channel];
        if (weight == T(0)) continue;
        const T* W = matrix(side, l, c.channels[static_cast<std::size_t>(channel)]);
        for (int n = 0; n < this->n_max(); ++n, W += n_padded_) {
          const T R = weight * terms.R[l * c.n_padded + n];
          const T dR = weight * terms.dR[l * c.n_padded + n];
          for (std::size_t k = 0; k < padded; ++k) {
            r[k] += R * W[k];
            r[padded + k] += dR * W[k];
          }
        }
      }
    }
    const T* r_A = scratch.left.data();
    const T* r_B = r_A + 2 * padded;
    const T* A = scratch.right.data();
    const T* B = A + 4 * padded;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const T u = terms.u[axis];
      const T* dA = A + (axis + 1) * padded;
      const T* dB = B + (axis + 1) * padded;
      T* row = out + static_cast<std::int64_t>(axis) * n_features() + static_cast<std::int64_t>(l) * n_per_degree_;
      for (std::size_t k = 0; k < static_cast<std::size_t>(n_per_degree_); ++k) {
        row[k] = weights_[static_cast<std::size_t>(l)] *
                 (r_A[padded + k] * u * B[k] + r_A[k] * dB[k] + r_B[padded + k] * u * A[k] + r_B[k] * dA[k]);
      }
    }
  }
}

template class TensorSpectrum<double>;
template class TensorSpectrum<float>;

}  // namespace castile
