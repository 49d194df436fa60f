#include "castile/basis/radial_basis.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "castile/basis/contracted_basis.hpp"
#include "castile/basis/gto_basis.hpp"
#include "castile/basis/gto_l_basis.hpp"
#include "castile/basis/laplacian_basis.hpp"
#include "castile/basis/polynomial_basis.hpp"
#include "castile/basis/tabulated_basis.hpp"
#include "castile/math/spherical_harmonics.hpp"

namespace castile {
namespace {

template <typename Basis>
std::unique_ptr<RadialBasis> make(const RadialBasisParameters& parameters) {
  return std::make_unique<Basis>(parameters);
}

struct Entry {
  const char* name;
  std::unique_ptr<RadialBasis> (*make)(const RadialBasisParameters&);
  bool needs_functions = false;  ///< of the user's, in `tabulated`
};

/// A new basis is a file of its own and a line here.
constexpr Entry registry[] = {
    {"gto", make<GtoBasis>},
    {"gto_l", make<GtoLBasis>},
    {"polynomial", make<PolynomialBasis>},
    {"laplacian", make<LaplacianBasis>},
    {"tabulated", make<TabulatedBasis>, true},
};

}  // namespace

void check_radial_basis(const RadialBasisParameters& p) {
  if (!(std::isfinite(p.cutoff) && p.cutoff > 0.0)) {
    throw std::invalid_argument("cutoff must be a positive length in Å, got " + std::to_string(p.cutoff));
  }
  if (!(std::isfinite(p.sigma) && p.sigma >= 0.0)) {
    throw std::invalid_argument("sigma must be a length in Å, or 0 for delta densities, got " +
                                std::to_string(p.sigma));
  }
  if (p.n_max < 1) throw std::invalid_argument("n_max must be 1 or more, got " + std::to_string(p.n_max));
  if (p.l_max < 0 || p.l_max > largest_l_max) {
    throw std::invalid_argument("l_max must lie between 0 and " + std::to_string(largest_l_max) + ", got " +
                                std::to_string(p.l_max));
  }
}

void require_n_max_at_most(int largest, const RadialBasisParameters& p) {
  if (p.n_max > largest) {
    throw std::invalid_argument("n_max must be at most " + std::to_string(largest) + " for radial_basis '" + p.name +
                                "', beyond which digits are lost, got " + std::to_string(p.n_max));
  }
}

std::vector<std::string> radial_basis_names() {
  std::vector<std::string> names;
  for (const Entry& entry : registry) {
    if (!entry.needs_functions) names.emplace_back(entry.name);
  }
  return names;
}

std::unique_ptr<RadialBasis> make_radial_basis(const RadialBasisParameters& parameters) {
  check_radial_basis(parameters);
  if (parameters.contraction) {
    auto primitives = make_radial_basis(primitive_parameters(parameters));
    return std::make_unique<ContractedBasis>(parameters, std::move(primitives));
  }
  std::string names;
  for (const Entry& entry : registry) {
    if (parameters.name == entry.name) return entry.make(parameters);
    names += std::string(names.empty() ? "'" : ", '") + entry.name + "'";
  }
  throw std::invalid_argument("radial_basis must be one of " + names + ", got '" + parameters.name + "'");
}

}  // namespace castile
