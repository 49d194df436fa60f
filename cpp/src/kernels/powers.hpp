#pragma once

#include <cstdint>

namespace castile {

/// power[k] = x[k]^exponent, exponent >= 0; may be done in place. An integer exponent is repeated multiplication; for
/// any other, numbers that are not positive give zero.
void raise(std::int64_t n, double exponent, const double* x, double* power);

}  // namespace castile
