#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "castile/potential/descriptor_term.hpp"
#include "castile/potential/design_matrix.hpp"
#include "castile/potential/potential.hpp"
#include "castile/potential/repulsion.hpp"

namespace castile::python {

std::shared_ptr<const DensityDescriptor<double>> shared_descriptor(const py::object& handle);

namespace {

/// Sparse points of all species; the arrays belong to the caller.
std::vector<SparsePoints> sparse_points(const DensityDescriptor<double>& descriptor,
                                        const std::vector<Array<double>>& rows,
                                        const std::vector<Array<double>>* weights,
                                        const std::vector<Array<double>>* members = nullptr,
                                        const std::vector<Array<double>>* projections = nullptr) {
  std::vector<SparsePoints> points;
  for (std::size_t s = 0; s < rows.size(); ++s) {
    SparsePoints of_species;
    if (projections != nullptr) {
      if (projections->size() != rows.size()) {
        throw std::invalid_argument("points and projections must be of all species");
      }
      check_shape((*projections)[s], "projections", {-1, descriptor.n_features()});
      of_species.projection = (*projections)[s].data();
      of_species.n_components = (*projections)[s].shape(0);
    }
    check_shape(rows[s], "points", {-1, projections != nullptr ? of_species.n_components : descriptor.n_features()});
    of_species.n_points = rows[s].shape(0);
    of_species.rows = rows[s].data();
    if (weights != nullptr) {
      if (weights->size() != rows.size()) throw std::invalid_argument("points and weights must be of all species");
      check_shape((*weights)[s], "weights", {of_species.n_points});
      of_species.weights = (*weights)[s].data();
    }
    if (members != nullptr) {
      if (members->size() != rows.size()) throw std::invalid_argument("points and members must be of all species");
      check_shape((*members)[s], "members", {-1, of_species.n_points});
      of_species.members = (*members)[s].data();
      of_species.n_members = static_cast<int>((*members)[s].shape(0));
    }
    points.push_back(of_species);
  }
  return points;
}

void check_species(const std::int32_t* species, std::int64_t n_atoms, int n_species) {
  const auto known = [&](std::int32_t s) { return s >= 0 && s < n_species; };
  if (!std::all_of(species, species + n_atoms, known)) {
    throw std::invalid_argument("species must lie between 0 and " + std::to_string(n_species - 1));
  }
}

/// Arrays for what is wanted of an evaluation.
struct ResultArrays {
  ResultArrays(std::int64_t n_centers, std::int64_t n_atoms, std::int64_t n_frames, bool forces, bool strain,
               bool strains)
      : energies(n_centers) {
    if (forces) this->forces.emplace(std::vector<std::int64_t>{n_atoms, 3});
    if (strain) this->strain.emplace(std::vector<std::int64_t>{n_frames, 3, 3});
    if (strains) this->strains.emplace(std::vector<std::int64_t>{n_centers, 3, 3});
  }

  PotentialResults view() {
    const auto data = [](auto& array) { return array ? array->mutable_data() : nullptr; };
    return {energies.mutable_data(), data(forces), data(strain), data(strains), nullptr};
  }

  py::tuple as_tuple() const { return py::make_tuple(energies, forces, strain, strains); }

