// From pair vectors to directions, rows of the radial table and interpolation weights: lanes over neighbors.
#pragma once

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

template <int N>
struct ValueAndSlope {
  Vector<double, N> value;
  Vector<double, N> slope;
};

/// sin πs and cos πs for |s| <= 1/2 by their power series, to the last bits.
template <int N>
[[gnu::always_inline]] inline ValueAndSlope<N> sine_and_cosine(Vector<double, N> s) {
  using V = Vector<double, N>;
  constexpr int terms = 11;  // the next is below 2^-53
  const V x = 3.14159265358979323846 * s;
  const V square = x * x;
  V sine = broadcast<N>(1.0);
  V cosine = broadcast<N>(1.0);
#pragma GCC unroll 11
  for (int k = terms; k > 0; --k) {
    sine = 1.0 - square * sine * (1.0 / (2 * k * (2 * k + 1)));
    cosine = 1.0 - square * cosine * (1.0 / (2 * k * (2 * k - 1)));
  }
  return {x * sine, cosine};
}

/// The cutoff function, see CutoffFunction, for distances before the cutoff.
template <int N>
[[gnu::always_inline]] inline ValueAndSlope<N> cutoff_function(const DistanceWeighting& w, Vector<double, N> d) {
  using V = Vector<double, N>;
  const V one = broadcast<N>(1.0);
  if (w.kind == CutoffKind::hard) return {one, V{}};
  const V t = (d - w.cutoff + w.width) / w.width;
  V value, slope;
  if (w.kind == CutoffKind::cosine) {
    const V inside = t > 0.0 ? (t < 1.0 ? t : one) : V{};  // the series ends there
    const auto [sine, cosine] = sine_and_cosine<N>(inside - 0.5);
    value = 0.5 - 0.5 * sine;
    slope = (-0.5 * 3.14159265358979323846 / w.width) * cosine;
  } else {
    const V rest = 1.0 - t;
    value = 1.0 + t * t * t * (-10.0 + t * (15.0 - 6.0 * t));
    slope = (-30.0 / w.width) * (t * t * rest * rest);
  }
  return {t > 0.0 ? value : one, t > 0.0 ? slope : V{}};
}

/// Hermite polynomials at t in [0, 1] between two knots and their slopes, as hermite_weights gives them.
template <int N>
[[gnu::always_inline]] inline void hermite(Vector<double, N> t, ValueAndSlope<N> (&w)[4]) {
  const Vector<double, N> s = 1.0 - t;
  w[0] = {(1.0 + 2.0 * t) * s * s, -6.0 * t * s};
  w[1] = {t * s * s, s * (1.0 - 3.0 * t)};
  w[2] = {t * t * (3.0 - 2.0 * t), 6.0 * t * s};
  w[3] = {-t * t * s, t * (3.0 * t - 2.0)};
}

template <int N>
[[gnu::always_inline]] inline void hermite(Vector<double, N> t, ValueAndSlope<N> (&w)[6]) {
  using V = Vector<double, N>;
  const V s = 1.0 - t;
  const V t2 = t * t;
  const V s2 = s * s;
  const V t3 = t2 * t;
  const V s3 = s2 * s;
  w[0] = {s3 * (1.0 + 3.0 * t + 6.0 * t2), -30.0 * t2 * s2};
  w[1] = {t * s3 * (1.0 + 3.0 * t), s2 * (1.0 - 3.0 * t) * (1.0 + 5.0 * t)};
  w[2] = {0.5 * t2 * s3, 0.5 * t * s2 * (2.0 - 5.0 * t)};
  w[3] = {t3 * (1.0 + 3.0 * s + 6.0 * s2), 30.0 * t2 * s2};
  w[4] = {-s * t3 * (1.0 + 3.0 * s), t2 * (1.0 - 3.0 * s) * (1.0 + 5.0 * s)};
  w[5] = {0.5 * s2 * t3, -0.5 * s * t2 * (2.0 - 5.0 * s)};
}

template <typename T, int N>
[[gnu::always_inline]] inline void store_as(T* p, Vector<double, N> v) {
  store<N>(p, __builtin_convertvector(v, Vector<T, N>));
}

template <int K, typename T>
void weigh(const DistanceWeighting& weighting, const PairVectors& pairs, const NeighborArrays<T>& out) {
  constexpr int W = lanes<T>;
  constexpr int N = native_lanes<double>;
  using V = Vector<double, N>;
  V lane{};
  for (int k = 0; k < N; ++k) lane[k] = k;
  const std::int64_t n_slots = (pairs.count + W - 1) / W * W;
  for (std::int64_t j = 0; j < n_slots; j += N) {
    const V d = load<N>(pairs.d + j);
    const V inverse = 1.0 / d;
    store_as<T, N>(out.x + j, load<N>(pairs.x + j) * inverse);
    store_as<T, N>(out.y + j, load<N>(pairs.y + j) * inverse);
    store_as<T, N>(out.z + j, load<N>(pairs.z + j) * inverse);
    store_as<T, N>(out.inverse_distance + j, inverse);

    const auto counts = (lane + static_cast<double>(j) < static_cast<double>(pairs.count)) & (d < weighting.end);
    const V position = counts ? d / weighting.step : V{};
    const auto row = __builtin_convertvector(position, Vector<std::int32_t, N>);
    store<N>(out.row + j, row);

    auto [f, df] = cutoff_function<N>(weighting, d);
    if (pairs.density_weight != nullptr) {
      const V u = load<N>(pairs.density_weight + j);
      df = df * u + f * load<N>(pairs.density_weight_derivative + j);
      f = f * u;
    }
    f = counts ? pairs.factor * f : V{};
    df = counts ? pairs.factor * df : V{};
    const V slope_factor = f / weighting.step;
    ValueAndSlope<N> h[K];
    hermite<N>(position - __builtin_convertvector(row, V), h);
    const std::int64_t first = j / W * K * W + j % W;
#pragma GCC unroll 6
    for (int k = 0; k < K; ++k) {
      store_as<T, N>(out.weights + first + k * W, f * h[k].value);
      store_as<T, N>(out.derivative_weights + first + k * W, slope_factor * h[k].slope + df * h[k].value);
    }
  }
}

template <typename T>
void weigh_neighbors(const DistanceWeighting& weighting, const PairVectors& pairs, const NeighborArrays<T>& out) {
  if (weighting.orders == 2) {
    weigh<4>(weighting, pairs, out);
  } else {
    weigh<6>(weighting, pairs, out);
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
