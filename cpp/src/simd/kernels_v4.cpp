namespace castile::simd {
namespace {
constexpr int register_bytes = 64;
constexpr int register_count = 32;
}  // namespace
}  // namespace castile::simd

#include "simd/kernels_impl.hpp"

namespace castile::simd {
const GeometryKernels& v4_geometry_kernels() { return kernels_of_geometry; }
const Kernels<double>& v4_kernels(double) { return kernels_f64; }
const Kernels<float>& v4_kernels(float) { return kernels_f32; }
}  // namespace castile::simd
