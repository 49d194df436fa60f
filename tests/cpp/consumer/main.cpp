#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <castile/descriptors/density_descriptor.hpp>
#include <castile/simd.hpp>

/// The power spectrum of a dimer: both atoms must have the same row, and not a row of zeros.
int main() {
  const std::vector<double> positions = {0.0, 0.0, 0.0, 0.0, 0.0, 1.5};
  const std::vector<std::int32_t> species = {0, 0};
  const std::vector<double> cells(9, 0.0);
  const bool pbc[3] = {false, false, false};
  const std::int64_t offsets[2] = {0, 2};
  const std::int64_t atoms[2] = {0, 1};

  castile::DensityDescriptorParameters parameters;
  castile::RadialBasisParameters& basis = parameters.expansion.tables.front().basis;
  basis.n_max = 4;
  basis.l_max = 3;
  const castile::DensityDescriptor<double> descriptor(parameters);

  const castile::Structures structures{1, positions.data(), species.data(), cells.data(), pbc, offsets};
  castile::Centers centers;
  centers.atoms = atoms;
  centers.offsets = offsets;
  std::vector<double> rows(static_cast<std::size_t>(2 * descriptor.n_features()));
  descriptor.transform(structures, centers, rows.data());

  double norm = 0.0;
  double difference = 0.0;
  const auto n_features = static_cast<std::size_t>(descriptor.n_features());
  for (std::size_t k = 0; k < n_features; ++k) {
    norm += rows[k] * rows[k];
    difference += std::abs(rows[k] - rows[n_features + k]);
  }
  std::printf("%zu features, %s\n", n_features, castile::instruction_set().c_str());
  return std::sqrt(norm) > 0.0 && difference < 1e-12 * std::sqrt(norm) ? 0 : 1;
}
