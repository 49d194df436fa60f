// The kernels of every instruction set that was built and that this processor has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "castile/simd.hpp"
#include "simd/kernels.hpp"

namespace castile::simd {

// As declared in dispatch.cpp, which chooses one of them for the library.
const GeometryKernels& baseline_geometry_kernels();
const Kernels<double>& baseline_kernels(double);
const Kernels<float>& baseline_kernels(float);
#if defined(__x86_64__)
const GeometryKernels& v3_geometry_kernels();
const GeometryKernels& v4_geometry_kernels();
const Kernels<double>& v3_kernels(double);
const Kernels<float>& v3_kernels(float);
const Kernels<double>& v4_kernels(double);
const Kernels<float>& v4_kernels(float);
#endif

}  // namespace castile::simd

namespace castile::test {

template <typename Table>
struct KernelLevel {
  std::string name;
  const Table* kernels;
};

/// Those tables that are there up to the one in use, which is the highest unless CASTILE_SIMD lowers it.
template <typename Table>
std::vector<KernelLevel<Table>> levels_in_use(const std::vector<const Table*>& tables) {
  const std::vector<std::string> names = instruction_sets_built();
  const auto n_here = std::find(names.begin(), names.end(), instruction_set()) - names.begin() + 1;
  std::vector<KernelLevel<Table>> levels;
  for (std::size_t k = 0; k < static_cast<std::size_t>(n_here); ++k) levels.push_back({names[k], tables.at(k)});
  return levels;
}

template <typename T>
std::vector<KernelLevel<simd::Kernels<T>>> kernel_levels() {
#if defined(__x86_64__)
  return levels_in_use<simd::Kernels<T>>(
      {&simd::baseline_kernels(T()), &simd::v3_kernels(T()), &simd::v4_kernels(T())});
#else
  return levels_in_use<simd::Kernels<T>>({&simd::baseline_kernels(T())});
#endif
}

inline std::vector<KernelLevel<simd::GeometryKernels>> geometry_kernel_levels() {
#if defined(__x86_64__)
  return levels_in_use<simd::GeometryKernels>(
      {&simd::baseline_geometry_kernels(), &simd::v3_geometry_kernels(), &simd::v4_geometry_kernels()});
#else
  return levels_in_use<simd::GeometryKernels>({&simd::baseline_geometry_kernels()});
#endif
}

}  // namespace castile::test
