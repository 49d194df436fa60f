#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "castile/geometry/neighbor_list.hpp"
#include "castile/memory.hpp"

namespace castile::python {

StructuresHandle::StructuresHandle(Array<double> positions, Array<std::int32_t> species, Array<double> cells,
                                   Array<bool> pbc, Array<std::int64_t> atom_offsets)
    : positions_(std::move(positions)),
      species_(std::move(species)),
      cells_(std::move(cells)),
      pbc_(std::move(pbc)),
      atom_offsets_(std::move(atom_offsets)) {
  check_shape(positions_, "positions", {-1, 3});
  check_shape(species_, "species", {positions_.shape(0)});
  check_shape(cells_, "cells", {-1, 3, 3});
  check_shape(pbc_, "pbc", {cells_.shape(0), 3});
  check_shape(atom_offsets_, "atom_offsets", {cells_.shape(0) + 1});
  const std::int64_t* offsets = atom_offsets_.data();
  if (offsets[0] != 0 || offsets[cells_.shape(0)] != positions_.shape(0) ||
      !std::is_sorted(offsets, offsets + cells_.shape(0) + 1)) {
    throw std::invalid_argument("atom_offsets must start at 0, never fall and end at the " +
                                std::to_string(positions_.shape(0)) + " atoms of positions");
  }
  view_.n_frames = cells_.shape(0);
  view_.positions = positions_.data();
  view_.species = species_.data();
  view_.cells = cells_.data();
  view_.pbc = pbc_.data();
  view_.atom_offsets = offsets;
}

namespace {

/// Allocates (n_pairs) or (n_pairs, 3) if the quantity is wanted, and returns where to write it.
template <typename T>
T* allocate(std::optional<Array<T>>& array, bool wanted, std::int64_t n_pairs, bool is_vector) {
  if (!wanted) return nullptr;
  if (is_vector) {
    array.emplace(py::array::ShapeContainer{n_pairs, std::int64_t{3}});
  } else {
    array.emplace(n_pairs);
  }
  return array->mutable_data();
}

PairCutoff pair_cutoff(const StructuresHandle& structures, double cutoff,
                       const std::optional<Array<double>>& of_species_pair, const std::optional<Array<double>>& radii) {
  PairCutoff pairs;
  pairs.cutoff = cutoff;
  if (of_species_pair) {
    check_shape(*of_species_pair, "of_species_pair", {-1, -1});
    check_shape(*of_species_pair, "of_species_pair", {of_species_pair->shape(0), of_species_pair->shape(0)});
    pairs.n_species = static_cast<std::int32_t>(of_species_pair->shape(0));
    pairs.of_species_pair.assign(of_species_pair->data(), of_species_pair->data() + of_species_pair->size());
  }
  if (radii) {
    check_shape(*radii, "radii", {structures.n_atoms()});
    pairs.radii = radii->data();
  }
  return pairs;
}

py::tuple neighbor_list(const StructuresHandle& structures, const std::string& quantities, double cutoff,
                        const std::optional<Array<double>>& of_species_pair, const std::optional<Array<double>>& radii,
                        bool half, bool self_interaction) {
  const PairCutoff pairs = pair_cutoff(structures, cutoff, of_species_pair, radii);
  const auto wanted = [&](char letter) { return quantities.find(letter) != std::string::npos; };
  NeighborListOptions options;
  options.half = half;
  options.self_interaction = self_interaction;
  options.bytes_per_pair =
      8.0 * wanted('i') + 8.0 * wanted('j') + 12.0 * wanted('S') + 24.0 * wanted('D') + 8.0 * wanted('d');
  std::optional<NeighborList> list;
  {
    const GilRelease release;
    list.emplace(structures.view(), pairs, options);
  }
  const std::int64_t n_pairs = list->n_pairs();
  std::optional<Array<std::int64_t>> i, j;
  std::optional<Array<std::int32_t>> S;
  std::optional<Array<double>> D, d;
  PairArrays arrays;
  arrays.i = allocate(i, wanted('i'), n_pairs, false);
  arrays.j = allocate(j, wanted('j'), n_pairs, false);
  arrays.S = allocate(S, wanted('S'), n_pairs, true);
  arrays.D = allocate(D, wanted('D'), n_pairs, true);
  arrays.d = allocate(d, wanted('d'), n_pairs, false);
  Array<std::int64_t> offsets(static_cast<py::ssize_t>(list->offsets().size()));
  std::copy(list->offsets().begin(), list->offsets().end(), offsets.mutable_data());
  {
    const GilRelease release;
    list->write(arrays);
    list.reset();
  }
  return py::make_tuple(offsets, i, j, S, D, d);
}

}  // namespace

void bind_geometry(py::module_& module) {
  py::class_<StructuresHandle>(module, "Structures")
      .def(py::init<Array<double>, Array<std::int32_t>, Array<double>, Array<bool>, Array<std::int64_t>>(),
           py::arg("positions").noconvert(), py::arg("species").noconvert(), py::arg("cells").noconvert(),
           py::arg("pbc").noconvert(), py::arg("atom_offsets").noconvert())
      .def_property_readonly("n_frames", [](const StructuresHandle& self) { return self.view().n_frames; })
      .def_property_readonly("n_atoms", &StructuresHandle::n_atoms);

  module.def("neighbor_list", &neighbor_list, py::arg("structures"), py::arg("quantities"), py::arg("cutoff"),
             py::arg("of_species_pair").noconvert() = py::none(), py::arg("radii").noconvert() = py::none(),
             py::arg("half") = false, py::arg("self_interaction") = false);
  module.def("available_memory", &available_memory);
}

}  // namespace castile::python
