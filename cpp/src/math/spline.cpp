#include "castile/math/spline.hpp"

namespace castile {
namespace {

void cubic_weights(double t, double* w, double* dw) {
  const double s = 1.0 - t;
  w[0] = (1.0 + 2.0 * t) * s * s;
  w[1] = t * s * s;
  w[2] = t * t * (3.0 - 2.0 * t);
  w[3] = -t * t * s;
  dw[0] = -6.0 * t * s;
  dw[1] = s * (1.0 - 3.0 * t);
  dw[2] = 6.0 * t * s;
  dw[3] = t * (3.0 * t - 2.0);
}

void quintic_weights(double t, double* w, double* dw) {
  const double s = 1.0 - t;
  const double t2 = t * t;
  const double s2 = s * s;
  const double t3 = t2 * t;
  const double s3 = s2 * s;
  w[0] = s3 * (1.0 + 3.0 * t + 6.0 * t2);
  w[1] = t * s3 * (1.0 + 3.0 * t);
  w[2] = 0.5 * t2 * s3;
  w[3] = t3 * (1.0 + 3.0 * s + 6.0 * s2);
  w[4] = -s * t3 * (1.0 + 3.0 * s);
  w[5] = 0.5 * s2 * t3;
  dw[0] = -30.0 * t2 * s2;
  dw[1] = s2 * (1.0 - 3.0 * t) * (1.0 + 5.0 * t);
  dw[2] = 0.5 * t * s2 * (2.0 - 5.0 * t);
  dw[3] = 30.0 * t2 * s2;
  dw[4] = t2 * (1.0 - 3.0 * s) * (1.0 + 5.0 * s);
  dw[5] = -0.5 * s * t2 * (2.0 - 5.0 * s);
}

}  // namespace

void hermite_weights(HermiteForm form, double t, double* weights, double* derivatives) {
  if (form == HermiteForm::cubic) {
    cubic_weights(t, weights, derivatives);
  } else {
    quintic_weights(t, weights, derivatives);
  }
}

}  // namespace castile
