#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "castile/potential/descriptor_term.hpp"
#include "castile/potential/design_matrix.hpp"
#include "castile/potential/potential.hpp"
#include "castile/potential/repulsion.hpp"
#include "neighbor_support.hpp"
#include "support.hpp"

namespace {

using castile::DensityDescriptor;
using castile::DescriptorColumns;
using castile::DescriptorTerm;
using castile::DesignRows;
using castile::EnergyTerm;
using castile::FeatureKernel;
using castile::Neighborhoods;
using castile::Potential;
using castile::PotentialResults;
using castile::Repulsion;
using castile::SparsePoints;
using castile::Structures;
using castile::test::Atoms;
using castile::test::random_numbers;
using castile::test::relative_difference;
using castile::test::Threads;

constexpr int n_species = 2;
constexpr double cutoff = 3.5;

/// Structures that own their arrays.
struct Frames {
  explicit Frames(const std::vector<Atoms>& all) : pbc(std::make_unique<bool[]>(3 * all.size())) {
    for (std::size_t f = 0; f < all.size(); ++f) {
      positions.insert(positions.end(), all[f].positions.begin(), all[f].positions.end());
      species.insert(species.end(), all[f].species.begin(), all[f].species.end());
      cells.insert(cells.end(), all[f].cell.begin(), all[f].cell.end());
      std::copy(all[f].pbc.begin(), all[f].pbc.end(), pbc.get() + 3 * f);
      offsets.push_back(static_cast<std::int64_t>(species.size()));
    }
  }

  std::int64_t n_frames() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t n_atoms() const { return offsets.back(); }
  Structures view() const {
    return {n_frames(), positions.data(), species.data(), cells.data(), pbc.get(), offsets.data()};
  }

  std::vector<double> positions, cells;
  std::vector<std::int32_t> species;
  std::unique_ptr<bool[]> pbc;
  std::vector<std::int64_t> offsets = {0};
};

/// More centers than a block has, a cluster, a cell smaller than the cutoff, a slab, a lone atom and no atoms.
std::vector<Atoms> all_atoms() {
  using castile::test::random_atoms;
  return {
      random_atoms(9, {6, 0, 0, 0, 6, 0, 0, 0, 6}, {false, false, false}, 1),
      random_atoms(2, {2.5, 0, 0, 0.3, 2.4, 0, 0, 0.2, 2.6}, {true, true, true}, 2),
      random_atoms(150, {13, 0, 0, 1, 12, 0, -1, 2, 14}, {true, true, true}, 3),
      random_atoms(0, {3, 0, 0, 0, 3, 0, 0, 0, 3}, {true, true, true}, 4),
      random_atoms(5, castile::test::triclinic, {true, false, true}, 5),
      random_atoms(1, {}, {false, false, false}, 6),
  };
}

std::shared_ptr<const DensityDescriptor<double>> make_descriptor(castile::Average average = castile::Average::off) {
  castile::DensityDescriptorParameters p;
  p.expansion.tables[0].basis = {"gto", cutoff, 0.5, 3, 2};
  p.expansion.tables[0].weight.reach = cutoff;
  p.expansion.tables[0].weight.cutoff_function = "polynomial";
  p.expansion.tables[0].weight.cutoff_width = 1.0;
  p.expansion.tables[0].accuracy = 1e-10;
  p.head = castile::test::head_parameters("power_spectrum", n_species, 3, 2);
  p.n_species = n_species;
  p.average = average;
  return std::make_shared<const DensityDescriptor<double>>(p);
}

/// Sparse points of each species with weights.
struct Points {
  Points(const DensityDescriptor<double>& descriptor, std::vector<std::int64_t> sizes_) : sizes(std::move(sizes_)) {
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      const auto seed = static_cast<unsigned>(10 * s);
      rows.push_back(random_numbers(static_cast<std::size_t>(sizes[s] * descriptor.n_features()), seed, -0.2, 1.0));
      weights.push_back(random_numbers(static_cast<std::size_t>(sizes[s]), seed + 1));
    }
  }
  std::vector<SparsePoints> view() const {
    std::vector<SparsePoints> points;
    for (std::size_t s = 0; s < sizes.size(); ++s) points.push_back({sizes[s], rows[s].data(), weights[s].data()});
    return points;
  }
  std::vector<double> all_weights() const {
    std::vector<double> all;
    for (const auto& own : weights) all.insert(all.end(), own.begin(), own.end());
    return all;
  }

  std::vector<std::int64_t> sizes;
  std::vector<std::vector<double>> rows, weights;
};

std::shared_ptr<const EnergyTerm> make_term(FeatureKernel kernel, const std::vector<std::int64_t>& sizes) {
  const auto descriptor = make_descriptor();
  return std::make_shared<DescriptorTerm>(descriptor, kernel, Points(*descriptor, sizes).view());
}

