#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"
#include "support.hpp"

namespace {

using castile::Average;
using castile::Centers;
using castile::DensityDescriptor;
using castile::DensityDescriptorParameters;
using castile::JacobianLayout;
using castile::Structures;
using castile::test::random_numbers;
using castile::test::relative_difference;
using castile::test::Threads;

constexpr int n_species = 3;

/// Structures that own their arrays. Every atom is a center unless `centers` is changed.
struct Frames {
  std::vector<double> positions;
  std::vector<std::int32_t> species;
  std::vector<double> cells;
  std::unique_ptr<bool[]> pbc;
  std::vector<std::int64_t> atom_offsets = {0};
  std::vector<std::int64_t> center_atoms;
  std::vector<std::int64_t> center_offsets = {0};
  std::vector<double> points;             ///< (n_centers, 3), if some centers are points
  std::vector<std::int64_t> row_offsets;  ///< of averages, if not a row per frame

  /// All that can move: the atoms and, if there are any, the points, those of atoms included.
  std::size_t n_coordinates() const { return positions.size() + points.size(); }
  std::int64_t n_frames() const { return static_cast<std::int64_t>(atom_offsets.size()) - 1; }
  Structures view() const {
    return {n_frames(), positions.data(), species.data(), cells.data(), pbc.get(), atom_offsets.data()};
  }
  Centers centers() const {
    Centers centers;
    centers.atoms = center_atoms.data();
    centers.points = points.empty() ? nullptr : points.data();
    centers.offsets = center_offsets.data();
    if (!row_offsets.empty()) {
      centers.row_offsets = row_offsets.data();
      centers.n_rows = static_cast<std::int64_t>(row_offsets.size()) - 1;
    }
    return centers;
  }
};

struct Box {
  std::int64_t n_atoms;
  std::array<double, 9> cell;
  std::array<bool, 3> pbc;
};

/// A cluster, cells smaller than the cutoff, a skewed one, a slab, a lone atom and an empty frame.
Frames make_frames(unsigned seed) {
  const std::vector<Box> boxes = {
      {9, {6, 0, 0, 0, 6, 0, 0, 0, 6}, {false, false, false}},
      {22, {7, 0, 0, 1, 5.5, 0, -1.5, 2, 6}, {true, true, true}},
      {2, {2.5, 0, 0, 0, 2.5, 0, 0, 0, 2.5}, {true, true, true}},
      {0, {3, 0, 0, 0, 3, 0, 0, 0, 3}, {true, true, true}},
      {5, {4, 0, 0, 2, 3, 0, 0, 0, 9}, {true, true, false}},
      {1, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {false, false, false}},
  };
  Frames frames;
  frames.pbc = std::make_unique<bool[]>(3 * boxes.size());
  for (std::size_t f = 0; f < boxes.size(); ++f) {
    const Box& box = boxes[f];
    const auto fractions =
        random_numbers(static_cast<std::size_t>(3 * box.n_atoms), seed + static_cast<unsigned>(f), -0.3, 1.2);
    for (std::size_t atom = 0; atom < static_cast<std::size_t>(box.n_atoms); ++atom) {
      for (std::size_t a = 0; a < 3; ++a) {
        double x = 0.0;
        for (std::size_t b = 0; b < 3; ++b) x += fractions[3 * atom + b] * box.cell[3 * b + a];
        frames.positions.push_back(x);
      }
      // The small cell holds one species only, so that columns of the others stay empty.
      frames.species.push_back(f == 2 ? 1 : static_cast<std::int32_t>(atom) % n_species);
      frames.center_atoms.push_back(static_cast<std::int64_t>(atom));
    }
    frames.cells.insert(frames.cells.end(), box.cell.begin(), box.cell.end());
    std::copy(box.pbc.begin(), box.pbc.end(), frames.pbc.get() + 3 * f);
    frames.atom_offsets.push_back(static_cast<std::int64_t>(frames.species.size()));
    frames.center_offsets.push_back(static_cast<std::int64_t>(frames.center_atoms.size()));
  }
  return frames;
}

/// The same with centers that are points, one of them on an atom, and rows that are averages of some centers each, one
/// of none.
Frames make_points_and_groups(unsigned seed) {
  Frames frames = make_frames(seed);
  const auto shifts = random_numbers(3 * frames.center_atoms.size(), seed + 50, -1.0, 1.0);
  frames.row_offsets = {0, 0};
  for (std::size_t f = 0; f < 6; ++f) {
    for (auto c = static_cast<std::size_t>(frames.center_offsets[f]);
         c < static_cast<std::size_t>(frames.center_offsets[f + 1]); ++c) {
      const auto atom = static_cast<std::size_t>(frames.atom_offsets[f] + frames.center_atoms[c]);
      const bool is_point = c % 3 == 1;
      for (std::size_t a = 0; a < 3; ++a) {
        frames.points.push_back(frames.positions[3 * atom + a] + (is_point && c != 4 ? shifts[3 * c + a] : 0.0));
      }
      if (is_point) frames.center_atoms[c] = -1;
      if (c % 7 == 5) frames.row_offsets.push_back(static_cast<std::int64_t>(c));
    }
    frames.row_offsets.push_back(frames.center_offsets[f + 1]);
  }
  return frames;
}

/// One frame alone, with all its atoms as centers.
Frames single_frame(const Frames& frames, std::size_t f) {
  Frames one;
  const auto first = frames.atom_offsets[f];
  const auto last = frames.atom_offsets[f + 1];
  one.positions.assign(frames.positions.begin() + 3 * first, frames.positions.begin() + 3 * last);
  one.species.assign(frames.species.begin() + first, frames.species.begin() + last);
  one.cells.assign(frames.cells.begin() + static_cast<std::ptrdiff_t>(9 * f),
                   frames.cells.begin() + static_cast<std::ptrdiff_t>(9 * f + 9));
  one.pbc = std::make_unique<bool[]>(3);
  std::copy_n(frames.pbc.get() + 3 * f, 3, one.pbc.get());
  one.atom_offsets.push_back(last - first);
  one.center_offsets.push_back(last - first);
  for (std::int64_t atom = 0; atom < last - first; ++atom) one.center_atoms.push_back(atom);
  return one;
}

/// Positions + step v and, with the strain rate e, (1 + step e) applied to positions and cells.
Frames deformed(const Frames& frames, const std::vector<double>& v, const std::vector<double>& e, double step) {
  Frames result = make_frames(1);
  result.positions = frames.positions;
  result.cells = frames.cells;
  result.center_atoms = frames.center_atoms;
  result.points = frames.points;
  result.row_offsets = frames.row_offsets;
  const auto strained = [step](const double* strain, const double* x, double* out) {
    for (std::size_t a = 0; a < 3; ++a) {
      out[a] = x[a];
      for (std::size_t b = 0; b < 3; ++b) out[a] += step * strain[3 * a + b] * x[b];
    }
  };
  for (std::size_t f = 0; f < static_cast<std::size_t>(frames.n_frames()); ++f) {
    const double* strain = e.data() + 9 * f;
    for (std::size_t row = 3 * f; row < 3 * f + 3; ++row) {
      strained(strain, frames.cells.data() + 3 * row, result.cells.data() + 3 * row);
    }
    const auto move = [&](std::int64_t first, std::int64_t last, const std::vector<double>& from,
                          const double* velocity, std::vector<double>& to) {
      for (auto k = static_cast<std::size_t>(first); k < static_cast<std::size_t>(last); ++k) {
        strained(strain, from.data() + 3 * k, to.data() + 3 * k);
        for (std::size_t a = 0; a < 3; ++a) to[3 * k + a] += step * velocity[3 * k + a];
      }
    };
    move(frames.atom_offsets[f], frames.atom_offsets[f + 1], frames.positions, v.data(), result.positions);
    if (frames.points.empty()) continue;
    move(frames.center_offsets[f], frames.center_offsets[f + 1], frames.points, v.data() + frames.positions.size(),
         result.points);
  }
  return result;
}

std::vector<double> random_symmetric(std::size_t n, unsigned seed) {
  auto e = random_numbers(9 * n, seed);
  for (std::size_t f = 0; f < n; ++f) {
    for (std::size_t a = 0; a < 3; ++a) {
      for (std::size_t b = 0; b < a; ++b) e[9 * f + 3 * a + b] = e[9 * f + 3 * b + a];
    }
  }
  return e;
}

DensityDescriptorParameters parameters(const std::string& head, Average average, bool normalize) {
  DensityDescriptorParameters p;
  p.expansion.tables[0].basis = {"gto", 3.5, 0.5, 3, 2};
  p.expansion.tables[0].weight.reach = 3.5;
  p.expansion.tables[0].weight.cutoff_function = "polynomial";
  p.expansion.tables[0].weight.cutoff_width = 1.0;
  p.expansion.tables[0].accuracy = 1e-10;
  p.head = castile::test::head_parameters(head, n_species, 3, 2);
  p.n_species = n_species;
  p.average = average;
  p.normalize = normalize;
  return p;
}

/// The same with channels that mix the species, and densities that differ between species.
DensityDescriptorParameters mixed_parameters(const std::string& head, Average average, bool normalize) {
  DensityDescriptorParameters p = parameters(head, average, normalize);
  p.n_channels = 2;
  p.species_mixing = {0.7, -0.2, 1.1, 0.4, 0.9, 0.0};
  p.head = castile::test::head_parameters(head, 2, 3, 2);
  p.expansion.tables.push_back(p.expansion.tables[0]);
  p.expansion.tables[1].basis.sigma = 0.4;
  p.expansion.tables[1].basis.cutoff = 3.0;
  p.expansion.tables[1].weight.reach = 3.0;
  p.expansion.table_of_species = {0, 1, 0};
  p.expansion.species_weights = {1.0, 0.5, 2.0};
  return p;
}

/// Every head, average and normalisation, with and without mixing.
std::vector<DensityDescriptorParameters> all_parameters() {
  std::vector<DensityDescriptorParameters> all;
  for (const std::string& head : castile::test::feature_heads) {
    for (const Average average : {Average::off, Average::inner, Average::outer}) {
      for (const bool normalize : {false, true}) {
        all.push_back(parameters(head, average, normalize));
        all.push_back(mixed_parameters(head, average, normalize));
      }
    }
  }
  return all;
}

struct Gradients {
  std::vector<double> positions;
  std::vector<double> strain;
};

/// A descriptor's results for some frames.
template <typename T>
struct Results {
  const DensityDescriptor<T>& descriptor;
  const Frames& frames;

