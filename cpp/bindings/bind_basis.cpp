
#include "arrays.hpp"
#include "castile/basis/radial_basis.hpp"

namespace castile::python {

void bind_basis(py::module_& module) { module.def("radial_basis_names", &radial_basis_names); }

}  // namespace castile::python