/// Of points that are compared with components of the features.
std::shared_ptr<const EnergyTerm> make_projected_term(FeatureKernel kernel, const std::vector<std::int64_t>& sizes,
                                                      std::int64_t n_components) {
  const auto descriptor = make_descriptor();
  const std::int64_t n_features = descriptor->n_features();
  const auto projection = random_numbers(static_cast<std::size_t>(n_components * n_features), 77);
  const Points points(*descriptor, sizes);
  auto views = points.view();
  for (auto& view : views) {
    view.projection = projection.data();
    view.n_components = n_components;
  }
  return std::make_shared<DescriptorTerm>(descriptor, kernel, views);
}

/// The same, its points made up of the rows of the projection.
std::shared_ptr<const EnergyTerm> make_composed_term(FeatureKernel kernel, const std::vector<std::int64_t>& sizes,
                                                     std::int64_t n_components) {
  const auto descriptor = make_descriptor();
  const std::int64_t n_features = descriptor->n_features();
  const auto projection = random_numbers(static_cast<std::size_t>(n_components * n_features), 77);
  const Points points(*descriptor, sizes);
  auto views = points.view();
  std::vector<std::vector<double>> composed;
  for (auto& view : views) {
    std::vector<double> rows(static_cast<std::size_t>(view.n_points * n_features), 0.0);
    for (std::int64_t m = 0; m < view.n_points; ++m) {
      for (std::int64_t c = 0; c < n_components; ++c) {
        for (std::int64_t k = 0; k < n_features; ++k) {
          rows[static_cast<std::size_t>(m * n_features + k)] +=
              view.rows[m * n_components + c] * projection[static_cast<std::size_t>(c * n_features + k)];
        }
      }
    }
    composed.push_back(std::move(rows));
    view.rows = composed.back().data();
  }
  return std::make_shared<DescriptorTerm>(descriptor, kernel, views);
}

/// A term with a committee, and one whose weights are those of a member.
struct Committee {
  explicit Committee(FeatureKernel kernel, const std::vector<std::int64_t>& sizes, int n_members)
      : descriptor(make_descriptor()), kernel_(kernel), points(*descriptor, sizes), n_members_(n_members) {
    for (const std::int64_t size : sizes) {
      members.push_back(random_numbers(static_cast<std::size_t>(n_members * size), 88));
    }
  }
  std::shared_ptr<const EnergyTerm> term() const {
    auto views = points.view();
    for (std::size_t s = 0; s < views.size(); ++s) {
      views[s].members = members[s].data();
      views[s].n_members = n_members_;
    }
    return std::make_shared<DescriptorTerm>(descriptor, kernel_, views);
  }
  std::shared_ptr<const EnergyTerm> member(int k) const {
    auto views = points.view();
    for (std::size_t s = 0; s < views.size(); ++s) views[s].weights = members[s].data() + k * views[s].n_points;
    return std::make_shared<DescriptorTerm>(descriptor, kernel_, views);
  }

  std::shared_ptr<const DensityDescriptor<double>> descriptor;
  FeatureKernel kernel_;
  Points points;
  int n_members_;
  std::vector<std::vector<double>> members;
};

std::shared_ptr<const EnergyTerm> make_repulsion(double outer = 2.0) {
  return std::make_shared<Repulsion>(std::vector<double>{11, 17}, std::vector<double>(4, 0.5),
                                     std::vector<double>(4, outer));
}

/// Of every form that a kernel takes: a vector, a quadratic form, all points, real powers; species without points;
/// two cutoffs in either order.
std::vector<Potential> all_potentials() {
  std::vector<Potential> potentials;
  for (const double zeta : {1.0, 2.0, 3.0, 2.5}) {
    potentials.push_back(Potential({make_term({zeta, true}, {40, 7}), make_repulsion()}));
  }
  potentials.push_back(Potential({make_term({4.0, false}, {0, 5})}));
  potentials.push_back(Potential({make_projected_term({4.0, true}, {40, 7}, 5)}));
  potentials.push_back(Potential({make_repulsion(4.0), make_term({2.0, true}, {3, 50})}));
  return potentials;
}

/// Results that own their numbers.
struct Results {
  Results(std::int64_t n_centers, std::int64_t n_atoms, std::int64_t n_frames)
      : energies(static_cast<std::size_t>(n_centers), 7.0),
        forces(static_cast<std::size_t>(3 * n_atoms), 7.0),
        strain(static_cast<std::size_t>(9 * n_frames), 7.0),
        strains(static_cast<std::size_t>(9 * n_centers), 7.0) {}
  PotentialResults view() { return {energies.data(), forces.data(), strain.data(), strains.data()}; }
  bool operator==(const Results& other) const {
    return energies == other.energies && forces == other.forces && strain == other.strain && strains == other.strains;
  }

  std::vector<double> energies, forces, strain, strains;
};

Results evaluated(const Potential& potential, const Frames& frames) {
  Results results(frames.n_atoms(), frames.n_atoms(), frames.n_frames());
  potential.evaluate(frames.view(), results.view());
  return results;
}

/// One frame's atoms as centers, followed by the images that they see.
struct OpenSpace {
  OpenSpace(const Atoms& atoms, double reach) : positions(atoms.positions), species(atoms.species) {
    std::map<std::pair<std::int32_t, castile::test::Shift>, std::int64_t> ghosts;
    for (std::int64_t i = 0; i < atoms.size(); ++i) {
      for (const auto& pair : castile::test::reference_neighbors(atoms.view(), i, reach)) {
        neighbors.push_back(pair.S == castile::test::Shift{} ? pair.j : ghost(atoms, pair.j, pair.S, ghosts));
      }
      offsets.push_back(static_cast<std::int64_t>(neighbors.size()));
    }
  }

