namespace castile::simd {
namespace {
constexpr int register_bytes = 16;
constexpr int register_count = 16;
}  // namespace
}  // namespace castile::simd

#include "simd/kernels_impl.hpp"

namespace castile::simd {
const GeometryKernels& baseline_geometry_kernels() { return kernels_of_geometry; }
const Kernels<double>& baseline_kernels(double) { return kernels_f64; }
const Kernels<float>& baseline_kernels(float) { return kernels_f32; }
}  // namespace castile::simd
