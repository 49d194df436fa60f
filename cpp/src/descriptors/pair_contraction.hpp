// One neighbor's derivative of the coefficients, contracted over m with the coefficients themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"
#include "simd/kernels.hpp"

namespace castile {

/// contracted[4][l][q] = Σ_m h[.]_lm c_{q,lm}, h = (Y, ∂Y): U_q and the three V_q of all channels.
template <typename T>
void contract_degrees(const Coefficients<T>& c, const PairTerms<T>& terms, std::vector<T>& contracted) {
  const std::int64_t n_degrees = c.l_max + 1;
  const std::int64_t row = n_degrees * c.stride();
  contracted.resize(static_cast<std::size_t>(4 * row));
  for (int l = 0; l < n_degrees; ++l) {
    simd::kernels<T>().small_product(4, static_cast<int>(c.stride()), 2 * l + 1, terms.h + l * l, n_degrees * n_degrees,
                                     1, c.values.data() + l * l * c.stride(), c.stride(),
                                     contracted.data() + l * c.stride(), row);
  }
}

/// The two factors of Σ_m c_{q',lm} dc_{n,lm}/dD along one axis: (R'_n u, R_n) times (U_q', V_q').
template <typename T>
class PairContraction {
 public:
  /// `contracted` is that of contract_degrees.
  PairContraction(const Coefficients<T>& c, const PairTerms<T>& terms, int l, std::size_t axis, const T* contracted)
      : n_padded_(c.n_padded), u_(terms.u[axis]), R_(terms.R + l * c.n_padded), dR_(terms.dR + l * c.n_padded) {
    const std::int64_t row = (c.l_max + 1) * c.stride();
    U_ = contracted + l * c.stride();
    V_ = U_ + static_cast<std::int64_t>(axis + 1) * row;
  }

  /// Writes the rows weight (R' u, R), each n_padded long.
  void radial(T weight, T* out) const {
    for (int n = 0; n < n_padded_; ++n) {
      out[n] = weight * dR_[n] * u_;
      out[n_padded_ + n] = weight * R_[n];
    }
  }

  /// Writes the rows (U, V) of one channel of the coefficients.
  void density(int channel, T* out) const {
    for (int n = 0; n < n_padded_; ++n) {
      out[n] = U_[channel * n_padded_ + n];
      out[n_padded_ + n] = V_[channel * n_padded_ + n];
    }
  }

 private:
  int n_padded_;
  T u_;
  const T* R_;
  const T* dR_;
  const T* U_;
  const T* V_;
};

}  // namespace castile