  std::int64_t ghost(const Atoms& atoms, std::int32_t j, const castile::test::Shift& S,
                     std::map<std::pair<std::int32_t, castile::test::Shift>, std::int64_t>& ghosts) {
    const auto [entry, is_new] = ghosts.try_emplace({j, S}, n_atoms());
    if (is_new) {
      for (std::size_t x = 0; x < 3; ++x) {
        double place = atoms.positions[3 * static_cast<std::size_t>(j) + x];
        for (std::size_t a = 0; a < 3; ++a) place += S[a] * atoms.cell[3 * a + x];
        positions.push_back(place);
      }
      species.push_back(atoms.species[static_cast<std::size_t>(j)]);
      owners.push_back(j);
    }
    return entry->second;
  }

  std::int64_t n_atoms() const { return static_cast<std::int64_t>(species.size()); }
  std::int64_t n_centers() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  Neighborhoods view() const {
    Neighborhoods view;
    view.n_atoms = n_atoms();
    view.positions = positions.data();
    view.species = species.data();
    view.n_centers = n_centers();
    view.offsets = offsets.data();
    view.neighbors = neighbors.data();
    return view;
  }
  /// Forces on ghosts added to those on their atoms.
  std::vector<double> folded(const std::vector<double>& forces) const {
    const auto n = static_cast<std::size_t>(3 * n_centers());
    std::vector<double> result(forces.begin(), forces.begin() + static_cast<std::ptrdiff_t>(n));
    for (std::size_t g = 0; g < owners.size(); ++g) {
      for (std::size_t x = 0; x < 3; ++x) result[3 * static_cast<std::size_t>(owners[g]) + x] += forces[n + 3 * g + x];
    }
    return result;
  }

  std::vector<double> positions;
  std::vector<std::int32_t> species;
  std::vector<std::int64_t> offsets = {0}, neighbors;
  std::vector<std::int32_t> owners;
};

Results evaluated(const Potential& potential, const Neighborhoods& in) {
  Results results(in.n_centers, in.n_atoms, 1);
  potential.evaluate(in, results.view());
  return results;
}

double sum(const std::vector<double>& values) {
  double total = 0.0;
  for (const double value : values) total += value;
  return total;
}

}  // namespace

TEST_CASE("centers in open space with the images that they see give what their frame gives") {
  for (const Potential& potential : all_potentials()) {
    CHECK(potential.cutoff() >= cutoff);
    for (const Atoms& atoms : all_atoms()) {
      CAPTURE(atoms.size());
      const Results expected = evaluated(potential, Frames({atoms}));
      for (const double beyond : {1e-9, 0.7}) {
        const OpenSpace open(atoms, potential.cutoff() + beyond);
        const Results found = evaluated(potential, open.view());
        CHECK(relative_difference(found.energies, expected.energies) < 1e-12);
        CHECK(relative_difference(open.folded(found.forces), expected.forces) < 1e-12);
        CHECK(relative_difference(found.strain, expected.strain) < 1e-11);
        CHECK(relative_difference(found.strains, expected.strains) < 1e-12);
      }
    }
  }
}

TEST_CASE("frames in one batch have the bits that they have alone") {
  const std::vector<Atoms> all = all_atoms();
  for (const Potential& potential : all_potentials()) {
    const Results batch = evaluated(potential, Frames(all));
    Results joined(0, 0, 0);
    for (const Atoms& atoms : all) {
      const Results one = evaluated(potential, Frames({atoms}));
      joined.energies.insert(joined.energies.end(), one.energies.begin(), one.energies.end());
      joined.forces.insert(joined.forces.end(), one.forces.begin(), one.forces.end());
      joined.strain.insert(joined.strain.end(), one.strain.begin(), one.strain.end());
      joined.strains.insert(joined.strains.end(), one.strains.begin(), one.strains.end());
    }
    CHECK(batch == joined);
  }
}

TEST_CASE("a point that is compared with components is one that is made up of the rows of the projection") {
  const Frames frames(all_atoms());
  for (const double zeta : {1.0, 2.0, 3.0}) {
    const auto found = evaluated(Potential({make_projected_term({zeta, true}, {40, 7}, 5)}), frames);
    const auto expected = evaluated(Potential({make_composed_term({zeta, true}, {40, 7}, 5)}), frames);
    CHECK(relative_difference(found.energies, expected.energies) < 1e-9);
    CHECK(relative_difference(found.forces, expected.forces) < 1e-9);
    CHECK(relative_difference(found.strain, expected.strain) < 1e-9);
  }
}