  std::size_t size() const {
    return static_cast<std::size_t>(descriptor.n_rows(frames.view(), frames.centers()) * descriptor.n_features());
  }
  std::vector<T> transform() const {
    std::vector<T> features(size(), std::numeric_limits<T>::quiet_NaN());
    descriptor.transform(frames.view(), frames.centers(), features.data());
    return features;
  }
  std::vector<T> jvp(const std::vector<double>& v, const std::vector<double>& e) const {
    std::vector<T> features_dot(size(), std::numeric_limits<T>::quiet_NaN());
    const double* points = frames.points.empty() ? nullptr : v.data() + frames.positions.size();
    descriptor.jvp(frames.view(), frames.centers(), {v.data(), e.data(), points}, features_dot.data());
    return features_dot;
  }
  std::vector<T> jvp_from_sparse(const std::vector<double>& v, const std::vector<double>& e) const {
    const double* points = frames.points.empty() ? nullptr : v.data() + frames.positions.size();
    return dense_rows(descriptor.jvp_sparse(frames.view(), frames.centers(), {v.data(), e.data(), points}));
  }
  std::vector<T> transform_from_sparse() const {
    return dense_rows(descriptor.transform_sparse(frames.view(), frames.centers()));
  }
  Gradients vjp(const std::vector<T>& cotangent) const {
    Gradients result{std::vector<double>(frames.n_coordinates(), 0.0), std::vector<double>(frames.cells.size(), 0.0)};
    double* points = frames.points.empty() ? nullptr : result.positions.data() + frames.positions.size();
    descriptor.vjp(frames.view(), frames.centers(), {cotangent.data(), descriptor.n_features()},
                   result.positions.data(), points, result.strain.data());
    return result;
  }
  /// The same, the cotangent given without its zeros.
  Gradients vjp_from_sparse(const std::vector<T>& cotangent) const {
    castile::SparseRows<T> rows{{0}, {}, {}};
    for (std::size_t k = 0; k < cotangent.size(); ++k) {
      const auto column = static_cast<std::int32_t>(static_cast<std::int64_t>(k) % descriptor.n_features());
      if (cotangent[k] != T(0)) {
        rows.columns.push_back(column);
        rows.values.push_back(cotangent[k]);
      }
      if (column == descriptor.n_features() - 1)
        rows.row_offsets.push_back(static_cast<std::int64_t>(rows.values.size()));
    }
    Gradients result{std::vector<double>(frames.n_coordinates(), 0.0), std::vector<double>(frames.cells.size(), 0.0)};
    double* points = frames.points.empty() ? nullptr : result.positions.data() + frames.positions.size();
    descriptor.vjp(frames.view(), frames.centers(),
                   {rows.values.data(), descriptor.n_features(), rows.row_offsets.data(), rows.columns.data()},
                   result.positions.data(), points, result.strain.data());
    return result;
  }
  /// (n_rows n_features) · (n_coordinates), and the same for strain, both dense; with `sparse`, made from what rows
  /// see.
  std::pair<std::vector<T>, std::vector<T>> jacobian(bool sparse = false) const {
    const auto layout = descriptor.jacobian_layout(frames.view(), frames.centers(), sparse);
    std::vector<std::vector<T>> values, strain;
    std::vector<T*> pointers, strain_pointers;
    const auto make = [](std::size_t n) { return std::vector<T>(n, std::numeric_limits<T>::quiet_NaN()); };
    for (const auto& group : layout.groups) {
      values.push_back(make(static_cast<std::size_t>(group.n_blocks() * 3 * group.n_columns)));
    }
    for (const auto& set : layout.sets) {
      strain.push_back(make(set.rows.size() * 9 * static_cast<std::size_t>(set.n_columns)));
    }
    for (auto& group : values) pointers.push_back(group.data());
    for (auto& set : strain) strain_pointers.push_back(set.data());
    descriptor.jacobian(frames.view(), frames.centers(), layout, pointers, strain_pointers);
    return {dense_positions(layout, values), dense_strain(layout, strain)};
  }

