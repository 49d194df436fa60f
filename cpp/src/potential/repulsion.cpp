#include "castile/potential/repulsion.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace castile {
namespace {

constexpr double coulomb = 14.399645478425668;  // e² / (4 pi eps_0) in eV Å, CODATA 2018
constexpr double bohr = 0.529177210903;         // Å, CODATA 2018
constexpr std::array<std::array<double, 2>, 4> screening = {
    {{0.18175, 3.19980}, {0.50986, 0.94229}, {0.28022, 0.40290}, {0.02817, 0.20162}}};
constexpr double closest = 1e-3;  // Å: below, the energy goes on as a straight line

}  // namespace

Repulsion::Repulsion(std::vector<double> numbers, std::vector<double> inner, std::vector<double> outer)
    : numbers_(std::move(numbers)), inner_(std::move(inner)), outer_(std::move(outer)) {
  const std::size_t n = numbers_.size();
  if (inner_.size() != n * n || outer_.size() != n * n) {
    throw std::invalid_argument("inner and outer must have a radius for each pair of the " + std::to_string(n) +
                                " species");
  }
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = 0; b < n; ++b) {
      const double from = inner_[a * n + b], to = outer_[a * n + b];
      const bool none = to == 0.0;
      if (!(none || (from >= 0.0 && from < to && to < std::numeric_limits<double>::infinity())) ||
          from != inner_[b * n + a] || to != outer_[b * n + a]) {
        throw std::invalid_argument("inner and outer must be symmetric, with 0 <= inner < outer, got " +
                                    std::to_string(from) + " and " + std::to_string(to));
      }
      cutoff_ = std::max(cutoff_, to);
    }
  }
}

Repulsion::Value Repulsion::pair(std::int32_t first, std::int32_t second, double distance) const {
  const auto a = static_cast<std::size_t>(first), b = static_cast<std::size_t>(second);
  const double inner = inner_[a * numbers_.size() + b], outer = outer_[a * numbers_.size() + b];
  if (distance >= outer) return {0.0, 0.0};
  const double r = std::max(distance, closest);
  const double length = 0.8854 * bohr / (std::pow(numbers_[a], 0.23) + std::pow(numbers_[b], 0.23));
  double phi = 0.0, phi_slope = 0.0;
  for (const auto [amplitude, decay] : screening) {
    const double part = amplitude * std::exp(-decay * r / length);
    phi += part;
    phi_slope -= decay / length * part;
  }
  // Either order gives the same bits, so that the forces on a pair are opposite.
  const double strength = coulomb * (numbers_[a] * numbers_[b]);
  double energy = strength * phi / r;
  double slope = strength * (phi_slope - phi / r) / r;
  if (r > inner) {
    const double t = (r - inner) / (outer - inner);
    const double s = 1.0 - t * t * t * (10.0 - 15.0 * t + 6.0 * t * t);
    const double s_slope = -30.0 * t * t * (1.0 - t) * (1.0 - t) / (outer - inner);
    slope = slope * s + energy * s_slope;
    energy *= s;
  }
  return {energy + slope * (distance - r), slope};
}

void Repulsion::add(const CenterPairs& centers, Workspace&, const CenterResults& results) const {
  for (std::int64_t center = 0; center < centers.n_centers; ++center) {
    double sum = 0.0;
    for (std::int64_t pair_index = centers.offsets[center]; pair_index < centers.offsets[center + 1]; ++pair_index) {
      const auto k = static_cast<std::size_t>(pair_index);
      const double d = centers.pairs->d[k];
      if (d >= cutoff_) continue;
      const auto j = static_cast<std::size_t>(centers.pairs->j[k]);
      const Value value = pair(centers.center_species[center], centers.species[j], d);
      sum += 0.5 * value.energy;
      if (results.grad_D == nullptr || d == 0.0) continue;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        results.grad_D[3 * k + axis] += 0.5 * value.derivative * centers.pairs->D[k][axis] / d;
      }
    }
    results.energies[center] += sum;
  }
}

}  // namespace castile