TEST_CASE("members of a committee differ by what potentials of their weights give, alone and in a batch") {
  constexpr int n_members = 5;
  std::vector<Atoms> atoms = all_atoms();
  for (unsigned seed = 20; seed < 50; ++seed) {  // more segments in a block than are summed together
    atoms.push_back(castile::test::random_atoms(3, {4, 0, 0, 0, 4, 0, 0, 0, 4}, {true, true, true}, seed));
  }
  const Frames frames(atoms);
  const auto n_sums = static_cast<std::size_t>(n_members * frames.n_frames());
  // Few and many points: quadratic models have forms of members, or do without.
  for (const auto& [zeta, size] : {std::pair{1.0, 60}, {2.0, 400}, {2.0, 60}, {3.0, 60}}) {
    const Committee committee({zeta, true}, {size, size - 15}, n_members);
    const Potential potential({committee.term(), make_repulsion()});
    Results results(frames.n_atoms(), frames.n_atoms(), frames.n_frames());
    std::vector<double> members(n_sums, 7.0);
    PotentialResults view = results.view();
    view.members = members.data();
    potential.evaluate(frames.view(), view);
    CHECK(results == evaluated(potential, frames));
    for (std::size_t f = 0; f < atoms.size(); ++f) {
      const Threads threads(1 + static_cast<int>(f % 3));
      const Frames one({atoms[f]});
      Results of_one(one.n_atoms(), one.n_atoms(), 1);
      std::vector<double> alone(static_cast<std::size_t>(n_members), 7.0);
      PotentialResults view_of_one = of_one.view();
      view_of_one.members = alone.data();
      potential.evaluate(one.view(), view_of_one);
      CHECK(std::equal(alone.begin(), alone.end(), members.begin() + static_cast<std::ptrdiff_t>(f) * n_members));
    }
    for (int k = 0; k < n_members; ++k) {
      const auto expected = evaluated(Potential({committee.member(k)}), frames);
      for (std::int64_t frame = 0; frame < frames.n_frames(); ++frame) {
        double sum = 0.0, scale = 1.0;
        for (std::int64_t atom = frames.offsets[static_cast<std::size_t>(frame)];
             atom < frames.offsets[static_cast<std::size_t>(frame) + 1]; ++atom) {
          sum += expected.energies[static_cast<std::size_t>(atom)];
          scale += std::abs(expected.energies[static_cast<std::size_t>(atom)]);
        }
        CHECK(std::abs(members[static_cast<std::size_t>(frame * n_members + k)] - sum) < 1e-11 * scale);
      }
    }
  }
}

TEST_CASE("results have the same bits for any number of threads") {
  const Frames frames(all_atoms());
  const OpenSpace open(all_atoms()[2], cutoff + 0.5);
  for (const Potential& potential : all_potentials()) {
    std::optional<Results> of_frames, of_centers;
    for (const int n : {1, 2, 3}) {
      const Threads threads(n);
      const Results frames_now = evaluated(potential, frames), centers_now = evaluated(potential, open.view());
      if (!of_frames) of_frames = frames_now;
      if (!of_centers) of_centers = centers_now;
      CHECK(frames_now == *of_frames);
      CHECK(centers_now == *of_centers);
    }
  }
}

TEST_CASE("more frames than are kept at a time give the same") {
  const Atoms atoms = castile::test::random_atoms(70, {11, 0, 0, 0, 11, 0, 0, 0, 11}, {true, true, true}, 9);
  const Potential potential({make_term({2.0, true}, {4, 4}), make_repulsion()});
  const Results one = evaluated(potential, Frames({atoms}));
  const Results many = evaluated(potential, Frames(std::vector<Atoms>(125, atoms)));  // 8750 centers
  for (std::size_t f = 0; f < 125; ++f) {
    const auto first = many.forces.begin() + static_cast<std::ptrdiff_t>(f * one.forces.size());
    CHECK(std::equal(one.forces.begin(), one.forces.end(), first));
    CHECK(std::equal(one.strain.begin(), one.strain.end(), many.strain.begin() + static_cast<std::ptrdiff_t>(9 * f)));
  }
}

TEST_CASE("what is not wanted is not written, and changes nothing") {
  const Frames frames(all_atoms());
  for (const Potential& potential : all_potentials()) {
    const Results expected = evaluated(potential, frames);
    for (int wanted = 0; wanted < 16; ++wanted) {
      Results found(frames.n_atoms(), frames.n_atoms(), frames.n_frames());
      const Results untouched = found;
      PotentialResults view = found.view();
      if ((wanted & 1) == 0) view.energies = nullptr;
      if ((wanted & 2) == 0) view.forces = nullptr;
      if ((wanted & 4) == 0) view.strain = nullptr;
      if ((wanted & 8) == 0) view.strains = nullptr;
      potential.evaluate(frames.view(), view);
      CHECK(found.energies == (wanted & 1 ? expected : untouched).energies);
      CHECK(found.forces == (wanted & 2 ? expected : untouched).forces);
      CHECK(found.strain == (wanted & 4 ? expected : untouched).strain);
      CHECK(found.strains == (wanted & 8 ? expected : untouched).strains);
    }
  }
}

