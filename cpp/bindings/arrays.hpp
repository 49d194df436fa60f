#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
// In every file or in none: a type bound with and without its casters would break the one-definition rule.
#include <pybind11/stl.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "castile/geometry/structure.hpp"

namespace castile::python {

namespace py = pybind11;

/// A C-contiguous array of exactly this dtype; bind with `.noconvert()` so that nothing is copied in silence.
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

/// Lets other Python threads run until the end of the scope.
///
/// While the interpreter shuts down, taking the lock back ends a daemon thread by unwinding its stack; from a
/// destructor that may not throw, as that of py::gil_scoped_release, this would abort the process.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() noexcept(false) { PyEval_RestoreThread(state_); }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

inline std::string shape_text(const py::array& array) {
  std::string text = "(";
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(array.shape(axis));
  }
  return text + ")";
}

/// Throws unless the array has the given shape; -1 allows any length of that axis.
inline void check_shape(const py::array& array, const char* name, std::initializer_list<std::int64_t> shape) {
  bool matches = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string expected;
  py::ssize_t axis = 0;
  for (const std::int64_t length : shape) {
    matches = matches && (length < 0 || array.shape(axis) == length);
    expected += (axis > 0 ? ", " : "") + (length < 0 ? "any" : std::to_string(length));
    ++axis;
  }
  if (!matches) {
    throw std::invalid_argument(std::string(name) + " must have shape (" + expected + "), got " + shape_text(array));
  }
}

/// Throws unless the array is one of offsets.
inline void check_ascending(const Array<std::int64_t>& offsets, const char* name) {
  const std::int64_t* begin = offsets.data();
  bool ascending = offsets.size() > 0 && begin[0] == 0;
  for (py::ssize_t k = 1; k < offsets.size(); ++k) ascending = ascending && begin[k - 1] <= begin[k];
  if (!ascending) throw std::invalid_argument(std::string(name) + " must start at 0 and never fall");
}

/// Structures together with the numpy arrays that they point into.
class StructuresHandle {
 public:
  StructuresHandle(Array<double> positions, Array<std::int32_t> species, Array<double> cells, Array<bool> pbc,
                   Array<std::int64_t> atom_offsets);

  const Structures& view() const { return view_; }
  std::int64_t n_atoms() const { return positions_.shape(0); }

 private:
  Array<double> positions_;
  Array<std::int32_t> species_;
  Array<double> cells_;
  Array<bool> pbc_;
  Array<std::int64_t> atom_offsets_;
  Structures view_;
};

void bind_frames(py::module_& module);
void bind_geometry(py::module_& module);
void bind_basis(py::module_& module);
void bind_descriptors(py::module_& module);
void bind_kernels(py::module_& module);
void bind_potential(py::module_& module);

}  // namespace castile::python
