#include <pybind11/pybind11.h>

#include "arrays.hpp"
#include "castile/errors.hpp"
#include "castile/parallel.hpp"
#include "castile/simd.hpp"

namespace py = pybind11;

namespace {

/// Raises the class of castile.errors; looked up late, so that the extension imports nothing at load time.
void raise_from_errors_module(const char* class_name, const char* message) {
  const py::object error = py::module_::import("castile.errors").attr(class_name);
  PyErr_SetString(error.ptr(), message);
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const castile::MemoryLimitExceeded& error) {
    raise_from_errors_module("MemoryLimitError", error.what());
  } catch (const castile::Interrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const std::invalid_argument& error) {
    raise_from_errors_module("InputError", error.what());
  }
}

/// Identifier of Python's main thread, the only one that handles signals. Others must not ask: taking the GIL while
/// the interpreter shuts down would end them in the middle of a loop.
unsigned long main_thread = 0;

/// True if a signal handler raised: the loop then stops and the Python error is kept.
bool interrupt_check() {
  if (PyThread_get_thread_ident() != main_thread) return false;
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of Castile.";
  module.attr("__version__") = CASTILE_VERSION;
  py::register_exception_translator(translate);
  main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  castile::set_interrupt_check(interrupt_check);

  module.def("num_threads", &castile::num_threads);
  module.def("set_num_threads", &castile::set_num_threads, py::arg("n_threads"));
  module.def("set_num_threads_of_this_thread", &castile::set_num_threads_of_this_thread, py::arg("n_threads"));
  module.def("openmp_enabled", &castile::openmp_enabled);
  module.def("instruction_set", &castile::instruction_set);
  module.def("instruction_sets_built", &castile::instruction_sets_built);
#ifdef __clang__
  module.def("compiler", [] { return std::string(__VERSION__); });
#else
  module.def("compiler", [] { return std::string("GCC ") + __VERSION__; });
#endif

  castile::python::bind_frames(module);
  castile::python::bind_geometry(module);
  castile::python::bind_basis(module);
  castile::python::bind_descriptors(module);
  castile::python::bind_kernels(module);
  castile::python::bind_potential(module);
}
