#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "arrays.hpp"

namespace castile::python {
namespace {

/// An attribute's array as this dtype, in C order; a copy only if it is not that already.
template <typename T>
Array<T> as_array(const py::handle& object, const char* name, std::int64_t frame) {
  if (Array<T>::check_(object)) return py::reinterpret_borrow<Array<T>>(object);
  try {
    return py::array_t<T, py::array::c_style | py::array::forcecast>(py::reinterpret_borrow<py::object>(object));
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError) && !error.matches(PyExc_ValueError)) throw;
    throw std::invalid_argument(std::string(name) + " of frame " + std::to_string(frame) + " must hold numbers");
  }
}

/// Made once, and left to the end of the process.
struct Names {
  py::handle arrays = PyUnicode_InternFromString("arrays");
  py::handle positions = PyUnicode_InternFromString("positions");
  py::handle numbers = PyUnicode_InternFromString("numbers");
  py::handle cell = PyUnicode_InternFromString("cell");
  py::handle array = PyUnicode_InternFromString("array");
  py::handle pbc = PyUnicode_InternFromString("pbc");
};

/// What is taken of one ase.Atoms.
struct FrameArrays {
  FrameArrays(const py::handle& atoms, std::int64_t frame) {
    static const Names names;
    const py::object arrays = atoms.attr(names.arrays);
    positions = as_array<double>(arrays[names.positions], "positions", frame);
    numbers = as_array<std::int64_t>(arrays[names.numbers], "numbers", frame);
    cell = as_array<double>(atoms.attr(names.cell).attr(names.array), "cell", frame);
    pbc = as_array<bool>(atoms.attr(names.pbc), "pbc", frame);
    const std::string of_frame = " of frame " + std::to_string(frame);
    check_shape(positions, ("positions" + of_frame).c_str(), {-1, 3});
    check_shape(numbers, ("numbers" + of_frame).c_str(), {positions.shape(0)});
    check_shape(cell, ("cell" + of_frame).c_str(), {3, 3});
    check_shape(pbc, ("pbc" + of_frame).c_str(), {3});
  }
  std::int64_t n_atoms() const { return positions.shape(0); }

  Array<double> positions;
  Array<std::int64_t> numbers;
  Array<double> cell;
  Array<bool> pbc;
};

/// Positions, numbers, cells, pbc, offsets, and whether they are beyond doubt, with numbers below n_numbers.
py::tuple frame_arrays(const py::list& frames, std::int64_t first_frame, std::int64_t n_numbers) {
  std::vector<FrameArrays> parts;
  parts.reserve(frames.size());
  std::int64_t n_atoms = 0;
  for (const py::handle& atoms : frames) {
    parts.emplace_back(atoms, first_frame + static_cast<std::int64_t>(parts.size()));
    n_atoms += parts.back().n_atoms();
  }
  const auto n_frames = static_cast<std::int64_t>(parts.size());
  Array<double> positions({n_atoms, std::int64_t{3}});
  Array<std::int64_t> numbers(n_atoms);
  Array<double> cells({n_frames, std::int64_t{3}, std::int64_t{3}});
  Array<bool> pbc({n_frames, std::int64_t{3}});
  Array<std::int64_t> offsets(n_frames + 1);
  Structures view{n_frames, positions.data(), nullptr, cells.data(), pbc.data(), offsets.data()};
  double* next_position = positions.mutable_data();
  std::int64_t* next_number = numbers.mutable_data();
  double* next_cell = cells.mutable_data();
  bool* next_pbc = pbc.mutable_data();
  std::int64_t* next_offset = offsets.mutable_data();
  *next_offset = 0;
  for (const FrameArrays& part : parts) {
    next_position = std::copy_n(part.positions.data(), 3 * part.n_atoms(), next_position);
    next_number = std::copy_n(part.numbers.data(), part.n_atoms(), next_number);
    next_cell = std::copy_n(part.cell.data(), 9, next_cell);
    next_pbc = std::copy_n(part.pbc.data(), 3, next_pbc);
    next_offset[1] = next_offset[0] + part.n_atoms();
    ++next_offset;
  }
  const bool known = std::all_of(numbers.data(), numbers.data() + n_atoms,
                                 [&](std::int64_t number) { return number >= 0 && number < n_numbers; });
  return py::make_tuple(positions, numbers, cells, pbc, offsets, known && plainly_valid(view));
}

}  // namespace

void bind_frames(py::module_& module) {
  module.def("frame_arrays", &frame_arrays, py::arg("frames"), py::arg("first_frame"), py::arg("n_numbers"));
}

}  // namespace castile::python
