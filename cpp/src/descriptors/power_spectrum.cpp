#include "castile/descriptors/power_spectrum.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "descriptors/pair_contraction.hpp"
#include "descriptors/row_stream.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

template <typename T>
constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);

}  // namespace

template <typename T>
PowerSpectrum<T>::PowerSpectrum(const FeatureHeadParameters& parameters, ChannelPairs pairs)
    : FeatureHead<T>(parameters), pairs_(pairs) {
  for (int l = 0; l <= this->l_max(); ++l) weights_.push_back(static_cast<T>(1.0 / std::sqrt(2.0 * l + 1.0)));
}

template <typename T>
std::int64_t PowerSpectrum<T>::block_size(bool like_channels) const {
  const std::int64_t n = this->n_max();
  return (this->l_max() + 1) * (like_channels ? n * (n + 1) / 2 : n * n);
}

template <typename T>
std::int64_t PowerSpectrum<T>::block_start(std::int32_t a, std::int32_t b) const {
  const std::int64_t rows = a;
  if (pairs_ == ChannelPairs::like) return rows * block_size(true);
  // Before (a, b): the rows of all channels below a, each one like block and (n_channels - 1 - row) unlike ones.
  const std::int64_t unlike_above = rows * (this->n_channels() - 1) - rows * (rows - 1) / 2;
  const std::int64_t like = rows + (b > a ? 1 : 0);
  const std::int64_t unlike = unlike_above + (b > a ? b - a - 1 : 0);
  return like * block_size(true) + unlike * block_size(false);
}

template <typename T>
std::int64_t PowerSpectrum<T>::n_features() const {
  return block_start(this->n_channels(), this->n_channels());
}

template <typename T>
std::int64_t PowerSpectrum<T>::n_touched() const {
  const std::int64_t n_others = pairs_ == ChannelPairs::like ? 0 : this->n_channels() - 1;
  return block_size(true) + n_others * block_size(false);
}

template <typename T>
template <typename Body>
void PowerSpectrum<T>::for_each_block(const Coefficients<T>& c, const Body& body) const {
  for (int a = 0; a < c.n_channels(); ++a) {
    const int last = pairs_ == ChannelPairs::like ? a + 1 : c.n_channels();
    for (int b = a; b < last; ++b) {
      body(a, b, block_start(c.channels[static_cast<std::size_t>(a)], c.channels[static_cast<std::size_t>(b)]));
    }
  }
}

template <typename T>
void PowerSpectrum<T>::pack(bool like_channels, const T* forms, int n_padded, T* out) const {
  const int n_max = this->n_max();
  for (const T weight : weights_) {
    const T factor = sqrt2<T> * weight;
    for (int n = 0; n < n_max; ++n, forms += n_padded) {
      if (like_channels) *out++ = weight * forms[n];
      for (int k = like_channels ? n + 1 : 0; k < n_max; ++k) *out++ = factor * forms[k];
    }
  }
}

template <typename T>
void PowerSpectrum<T>::forward(const Coefficients<T>& c, T* features, Scratch& scratch) const {
  RowStream<T>* stream = scratch.stream;
  if (stream != nullptr) {
    stream->put(0, 0);
  } else if (c.n_channels() < this->n_channels()) {
    std::fill_n(features, n_features(), T(0));
  }
  const auto& kernels = simd::kernels<T>();
  for_each_block(c, [&](int a, int b, std::int64_t first) {
    kernels.spectrum(this->l_max(), this->n_max(), a == b, c.channel(a), c.channel(b), c.stride(), weights_.data(),
                     features + first);
    if (stream != nullptr) stream->put(first, block_size(a == b));
  });
}

template <typename T>
void PowerSpectrum<T>::jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot,
                           Scratch& scratch) const {
  if (c.n_channels() < this->n_channels()) std::fill_n(features_dot, n_features(), T(0));
  const auto& kernels = simd::kernels<T>();
  scratch.forms.resize(static_cast<std::size_t>((this->l_max() + 1) * this->n_max() * c.n_padded));
  scratch.other.resize(scratch.forms.size());
  const auto channel_dot = [&](int k) { return c_dot.data() + static_cast<std::int64_t>(k) * c.n_padded; };
  for_each_block(c, [&](int a, int b, std::int64_t first) {
    kernels.bilinear_forms(this->l_max(), this->n_max(), c.n_padded, channel_dot(a), c.channel(b), c.stride(),
                           scratch.forms.data());
    kernels.bilinear_forms(this->l_max(), this->n_max(), c.n_padded, c.channel(a), channel_dot(b), c.stride(),
                           scratch.other.data());
    for (std::size_t k = 0; k < scratch.forms.size(); ++k) scratch.forms[k] += scratch.other[k];
    pack(a == b, scratch.forms.data(), c.n_padded, features_dot + first);
  });
}

