// All kernels of one instruction set. The including file first defines register_bytes and register_count.
#pragma once

#include "simd/accumulate.hpp"
#include "simd/gemm.hpp"
#include "simd/harmonics.hpp"
#include "simd/kernels.hpp"
#include "simd/pair_columns.hpp"
#include "simd/pair_gradients.hpp"
#include "simd/powers.hpp"
#include "simd/products.hpp"
#include "simd/radial.hpp"
#include "simd/rows.hpp"
#include "simd/select_close.hpp"
#include "simd/small_products.hpp"
#include "simd/spectrum.hpp"
#include "simd/spectrum_jacobian.hpp"
#include "simd/weigh_neighbors.hpp"
#include "simd/write_pairs.hpp"

namespace castile::simd {
namespace {

template <typename T>
constexpr Kernels<T> make_kernels() {
  return {harmonics<T>,
          harmonics_gradients<T>,
          weigh_neighbors<T>,
          radial<T>,
          accumulate<T>,
          pair_gradients<T>,
          small_product<T>,
          bilinear_forms<T>,
          spectrum<T>,
          spectrum_jacobian<T>,
          stream_products<T>,
          subtract<T>,
          stream<T>,
          end_streams,
          unpack_spectrum<T>,
          bilinear_adjoint<T>,
          gemm_nt<T>,
          gemm_nt_workspace<T>,
          gemm_pack_right<T>,
          gemm_packed_size<T>,
          gemm_packed<T>,
          integer_power<T>,
          weighted_powers<T>,
          dot_rows<T>,
          evaluate_products<T>,
          differentiate_products<T>,
          pull_back_products<T>,
          add_pair_columns<T>};
}

constexpr GeometryKernels kernels_of_geometry = {select_close, write_pairs};
constexpr Kernels<double> kernels_f64 = make_kernels<double>();
constexpr Kernels<float> kernels_f32 = make_kernels<float>();

}  // namespace
}  // namespace castile::simd
