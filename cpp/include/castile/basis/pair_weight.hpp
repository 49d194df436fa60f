#pragma once

#include <optional>
#include <string>
#include <vector>

#include "castile/basis/cutoff_function.hpp"

namespace castile {

/// How much a neighbor counts by its distance, with x = r/r0 (`poly`, `pow`, `exp`) or r/scale (`willatt`).
struct DensityWeighting {
  std::string name = "none";
  double c = 1.0;
  double d = 1.0;
  double m = 1.0;
  double r0 = 1.0;  ///< Å
  double rate = 1.0;
  double scale = 1.0;  ///< Å
  double exponent = 1.0;
  std::optional<double> w0 = std::nullopt;  ///< instead of w for whatever sits exactly at the center
};

struct PairWeightParameters {
  std::string cutoff_function = "cosine";
  double cutoff_width = 0.5;  ///< Å
  double reach = 5.0;         ///< Å, where the neighbors end; may lie beyond the cutoff of the radial basis
  DensityWeighting density_weighting = {};
};

/// The weight w(r) = f_c(r) u(r) of a neighbor at distance r: a cutoff function that ends at the reach, times the
/// density weighting u,
///
///   none     1
///   poly     c (1 + 2x³ - 3x²)^m, zero from r0 on
///   pow      c/(d + x^m)
///   exp      c/(d + exp(-x))
///   willatt  rate/(rate + x^exponent), and x^-exponent for rate = 0
///
/// The first three are DScribe's: Himanen et al., Computer Physics Communications 247, 106949 (2020),
/// doi:10.1016/j.cpc.2019.106949; the last is Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018),
/// doi:10.1039/C8CP05921G.
class PairWeight {
 public:
  /// Throws std::invalid_argument for an unknown name or a parameter out of range, naming it.
  explicit PairWeight(const PairWeightParameters& parameters);

  struct Value {
    double value;
    double derivative;  ///< in 1/Å
  };
  /// For 0 <= r; zero from the reach on. At r = 0 the value is w0, if given, and the derivative zero, also where w has
  /// a cusp there (`exp`, and small powers): no direction is downhill.
  Value operator()(double r) const;

  /// w as r goes to zero, regardless of w0: what multiplies the gradient of a neighbor that sits at the center. Zero if
  /// w diverges.
  double limit_at_zero() const { return limit_at_zero_; }

  double reach() const { return cutoff_function_.cutoff(); }
  const CutoffFunction& cutoff_function() const { return cutoff_function_; }

  /// The other factor: u(r) for r > 0.
  Value density_weight(double r) const { return weighting_(parameters_, r); }
  bool weighs_density() const { return parameters_.name != "none"; }

 private:
  using Weighting = Value (*)(const DensityWeighting&, double r);

  CutoffFunction cutoff_function_;
  DensityWeighting parameters_;
  Weighting weighting_;
  double limit_at_zero_;
  double at_zero_;
};

/// Names of density weightings that `PairWeight` knows.
std::vector<std::string> density_weighting_names();

}  // namespace castile
