#include "castile/basis/radial_basis.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "castile/basis/gto_basis.hpp"
#include "castile/math/spherical_harmonics.hpp"

namespace castile {
namespace {

using Factory = std::unique_ptr<RadialBasis> (*)(const RadialBasisParameters&);

template <typename Basis>
std::unique_ptr<RadialBasis> make(const RadialBasisParameters& parameters) {
  return std::make_unique<Basis>(parameters);
}

/// A new basis is a file of its own and a line here.
const std::vector<std::pair<std::string, Factory>>& registry() {
  static const std::vector<std::pair<std::string, Factory>> bases = {{"gto", make<GtoBasis>}};
  return bases;
}

void check(const RadialBasisParameters& p) {
  if (!(std::isfinite(p.cutoff) && p.cutoff > 0.0)) {
    throw std::invalid_argument("cutoff must be a positive length in Å, got " + std::to_string(p.cutoff));
  }
  if (!(std::isfinite(p.sigma) && p.sigma > 0.0)) {
    throw std::invalid_argument("sigma must be a positive length in Å, got " + std::to_string(p.sigma));
  }
  if (p.n_max < 1) throw std::invalid_argument("n_max must be 1 or more, got " + std::to_string(p.n_max));
  if (p.l_max < 0 || p.l_max > largest_l_max) {
    throw std::invalid_argument("l_max must lie between 0 and " + std::to_string(largest_l_max) + ", got " +
                                std::to_string(p.l_max));
  }
}

}  // namespace

std::vector<std::string> radial_basis_names() {
  std::vector<std::string> names;
  for (const auto& entry : registry()) names.push_back(entry.first);
  return names;
}

std::unique_ptr<RadialBasis> make_radial_basis(const RadialBasisParameters& parameters) {
  check(parameters);
  std::string names;
  for (const auto& [name, factory] : registry()) {
    if (name == parameters.name) return factory(parameters);
    names += (names.empty() ? "'" : ", '") + name + "'";
  }
  throw std::invalid_argument("radial_basis must be one of " + names + ", got '" + parameters.name + "'");
}

}  // namespace castile