 private:
  std::vector<T> dense_rows(const castile::SparseRows<T>& rows) const {
    std::vector<T> dense(size(), T(0));
    for (std::size_t row = 0; row + 1 < rows.row_offsets.size(); ++row) {
      for (auto k = static_cast<std::size_t>(rows.row_offsets[row]);
           k < static_cast<std::size_t>(rows.row_offsets[row + 1]); ++k) {
        dense[row * static_cast<std::size_t>(descriptor.n_features()) + static_cast<std::size_t>(rows.columns[k])] =
            rows.values[k];
      }
    }
    return dense;
  }

  std::vector<T> dense_positions(const JacobianLayout& layout, const std::vector<std::vector<T>>& values) const {
    const std::size_t n_coordinates = frames.n_coordinates();
    std::vector<T> dense(size() * n_coordinates, T(0));
    for (std::size_t g = 0; g < values.size(); ++g) {
      const auto& group = layout.groups[g];
      const auto& channels = layout.sets[static_cast<std::size_t>(group.channel_set)].channels;
      const auto own = std::find(channels.begin(), channels.end(), group.species) - channels.begin();
      const auto columns = descriptor.columns(channels, group.all_columns ? -1 : static_cast<int>(own));
      REQUIRE(columns.size() == static_cast<std::size_t>(group.n_columns));
      const bool is_point = group.species == n_species;
      const auto& offsets = is_point ? frames.center_offsets : frames.atom_offsets;
      std::size_t entry = 0;
      for (std::size_t block = 0; block < group.row.size(); ++block) {
        const auto moving =
            static_cast<std::size_t>(offsets[static_cast<std::size_t>(group.frame[block])] + group.atom[block]);
        const std::size_t first = (is_point ? frames.positions.size() : 0) + 3 * moving;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          for (const std::int64_t column : columns) {
            const auto row = static_cast<std::size_t>(group.row[block] * descriptor.n_features() + column);
            dense[row * n_coordinates + first + axis] += values[g][entry++];
          }
        }
      }
    }
    return dense;
  }