TEST_CASE("some of the centers give their part") {
  const Potential potential({make_term({3.0, true}, {6, 6}), make_repulsion()});
  const OpenSpace open(all_atoms()[4], cutoff + 0.2);
  const Results all = evaluated(potential, open.view());
  std::vector<double> forces(all.forces.size()), strain(9);
  for (const std::vector<std::int64_t>& centers : {std::vector<std::int64_t>{3, 0}, {4, 1, 2}, {}}) {
    std::vector<std::int64_t> offsets = {0}, neighbors;
    for (const std::int64_t i : centers) {
      const auto own = static_cast<std::size_t>(i);
      neighbors.insert(neighbors.end(), open.neighbors.begin() + open.offsets[own],
                       open.neighbors.begin() + open.offsets[own + 1]);
      offsets.push_back(static_cast<std::int64_t>(neighbors.size()));
    }
    Neighborhoods some = open.view();
    some.n_centers = static_cast<std::int64_t>(centers.size());
    some.centers = centers.data();
    some.offsets = offsets.data();
    some.neighbors = neighbors.data();
    const Results part = evaluated(potential, some);
    for (std::size_t k = 0; k < centers.size(); ++k) {
      const auto own = static_cast<std::size_t>(centers[k]);
      CHECK(part.energies[k] == all.energies[own]);
      CHECK(std::equal(part.strains.begin() + static_cast<std::ptrdiff_t>(9 * k),
                       part.strains.begin() + static_cast<std::ptrdiff_t>(9 * k + 9),
                       all.strains.begin() + static_cast<std::ptrdiff_t>(9 * own)));
    }
    for (std::size_t k = 0; k < forces.size(); ++k) forces[k] += part.forces[k];
    for (std::size_t k = 0; k < 9; ++k) strain[k] += part.strain[k];
  }
  CHECK(relative_difference(forces, all.forces) < 1e-13);
  CHECK(relative_difference(strain, all.strain) < 1e-13);
}

TEST_CASE("forces and strain are derivatives of the energy") {
  // A lattice, a little off its places, so that nothing is so close that differences of the repulsion are inexact.
  Atoms atoms;
  atoms.cell = {4.2, 0.1, 0, -0.3, 4.0, 0.2, 0, 0.4, 4.4};
  atoms.pbc = {true, true, true};
  const auto noise = random_numbers(24, 3, -0.06, 0.06);
  for (std::size_t k = 0; k < 8; ++k) {
    for (std::size_t x = 0; x < 3; ++x) {
      double place = 0.0;
      for (std::size_t a = 0; a < 3; ++a) {
        place += (0.5 * static_cast<double>(k >> a & 1) + noise[3 * k + a]) * atoms.cell[3 * a + x];
      }
      atoms.positions.push_back(place);
    }
    atoms.species.push_back(static_cast<std::int32_t>(k % 3 == 0));
  }
  constexpr double step = 1e-5;
  for (const Potential& potential : all_potentials()) {
    const Results results = evaluated(potential, Frames({atoms}));
    const double scale = castile::test::largest(results.energies);
    const auto slope = [&](const auto& moved) {
      return (sum(evaluated(potential, Frames({moved(step)})).energies) -
              sum(evaluated(potential, Frames({moved(-step)})).energies)) /
             (2 * step);
    };
    for (std::size_t k = 0; k < atoms.positions.size(); ++k) {
      const double expected = -slope([&](double by) {
        Atoms moved = atoms;
        moved.positions[k] += by;
        return moved;
      });
      CHECK(std::abs(results.forces[k] - expected) < 1e-7 * (1.0 + scale));
    }
    for (std::size_t a = 0; a < 3; ++a) {
      for (std::size_t b = 0; b < 3; ++b) {
        const double expected = slope([&](double by) {
          Atoms moved = atoms;
          const auto strain = [&](const double* from, double* to) {
            to[a] += 0.5 * by * from[b];
            to[b] += 0.5 * by * from[a];
          };
          for (std::size_t k = 0; k < 8; ++k) strain(atoms.positions.data() + 3 * k, moved.positions.data() + 3 * k);
          for (std::size_t k = 0; k < 3; ++k) strain(atoms.cell.data() + 3 * k, moved.cell.data() + 3 * k);
          return moved;
        });
        CHECK(std::abs(results.strain[3 * a + b] - expected) < 1e-6 * (1.0 + scale));
      }
    }
  }
}

TEST_CASE("centers and neighbors that are no atoms are refused") {
  const Potential potential({make_repulsion()});
  const OpenSpace open(all_atoms()[4], cutoff);
  const auto n = open.n_atoms();
  for (const std::int64_t wrong : {n, std::int64_t{-1}}) {
    OpenSpace bad = open;
    bad.neighbors[3] = wrong;
    CHECK_THROWS_AS(evaluated(potential, bad.view()), std::invalid_argument);
    Neighborhoods in = open.view();
    const std::vector<std::int64_t> centers = {0, 1, wrong, 3, 4};
    in.centers = centers.data();
    CHECK_THROWS_AS(evaluated(potential, in), std::invalid_argument);
  }
  Neighborhoods in = open.view();
  in.n_atoms = in.n_centers - 1;
  CHECK_THROWS_AS(evaluated(potential, in), std::invalid_argument);
}

