#include <cstdlib>
#include <stdexcept>

#include "castile/simd.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace simd {

#ifdef CASTILE_SIMD_X86
const GeometryKernels& v3_geometry_kernels();
const GeometryKernels& v4_geometry_kernels();
const Kernels<double>& v3_kernels(double);
const Kernels<float>& v3_kernels(float);
const Kernels<double>& v4_kernels(double);
const Kernels<float>& v4_kernels(float);
#endif
const GeometryKernels& baseline_geometry_kernels();
const Kernels<double>& baseline_kernels(double);
const Kernels<float>& baseline_kernels(float);

namespace {

enum class Level { baseline, v3, v4 };

#ifdef CASTILE_SIMD_X86
constexpr const char* level_names[] = {"baseline", "x86-64-v3", "x86-64-v4"};
constexpr int n_levels = 3;

int highest_level_here() {
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? 2 : (v3 ? 1 : 0);
}
#else
constexpr const char* level_names[] = {"baseline"};
constexpr int n_levels = 1;

int highest_level_here() { return 0; }
#endif

Level choose_level() {
  const int highest = highest_level_here();
  const char* wish = std::getenv("CASTILE_SIMD");
  if (wish == nullptr || *wish == '\0') return static_cast<Level>(highest);
  std::string names;
  for (int level = 0; level < n_levels; ++level) {
    if (level <= highest && std::string(wish) == level_names[level]) return static_cast<Level>(level);
    if (level <= highest) names += (level > 0 ? ", " : "") + std::string(level_names[level]);
  }
  throw std::invalid_argument("the environment variable CASTILE_SIMD is '" + std::string(wish) +
                              "', but this build on this processor has only: " + names);
}

Level chosen_level() {
  static const Level level = choose_level();
  return level;
}

template <typename T>
const Kernels<T>& chosen_kernels() {
  switch (chosen_level()) {
#ifdef CASTILE_SIMD_X86
    case Level::v4:
      return v4_kernels(T());
    case Level::v3:
      return v3_kernels(T());
#endif
    default:
      return baseline_kernels(T());
  }
}

}  // namespace

const GeometryKernels& geometry_kernels() {
  switch (chosen_level()) {
#ifdef CASTILE_SIMD_X86
    case Level::v4:
      return v4_geometry_kernels();
    case Level::v3:
      return v3_geometry_kernels();
#endif
    default:
      return baseline_geometry_kernels();
  }
}

template <>
const Kernels<double>& kernels<double>() {
  return chosen_kernels<double>();
}

template <>
const Kernels<float>& kernels<float>() {
  return chosen_kernels<float>();
}

}  // namespace simd

std::string instruction_set() { return simd::level_names[static_cast<int>(simd::chosen_level())]; }

std::vector<std::string> instruction_sets_built() { return {simd::level_names, simd::level_names + simd::n_levels}; }

}  // namespace castile
