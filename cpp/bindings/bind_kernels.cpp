#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "arrays.hpp"
#include "castile/kernels/dot_product.hpp"

namespace castile::python {
namespace {

FeatureRows feature_rows(const Array<double>& array, const char* name) {
  check_shape(array, name, {-1, -1});
  return {array.shape(0), array.shape(1), array.data()};
}

RowGroups row_groups(const Array<std::int64_t>& offsets, const char* name) {
  check_shape(offsets, name, {-1});
  if (offsets.shape(0) == 0) throw std::invalid_argument(std::string(name) + " must not be empty");
  return {offsets.shape(0) - 1, offsets.data()};
}

Array<double> bound_dot_product_kernel(const Array<double>& x, const Array<double>& y, double zeta, bool normalize) {
  const FeatureRows x_rows = feature_rows(x, "X");
  const FeatureRows y_rows = feature_rows(y, "Y");
  Array<double> K({x_rows.n_rows, y_rows.n_rows});
  double* const data = K.mutable_data();
  const GilRelease release;
  dot_product_kernel({zeta, normalize}, x_rows, y_rows, data);
  return K;
}

Array<double> bound_dot_product_kernel_sums(const Array<double>& x, const Array<std::int64_t>& x_offsets,
                                            const Array<double>& y, const Array<std::int64_t>& y_offsets, double zeta,
                                            bool normalize) {
  const FeatureRows x_rows = feature_rows(x, "X");
  const FeatureRows y_rows = feature_rows(y, "Y");
  const RowGroups x_groups = row_groups(x_offsets, "x_offsets");
  const RowGroups y_groups = row_groups(y_offsets, "y_offsets");
  Array<double> K({x_groups.n_groups, y_groups.n_groups});
  double* const data = K.mutable_data();
  const GilRelease release;
  dot_product_kernel_sums({zeta, normalize}, x_rows, x_groups, y_rows, y_groups, data);
  return K;
}

}  // namespace

void bind_kernels(py::module_& module) {
  module.def("dot_product_kernel", &bound_dot_product_kernel, py::arg("X").noconvert(), py::arg("Y").noconvert(),
             py::arg("zeta"), py::arg("normalize"));
  module.def("dot_product_kernel_sums", &bound_dot_product_kernel_sums, py::arg("X").noconvert(),
             py::arg("x_offsets").noconvert(), py::arg("Y").noconvert(), py::arg("y_offsets").noconvert(),
             py::arg("zeta"), py::arg("normalize"));
}

}  // namespace castile::python