TEST_CASE("terms that cannot be are refused") {
  CHECK_THROWS_AS(Potential({}), std::invalid_argument);
  const auto other =
      std::make_shared<Repulsion>(std::vector<double>{1}, std::vector<double>{0.5}, std::vector<double>{1.0});
  CHECK_THROWS_AS(Potential({make_repulsion(), other}), std::invalid_argument);
  const auto descriptor = make_descriptor();
  const Points points(*descriptor, {2, 2});
  const Points too_few(*descriptor, {2});
  for (const double zeta : {0.0, -1.0, double(NAN), double(INFINITY)}) {
    CHECK_THROWS_AS(DescriptorTerm(descriptor, {zeta, true}, points.view()), std::invalid_argument);
    CHECK_THROWS_AS(DescriptorColumns(descriptor, {zeta, true}, points.view()), std::invalid_argument);
  }
  CHECK_THROWS_AS(DescriptorTerm(descriptor, {2.0, true}, too_few.view()), std::invalid_argument);
  CHECK_THROWS_AS(DescriptorColumns(descriptor, {2.0, true}, too_few.view()), std::invalid_argument);
  const auto averaged = make_descriptor(castile::Average::outer);
  CHECK_THROWS_AS(DescriptorTerm(averaged, {2.0, true}, points.view()), std::invalid_argument);
  CHECK_THROWS_AS(DescriptorColumns{averaged}, std::invalid_argument);
  for (const auto& [inner, outer] : {std::pair{1.0, 1.0},
                                     {2.0, 1.0},
                                     {-0.1, 1.0},
                                     {0.5, -1.0},
                                     {0.5, double(INFINITY)},
                                     {double(NAN), 1.0},
                                     {0.5, double(NAN)}}) {
    CHECK_THROWS_AS(Repulsion({1}, {inner}, {outer}), std::invalid_argument);
  }
  CHECK_THROWS_AS(Repulsion({1, 2}, {0.5, 0.5, 0.6, 0.5}, {1, 1, 1, 1}), std::invalid_argument);
  CHECK_THROWS_AS(Repulsion({1, 2}, {0.5, 0.5, 0.5, 0.5}, {1, 1, 2, 1}), std::invalid_argument);
  CHECK_THROWS_AS(Repulsion({1, 2}, {0.5}, {1}), std::invalid_argument);
}

namespace {

/// The universal repulsion without its end, from constants of nature, eV.
long double universal_repulsion(long double z1, long double z2, long double r) {
  const long double e = 1.602176634e-19L, epsilon0 = 8.8541878128e-12L, pi = 3.14159265358979323846L;
  const long double a = 0.8854L * 0.529177210903L / (std::pow(z1, 0.23L) + std::pow(z2, 0.23L));
  const long double x = r / a;
  const long double phi = 0.18175L * std::exp(-3.19980L * x) + 0.50986L * std::exp(-0.94229L * x) +
                          0.28022L * std::exp(-0.40290L * x) + 0.02817L * std::exp(-0.20162L * x);
  return z1 * z2 * e / (4.0L * pi * epsilon0) * 1e10L / r * phi;
}

}  // namespace

TEST_CASE("the repulsion is the universal one below its inner radius") {
  const Repulsion repulsion({6, 79}, {0.8, 0.9, 0.9, 1.1}, {1.5, 1.6, 1.6, 2.2});
  CHECK(repulsion.cutoff() == 2.2);
  const std::array<double, 2> z = {6, 79};
  for (const double r : {0.01, 0.1, 0.3, 0.5, 0.79}) {
    for (std::int32_t a = 0; a < 2; ++a) {
      for (std::int32_t b = 0; b < 2; ++b) {
        const auto expected =
            static_cast<double>(universal_repulsion(z[static_cast<std::size_t>(a)], z[static_cast<std::size_t>(b)], r));
        CHECK(repulsion.pair(a, b, r).energy == doctest::Approx(expected).epsilon(1e-9));
        CHECK(repulsion.pair(a, b, r).energy == repulsion.pair(b, a, r).energy);
      }
    }
  }
}

TEST_CASE("the repulsion falls to zero smoothly, and its derivative is that") {
  constexpr double inner = 0.9, outer = 1.6;
  const Repulsion repulsion({14, 8}, {0.8, inner, inner, 0.8}, {1.5, outer, outer, 1.5});
  const auto energy = [&](double r) { return repulsion.pair(0, 1, r).energy; };
  const auto slope = [&](double r) { return repulsion.pair(0, 1, r).derivative; };
  for (double r = 0.05; r < 1.7; r += 0.0137) {
    const double step = 1e-5 * r;
    const double expected = (energy(r + step) - energy(r - step)) / (2 * step);
    CHECK(std::abs(slope(r) - expected) < 1e-7 * (std::abs(expected) + 1.0));
    CHECK((r >= outer ? slope(r) == 0.0 && energy(r) == 0.0 : slope(r) < 0.0 && energy(r) > 0.0));
  }
  // Values, slopes and curvatures from either side of both radii, the last as one-sided differences of the second
  // order.
  for (const double end : {inner, outer}) {
    const auto curvature = [&](double step) {
      return (-3 * slope(end) + 4 * slope(end + step) - slope(end + 2 * step)) / (2 * step);
    };
    constexpr double step = 1e-5, close = 1e-9;
    const double scale = std::abs(slope(inner));
    CHECK(std::abs(energy(end + close) - energy(end - close)) < 4 * close * scale);
    CHECK(std::abs(slope(end + close) - slope(end - close)) < 1e-6 * scale);
    CHECK(std::abs(curvature(step) - curvature(-step)) < 1e-4 * scale / inner);
  }
  CHECK(energy(outer - 1e-4) < 1e-9);
}

