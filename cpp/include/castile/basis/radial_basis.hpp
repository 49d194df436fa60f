#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace castile {

/// The user's own functions: cubic polynomials between breakpoints, zero beyond the last one.
struct TabulatedFunctions {
  enum class Quantity {
    radial_functions,    ///< g_n(r) or g_nl(r), on which the atoms' Gaussians are projected
    expansion_integrals  ///< R_nl(r) themselves: nothing is projected and sigma is not used
  };
  Quantity quantity = Quantity::radial_functions;
  std::vector<double> breakpoints;  ///< (n_breakpoints), Å, ascending from 0
  int n_l = 1;                      ///< l_max + 1, or 1 for functions that serve every l
  /// (n_breakpoints - 1, 4, n_l, n_max): of the k-th interval Σ_p coefficients[k][p] (r - breakpoints[k])^p.
  std::vector<double> coefficients;
};

/// Linear combinations of primitive functions, for each l.
struct RadialContraction {
  int n_primitives = 0;
  std::vector<double> coefficients;  ///< (l_max + 1, n_max, n_primitives)
};

struct RadialBasisParameters {
  std::string name = "gto";
  double cutoff = 5.0;  ///< Å
  double sigma = 0.5;   ///< width of the atoms' Gaussians, Å; 0 for delta densities
  int n_max = 8;        ///< number of radial functions
  int l_max = 6;        ///< highest degree, inclusive
  std::shared_ptr<const TabulatedFunctions> tabulated = nullptr;   ///< for the basis "tabulated"
  std::shared_ptr<const RadialContraction> contraction = nullptr;  ///< combinations of the named basis' functions
};

/// The radial part of the expansion of one neighbor's Gaussian,
///
///   R_nl(r) = 4π exp(-r²/2σ²) ∫ x² g_nl(x) exp(-x²/2σ²) i_l(xr/σ²) dx,
///
/// without the weight of the neighbor, so that it is smooth for all r; for sigma = 0 (atoms of unit mass at a point)
/// R_nl = g_nl, the limit of R_nl/(2πσ²)^{3/2}. Evaluated only to fill a table.
class RadialBasis {
 public:
  explicit RadialBasis(const RadialBasisParameters& parameters) : parameters_(parameters) {}
  virtual ~RadialBasis() = default;
  RadialBasis(const RadialBasis&) = delete;
  RadialBasis& operator=(const RadialBasis&) = delete;

  /// R_nl and its first two derivatives at r, each (l_max + 1, n_max) with n fastest; at r = support() the limits from
  /// inside.
  virtual void evaluate(double r, double* values, double* first, double* second) const = 0;

  /// The same of g_nl; of tabulated expansion integrals, which have none, R_nl.
  virtual void radial_function(double x, double* values, double* first, double* second) const = 0;

  /// R_nl(r) is zero from there on; infinite if it only decays.
  virtual double support() const { return std::numeric_limits<double>::infinity(); }

  /// Where in [0, support()] R_nl has fewer than all derivatives, ascending; it is a cubic polynomial between
  /// them. Empty if it is smooth inside.
  virtual std::vector<double> breakpoints() const { return {}; }

  /// Distance over which R_nl changes, as a Gaussian does over its width; a guess.
  virtual double length_scale() const = 0;

  const RadialBasisParameters& parameters() const { return parameters_; }

 private:
  RadialBasisParameters parameters_;
};

/// Throws std::invalid_argument for sizes or lengths out of the range of all bases, naming the parameter.
void check_radial_basis(const RadialBasisParameters& parameters);

/// For the constructor of a basis whose functions lose their digits, or their use, beyond a number.
void require_n_max_at_most(int largest, const RadialBasisParameters& parameters);

/// Names that `make_radial_basis` knows and that need no functions of the user's, so all but "tabulated".
std::vector<std::string> radial_basis_names();

/// Throws std::invalid_argument for an unknown name or parameters out of range, naming the parameter.
std::unique_ptr<RadialBasis> make_radial_basis(const RadialBasisParameters& parameters);

}  // namespace castile