  Array<double> energies;
  std::optional<Array<double>> forces, strain, strains;
};

py::tuple evaluate_frames(const Potential& potential, const StructuresHandle& structures, bool forces, bool strain,
                          bool strains) {
  check_species(structures.view().species, structures.n_atoms(), potential.n_species());
  ResultArrays arrays(structures.n_atoms(), structures.n_atoms(), structures.view().n_frames, forces, strain, strains);
  const PotentialResults results = arrays.view();
  {
    const GilRelease release;
    potential.evaluate(structures.view(), results);
  }
  return arrays.as_tuple();
}

/// Energies, forces and strain of frames, and how the energies of members differ, (n_frames, n_members).
py::tuple evaluate_members(const Potential& potential, const StructuresHandle& structures) {
  check_species(structures.view().species, structures.n_atoms(), potential.n_species());
  ResultArrays arrays(structures.n_atoms(), structures.n_atoms(), structures.view().n_frames, true, true, false);
  Array<double> members({structures.view().n_frames, std::int64_t{potential.n_members()}});
  PotentialResults results = arrays.view();
  results.members = members.mutable_data();
  {
    const GilRelease release;
    potential.evaluate(structures.view(), results);
  }
  return py::make_tuple(arrays.energies, arrays.forces, arrays.strain, members);
}

py::tuple evaluate(const Potential& potential, const Array<double>& positions, const Array<std::int32_t>& species,
                   const std::optional<Array<std::int64_t>>& centers, const Array<std::int64_t>& offsets,
                   const Array<std::int64_t>& neighbors, bool forces, bool strain, bool strains) {
  Neighborhoods in;
  check_shape(positions, "positions", {-1, 3});
  in.n_atoms = positions.shape(0);
  check_shape(species, "species", {in.n_atoms});
  check_species(species.data(), in.n_atoms, potential.n_species());
  check_shape(offsets, "offsets", {-1});
  check_ascending(offsets, "offsets");
  in.n_centers = offsets.size() - 1;
  check_shape(neighbors, "neighbors", {offsets.data()[in.n_centers]});
  if (centers) check_shape(*centers, "centers", {in.n_centers});
  for (py::ssize_t k = 0; k < positions.size(); ++k) {
    if (!std::isfinite(positions.data()[k])) throw std::invalid_argument("positions must be finite");
  }
  in.positions = positions.data();
  in.species = species.data();
  in.centers = centers ? centers->data() : nullptr;
  in.offsets = offsets.data();
  in.neighbors = neighbors.data();
  ResultArrays arrays(in.n_centers, in.n_atoms, 1, forces, strain, strains);
  const PotentialResults results = arrays.view();
  {
    const GilRelease release;
    potential.evaluate(in, results);
  }
  return arrays.as_tuple();
}

/// Throws unless row numbers are -1 or leave room for `height` rows.
void check_rows(const Array<std::int64_t>& rows, const char* name, std::int64_t count, std::int64_t height,
                std::int64_t n_rows) {
  check_shape(rows, name, {count});
  for (py::ssize_t k = 0; k < rows.size(); ++k) {
    const std::int64_t row = rows.data()[k];
    if (row != -1 && (row < 0 || row > n_rows - height)) {
      throw std::invalid_argument(std::string(name) + " must be -1 or rows of the matrix, got " + std::to_string(row));
    }
  }
}

void write_columns(const DescriptorColumns& columns, int n_species, const StructuresHandle& structures,
                   Array<double> rows, std::int64_t first_column, const Array<std::int64_t>& energy,
                   const Array<std::int64_t>& force, const Array<std::int64_t>& strain, const Array<double>& factors) {
  check_species(structures.view().species, structures.n_atoms(), n_species);
  check_shape(rows, "rows", {-1, -1});
  const std::int64_t n_rows = rows.shape(0);
  if (first_column < 0 || first_column > rows.shape(1) - columns.n_columns()) {
    throw std::invalid_argument("rows must have at least " + std::to_string(columns.n_columns()) +
                                " columns from first_column on, got shape " + shape_text(rows));
  }
  check_rows(energy, "energy", structures.view().n_frames, 1, n_rows);
  check_rows(force, "force", structures.n_atoms(), 3, n_rows);
  check_rows(strain, "strain", structures.view().n_frames, 6, n_rows);
  check_shape(factors, "factors", {n_rows});
  DesignRows view;
  view.values = rows.mutable_data() + first_column;
  view.stride = rows.shape(1);
  view.energy = energy.data();
  view.force = force.data();
  view.strain = strain.data();
  view.factors = factors.data();
  const GilRelease release;
  columns.write(structures.view(), view);
}

/// Columns with the number of species that they know.
struct ColumnsHandle {
  std::shared_ptr<const DescriptorColumns> columns;
  int n_species;
};

}  // namespace

void bind_potential(py::module_& module) {
  py::class_<EnergyTerm, std::shared_ptr<EnergyTerm>>(module, "EnergyTerm")
      .def_property_readonly("cutoff", &EnergyTerm::cutoff)
      .def_property_readonly("n_species", &EnergyTerm::n_species);

  py::class_<DescriptorTerm, EnergyTerm, std::shared_ptr<DescriptorTerm>>(module, "DescriptorTerm")
      .def(py::init([](const py::object& handle, double zeta, bool normalize, const std::vector<Array<double>>& points,
                       const std::vector<Array<double>>& weights,
                       const std::optional<std::vector<Array<double>>>& members,
                       const std::optional<std::vector<Array<double>>>& projections) {
             const auto descriptor = shared_descriptor(handle);
             const auto views = sparse_points(*descriptor, points, &weights, members ? &*members : nullptr,
                                              projections ? &*projections : nullptr);
             const GilRelease release;
             return std::make_shared<DescriptorTerm>(descriptor, FeatureKernel{zeta, normalize}, views);
           }),
           py::arg("descriptor"), py::arg("zeta"), py::arg("normalize"), py::arg("points"), py::arg("weights"),
           py::arg("members") = py::none(), py::arg("projections") = py::none());

  py::class_<Repulsion, EnergyTerm, std::shared_ptr<Repulsion>>(module, "Repulsion")
      .def(py::init<std::vector<double>, std::vector<double>, std::vector<double>>(), py::arg("numbers"),
           py::arg("inner"), py::arg("outer"))
      .def(
          "pair",
          [](const Repulsion& self, std::int32_t first, std::int32_t second, double distance) {
            if (first < 0 || second < 0 || std::max(first, second) >= self.n_species()) {
              throw std::invalid_argument("first and second must be species, 0 to " +
                                          std::to_string(self.n_species() - 1));
            }
            const Repulsion::Value value = self.pair(first, second, distance);
            return py::make_tuple(value.energy, value.derivative);
          },
          py::arg("first"), py::arg("second"), py::arg("distance"));

  py::class_<Potential>(module, "Potential")
      .def(py::init([](const std::vector<std::shared_ptr<EnergyTerm>>& terms) {
             return std::make_unique<Potential>(
                 std::vector<std::shared_ptr<const EnergyTerm>>(terms.begin(), terms.end()));
           }),
           py::arg("terms"))
      .def_property_readonly("cutoff", &Potential::cutoff)
      .def_property_readonly("n_members", &Potential::n_members)
      .def("evaluate_members", &evaluate_members, py::arg("structures"))
      .def("evaluate_frames", &evaluate_frames, py::arg("structures"), py::arg("forces") = true,
           py::arg("strain") = true, py::arg("strains") = false)
      .def("evaluate", &evaluate, py::arg("positions").noconvert(), py::arg("species").noconvert(),
           py::arg("centers").noconvert(), py::arg("offsets").noconvert(), py::arg("neighbors").noconvert(),
           py::arg("forces") = true, py::arg("strain") = true, py::arg("strains") = false);

  py::class_<ColumnsHandle>(module, "DescriptorColumns")
      .def(py::init([](const py::object& handle, double zeta, bool normalize,
                       const std::optional<std::vector<Array<double>>>& points) {
             const auto descriptor = shared_descriptor(handle);
             const int n_species = descriptor->parameters().n_species;
             if (!points) return ColumnsHandle{std::make_shared<DescriptorColumns>(descriptor), n_species};
             const auto views = sparse_points(*descriptor, *points, nullptr);
             const GilRelease release;
             return ColumnsHandle{
                 std::make_shared<DescriptorColumns>(descriptor, FeatureKernel{zeta, normalize}, views), n_species};
           }),
           py::arg("descriptor"), py::arg("zeta") = 1.0, py::arg("normalize") = false, py::arg("points") = py::none())
      .def_property_readonly("n_columns", [](const ColumnsHandle& self) { return self.columns->n_columns(); })
      .def_property_readonly("first_columns", [](const ColumnsHandle& self) { return self.columns->first_columns(); })
      .def(
          "write",
          [](const ColumnsHandle& self, const StructuresHandle& structures, Array<double> rows,
             std::int64_t first_column, const Array<std::int64_t>& energy, const Array<std::int64_t>& force,
             const Array<std::int64_t>& strain, const Array<double>& factors) {
            write_columns(*self.columns, self.n_species, structures, std::move(rows), first_column, energy, force,
                          strain, factors);
          },
          py::arg("structures"), py::arg("rows").noconvert(), py::arg("first_column"), py::arg("energy").noconvert(),
          py::arg("force").noconvert(), py::arg("strain").noconvert(), py::arg("factors").noconvert());
}

}  // namespace castile::python
