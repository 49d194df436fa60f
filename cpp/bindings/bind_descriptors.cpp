
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "castile/descriptors/density_descriptor.hpp"

namespace castile::python {
namespace {

/// Gives a vector to numpy without copying it.
template <typename T>
Array<T> take(std::vector<T>&& values) {
  auto* owner = new std::vector<T>(std::move(values));
  const py::capsule capsule(owner, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return Array<T>(static_cast<py::ssize_t>(owner->size()), owner->data(), capsule);
}

/// Where a descriptor's Jacobian goes: block counts first, values later.
struct JacobianLayoutHandle {
  JacobianLayout layout;
};

/// One descriptor for numpy arrays of one precision.
template <typename T>
class DescriptorHandle {
 public:
  explicit DescriptorHandle(const DensityDescriptorParameters& parameters) : descriptor_(parameters) {}

  std::int64_t n_features() const { return descriptor_.n_features(); }
  double table_error() const { return descriptor_.expansion().radial().error(); }

  Array<T> transform(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                     const Array<std::int64_t>& offsets, std::optional<Array<T>> out) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    const std::int64_t n_rows = descriptor_.n_rows(structures.view(), centers);
    Array<T> features = out ? std::move(*out) : Array<T>({n_rows, n_features()});
    check_shape(features, "out", {n_rows, n_features()});
    T* data = features.mutable_data();
    const GilRelease release;
    descriptor_.transform(structures.view(), centers, data);
    return features;
  }

  py::tuple transform_sparse(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                             const Array<std::int64_t>& offsets) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    SparseRows<T> rows;
    {
      const GilRelease release;
      rows = descriptor_.transform_sparse(structures.view(), centers);
    }
    return py::make_tuple(take(std::move(rows.values)), take(std::move(rows.columns)),
                          take(std::move(rows.row_offsets)));
  }

  py::tuple vjp(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                const Array<std::int64_t>& offsets, const Array<T>& cotangent) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    check_shape(cotangent, "cotangent", {descriptor_.n_rows(structures.view(), centers), n_features()});
    Array<double> positions({structures.n_atoms(), std::int64_t{3}});
    Array<double> strain({structures.view().n_frames, std::int64_t{3}, std::int64_t{3}});
    double* positions_data = positions.mutable_data();
    double* strain_data = strain.mutable_data();
    std::fill_n(positions_data, positions.size(), 0.0);
    std::fill_n(strain_data, strain.size(), 0.0);
    {
      const GilRelease release;
      descriptor_.vjp(structures.view(), centers, cotangent.data(), positions_data, strain_data);
    }
    return py::make_tuple(positions, strain);
  }

  Array<T> jvp(const StructuresHandle& structures, const Array<std::int64_t>& atoms, const Array<std::int64_t>& offsets,
               const Array<double>& velocities, const Array<double>& strain) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    check_shape(velocities, "positions", {structures.n_atoms(), 3});
    check_shape(strain, "strain", {structures.view().n_frames, 3, 3});
    Array<T> features_dot({descriptor_.n_rows(structures.view(), centers), n_features()});
    T* data = features_dot.mutable_data();
    const GilRelease release;
    descriptor_.jvp(structures.view(), centers, velocities.data(), strain.data(), data);
    return features_dot;
  }

  JacobianLayoutHandle jacobian_layout(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                                       const Array<std::int64_t>& offsets) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    const GilRelease release;
    return {descriptor_.jacobian_layout(structures.view(), centers)};
  }

  /// Fills arrays that the caller allocated, one (n_blocks, 3, n_columns) per group of the layout.
  void jacobian(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                const Array<std::int64_t>& offsets, const JacobianLayoutHandle& handle, std::vector<Array<T>> values,
                std::optional<Array<T>> strain) const {
    const Centers centers = checked_centers(structures, atoms, offsets);
    const auto& groups = handle.layout.groups;
    if (values.size() != groups.size()) throw std::invalid_argument("values must hold one array per group");
    std::vector<T*> pointers;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      check_shape(values[g], "values", {groups[g].n_blocks(), 3, groups[g].n_columns});
      pointers.push_back(values[g].mutable_data());
    }
    T* strain_data = nullptr;
    if (strain) {
      check_shape(*strain, "strain", {descriptor_.n_rows(structures.view(), centers), 3, 3, n_features()});
      strain_data = strain->mutable_data();
    }
    const GilRelease release;
    descriptor_.jacobian(structures.view(), centers, handle.layout, pointers, strain_data);
  }

  /// R_nl(r) f_c(r) from the table and its derivative, each (n_distances, l_max + 1, n_max).
  py::tuple radial_functions(const Array<double>& distances) const {
    check_shape(distances, "distances", {-1});
    const auto& radial = descriptor_.expansion().radial();
    const std::int64_t n_degrees = radial.l_max() + 1;
    const std::int64_t n_max = radial.n_max();
    Array<double> values({distances.shape(0), n_degrees, n_max});
    Array<double> derivatives({distances.shape(0), n_degrees, n_max});
    for (py::ssize_t k = 0; k < distances.shape(0); ++k) {
      const double r = distances.at(k);
      if (!(r >= 0.0)) throw std::invalid_argument("distances must not be negative, got " + std::to_string(r));
      radial.evaluate(r, values.mutable_data() + k * n_degrees * n_max,
                      derivatives.mutable_data() + k * n_degrees * n_max);
    }
    return py::make_tuple(values, derivatives);
  }

 private:
  Centers checked_centers(const StructuresHandle& structures, const Array<std::int64_t>& atoms,
                          const Array<std::int64_t>& offsets) const {
    const Structures& view = structures.view();
    check_shape(offsets, "center offsets", {view.n_frames + 1});
    const std::int64_t* begin = offsets.data();
    check_shape(atoms, "center atoms", {begin[view.n_frames]});
    for (std::int64_t frame = 0; frame < view.n_frames; ++frame) {
      const std::int64_t n_atoms = view.atom_offsets[frame + 1] - view.atom_offsets[frame];
      if (begin[frame] > begin[frame + 1] || begin[0] != 0)
        throw std::invalid_argument("center offsets must start at 0 and never fall");
      for (std::int64_t center = begin[frame]; center < begin[frame + 1]; ++center) {
        const std::int64_t atom = atoms.at(center);
        if (atom < 0 || atom >= n_atoms) {
          throw std::invalid_argument("center " + std::to_string(atom) + " of frame " + std::to_string(frame) +
                                      " is not one of its " + std::to_string(n_atoms) + " atoms");
        }
      }
    }
    for (std::int64_t atom = 0; atom < structures.n_atoms(); ++atom) {
      if (view.species[atom] < 0 || view.species[atom] >= descriptor_.parameters().n_species) {
        throw std::invalid_argument("species must lie between 0 and n_species - 1");
      }
    }
    return {atoms.data(), begin};
  }

  DensityDescriptor<T> descriptor_;
};

