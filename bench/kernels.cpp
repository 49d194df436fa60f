// What the machine can do, and how much of it the kernels use: peak of fused multiply-adds, bandwidth of stores, and
// the stages of the density expansion for one thread. Prints JSON; bench/limits.py builds and runs it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"
#include "castile/math/spherical_harmonics.hpp"
#include "castile/parallel.hpp"
#include "castile/simd.hpp"
#include "simd/kernels.hpp"

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Seconds of the fastest of many calls.
double fastest(const std::function<void()>& run, double seconds = 0.3) {
  run();
  double best = std::numeric_limits<double>::infinity();
  const double end = now() + seconds;
  do {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  } while (now() < end);
  return best;
}

constexpr int chains = 12;  // enough to hide the latency of two units
constexpr int rounds = 20000;

template <typename V, typename T>
[[gnu::always_inline]] inline T multiply_add_chains() {
  V sum[chains];
  for (int k = 0; k < chains; ++k) sum[k] = V{} + T(k);
  const V a = V{} + T(0.999);
  const V b = V{} + T(1e-3);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int k = 0; k < chains; ++k) sum[k] = sum[k] * a + b;
  }
  T total = 0;
  for (int k = 0; k < chains; ++k) total += sum[k][0];
  return total;
}

template <typename T, int bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(bytes)));
};

#if defined(__x86_64__)
template <typename T>
[[gnu::target("avx512f,fma"), gnu::noinline]] T peak_v4() {
  return multiply_add_chains<typename VectorOf<T, 64>::type, T>();
}
template <typename T>
[[gnu::target("avx2,fma"), gnu::noinline]] T peak_v3() {
  return multiply_add_chains<typename VectorOf<T, 32>::type, T>();
}
#endif
template <typename T>
[[gnu::noinline]] T peak_baseline() {
  return multiply_add_chains<typename VectorOf<T, 16>::type, T>();
}

/// FLOP/s of independent multiply-adds with the registers of the instruction set in use.
template <typename T>
double peak() {
  const std::string level = castile::instruction_set();
  T (*run)() = peak_baseline<T>;
  int bytes = 16;
#if defined(__x86_64__)
  if (level == "x86-64-v4") run = peak_v4<T>, bytes = 64;
  if (level == "x86-64-v3") run = peak_v3<T>, bytes = 32;
#endif
  volatile T sink = 0;
  const double seconds = fastest([&] { sink = run(); });
  return 2.0 * rounds * chains * bytes / sizeof(T) / seconds;
}

/// Bytes per second of memset over much more than the caches.
double store_bandwidth() {
  std::vector<char> memory(std::size_t{1} << 28);
  return static_cast<double>(memory.size()) / fastest([&] { std::memset(memory.data(), 0, memory.size()); }, 0.5);
}

struct Size {
  int n_max;
  int l_max;
};

