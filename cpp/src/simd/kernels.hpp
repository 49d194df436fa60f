// The table of kernels that every instruction set fills; see dispatch.cpp for the choice.
#pragma once

#include <cstdint>

namespace castile::simd {

/// Neighbors per block of the kernels whose lanes are neighbors; the same for every instruction set, so that
/// layouts do not depend on it.
template <typename T>
constexpr int lanes = static_cast<int>(64 / sizeof(T));

/// Neighbors of one species, in whole blocks of `lanes`; entries past the last neighbor have zero weights.
template <typename T>
struct NeighborBlocks {
  std::int64_t n_blocks;
  const T* x;  ///< unit vector from the center, (n_blocks * lanes)
  const T* y;
  const T* z;
  const T* inverse_distance;
  const std::int32_t* row;    ///< row of the radial table
  const T* weights;           ///< (n_blocks, 2 * orders, lanes) interpolation weights of the values
  const T* gradient_weights;  ///< the same for values on the gradient path (differs only at distance zero)
  const T* derivative_weights;
};

enum class CutoffKind { hard, cosine, polynomial };

/// How the weights of a neighbor follow from its distance.
struct DistanceWeighting {
  double step;  ///< between the knots of the radial table
  int orders;   ///< 2 (cubic) or 3 (quintic)
  double end;   ///< weights are zero from there on
  CutoffKind kind;
  double cutoff;  ///< Å
  double width;   ///< over which the cutoff function falls
};

/// Vectors from a center to neighbors, in whole blocks of `lanes`; entries past `count` are any finite ones of
/// distance one.
struct PairVectors {
  std::int64_t count;
  const double* x;
  const double* y;
  const double* z;
  const double* d;
  const double* density_weight;  ///< beside the cutoff function; or null
  const double* density_weight_derivative;
  double factor;  ///< of all weights
};

/// Where the blocks of NeighborBlocks are written.
template <typename T>
struct NeighborArrays {
  T* x;
  T* y;
  T* z;
  T* inverse_distance;
  std::int32_t* row;
  T* weights;
  T* derivative_weights;
};

/// Node n_inputs + k is the sum over entries [first[k], first[k + 1]) of coefficient times the nodes `left` and
/// `right`, which come before it. Each node has `lanes` numbers.
template <typename T>
struct ProductList {
  std::int32_t n_inputs, n_products;
  const std::int32_t* first;  ///< (n_products + 1)
  const std::int32_t* left;
  const std::int32_t* right;
  const T* coefficients;
};

/// The radial table as the kernels see it.
template <typename T>
struct RadialTableView {
  const T* data;
  std::int64_t row_length;  ///< from one row, or order, to the next
  int orders;               ///< 2 (cubic) or 3 (quintic)
  int n_padded;
  int n_max;
  int l_max;        ///< of the rows: 0 if all degrees share their functions
  const int* used;  ///< by degree: so many functions of it are wanted, no more than of those below; null: n_max

  int n_used(int l) const { return used == nullptr ? n_max : used[l]; }
  /// From the functions of one degree to those of the next.
  int degree_stride() const { return l_max == 0 ? 0 : n_padded; }