DensityDescriptorParameters make_parameters(const std::string& kind, int n_species, const std::string& radial_basis,
                                            double cutoff, int n_max, int l_max, double sigma,
                                            const std::string& cutoff_function, double cutoff_width,
                                            double center_weight, double accuracy, bool normalize,
                                            const std::string& average) {
  DensityDescriptorParameters p;
  p.expansion.radial = {radial_basis, cutoff, sigma, n_max, l_max};
  p.expansion.cutoff_function = cutoff_function;
  p.expansion.cutoff_width = cutoff_width;
  p.expansion.center_weight = center_weight;
  p.expansion.accuracy = accuracy;
  p.head = kind;
  p.n_species = n_species;
  p.normalize = normalize;
  p.average = average_from_name(average);
  return p;
}

template <typename T>
void bind_descriptor(py::module_& module, const char* name) {
  using Handle = DescriptorHandle<T>;
  py::class_<Handle>(module, name)
      .def(py::init([](const std::string& kind, int n_species, const std::string& radial_basis, double cutoff,
                       int n_max, int l_max, double sigma, const std::string& cutoff_function, double cutoff_width,
                       double center_weight, double accuracy, bool normalize, const std::string& average) {
             const auto parameters =
                 make_parameters(kind, n_species, radial_basis, cutoff, n_max, l_max, sigma, cutoff_function,
                                 cutoff_width, center_weight, accuracy, normalize, average);
             const GilRelease release;
             return std::make_unique<Handle>(parameters);
           }),
           py::kw_only(), py::arg("kind"), py::arg("n_species"), py::arg("radial_basis"), py::arg("cutoff"),
           py::arg("n_max"), py::arg("l_max"), py::arg("sigma"), py::arg("cutoff_function"), py::arg("cutoff_width"),
           py::arg("center_weight"), py::arg("accuracy"), py::arg("normalize"), py::arg("average"))
      .def_property_readonly("n_features", &Handle::n_features)
      .def_property_readonly("table_error", &Handle::table_error)
      .def("transform", &Handle::transform, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert(), py::arg("out").noconvert() = py::none())
      .def("transform_sparse", &Handle::transform_sparse, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert())
      .def("vjp", &Handle::vjp, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert(), py::arg("cotangent").noconvert())
      .def("jvp", &Handle::jvp, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert(), py::arg("positions").noconvert(), py::arg("strain").noconvert())
      .def("jacobian_layout", &Handle::jacobian_layout, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert())
      .def("jacobian", &Handle::jacobian, py::arg("structures"), py::arg("center_atoms").noconvert(),
           py::arg("center_offsets").noconvert(), py::arg("layout"), py::arg("values").noconvert(),
           py::arg("strain").noconvert())
      .def("radial_functions", &Handle::radial_functions, py::arg("distances").noconvert());
}

}  // namespace

void bind_descriptors(py::module_& module) {
  const auto array_of = [](const std::vector<std::int64_t>& values) {
    return Array<std::int64_t>(static_cast<py::ssize_t>(values.size()), values.data());
  };
  py::class_<JacobianLayoutHandle>(module, "JacobianLayout")
      .def_property_readonly("n_groups", [](const JacobianLayoutHandle& self) { return self.layout.groups.size(); })
      .def("species",
           [](const JacobianLayoutHandle& self, std::size_t group) { return self.layout.groups.at(group).species; })
      .def("n_blocks",
           [](const JacobianLayoutHandle& self, std::size_t group) { return self.layout.groups.at(group).n_blocks(); })
      .def("n_columns",
           [](const JacobianLayoutHandle& self, std::size_t group) { return self.layout.groups.at(group).n_columns; })
      .def(
          "columns",
          [array_of](const JacobianLayoutHandle& self, std::size_t index) -> std::optional<Array<std::int64_t>> {
            const JacobianGroup& group = self.layout.groups.at(index);
            if (group.all_columns) return std::nullopt;
            return array_of(group.columns);
          },
          "None for all columns; empty for a group without blocks.")
      .def("blocks", [array_of](const JacobianLayoutHandle& self, std::size_t group) {
        const JacobianGroup& blocks = self.layout.groups.at(group);
        return py::make_tuple(array_of(blocks.row), array_of(blocks.frame), array_of(blocks.atom));
      });
  bind_descriptor<double>(module, "DensityDescriptor");
  bind_descriptor<float>(module, "DensityDescriptorF32");
}

}  // namespace castile::python