template <typename T>
void PowerSpectrum<T>::vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                           Scratch& scratch) const {
  const auto& kernels = simd::kernels<T>();
  const int n_max = this->n_max();
  const int n_padded = c.n_padded;
  grad_c.assign(c.values.size(), T(0));
  // What pads the rows is zero and stays so.
  scratch.forms.resize(static_cast<std::size_t>((this->l_max() + 1) * n_max * n_padded));
  scratch.other.resize(scratch.forms.size());
  T* W = scratch.forms.data();
  T* transposed = scratch.other.data();
  const auto channel_grad = [&](int k) { return grad_c.data() + static_cast<std::int64_t>(k) * n_padded; };
  for_each_block(c, [&](int a, int b, std::int64_t first) {
    kernels.unpack_spectrum(this->l_max(), n_max, n_padded, a == b, grad_features + first, weights_.data(), W,
                            transposed);
    // Rows of the right factor run over the summed index, so each side takes the other's transpose.
    kernels.bilinear_adjoint(this->l_max(), n_max, n_padded, W, c.channel(a), channel_grad(b), c.stride());
    if (a == b) return;
    kernels.bilinear_adjoint(this->l_max(), n_max, n_padded, transposed, c.channel(b), channel_grad(a), c.stride());
  });
}

template <typename T>
std::vector<ColumnRange> PowerSpectrum<T>::columns_of_channels(const std::vector<std::int32_t>& channels) const {
  std::vector<ColumnRange> ranges;
  for (std::size_t a = 0; a < channels.size(); ++a) {
    const std::size_t last = pairs_ == ChannelPairs::like ? a + 1 : channels.size();
    for (std::size_t b = a; b < last; ++b) {
      ranges.push_back({block_start(channels[a], channels[b]), block_size(a == b)});
    }
  }
  return ranges;
}

template <typename T>
std::vector<ColumnRange> PowerSpectrum<T>::columns_touched_by(std::int32_t channel) const {
  if (pairs_ == ChannelPairs::like) return {{block_start(channel, channel), block_size(true)}};
  std::vector<ColumnRange> ranges;
  for (std::int32_t other = 0; other < this->n_channels(); ++other) {
    ranges.push_back({block_start(std::min(channel, other), std::max(channel, other)), block_size(channel == other)});
  }
  return ranges;
}

// dc_{n,lm}/dD = R'_n u Y + R_n ∂Y has rank two in (n, m), so m is contracted first: with U_q' = Σ_m c_{q',lm} Y_lm and
// V_q' = Σ_m c_{q',lm} ∂Y_lm, dp/dD = (2l+1)^{-1/2} (R'_q u U_q' + R_q V_q') plus q <-> q', each times the neighbor's
// weight in the channel of q.
template <typename T>
void PowerSpectrum<T>::pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms,
                                     const TouchedChannels<T>& touched, Scratch& scratch, T* out) const {
  contract_degrees(c, terms, scratch.contracted);
  const bool one = touched.only >= 0;
  const std::int32_t own = one ? c.channels[static_cast<std::size_t>(touched.only)] : -1;
  const auto is_touched = [&](std::int32_t i, std::int32_t k) { return !one || own == i || own == k; };
  simd::SpectrumPair<T> pair{};
  pair.R = terms.R;
  pair.dR = terms.dR;
  pair.radial_stride = c.n_padded;
  pair.density_stride = c.stride();
  pair.quantity_stride = (c.l_max + 1) * c.stride();
  std::copy(terms.u.begin(), terms.u.end(), pair.u);
  pair.axis_stride = one ? n_touched() : n_features();
  GradientStream<T>* stream = scratch.gradient_stream;
  std::int64_t written = 0;
  int a = 0;  // index in the coefficients of channel i, and b of channel k
  for (std::int32_t i = 0; i < this->n_channels(); ++i) {
    const bool has_a = a < c.n_channels() && c.channels[static_cast<std::size_t>(a)] == i;
    const std::int32_t last = pairs_ == ChannelPairs::like ? i + 1 : this->n_channels();
    int b = a;
    for (std::int32_t k = i; k < last; ++k) {
      const bool has_b = b < c.n_channels() && c.channels[static_cast<std::size_t>(b)] == k;
      if (is_touched(i, k)) {
        if (has_a && has_b) {
          pair.left = scratch.contracted.data() + std::int64_t{a} * c.n_padded;
          pair.right = scratch.contracted.data() + std::int64_t{b} * c.n_padded;
          pair.left_weight = touched.weights[a];
          pair.right_weight = touched.weights[b];
          const auto& kernels = simd::kernels<T>();
          if (stream != nullptr && !stream->kept() && i != k &&
              simd::can_stream_products(this->n_max(), pair, stream->place(written))) {
            T* place = stream->skip(written, block_size(false));
            pair.minus = stream->minus(written);
            kernels.stream_products(this->l_max(), this->n_max(), pair, weights_.data(), place);
          } else {
            kernels.spectrum_jacobian(this->l_max(), this->n_max(), i == k, pair, weights_.data(), out);
            if (stream != nullptr) stream->put(written, block_size(i == k));
          }
        } else {
          for (int axis = 0; axis < 3; ++axis) std::fill_n(out + axis * pair.axis_stride, block_size(i == k), T(0));
          if (stream != nullptr) stream->put(written, block_size(i == k));
        }
        out += block_size(i == k);
        written += block_size(i == k);
      }
      b += has_b ? 1 : 0;
    }
    a += has_a ? 1 : 0;
  }
}

template class PowerSpectrum<double>;
template class PowerSpectrum<float>;

}  // namespace castile
