
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "castile/descriptors/density_descriptor.hpp"
#include "castile/descriptors/product_basis.hpp"

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

/// Centers and their rows, as arrays that numpy owns.
class CentersHandle {
 public:
  CentersHandle(Array<std::int64_t> atoms, Array<std::int64_t> offsets, std::optional<Array<double>> points,
                std::optional<Array<std::int64_t>> row_offsets)
      : atoms_(std::move(atoms)),
        offsets_(std::move(offsets)),
        points_(std::move(points)),
        row_offsets_(std::move(row_offsets)) {
    check_shape(offsets_, "center offsets", {-1});
    if (offsets_.size() == 0) throw std::invalid_argument("center offsets must not be empty");
    check_ascending(offsets_, "center offsets");
    check_shape(atoms_, "center atoms", {offsets_.data()[offsets_.size() - 1]});
    if (points_) {
      check_shape(*points_, "center points", {atoms_.size(), 3});
      for (py::ssize_t k = 0; k < points_->size(); ++k) {
        if (!std::isfinite(points_->data()[k])) throw std::invalid_argument("center points must be finite");
      }
    }
    if (row_offsets_) check_rows();
  }

  Centers view() const {
    Centers centers;
    centers.atoms = atoms_.data();
    centers.offsets = offsets_.data();
    if (points_) centers.points = points_->data();
    if (row_offsets_) {
      centers.row_offsets = row_offsets_->data();
      centers.n_rows = row_offsets_->size() - 1;
    }
    return centers;
  }

  std::int64_t n_frames() const { return offsets_.size() - 1; }
  std::int64_t n_centers() const { return atoms_.size(); }

 private:
  /// Rows are runs of centers, each of one frame.
  void check_rows() const {
    check_ascending(*row_offsets_, "row offsets");
    const std::int64_t* rows = row_offsets_->data();
    const std::int64_t n_rows = row_offsets_->size() - 1;
    if (rows[n_rows] != n_centers()) throw std::invalid_argument("row offsets must end at the number of centers");
    const std::int64_t* frame_end = offsets_.data() + 1;
    for (std::int64_t row = 0; row < n_rows; ++row) {
      if (rows[row] == rows[row + 1]) continue;
      while (*frame_end <= rows[row]) ++frame_end;
      if (rows[row + 1] > *frame_end) throw std::invalid_argument("the centers of a row must be of one frame");
    }
  }

  Array<std::int64_t> atoms_;
  Array<std::int64_t> offsets_;
  std::optional<Array<double>> points_;
  std::optional<Array<std::int64_t>> row_offsets_;
};

/// One descriptor for numpy arrays of one precision.
template <typename T>
class DescriptorHandle {
 public:
  explicit DescriptorHandle(const DensityDescriptorParameters& parameters)
      : descriptor_(std::make_shared<const DensityDescriptor<T>>(parameters)) {}

  const std::shared_ptr<const DensityDescriptor<T>>& shared() const { return descriptor_; }

  std::int64_t n_features() const { return descriptor_->n_features(); }
  int n_channels() const { return descriptor_->n_channels(); }
  bool mixes_species() const { return !descriptor_->parameters().species_mixing.empty(); }
  int n_max() const { return descriptor_->expansion().n_max(); }
  double table_error() const { return descriptor_->expansion().table_error(); }
  std::int64_t table_bytes() const { return descriptor_->expansion().table_bytes(); }

  Array<T> transform(const StructuresHandle& structures, const CentersHandle& handle, std::optional<Array<T>> out,
                     bool zeroed) const {
    const Centers centers = checked_centers(structures, handle);
    const std::int64_t n_rows = descriptor_->n_rows(structures.view(), centers);
    Array<T> features = out ? std::move(*out) : Array<T>({n_rows, n_features()});
    check_shape(features, "out", {n_rows, n_features()});
    T* data = features.mutable_data();
    const GilRelease release;
    descriptor_->transform(structures.view(), centers, data, zeroed);
    return features;
  }

  py::tuple transform_sparse(const StructuresHandle& structures, const CentersHandle& handle) const {
    const Centers centers = checked_centers(structures, handle);
    SparseRows<T> rows;
    {
      const GilRelease release;
      rows = descriptor_->transform_sparse(structures.view(), centers);
    }
    return as_arrays(std::move(rows));
  }