template <typename T>
void stages(Size size, double peak_flops, bool last) {
  constexpr int n_neighbors = 48;
  constexpr int n_environments = 64;  // so that the table is used as by a structure
  castile::DensityExpansionParameters parameters;
  auto& table = parameters.tables.front();
  table.basis.cutoff = table.weight.reach = 5.0;
  table.basis.sigma = 0.4;
  table.basis.n_max = size.n_max;
  table.basis.l_max = size.l_max;
  const castile::DensityExpansion<T> expansion(parameters, 1);

  std::mt19937 random(0);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  const std::vector<std::int32_t> species(n_neighbors, 0);
  std::vector<castile::PairBuffer> pairs(n_environments);
  std::vector<castile::Environment<T>> environments(n_environments);
  castile::ExpansionScratch<T> scratch;
  for (int e = 0; e < n_environments; ++e) {
    for (int k = 0; k < n_neighbors; ++k) {
      const double x = normal(random), y = normal(random), z = normal(random);
      const double d = 5.0 * std::cbrt(0.1 + 0.9 * uniform(random)), scale = d / std::sqrt(x * x + y * y + z * z);
      pairs[e].j.push_back(k);
      pairs[e].D.push_back({x * scale, y * scale, z * scale});
      pairs[e].d.push_back(d);
    }
  }
  const auto prepare = [&](int e) {
    expansion.make_environment(pairs[e], 0, n_neighbors, species.data(), 0, environments[e], scratch);
  };
  for (int e = 0; e < n_environments; ++e) prepare(e);
  castile::Coefficients<T> c;
  expansion.expand(environments[0], c, scratch);
  std::vector<double> gradients(3 * n_neighbors);

  const auto& kernels = castile::simd::kernels<T>();
  const auto& radial = expansion.radial(0);
  const castile::simd::RadialTableView<T> view{radial.data(), radial.row_length(),
                                               castile::hermite_orders(radial.form()), radial.n_padded()};
  const int n_lm = castile::n_lm(size.l_max);
  std::vector<T> Y(static_cast<std::size_t>((n_neighbors + 64) * n_lm), T(0.1));
  std::vector<T> R(static_cast<std::size_t>(n_neighbors * radial.row_length()));

  const auto per_neighbor = [&](const std::function<void(int)>& stage) {
    return fastest([&] {
             for (int e = 0; e < n_environments; ++e) stage(e);
           }) /
           (n_neighbors * n_environments);
  };
  const double prepared = per_neighbor(prepare);
  const double accumulated = per_neighbor([&](int e) {
    const castile::simd::DensityTerms<T> terms{n_neighbors, environments[e].row.data(), environments[e].weights.data(),
                                               Y.data()};
    kernels.accumulate(size.l_max, view, terms, true, nullptr, c.values.data(), c.stride(), R.data());
  });
  const double expanded = per_neighbor([&](int e) { expansion.expand(environments[e], c, scratch); });
  const double reversed =
      per_neighbor([&](int e) { expansion.expand_vjp(environments[e], c.values, gradients.data(), scratch); });

  // Useful work alone: n_max functions, not what pads them.
  const double products = 2.0 * size.n_max * n_lm;
  const double interpolation = 2.0 * 2 * castile::hermite_orders(radial.form()) * size.n_max * (size.l_max + 1);
  const auto share = [&](double flops, double seconds) { return flops / seconds / peak_flops; };
  std::printf("    {\"dtype\": \"%s\", \"n_max\": %d, \"l_max\": %d, \"table_bytes\": %lld,\n",
              sizeof(T) == 8 ? "float64" : "float32", size.n_max, size.l_max,
              static_cast<long long>(expansion.table_bytes()));
  std::printf("     \"weights_ns\": %.2f, \"accumulate_ns\": %.2f, \"expansion_ns\": %.2f, \"reverse_ns\": %.2f,\n",
              1e9 * prepared, 1e9 * accumulated, 1e9 * expanded, 1e9 * reversed);
  std::printf("     \"accumulate_share\": %.3f, \"expansion_share\": %.3f, \"reverse_share\": %.3f}%s\n",
              share(products + interpolation, accumulated), share(products, expanded),
              share(2.0 * products + 8.0 * n_lm, reversed), last ? "" : ",");
}

}  // namespace

int main() {
  castile::set_num_threads(1);
  const double peak_f64 = peak<double>();
  const double peak_f32 = peak<float>();
  std::printf("{\"instruction_set\": \"%s\", \"peak_f64\": %.4g, \"peak_f32\": %.4g, \"store_bandwidth\": %.4g,\n",
              castile::instruction_set().c_str(), peak_f64, peak_f32, store_bandwidth());
  std::printf("  \"stages\": [\n");
  const std::vector<Size> sizes = {{4, 4}, {8, 6}, {8, 8}, {9, 9}, {12, 6}, {12, 9}};
  for (const Size size : sizes) stages<double>(size, peak_f64, false);
  for (std::size_t k = 0; k < sizes.size(); ++k) stages<float>(sizes[k], peak_f32, k + 1 == sizes.size());
  std::printf("  ]}\n");
}