TEST_CASE("nuclei on top of each other repel finitely") {
  const Repulsion repulsion({14}, {0.5}, {1.0});
  const auto at_zero = repulsion.pair(0, 0, 0.0), close = repulsion.pair(0, 0, 1e-3);
  CHECK(std::isfinite(at_zero.energy));
  CHECK(at_zero.energy > close.energy);
  CHECK(at_zero.derivative == close.derivative);
  CHECK(repulsion.pair(0, 0, 5e-4).energy == doctest::Approx(0.5 * (at_zero.energy + close.energy)));
  const Repulsion none({14}, {0.0}, {0.0});
  CHECK(none.cutoff() == 0.0);
  CHECK(none.pair(0, 0, 0.1).energy == 0.0);
}

TEST_CASE("a pair of atoms has the energy of the pair, half at either end") {
  const Potential potential({make_repulsion()});
  Atoms atoms;
  atoms.positions = {0.1, 0.2, 0.3, 0.9, -0.4, 0.7};
  atoms.species = {0, 1};
  const double d = std::sqrt(0.64 + 0.36 + 0.16);
  const Repulsion repulsion({11, 17}, std::vector<double>(4, 0.5), std::vector<double>(4, 2.0));
  const auto pair = repulsion.pair(0, 1, d);
  const Results results = evaluated(potential, Frames({atoms}));
  const std::array<double, 3> D = {0.8, -0.6, 0.4};
  for (std::size_t atom = 0; atom < 2; ++atom) {
    CHECK(results.energies[atom] == doctest::Approx(0.5 * pair.energy).epsilon(1e-14));
    for (std::size_t x = 0; x < 3; ++x) {
      const double expected = (atom == 0 ? 1.0 : -1.0) * pair.derivative * D[x] / d;
      CHECK(results.forces[3 * atom + x] == doctest::Approx(expected).epsilon(1e-13));
    }
  }
}

namespace {

/// All rows of some frames in an order of their own, between columns that belong to others.
struct Design {
  static constexpr std::int64_t margin = 2;

  Design(const DescriptorColumns& columns, const Frames& frames, bool only_some = false)
      : n_columns(columns.n_columns()), stride(n_columns + 2 * margin) {
    const std::int64_t n_frames = frames.n_frames();
    n_rows = 7 * n_frames + 3 * frames.n_atoms();
    std::int64_t row = n_rows;
    const auto next = [&](std::int64_t height, std::int64_t k) { return row -= height, only_some && k % 2 ? -1 : row; };
    for (std::int64_t f = 0; f < n_frames; ++f) energy.push_back(next(1, f));
    for (std::int64_t f = 0; f < n_frames; ++f) strain.push_back(next(6, f + 1));
    for (std::int64_t atom = 0; atom < frames.n_atoms(); ++atom) force.push_back(next(3, atom));
    factors = random_numbers(static_cast<std::size_t>(n_rows), 77, 0.5, 2.0);
    values.assign(static_cast<std::size_t>(n_rows * stride), 7.0);
    columns.write(frames.view(),
                  {values.data() + margin, stride, energy.data(), force.data(), strain.data(), factors.data()});
  }

  /// The product of a row with weights, without the factor.
  double times(std::int64_t row, const std::vector<double>& weights) const {
    double product = 0.0;
    for (std::int64_t m = 0; m < n_columns; ++m) {
      product += values[static_cast<std::size_t>(row * stride + margin + m)] * weights[static_cast<std::size_t>(m)];
    }
    return product / factors[static_cast<std::size_t>(row)];
  }

  std::int64_t n_columns, stride, n_rows = 0;
  std::vector<std::int64_t> energy, force, strain;
  std::vector<double> factors, values;
};

/// What rows times weights give, against what the potential gives.
void check_design(const DescriptorColumns& columns, const Frames& frames, const std::vector<double>& weights,
                  const Results& expected) {
  const Design design(columns, frames);
  std::vector<double> energies, expected_energies, forces, strain, expected_strain;
  for (std::size_t f = 0; f < static_cast<std::size_t>(frames.n_frames()); ++f) {
    energies.push_back(design.times(design.energy[f], weights));
    expected_energies.push_back(
        sum({expected.energies.begin() + frames.offsets[f], expected.energies.begin() + frames.offsets[f + 1]}));
    const std::array<std::size_t, 6> voigt = {0, 4, 8, 5, 2, 1};
    for (std::size_t v = 0; v < 6; ++v) {
      strain.push_back(design.times(design.strain[f] + static_cast<std::int64_t>(v), weights));
      expected_strain.push_back(expected.strain[9 * f + voigt[v]]);
    }
  }
  for (const std::int64_t row : design.force) {
    for (std::int64_t x = 0; x < 3; ++x) forces.push_back(-design.times(row + x, weights));
  }
  CHECK(relative_difference(energies, expected_energies) < 1e-11);
  CHECK(relative_difference(forces, expected.forces) < 1e-11);
  CHECK(relative_difference(strain, expected_strain) < 1e-11);
  for (std::int64_t row = 0; row < design.n_rows; ++row) {
    for (const std::int64_t column : {std::int64_t{0}, std::int64_t{1}, design.stride - 2, design.stride - 1}) {
      CHECK(design.values[static_cast<std::size_t>(row * design.stride + column)] == 7.0);
    }
  }
}

}  // namespace