  std::vector<T> dense_strain(const JacobianLayout& layout, const std::vector<std::vector<T>>& strain) const {
    std::vector<T> dense(9 * size(), T(0));
    for (std::size_t s = 0; s < strain.size(); ++s) {
      const auto columns = descriptor.columns(layout.sets[s].channels);
      REQUIRE(columns.size() == static_cast<std::size_t>(layout.sets[s].n_columns));
      std::size_t entry = 0;
      for (const std::int64_t row : layout.sets[s].rows) {
        for (std::int64_t k = 9 * row; k < 9 * (row + 1); ++k) {
          for (const std::int64_t column : columns) {
            dense[static_cast<std::size_t>(k * descriptor.n_features() + column)] = strain[s][entry++];
          }
        }
      }
    }
    return dense;
  }
};

}  // namespace

TEST_CASE("sparse rows and derivatives hold the same numbers, without the columns that rows cannot see") {
  const Frames frames = make_points_and_groups(1);
  const auto v = random_numbers(frames.n_coordinates(), 2);
  const auto e = random_numbers(frames.cells.size(), 3);
  for (const auto& p : all_parameters()) {
    CAPTURE(p.head.name);
    CAPTURE(static_cast<int>(p.average));
    CAPTURE(p.species_mixing.size());
    const DensityDescriptor<double> descriptor(p);
    const Results<double> results{descriptor, frames};
    CHECK(results.transform_from_sparse() == results.transform());
    CHECK(results.jvp_from_sparse(v, e) == results.jvp(v, e));
    CHECK(results.jacobian(true) == results.jacobian(false));
    auto cotangent = random_numbers(results.size(), 4);
    for (std::size_t k = 0; k < cotangent.size(); k += 3) cotangent[k] = 0.0;
    const Gradients dense = results.vjp(cotangent), from_sparse = results.vjp_from_sparse(cotangent);
    CHECK(from_sparse.positions == dense.positions);
    CHECK(from_sparse.strain == dense.strain);
  }
}

