// What the machine can do, and how much of it the kernels use: peak of fused multiply-adds, bandwidth of stores, the
// stages of the density expansion and the power spectrum for one thread. Prints JSON; bench/limits.py builds and runs
// it. With an argument, a number, each measurement takes that share of its usual time.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "castile/aligned.hpp"
#include "castile/descriptors/density_expansion.hpp"
#include "castile/descriptors/power_spectrum.hpp"
#include "castile/math/spherical_harmonics.hpp"
#include "castile/parallel.hpp"
#include "castile/simd.hpp"
#include "descriptors/row_stream.hpp"
#include "simd/kernels.hpp"

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double effort = 1.0;  ///< share of the usual time that a measurement takes

/// Seconds of the fastest of many calls.
double fastest(const std::function<void()>& run, double seconds = 0.3) {
  run();
  double best = std::numeric_limits<double>::infinity();
  const double end = now() + effort * seconds;
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

/// Much more than the caches hold. Zeroed by the constructor, so that no page is new to what is timed.
using Memory = castile::AlignedVector<double>;
constexpr std::size_t memory_bytes = std::size_t{1} << 28;

enum class Stores { plain, past_the_caches };

/// Fills whole vectors; entries differ, or else the compiler would call memset.
template <Stores stores, typename V, typename Store>
[[gnu::always_inline]] inline void fill(Memory& memory, const Store& store_past_the_caches) {
  V value{};
  for (std::size_t k = 0; k < sizeof(V) / sizeof(double); ++k) value[k] = static_cast<double>(k);
  constexpr std::size_t width = sizeof(V) / sizeof(double);
  double* const end = memory.data() + memory.size() / width * width;
  for (double* to = memory.data(); to != end; to += width) {
    if (stores == Stores::plain) {
      *reinterpret_cast<V*>(to) = value;
    } else {
      store_past_the_caches(to, value);
    }
  }
}

#if defined(__x86_64__)
template <Stores stores>
[[gnu::target("avx512f"), gnu::noinline]] void fill_v4(Memory& memory) {
  typedef double V __attribute__((vector_size(64), may_alias));
  fill<stores, V>(memory, [](double* to, V value) __attribute__((target("avx512f"))) { _mm512_stream_pd(to, value); });
  _mm_sfence();
}
template <Stores stores>
[[gnu::target("avx2"), gnu::noinline]] void fill_v3(Memory& memory) {
  typedef double V __attribute__((vector_size(32), may_alias));
  fill<stores, V>(memory, [](double* to, V value) __attribute__((target("avx2"))) { _mm256_stream_pd(to, value); });
  _mm_sfence();
}
#endif
template <Stores stores>
[[gnu::noinline]] void fill_baseline(Memory& memory) {
  typedef double V __attribute__((vector_size(16), may_alias));
#if defined(__x86_64__)
  fill<stores, V>(memory, [](double* to, V value) { _mm_stream_pd(to, value); });
  _mm_sfence();
#else
  fill<stores, V>(memory, [](double* to, V value) { *reinterpret_cast<V*>(to) = value; });
#endif
}

/// Bytes per second of vector stores with the registers of the instruction set in use.
template <Stores stores>
double bandwidth_of_vectors(Memory& memory) {
  const std::string level = castile::instruction_set();
  void (*run)(Memory&) = fill_baseline<stores>;
#if defined(__x86_64__)
  if (level == "x86-64-v4") run = fill_v4<stores>;
  if (level == "x86-64-v3") run = fill_v3<stores>;
#endif
  return memory_bytes / fastest([&] { run(memory); }, 0.5);
}

/// Processors and their hypervisors may clear memory faster than they can fill it.
double bandwidth_of_memset(Memory& memory, int byte) {
  return memory_bytes / fastest([&] { std::memset(static_cast<void*>(memory.data()), byte, memory_bytes); }, 0.5);
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
  const castile::simd::RadialTableView<T> view{
      radial.data(),     radial.row_length(), castile::hermite_orders(radial.form()),
      radial.n_padded(), radial.n_max(),      radial.l_max()};
  const int n_lm = castile::n_lm(size.l_max);
  std::vector<T> Y(static_cast<std::size_t>((n_neighbors + 64) * n_lm), T(0.1));
  std::vector<T> R(static_cast<std::size_t>(2 * n_neighbors * radial.n_functions()));

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

/// The power spectrum of many centers with `n_channels` channels of 8 functions, written one behind the other.
void spectrum_to_memory(int n_channels, Memory& memory, double memset_bandwidth, bool last) {
  constexpr int n_max = 8;
  constexpr int l_max = 6;
  constexpr int n_centers = 16;  // whose coefficients stay in the nearest cache, as each center's do
  castile::FeatureHeadParameters parameters;
  parameters.n_channels = n_channels;
  parameters.n_max = n_max;
  parameters.l_max = l_max;
  const castile::PowerSpectrum<double> head(parameters);

  std::mt19937 random(0);
  std::normal_distribution<double> normal;
  std::vector<castile::Coefficients<double>> centers(n_centers);
  for (auto& c : centers) {
    for (int k = 0; k < n_channels; ++k) c.channels.push_back(k);
    c.l_max = l_max;
    c.n_max = c.n_padded = n_max;
    c.values.resize(static_cast<std::size_t>(castile::n_lm(l_max) * c.stride()));
    for (double& value : c.values) value = normal(random);
  }
  castile::FeatureHead<double>::Scratch scratch;
  const std::int64_t n_features = head.n_features();
  const std::int64_t n_rows = static_cast<std::int64_t>(memory.size()) / n_features;
  castile::AlignedVector<double> buffer(static_cast<std::size_t>(n_features));  // as for large results
  const double seconds = fastest(
      [&] {
        for (std::int64_t row = 0; row < n_rows; ++row) {
          castile::RowStream<double> stream(buffer.data(), memory.data() + row * n_features);
          scratch.stream = &stream;
          head.forward(centers[static_cast<std::size_t>(row % n_centers)], buffer.data(), scratch);
          stream.finish();
        }
        castile::simd::kernels<double>().end_streams();
      },
      0.5);
  const double bandwidth = static_cast<double>(n_rows * n_features) * sizeof(double) / seconds;
  std::printf("    {\"n_functions\": %d, \"l_max\": %d, \"n_features\": %lld, \"us\": %.3f, \"bandwidth\": %.4g, ",
              n_channels * n_max, l_max, static_cast<long long>(n_features),
              1e6 * seconds / static_cast<double>(n_rows), bandwidth);
  std::printf("\"against_memset\": %.3f}%s\n", memset_bandwidth / bandwidth, last ? "" : ",");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) effort = std::atof(argv[1]);
  castile::set_num_threads(1);
  const double peak_f64 = peak<double>();
  const double peak_f32 = peak<float>();
  std::printf("{\"instruction_set\": \"%s\", \"peak_f64\": %.4g, \"peak_f32\": %.4g,\n",
              castile::instruction_set().c_str(), peak_f64, peak_f32);
  {
    Memory memory(memory_bytes / sizeof(double));
    // Of bytes that are not zero, as results are not.
    const double of_memset = bandwidth_of_memset(memory, 1);
    std::printf("  \"store_bandwidth\": %.4g, \"memset_of_zeros\": %.4g, \"plain_stores\": %.4g,\n", of_memset,
                bandwidth_of_memset(memory, 0), bandwidth_of_vectors<Stores::plain>(memory));
    std::printf("  \"stores_past_the_caches\": %.4g,\n", bandwidth_of_vectors<Stores::past_the_caches>(memory));
    std::printf("  \"spectrum\": [\n");
    spectrum_to_memory(3, memory, of_memset, false);
    spectrum_to_memory(5, memory, of_memset, true);
  }
  std::printf("  ],\n  \"stages\": [\n");
  const std::vector<Size> sizes = {{4, 4}, {8, 6}, {8, 8}, {9, 9}, {12, 6}, {12, 9}};
  for (const Size size : sizes) stages<double>(size, peak_f64, false);
  for (std::size_t k = 0; k < sizes.size(); ++k) stages<float>(sizes[k], peak_f32, k + 1 == sizes.size());
  std::printf("  ]}\n");
}