  /// `cotangent` is dense, or the values, columns and row offsets of CSR.
  py::tuple vjp(const StructuresHandle& structures, const CentersHandle& handle, const Array<T>& cotangent,
                const std::optional<Array<std::int32_t>>& columns,
                const std::optional<Array<std::int64_t>>& row_offsets) const {
    const Centers centers = checked_centers(structures, handle);
    const FeatureRows<T> rows =
        checked_rows(descriptor_->n_rows(structures.view(), centers), cotangent, columns, row_offsets);
    const auto zeros = [](std::vector<std::int64_t> shape) {
      Array<double> array(shape);
      std::fill_n(array.mutable_data(), array.size(), 0.0);
      return array;
    };
    Array<double> positions = zeros({structures.n_atoms(), 3});
    Array<double> points = zeros({centers.points == nullptr ? 0 : handle.n_centers(), 3});
    Array<double> strain = zeros({structures.view().n_frames, 3, 3});
    double* positions_data = positions.mutable_data();
    double* points_data = centers.points == nullptr ? nullptr : points.mutable_data();
    double* strain_data = strain.mutable_data();
    {
      const GilRelease release;
      descriptor_->vjp(structures.view(), centers, rows, positions_data, points_data, strain_data);
    }
    return py::make_tuple(positions, points, strain);
  }

  Array<T> jvp(const StructuresHandle& structures, const CentersHandle& handle, const Array<double>& velocities,
               const std::optional<Array<double>>& point_velocities, const Array<double>& strain) const {
    const Centers centers = checked_centers(structures, handle);
    const Rates rates = checked_rates(structures, handle, velocities, point_velocities, strain);
    Array<T> features_dot({descriptor_->n_rows(structures.view(), centers), n_features()});
    T* data = features_dot.mutable_data();
    const GilRelease release;
    descriptor_->jvp(structures.view(), centers, rates, data);
    return features_dot;
  }

  py::tuple jvp_sparse(const StructuresHandle& structures, const CentersHandle& handle, const Array<double>& velocities,
                       const std::optional<Array<double>>& point_velocities, const Array<double>& strain) const {
    const Centers centers = checked_centers(structures, handle);
    const Rates rates = checked_rates(structures, handle, velocities, point_velocities, strain);
    SparseRows<T> rows;
    {
      const GilRelease release;
      rows = descriptor_->jvp_sparse(structures.view(), centers, rates);
    }
    return as_arrays(std::move(rows));
  }

  JacobianLayoutHandle jacobian_layout(const StructuresHandle& structures, const CentersHandle& handle,
                                       bool sparse) const {
    const Centers centers = checked_centers(structures, handle);
    const GilRelease release;
    return {descriptor_->jacobian_layout(structures.view(), centers, sparse)};
  }

  Array<std::int64_t> columns(const std::vector<std::int32_t>& channels, std::int32_t touched_by) const {
    const auto entry = std::find(channels.begin(), channels.end(), touched_by);
    const bool known = std::is_sorted(channels.begin(), channels.end()) && (touched_by < 0 || entry != channels.end());
    if (!known) throw std::invalid_argument("channels must ascend, and hold touched_by");
    return take(descriptor_->columns(channels, touched_by < 0 ? -1 : static_cast<int>(entry - channels.begin())));
  }