TEST_CASE("columns times weights are energies, forces and strain of the term") {
  const auto descriptor = make_descriptor();
  std::vector<Atoms> all = all_atoms();
  all[2] = castile::test::random_atoms(20, {8, 0, 0, 1, 7, 0, -1, 2, 7}, {true, true, true}, 3);
  const Frames frames(all);
  for (const double zeta : {1.0, 2.0, 4.0, 1.5}) {
    for (const bool normalize : {true, false}) {
      for (const auto& sizes : {std::vector<std::int64_t>{7, 49}, {0, 3}, {500, 1}}) {
        CAPTURE(zeta);
        CAPTURE(normalize);
        const Points points(*descriptor, sizes);
        const DescriptorColumns columns(descriptor, {zeta, normalize}, points.view());
        CHECK(columns.first_columns() == std::vector<std::int64_t>{0, sizes[0], sizes[0] + sizes[1]});
        const Potential potential(
            {std::make_shared<DescriptorTerm>(descriptor, FeatureKernel{zeta, normalize}, points.view())});
        check_design(columns, frames, points.all_weights(), evaluated(potential, frames));
      }
    }
  }
}

TEST_CASE("columns of features are those of unit vectors as points") {
  const auto descriptor = make_descriptor();
  const Frames frames({all_atoms()[0], all_atoms()[1], all_atoms()[4]});
  const DescriptorColumns columns(descriptor);
  const auto n = static_cast<std::size_t>(descriptor->n_features());
  CHECK(columns.n_columns() == 2 * descriptor->n_features());
  std::vector<double> identity(n * n, 0.0);
  for (std::size_t k = 0; k < n; ++k) identity[(n + 1) * k] = 1.0;
  const auto weights = random_numbers(2 * n, 5);
  const auto size = static_cast<std::int64_t>(n);
  const std::vector<SparsePoints> points = {{size, identity.data(), weights.data()},
                                            {size, identity.data(), weights.data() + n}};
  const Potential potential({std::make_shared<DescriptorTerm>(descriptor, FeatureKernel{1.0, false}, points)});
  check_design(columns, frames, weights, evaluated(potential, frames));
}

TEST_CASE("columns have the same bits for any number of threads, and of frames and rows that are wanted") {
  const auto descriptor = make_descriptor();
  const Points points(*descriptor, {481, 30});
  const DescriptorColumns columns(descriptor, {3.0, true}, points.view());
  const std::vector<Atoms> some = {all_atoms()[0], all_atoms()[1], all_atoms()[3], all_atoms()[4]};
  const Frames frames(some);
  const Design all(columns, frames);
  for (const int n : {2, 3}) {
    const Threads threads(n);
    CHECK(Design(columns, frames).values == all.values);
  }
  const auto row_of = [](const Design& design, std::int64_t row) {
    std::vector<double> values;
    for (std::int64_t m = 0; m < design.n_columns; ++m) {
      values.push_back(design.values[static_cast<std::size_t>(row * design.stride + Design::margin + m)]);
    }
    return values;
  };
  const Design part(columns, frames, true);
  for (std::size_t f = 0; f < some.size(); ++f) {
    const std::vector<double> nothing(static_cast<std::size_t>(columns.n_columns()), 7.0);
    CHECK(row_of(part, all.energy[f]) == (part.energy[f] < 0 ? nothing : row_of(all, all.energy[f])));
    for (std::int64_t v = 0; v < 6; ++v) {
      CHECK(row_of(part, all.strain[f] + v) == (part.strain[f] < 0 ? nothing : row_of(all, all.strain[f] + v)));
    }
  }
  for (std::size_t k = 0; k < all.force.size(); ++k) {
    if (part.force[k] >= 0) CHECK(row_of(part, part.force[k]) == row_of(all, all.force[k]));
  }
  // One frame, with factors of one.
  const Frames last({some.back()});
  const std::int64_t none = -1, first = 0;
  const std::vector<std::int64_t> no_forces(static_cast<std::size_t>(last.n_atoms()), none);
  std::vector<double> energy(static_cast<std::size_t>(columns.n_columns()));
  columns.write(last.view(), {energy.data(), columns.n_columns(), &first, no_forces.data(), &none, nullptr});
  const std::int64_t row = all.energy.back();
  for (double& value : energy) value *= all.factors[static_cast<std::size_t>(row)];
  CHECK(energy == row_of(all, row));
}
