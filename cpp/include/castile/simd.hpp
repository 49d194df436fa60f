#pragma once

#include <string>
#include <vector>

namespace castile {

/// The instruction set whose kernels run: the best one built that this processor has, or the one that the
/// environment variable CASTILE_SIMD names. Throws std::invalid_argument if that one cannot run here.
std::string instruction_set();

/// Every instruction set that was built, lowest first.
std::vector<std::string> instruction_sets_built();

}  // namespace castile
