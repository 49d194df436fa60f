#pragma once

#include <memory>
#include <string>
#include <vector>

namespace castile {

struct RadialBasisParameters {
  std::string name = "gto";
  double cutoff = 5.0;  ///< Å
  double sigma = 0.5;   ///< width of the atoms' Gaussians, Å
  int n_max = 8;        ///< number of radial functions
  int l_max = 6;        ///< highest degree, inclusive
};

/// The radial part of the expansion of one neighbor's Gaussian,
///
///   R_nl(r) = 4π exp(-r²/2σ²) ∫ x² g_n(x) exp(-x²/2σ²) i_l(xr/σ²) dx,
///
/// without cutoff function, so that it is smooth for all r. Evaluated only to fill a table.
class RadialBasis {
 public:
  explicit RadialBasis(const RadialBasisParameters& parameters) : parameters_(parameters) {}
  virtual ~RadialBasis() = default;
  RadialBasis(const RadialBasis&) = delete;
  RadialBasis& operator=(const RadialBasis&) = delete;

  /// R_nl and its first two derivatives at r, each (l_max + 1, n_max) with n fastest.
  virtual void evaluate(double r, double* values, double* first, double* second) const = 0;

  const RadialBasisParameters& parameters() const { return parameters_; }

 private:
  RadialBasisParameters parameters_;
};

/// Names that `make_radial_basis` knows.
std::vector<std::string> radial_basis_names();

/// Throws std::invalid_argument for an unknown name or parameters out of range, naming the parameter.
std::unique_ptr<RadialBasis> make_radial_basis(const RadialBasisParameters& parameters);

}  // namespace castile