  /// Rows hold strips of `lanes` functions of all degrees, the last one what is left: how many the one from `first` on
  /// has of each degree, and where it starts.
  int strip_width(int first) const { return n_padded - first < lanes<T> ? n_padded - first : lanes<T>; }
  std::int64_t strip_start(int first) const { return static_cast<std::int64_t>(l_max + 1) * first; }
  /// (l_max + 1) * n_padded
  std::int64_t n_functions() const { return static_cast<std::int64_t>(l_max + 1) * n_padded; }
};

/// What some neighbors add to the density: R_l[n](j) Y_lm(j).
template <typename T>
struct DensityTerms {
  std::int64_t count;
  const std::int32_t* row;
  const T* weights;  ///< (n_blocks, 2 * orders, lanes)
  const T* Y;        ///< (n_blocks, n_lm, lanes)
};

/// Coordinates of many points.
struct Points {
  const double* x;
  const double* y;
  const double* z;
};

struct Sphere {
  double x;
  double y;
  double z;
  double radius2;
};

struct IndexRange {
  std::uint32_t first;
  std::uint32_t last;
};

/// An atom or a periodic image of it, as far as pairs depend on it: one cache line.
struct alignas(64) PairImage {
  double position[3];     ///< of the atom as given
  double translation[3];  ///< shift @ cell
  std::int32_t shift[3];  ///< from the atom's own position to the image
  std::int32_t id;        ///< of the atom
};

/// The pairs of one center, and where they are written; null for what is not wanted.
struct PairWriting {
  const PairImage* images;
  const std::uint32_t* slots;  ///< of the neighbors among the images
  std::int64_t n;
  const double* center;      ///< position as given
  const std::int32_t* wrap;  ///< what is added to the images' shifts
  const double* cell;
  std::int64_t first_atom;  ///< what is added to ids
  std::int64_t* j;
  std::int32_t* S;
  double* D;
  double* d;
};

/// The kernel write_pairs where there is no faster one.
void write_pairs_one_by_one(const PairWriting& pairs);

/// Kernels of the one precision that coordinates have.
struct GeometryKernels {
  /// Writes the indices, among those of some ranges, of the points in the sphere and their squared distances from its
  /// center; returns how many they are. Both arrays must hold selection_slack more than the ranges.
  std::uint32_t (*select_close)(const Points& points, const IndexRange* ranges, std::uint32_t n_ranges,
                                const Sphere& sphere, std::uint32_t* index, double* distance2);

  /// Writes the pairs of a center; the same bits for every instruction set.
  void (*write_pairs)(const PairWriting& pairs);
};
constexpr std::uint32_t selection_slack = 8;

/// One neighbor and a block (a, b) of the power spectrum of a center. U[l][n] = Σ_m c_{n,lm} Y_lm and V, along x, y and
/// z, the same with ∂Y_lm, of both channels.
template <typename T>
struct SpectrumPair {
  const T* R;                  ///< [l][n]
  const T* dR;                 ///< the same of R'
  std::int64_t radial_stride;  ///< between degrees
  const T* left;               ///< U of channel a; V_x, V_y and V_z follow, quantity_stride apart
  const T* right;              ///< of channel b
  std::int64_t density_stride;
  std::int64_t quantity_stride;
  T u[3];                    ///< direction
  T left_weight;             ///< of the neighbor in channel a
  T right_weight;            ///< and b
  std::int64_t axis_stride;  ///< of the result
  T* minus;                  ///< what a streamed result is taken off, rows as of the result
};

/// Derivatives of one center's columns: along x, y and z of each of its pair vectors products[pair][axis][k] scale[k] +
/// along[pair][axis] slope[k].
template <typename T>
struct PairColumns {
  std::int64_t n_pairs;
  const T* products;
  std::int64_t product_stride;  ///< between axes
  const T* along;               ///< (n_pairs, 3)
  const T* scale;
  const T* slope;
  const double* D;             ///< (n_pairs, 3)
  const std::int64_t* row_of;  ///< (n_pairs) first of the three rows of the neighbor
  T* rows;                     ///< rows of what is added to
  std::int64_t row_stride;
  std::int64_t own_row;     ///< of the center, from which the same is taken off
  std::int64_t strain_row;  ///< first of six, xx yy zz yz xz xy; or -1
};

template <typename T>
struct Kernels {
  /// Monic harmonics of unit vectors: Y[block][lm][lane].
  void (*harmonics)(int l_max, const NeighborBlocks<T>& neighbors, T* Y);

  /// Gradients of the same with respect to the pair vector: dY[block][3][lm][lane].
  void (*harmonics_gradients)(int l_max, const NeighborBlocks<T>& neighbors, T* dY);

