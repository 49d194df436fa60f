namespace castile::simd {
namespace {
constexpr int register_bytes = 32;
constexpr int register_count = 16;
}  // namespace
}  // namespace castile::simd

#include "simd/kernels_impl.hpp"

namespace castile::simd {
const GeometryKernels& v3_geometry_kernels() { return kernels_of_geometry; }
const Kernels<double>& v3_kernels(double) { return kernels_f64; }
const Kernels<float>& v3_kernels(float) { return kernels_f32; }
}  // namespace castile::simd