TEST_CASE("rows that see one species have the columns of one species") {
  Frames frames = make_points_and_groups(1);
  std::fill(frames.species.begin(), frames.species.end(), 1);
  for (const std::string head : {"spherical_expansion", "radial_spectrum", "power_spectrum", "crossover_spectrum"}) {
    for (const Average average : {Average::off, Average::inner, Average::outer}) {
      CAPTURE(head);
      const auto p = parameters(head, average, true);
      auto alone = p;
      alone.n_species = 1;
      const DensityDescriptor<double> descriptor(p), of_one_species(alone);
      const auto layout = descriptor.jacobian_layout(frames.view(), frames.centers(), true);
      for (const auto& set : layout.sets) {
        CHECK(set.n_columns == (set.channels.empty() ? 0 : of_one_species.n_features()));
      }
      for (const auto& group : layout.groups) CHECK(group.n_columns <= of_one_species.n_features());
    }
  }
}

TEST_CASE("results have the same bits on one, two and four threads") {
  const Frames frames = make_points_and_groups(1);
  const auto v = random_numbers(frames.n_coordinates(), 2);
  const auto e = random_symmetric(6, 3);
  for (const auto& p : all_parameters()) {
    const DensityDescriptor<double> descriptor(p);
    const Results<double> results{descriptor, frames};
    const auto cotangent = random_numbers(results.size(), 4);
    const Threads one(1);
    const auto features = results.transform();
    const auto features_dot = results.jvp(v, e);
    const auto gradients = results.vjp(cotangent);
    const auto jacobian = results.jacobian();
    for (const int n_threads : {2, 4}) {
      const Threads threads(n_threads);
      CHECK(results.transform() == features);
      CHECK(results.jvp(v, e) == features_dot);
      CHECK(results.vjp(cotangent).positions == gradients.positions);
      CHECK(results.vjp(cotangent).strain == gradients.strain);
      CHECK(results.jacobian() == jacobian);
    }
  }
}

TEST_CASE("a frame has the same bits alone and among others") {
  const Frames frames = make_frames(5);
  for (const Average average : {Average::off, Average::inner, Average::outer}) {
    const DensityDescriptor<double> descriptor(parameters("power_spectrum", average, true));
    const auto together = Results<double>{descriptor, frames}.transform();
    for (std::size_t f = 0; f < 6; ++f) {
      const Frames one = single_frame(frames, f);
      const auto alone = Results<double>{descriptor, one}.transform();
      const std::int64_t first_row = average == Average::off ? frames.center_offsets[f] : static_cast<std::int64_t>(f);
      CHECK(std::equal(alone.begin(), alone.end(), together.begin() + first_row * descriptor.n_features()));
    }
  }
}