  /// Fills arrays that the caller allocated, one (n_blocks, 3, n_columns) per group of the layout and one
  /// (n_rows, 3, 3, n_columns) per set.
  void jacobian(const StructuresHandle& structures, const CentersHandle& handle, const JacobianLayoutHandle& layout,
                std::vector<Array<T>> values, std::optional<std::vector<Array<T>>> strain) const {
    const Centers centers = checked_centers(structures, handle);
    const auto& groups = layout.layout.groups;
    if (values.size() != groups.size()) throw std::invalid_argument("values must hold one array per group");
    std::vector<T*> pointers;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      check_shape(values[g], "values", {groups[g].n_blocks(), 3, groups[g].n_columns});
      pointers.push_back(values[g].mutable_data());
    }
    std::vector<T*> strain_pointers;
    if (strain) {
      const auto& sets = layout.layout.sets;
      if (strain->size() != sets.size()) throw std::invalid_argument("strain must hold one array per set");
      for (std::size_t k = 0; k < sets.size(); ++k) {
        check_shape((*strain)[k], "strain", {static_cast<std::int64_t>(sets[k].rows.size()), 3, 3, sets[k].n_columns});
        strain_pointers.push_back((*strain)[k].mutable_data());
      }
    }
    const GilRelease release;
    descriptor_->jacobian(structures.view(), centers, layout.layout, pointers, strain_pointers);
  }

  /// Weighted R_nl(r) of a species from its table and the derivative, each (n_distances, l_max + 1, n_max).
  py::tuple radial_functions(const Array<double>& distances, std::int32_t species) const {
    check_shape(distances, "distances", {-1});
    if (species < 0 || species >= descriptor_->parameters().n_species) {
      throw std::invalid_argument("species must lie between 0 and n_species - 1");
    }
    const auto& radial = descriptor_->expansion().radial(species);
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
  static py::tuple as_arrays(SparseRows<T>&& rows) {
    return py::make_tuple(take(std::move(rows.values)), take(std::move(rows.columns)),
                          take(std::move(rows.row_offsets)));
  }

  FeatureRows<T> checked_rows(std::int64_t n_rows, const Array<T>& values,
                              const std::optional<Array<std::int32_t>>& columns,
                              const std::optional<Array<std::int64_t>>& row_offsets) const {
    if (!columns || !row_offsets) {
      check_shape(values, "cotangent", {n_rows, n_features()});
      return {values.data(), n_features()};
    }
    check_shape(*row_offsets, "cotangent offsets", {n_rows + 1});
    check_ascending(*row_offsets, "cotangent offsets");
    check_shape(values, "cotangent", {row_offsets->data()[n_rows]});
    check_shape(*columns, "cotangent columns", {values.size()});
    for (py::ssize_t k = 0; k < columns->size(); ++k) {
      if (columns->data()[k] < 0 || columns->data()[k] >= n_features()) {
        throw std::invalid_argument("cotangent columns must lie between 0 and n_features - 1");
      }
    }
    return {values.data(), n_features(), row_offsets->data(), columns->data()};
  }

  static Rates checked_rates(const StructuresHandle& structures, const CentersHandle& handle,
                             const Array<double>& velocities, const std::optional<Array<double>>& point_velocities,
                             const Array<double>& strain) {
    check_shape(velocities, "positions", {structures.n_atoms(), 3});
    if (point_velocities) check_shape(*point_velocities, "points", {handle.n_centers(), 3});
    check_shape(strain, "strain", {structures.view().n_frames, 3, 3});
    return {velocities.data(), strain.data(), point_velocities ? point_velocities->data() : nullptr};
  }

  Centers checked_centers(const StructuresHandle& structures, const CentersHandle& handle) const {
    const Structures& view = structures.view();
    const Centers centers = handle.view();
    if (handle.n_frames() != view.n_frames) throw std::invalid_argument("centers must be those of the structures");
    for (std::int64_t frame = 0; frame < view.n_frames; ++frame) {
      const std::int64_t n_atoms = view.atom_offsets[frame + 1] - view.atom_offsets[frame];
      for (std::int64_t center = centers.offsets[frame]; center < centers.offsets[frame + 1]; ++center) {
        const std::int64_t atom = centers.atoms[center];
        if (atom < (centers.points == nullptr ? 0 : -1) || atom >= n_atoms) {
          throw std::invalid_argument("center " + std::to_string(atom) + " of frame " + std::to_string(frame) +
                                      " is not one of its " + std::to_string(n_atoms) + " atoms");
        }
      }
    }
    for (std::int64_t atom = 0; atom < structures.n_atoms(); ++atom) {
      if (view.species[atom] < 0 || view.species[atom] >= descriptor_->parameters().n_species) {
        throw std::invalid_argument("species must lie between 0 and n_species - 1");
      }
    }
    return centers;
  }

  std::shared_ptr<const DensityDescriptor<T>> descriptor_;
};

/// An entry of the dictionary of parameters, which the Python layer makes.
template <typename V>
V get(const py::dict& dict, const char* name) {
  if (!dict.contains(name)) throw std::invalid_argument(std::string("the parameters lack ") + name);
  return dict[name].cast<V>();
}

/// The numbers of an array of any shape, and its shape; none for None.
std::vector<double> numbers(const py::dict& dict, const char* name, std::vector<py::ssize_t>* shape = nullptr) {
  const auto array = get<std::optional<Array<double>>>(dict, name);
  if (!array) return {};
  if (shape != nullptr) shape->assign(array->shape(), array->shape() + array->ndim());
  return {array->data(), array->data() + array->size()};
}

DensityWeighting density_weighting(const py::dict& dict) {
  DensityWeighting p;
  p.name = get<std::string>(dict, "name");
  const std::pair<const char*, double*> entries[] = {{"c", &p.c},
                                                     {"d", &p.d},
                                                     {"m", &p.m},
                                                     {"r0", &p.r0},
                                                     {"rate", &p.rate},
                                                     {"scale", &p.scale},
                                                     {"exponent", &p.exponent}};
  for (const auto& [name, value] : entries) {
    if (dict.contains(name)) *value = get<double>(dict, name);
  }
  p.w0 = get<std::optional<double>>(dict, "w0");
  return p;
}

