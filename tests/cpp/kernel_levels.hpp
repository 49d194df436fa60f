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
const Kernels<double>& baseline_kernels(double);
const Kernels<float>& baseline_kernels(float);
#if defined(__x86_64__)
const Kernels<double>& v3_kernels(double);
const Kernels<float>& v3_kernels(float);
const Kernels<double>& v4_kernels(double);
const Kernels<float>& v4_kernels(float);
#endif

}  // namespace castile::simd

namespace castile::test {

template <typename T>
struct KernelLevel {
  std::string name;
  const simd::Kernels<T>* kernels;
};

/// Up to the one in use, which is the highest unless CASTILE_SIMD lowers it.
template <typename T>
std::vector<KernelLevel<T>> kernel_levels() {
  std::vector<const simd::Kernels<T>*> tables = {&simd::baseline_kernels(T())};
#if defined(__x86_64__)
  tables.push_back(&simd::v3_kernels(T()));
  tables.push_back(&simd::v4_kernels(T()));
#endif
  const std::vector<std::string> names = instruction_sets_built();
  const auto n_here = std::find(names.begin(), names.end(), instruction_set()) - names.begin() + 1;
  std::vector<KernelLevel<T>> levels;
  for (std::size_t k = 0; k < static_cast<std::size_t>(n_here); ++k) levels.push_back({names[k], tables.at(k)});
  return levels;
}

}  // namespace castile::test