TEST_CASE("the outer average is the mean of the rows, the inner one the head of the mean coefficients") {
  const Frames frames = make_frames(6);
  const auto mean_rows = [&](const std::string& head) {
    const DensityDescriptor<double> descriptor(parameters(head, Average::off, false));
    const auto rows = Results<double>{descriptor, frames}.transform();
    const auto n = static_cast<std::size_t>(descriptor.n_features());
    std::vector<double> means(6 * n, 0.0);
    for (std::size_t f = 0; f < 6; ++f) {
      const auto first = static_cast<std::size_t>(frames.center_offsets[f]);
      const auto last = static_cast<std::size_t>(frames.center_offsets[f + 1]);
      for (std::size_t row = first; row < last; ++row) {
        for (std::size_t k = 0; k < n; ++k) means[f * n + k] += rows[row * n + k] / static_cast<double>(last - first);
      }
    }
    return means;
  };
  const auto averaged = [&](const std::string& head, Average average) {
    const DensityDescriptor<double> descriptor(parameters(head, average, false));
    return Results<double>{descriptor, frames}.transform();
  };
  for (const std::string& head : castile::test::feature_heads) {
    CHECK(relative_difference(averaged(head, Average::outer), mean_rows(head)) < 1e-13);
  }
  // Heads that are linear in the coefficients cannot tell the two apart.
  for (const std::string head : {"spherical_expansion", "radial_spectrum"}) {
    CHECK(relative_difference(averaged(head, Average::inner), mean_rows(head)) < 1e-14);
  }
  // The power spectrum of the mean coefficients, from the averaged expansion: columns (species, n, lm).
  const auto c = averaged("spherical_expansion", Average::inner);
  const auto p = averaged("power_spectrum", Average::inner);
  const int n_max = 3;
  const int n_lm = 9;
  std::vector<double> expected;
  for (std::size_t f = 0; f < 6; ++f) {
    const auto at = [&](int a, int n, int lm) {
      return c[f * n_species * n_max * n_lm + static_cast<std::size_t>((a * n_max + n) * n_lm + lm)];
    };
    for (int a = 0; a < n_species; ++a) {
      for (int b = a; b < n_species; ++b) {
        for (int l = 0; l < 3; ++l) {
          for (int n = 0; n < n_max; ++n) {
            for (int k = a == b ? n : 0; k < n_max; ++k) {
              double sum = 0.0;
              for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) sum += at(a, n, lm) * at(b, k, lm);
              expected.push_back(sum / std::sqrt(2.0 * l + 1) * (a == b && n == k ? 1.0 : std::sqrt(2.0)));
            }
          }
        }
      }
    }
  }
  CHECK(relative_difference(p, expected) < 1e-13);
}

TEST_CASE("normalized rows have norm one and the direction of the others; zero rows stay zero") {
  const Frames frames = make_frames(7);
  for (const Average average : {Average::off, Average::inner, Average::outer}) {
    const DensityDescriptor<double> raw(parameters("power_spectrum", average, false));
    const DensityDescriptor<double> unit(parameters("power_spectrum", average, true));
    auto expected = Results<double>{raw, frames}.transform();
    const auto n = static_cast<std::size_t>(raw.n_features());
    std::size_t n_zero_rows = 0;
    for (std::size_t row = 0; row * n < expected.size(); ++row) {
      double sum = 0.0;
      for (std::size_t k = 0; k < n; ++k) sum += expected[row * n + k] * expected[row * n + k];
      n_zero_rows += sum == 0.0;
      for (std::size_t k = 0; k < n && sum > 0.0; ++k) expected[row * n + k] /= std::sqrt(sum);
    }
    CHECK(n_zero_rows == (average == Average::off ? 0 : 1));  // the frame without atoms
    CHECK(relative_difference(Results<double>{unit, frames}.transform(), expected) < 1e-14);
  }
}