std::shared_ptr<const TabulatedFunctions> tabulated_functions(const std::optional<py::dict>& dict) {
  if (!dict) return nullptr;
  auto functions = std::make_shared<TabulatedFunctions>();
  functions->quantity = get<std::string>(*dict, "quantity") == "expansion_integrals"
                            ? TabulatedFunctions::Quantity::expansion_integrals
                            : TabulatedFunctions::Quantity::radial_functions;
  functions->breakpoints = numbers(*dict, "breakpoints");
  functions->n_l = get<int>(*dict, "n_l");
  functions->coefficients = numbers(*dict, "coefficients");
  return functions;
}

RadialTableParameters table_parameters(const py::dict& dict) {
  RadialTableParameters p;
  p.basis.name = get<std::string>(dict, "radial_basis");
  p.basis.cutoff = get<double>(dict, "cutoff");
  p.basis.sigma = get<double>(dict, "sigma");
  p.basis.n_max = get<int>(dict, "n_max");
  p.basis.l_max = get<int>(dict, "l_max");
  p.basis.tabulated = tabulated_functions(get<std::optional<py::dict>>(dict, "tabulated"));
  std::vector<py::ssize_t> shape;
  auto contraction = numbers(dict, "contraction", &shape);
  if (!contraction.empty()) {
    p.basis.contraction =
        std::make_shared<RadialContraction>(RadialContraction{static_cast<int>(shape.at(2)), std::move(contraction)});
  }
  p.weight.cutoff_function = get<std::string>(dict, "cutoff_function");
  p.weight.cutoff_width = get<double>(dict, "cutoff_width");
  p.weight.reach = get<double>(dict, "reach");
  p.weight.density_weighting = density_weighting(get<py::dict>(dict, "density_weighting"));
  p.accuracy = get<double>(dict, "accuracy");
  return p;
}

ProductRule product_rule(const py::dict& dict) {
  return {get<std::vector<int>>(dict, "degrees"), get<std::vector<int>>(dict, "channel_degrees"),
          get<int>(dict, "most_channels")};
}

DensityDescriptorParameters descriptor_parameters(const py::dict& dict) {
  DensityDescriptorParameters p;
  p.expansion.tables.clear();
  for (const auto& table : get<std::vector<py::dict>>(dict, "tables")) {
    p.expansion.tables.push_back(table_parameters(table));
  }
  p.expansion.table_of_species = get<std::vector<int>>(dict, "table_of_species");
  p.expansion.species_weights = get<std::vector<double>>(dict, "species_weights");
  p.expansion.center_weight = get<double>(dict, "center_weight");
  p.n_species = get<int>(dict, "n_species");
  std::vector<py::ssize_t> shape;
  p.species_mixing = numbers(dict, "species_mixing", &shape);
  if (!p.species_mixing.empty()) p.n_channels = static_cast<int>(shape.at(0));
  p.head.name = get<std::string>(dict, "kind");
  p.head.tensor_matrices = numbers(dict, "tensor_matrices", &shape);
  if (!p.head.tensor_matrices.empty()) p.head.n_tensor_features = static_cast<int>(shape.at(2));
  if (const auto rule = get<std::optional<py::dict>>(dict, "product_rule")) p.head.product_rule = product_rule(*rule);
  p.normalize = get<bool>(dict, "normalize");
  p.average = average_from_name(get<std::string>(dict, "average"));
  return p;
}