  /// Directions, table rows and weights of neighbors that are not at distance zero.
  void (*weigh_neighbors)(const DistanceWeighting& weighting, const PairVectors& pairs, const NeighborArrays<T>& out);

  /// Interpolates table rows: out[neighbor][l][n] for the first `count` neighbors.
  void (*radial)(const RadialTableView<T>& table, std::int64_t count, const std::int32_t* row, const T* weights,
                 T* out);

  /// c[lm][n] += Σ_j Y_lm(j) R_l[n](j), with R interpolated and rows of c `c_stride` apart; `begins` takes zero for
  /// what c was, and the result is multiplied by factors[lm], unless they are null. `scratch` holds count * n_functions
  /// numbers, count in whole blocks of lanes.
  void (*accumulate)(int l_max, const RadialTableView<T>& table, const DensityTerms<T>& terms, bool begins,
                     const T* factors, T* c, std::int64_t c_stride, T* scratch);

  /// Adjoint of harmonics, radial and accumulate together: from dE/dc (rows `g_stride` apart) to dE/dD, written
  /// as f[block][3][lane]. `scratch` holds pair_gradients_scratch(l_max, n_functions) numbers.
  void (*pair_gradients)(int l_max, const RadialTableView<T>& table, const NeighborBlocks<T>& neighbors,
                         const T* grad_c, std::int64_t g_stride, T* f, T* scratch);

  /// out[i][j] = Σ_k a[i * a_row + k * a_k] b[k * b_k + j]; n_columns a multiple of 32 bytes.
  void (*small_product)(int n_rows, int n_columns, int depth, const T* a, std::int64_t a_row, std::int64_t a_k,
                        const T* b, std::int64_t b_k, T* out, std::int64_t out_row);

  /// out[l][n][n'] = Σ_m a[lm][n] b[lm][n'], rows of a and b `stride` apart, n' padded.
  void (*bilinear_forms)(int l_max, int n, int n_padded, const T* a, const T* b, std::int64_t stride, T* out);

  /// The same times weights[l] and, off the diagonal of like channels and everywhere for unlike ones, √2; without
  /// padding, of like channels those with n <= n' only.
  void (*spectrum)(int l_max, int n, bool like, const T* a, const T* b, std::int64_t stride, const T* weights, T* out);

  /// Derivative of a spectrum along x, y and z of a pair vector, (2l+1)^{-1/2} (R'_n u U_n' + R_n V_n') of both
  /// channels, weighted and packed as by `spectrum`.
  void (*spectrum_jacobian)(int l_max, int n, bool like, const SpectrumPair<T>& pair, const T* weights, T* out);

  /// The same of unlike channels, written past the caches and taken off pair.minus, if can_stream_products: rows of n
  /// are whole pieces of 32 bytes.
  void (*stream_products)(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out);

  /// out[k] -= a[k]
  void (*subtract)(std::int64_t n, const T* a, T* out);

  /// to[k] = from[k] past the caches, for results too large to be found there again; other threads may read them after
  /// end_streams. Unless `minus` is null, minus[k] -= from[k] on the way.
  void (*stream)(std::int64_t n, const T* from, T* to, T* minus);
  void (*end_streams)();

  /// The way back from `spectrum`: W[l][n][n'] = weights[l] times, of unlike channels, √2 grad[l][n][n'], and its
  /// transpose; of like ones grad[l] of (n, n') and (n', n) in either order, times √2 off and 2 on the diagonal. Rows
  /// of n_padded; what pads them is left as it is.
  void (*unpack_spectrum)(int l_max, int n, int n_padded, bool like, const T* grad, const T* weights, T* W,
                          T* transposed);

  /// g[lm][n'] += Σ_n c[lm][n] W[l][n][n'], rows of c and g `stride` apart.
  void (*bilinear_adjoint)(int l_max, int n, int n_padded, const T* W, const T* c, T* g, std::int64_t stride);