TEST_CASE("the jvp is the derivative along velocities and strain") {
  const Frames frames = make_points_and_groups(8);
  const auto v = random_numbers(frames.n_coordinates(), 9);
  const auto e = random_symmetric(6, 10);
  const double h = 2e-5;  // some pair crosses the cutoff, where the third derivative jumps
  for (const auto& p : all_parameters()) {
    CAPTURE(p.head.name);
    const DensityDescriptor<double> descriptor(p);
    const Results<double> results{descriptor, frames};
    std::vector<double> numeric(results.size(), 0.0);
    for (const auto& [step, weight] : {std::pair{h, 8.0}, {-h, -8.0}, {2 * h, -1.0}, {-2 * h, 1.0}}) {
      const Frames moved = deformed(frames, v, e, step);
      const auto features = Results<double>{descriptor, moved}.transform();
      for (std::size_t k = 0; k < numeric.size(); ++k) numeric[k] += weight * features[k] / (12 * h);
    }
    CHECK(relative_difference(results.jvp(v, e), numeric) < 1e-8);
  }
}

TEST_CASE_TEMPLATE("jvp, vjp and the explicit Jacobian agree", T, double, float) {
  const double bound = 1000 * static_cast<double>(std::numeric_limits<T>::epsilon());
  const Frames frames = make_points_and_groups(11);
  const auto v = random_numbers(frames.n_coordinates(), 12);
  std::vector<std::size_t> frame_of_group;
  for (std::size_t row = 0; row + 1 < frames.row_offsets.size(); ++row) {
    const auto end =
        std::upper_bound(frames.center_offsets.begin(), frames.center_offsets.end(), frames.row_offsets[row]);
    frame_of_group.push_back(
        std::min<std::size_t>(static_cast<std::size_t>(end - frames.center_offsets.begin()) - 1, 5));
  }
  const auto e = random_symmetric(6, 13);
  for (const auto& p : all_parameters()) {
    CAPTURE(p.head.name);
    CAPTURE(p.normalize);
    const DensityDescriptor<T> descriptor(p);
    const Results<T> results{descriptor, frames};
    const auto features_dot = results.jvp(v, e);
    std::vector<T> cotangent;
    for (const double g : random_numbers(results.size(), 14)) cotangent.push_back(static_cast<T>(g));
    const Gradients gradients = results.vjp(cotangent);
    const double forward = castile::test::dot(cotangent, features_dot);
    const double backward = castile::test::dot(gradients.positions, v) + castile::test::dot(gradients.strain, e);
    const double scale =
        std::sqrt(castile::test::dot(cotangent, cotangent) * castile::test::dot(features_dot, features_dot));
    CHECK(std::abs(forward - backward) < bound * scale);

    const auto [jacobian, strain] = results.jacobian();
    const std::size_t n_rows = static_cast<std::size_t>(descriptor.n_rows(frames.view(), frames.centers()));
    const auto n_features = static_cast<std::size_t>(descriptor.n_features());
    std::vector<double> product(results.size(), 0.0);
    std::vector<double> pulled_back(v.size(), 0.0);
    for (std::size_t row = 0; row < product.size(); ++row) {
      for (std::size_t x = 0; x < v.size(); ++x) {
        product[row] += static_cast<double>(jacobian[row * v.size() + x]) * v[x];
        pulled_back[x] += static_cast<double>(jacobian[row * v.size() + x]) * static_cast<double>(cotangent[row]);
      }
    }
    for (std::size_t row = 0; row < n_rows; ++row) {
      std::size_t frame = p.average == Average::off ? row : frame_of_group[row];
      if (p.average == Average::off) {
        const auto end = std::upper_bound(frames.center_offsets.begin(), frames.center_offsets.end(),
                                          static_cast<std::int64_t>(row));
        frame = static_cast<std::size_t>(end - frames.center_offsets.begin()) - 1;
      }
      for (std::size_t ab = 0; ab < 9; ++ab) {
        for (std::size_t k = 0; k < n_features; ++k) {
          product[row * n_features + k] +=
              static_cast<double>(strain[(row * 9 + ab) * n_features + k]) * e[9 * frame + ab];
        }
      }
    }
    CHECK(relative_difference(product, features_dot) < bound);
    CHECK(relative_difference(pulled_back, gradients.positions) < bound);
  }
}