template <typename T>
void bind_descriptor(py::module_& module, const char* name) {
  using Handle = DescriptorHandle<T>;
  py::class_<Handle>(module, name)
      .def(py::init([](const py::dict& dict) {
             const auto parameters = descriptor_parameters(dict);
             const GilRelease release;
             return std::make_unique<Handle>(parameters);
           }),
           py::arg("parameters"))
      .def_property_readonly("n_features", &Handle::n_features)
      .def_property_readonly("n_channels", &Handle::n_channels)
      .def_property_readonly("mixes_species", &Handle::mixes_species)
      .def_property_readonly("n_max", &Handle::n_max)
      .def_property_readonly("table_error", &Handle::table_error)
      .def_property_readonly("table_bytes", &Handle::table_bytes)
      .def("transform", &Handle::transform, py::arg("structures"), py::arg("centers"),
           py::arg("out").noconvert() = py::none(), py::arg("zeroed") = false)
      .def("transform_sparse", &Handle::transform_sparse, py::arg("structures"), py::arg("centers"))
      .def("vjp", &Handle::vjp, py::arg("structures"), py::arg("centers"), py::arg("cotangent").noconvert(),
           py::arg("columns").noconvert() = py::none(), py::arg("row_offsets").noconvert() = py::none())
      .def("jvp", &Handle::jvp, py::arg("structures"), py::arg("centers"), py::arg("positions").noconvert(),
           py::arg("points").noconvert(), py::arg("strain").noconvert())
      .def("jvp_sparse", &Handle::jvp_sparse, py::arg("structures"), py::arg("centers"),
           py::arg("positions").noconvert(), py::arg("points").noconvert(), py::arg("strain").noconvert())
      .def("jacobian_layout", &Handle::jacobian_layout, py::arg("structures"), py::arg("centers"), py::arg("sparse"))
      .def("columns", &Handle::columns, py::arg("channels"), py::arg("touched_by") = -1)
      .def("jacobian", &Handle::jacobian, py::arg("structures"), py::arg("centers"), py::arg("layout"),
           py::arg("values").noconvert(), py::arg("strain").noconvert())
      .def("radial_functions", &Handle::radial_functions, py::arg("distances").noconvert(), py::arg("species"));
}

}  // namespace

std::shared_ptr<const DensityDescriptor<double>> shared_descriptor(const py::object& handle) {
  return handle.cast<const DescriptorHandle<double>&>().shared();
}

void bind_descriptors(py::module_& module) {
  const auto array_of = [](const std::vector<std::int64_t>& values) {
    return Array<std::int64_t>(static_cast<py::ssize_t>(values.size()), values.data());
  };
  module.def("feature_head_names", &feature_head_names);
  module.def(
      "product_functions",
      [](int n_channels, int n_max, int l_max, const std::vector<int>& degrees, const std::vector<int>& channel_degrees,
         int most_channels) {
        py::list functions;
        const ProductBasis basis(n_channels, n_max, l_max, {degrees, channel_degrees, most_channels});
        for (const ProductFunction& function : basis.functions()) {
          py::list factors;
          for (const ProductFactor& f : function.factors) factors.append(py::make_tuple(f.channel, f.n, f.l));
          functions.append(py::make_tuple(py::tuple(factors), py::tuple(py::cast(function.degrees))));
        }
        return functions;
      },
      py::arg("n_channels"), py::arg("n_max"), py::arg("l_max"), py::arg("degrees"),
      py::arg("channel_degrees") = std::vector<int>{}, py::arg("most_channels") = ProductRule{}.most_channels);
  module.def(
      "product_count",
      [](int n_channels, int n_max, int l_max, const std::vector<int>& degrees, const std::vector<int>& channel_degrees,
         int most_channels) {
        return count_products(n_channels, n_max, l_max, {degrees, channel_degrees, most_channels});
      },
      py::arg("n_channels"), py::arg("n_max"), py::arg("l_max"), py::arg("degrees"),
      py::arg("channel_degrees") = std::vector<int>{}, py::arg("most_channels") = ProductRule{}.most_channels);
  module.def(
      "product_sizes",
      [](const std::vector<int>& degrees) {
        return py::make_tuple(ProductBasis::n_max(degrees), ProductBasis::l_max(degrees));
      },
      py::arg("degrees"));
  module.def("density_weighting_names", &density_weighting_names);
  py::class_<CentersHandle>(module, "Centers")
      .def(py::init<Array<std::int64_t>, Array<std::int64_t>, std::optional<Array<double>>,
                    std::optional<Array<std::int64_t>>>(),
           py::arg("atoms").noconvert(), py::arg("offsets").noconvert(), py::arg("points").noconvert() = py::none(),
           py::arg("row_offsets").noconvert() = py::none());
  py::class_<JacobianLayoutHandle>(module, "JacobianLayout")
      .def_property_readonly(
          "groups",
          [array_of](const JacobianLayoutHandle& self) {
            py::list groups;
            for (const JacobianGroup& group : self.layout.groups) {
              groups.append(py::make_tuple(group.species, group.channel_set, group.all_columns, group.n_columns,
                                           array_of(group.row), array_of(group.frame), array_of(group.atom)));
            }
            return groups;
          })
      .def_property_readonly("sets", [array_of](const JacobianLayoutHandle& self) {
        py::list sets;
        for (const ChannelSet& set : self.layout.sets) {
          sets.append(py::make_tuple(py::tuple(py::cast(set.channels)), set.n_columns, array_of(set.rows)));
        }
        return sets;
      });
  bind_descriptor<double>(module, "DensityDescriptor");
  bind_descriptor<float>(module, "DensityDescriptorF32");
}

}  // namespace castile::python