  /// c[i * c_stride + j] = Σ_q (a_scale[i] a[i * a_stride + q]) (b_scale[j] b[j * b_stride + q]), q < k;
  /// a scale may be null (ones). `workspace` holds gemm_nt_workspace(n, m) numbers of the caller's.
  void (*gemm_nt)(std::int64_t n, std::int64_t m, std::int64_t k, const T* a, std::int64_t a_stride, const T* a_scale,
                  const T* b, std::int64_t b_stride, const T* b_scale, T* c, std::int64_t c_stride, T* workspace);
  std::int64_t (*gemm_nt_workspace)(std::int64_t n, std::int64_t m);

  /// The rows of b (m, k), packed for gemm_packed: gemm_packed_size(m, k) numbers.
  void (*gemm_pack_right)(std::int64_t m, std::int64_t k, const T* b, std::int64_t b_stride, T* packed);
  std::int64_t (*gemm_packed_size)(std::int64_t m, std::int64_t k);

  /// The same bits as gemm_nt of a and rows [first, last) of b, which were packed; `first` is a multiple of
  /// gemm_column_step. `workspace` holds gemm_nt_workspace(n, 0) numbers.
  void (*gemm_packed)(std::int64_t n, std::int64_t m, std::int64_t k, const T* a, std::int64_t a_stride,
                      const T* packed, std::int64_t first, std::int64_t last, T* c, std::int64_t c_stride,
                      T* workspace);

  /// power[k] = x[k]^exponent by repeated multiplication, exponent >= 0.
  void (*integer_power)(std::int64_t n, std::int64_t exponent, const T* x, T* power);

  /// Returns the sum of weights[k] power[k] x[k] and writes factor weights[k] power[k] to `slopes`.
  T (*weighted_powers)(std::int64_t n, T factor, const T* weights, const T* x, const T* power, T* slopes);

  /// out[i * n_right + j] = Σ_k left[i * length + k] right[j * length + k]: a few long rows.
  void (*dot_rows)(std::int64_t n_left, std::int64_t n_right, std::int64_t length, const T* left, const T* right,
                   T* out);

  /// Computes all nodes from the inputs, their derivatives from those of the inputs, and, backwards, adds to the
  /// gradients of the nodes what later ones pass on.
  void (*evaluate_products)(const ProductList<T>& list, T* nodes);
  void (*differentiate_products)(const ProductList<T>& list, const T* nodes, T* dots);
  void (*pull_back_products)(const ProductList<T>& list, const T* nodes, T* gradients);

  /// Adds one center's part to the derivatives of n columns, n a multiple of gemm_column_step.
  void (*add_pair_columns)(std::int64_t n, const PairColumns<T>& pairs);
};

/// A multiple of the columns of a register tile, for all instruction sets and precisions.
constexpr std::int64_t gemm_column_step = 48;

/// Whether rows of n numbers are one to four whole pieces of 32 bytes.
template <typename T>
constexpr bool has_whole_rows(int n) {
  constexpr int piece = static_cast<int>(32 / sizeof(T));
  return n % piece == 0 && n / piece <= 4;
}

/// Whether stream_products takes results there.
template <typename T>
bool can_stream_products(int n, const SpectrumPair<T>& pair, const T* out) {
  const auto whole = [](std::uintptr_t bytes) { return bytes % 32 == 0; };
  return has_whole_rows<T>(n) && whole(static_cast<std::uintptr_t>(pair.axis_stride) * sizeof(T)) &&
         whole(reinterpret_cast<std::uintptr_t>(out));
}

template <typename T>
constexpr std::int64_t pair_gradients_scratch(int l_max, std::int64_t n_functions) {
  return (2 * n_functions + 2 * (l_max + 1) * (l_max + 1)) * lanes<T>;
}

/// The kernels of the instruction set in use.
const GeometryKernels& geometry_kernels();
template <typename T>
const Kernels<T>& kernels();
template <>
const Kernels<double>& kernels<double>();
template <>
const Kernels<float>& kernels<float>();

}  // namespace castile::simd