TEST_CASE("gradients sum to zero and the strain gradient is symmetric") {
  const Frames frames = make_frames(15);
  for (const auto& p : all_parameters()) {
    const DensityDescriptor<double> descriptor(p);
    const Results<double> results{descriptor, frames};
    const Gradients gradients = results.vjp(random_numbers(results.size(), 16));
    const double scale = castile::test::largest(gradients.positions);
    for (std::size_t f = 0; f < 6; ++f) {
      std::array<double, 3> sum{};
      for (auto atom = static_cast<std::size_t>(frames.atom_offsets[f]);
           atom < static_cast<std::size_t>(frames.atom_offsets[f + 1]); ++atom) {
        for (std::size_t a = 0; a < 3; ++a) sum[a] += gradients.positions[3 * atom + a];
      }
      for (std::size_t a = 0; a < 3; ++a) {
        CHECK(std::abs(sum[a]) < 1e-12 * scale);
        for (std::size_t b = 0; b < a; ++b) {
          CHECK(gradients.strain[9 * f + 3 * a + b] == gradients.strain[9 * f + 3 * b + a]);
        }
      }
    }
  }
}

TEST_CASE("sparse rows hold the numbers of the dense ones") {
  const Frames frames = make_frames(17);
  for (const auto& p : all_parameters()) {
    const DensityDescriptor<double> descriptor(p);
    const auto dense = Results<double>{descriptor, frames}.transform();
    const auto sparse = descriptor.transform_sparse(frames.view(), frames.centers());
    std::vector<double> filled(dense.size(), 0.0);
    REQUIRE(sparse.row_offsets.size() == dense.size() / static_cast<std::size_t>(descriptor.n_features()) + 1);
    for (std::size_t row = 0; row + 1 < sparse.row_offsets.size(); ++row) {
      const auto first = sparse.columns.begin() + sparse.row_offsets[row];
      const auto last = sparse.columns.begin() + sparse.row_offsets[row + 1];
      CHECK(std::is_sorted(first, last));
      for (auto k = static_cast<std::size_t>(sparse.row_offsets[row]);
           k < static_cast<std::size_t>(sparse.row_offsets[row + 1]); ++k) {
        filled[row * static_cast<std::size_t>(descriptor.n_features()) + static_cast<std::size_t>(sparse.columns[k])] =
            sparse.values[k];
      }
    }
    CHECK(filled == dense);
    const bool fills_all_columns = !p.species_mixing.empty() || p.head.name == "tensor_spectrum";
    CHECK((sparse.values.size() < dense.size() || fills_all_columns));
  }
}

TEST_CASE("chosen centers give the rows of those atoms") {
  Frames frames = make_frames(18);
  const DensityDescriptor<double> descriptor(parameters("power_spectrum", Average::off, false));
  const auto all = Results<double>{descriptor, frames}.transform();
  const auto offsets = frames.center_offsets;
  std::vector<std::int64_t> rows;
  frames.center_atoms.clear();
  frames.center_offsets = {0};
  for (std::size_t f = 0; f < 6; ++f) {
    for (std::int64_t atom = 1; atom < offsets[f + 1] - offsets[f]; atom += 3) {
      frames.center_atoms.push_back(atom);
      rows.push_back(offsets[f] + atom);
    }
    frames.center_offsets.push_back(static_cast<std::int64_t>(frames.center_atoms.size()));
  }
  const auto some = Results<double>{descriptor, frames}.transform();
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const auto n = descriptor.n_features();
    CHECK(std::equal(some.begin() + static_cast<std::int64_t>(k) * n,
                     some.begin() + static_cast<std::int64_t>(k + 1) * n, all.begin() + rows[k] * n));
  }
}

TEST_CASE("float features are those of double within float precision") {
  const Frames frames = make_frames(19);
  for (const auto& p : all_parameters()) {
    const DensityDescriptor<double> exact(p);
    const DensityDescriptor<float> single(p);
    CHECK(relative_difference(Results<float>{single, frames}.transform(), Results<double>{exact, frames}.transform()) <
          100 * static_cast<double>(std::numeric_limits<float>::epsilon()));
  }
}

TEST_CASE("names of averages are known, others refused") {
  CHECK(castile::average_from_name("off") == Average::off);
  CHECK(castile::average_from_name("inner") == Average::inner);
  CHECK(castile::average_from_name("outer") == Average::outer);
  CHECK_THROWS_AS(castile::average_from_name("mean"), std::invalid_argument);
  CHECK_THROWS_AS(DensityDescriptor<double>(parameters("no such head", Average::off, false)), std::invalid_argument);
}
