#pragma once

#include <string>

namespace castile {

/// Bytes that a request may take: most of the free memory of the machine and, if lower, of its control group.
double available_memory();

/// Throws MemoryLimitExceeded, "<what>, X GiB; available Y GiB; <remedy>", if that many bytes are not at
/// hand. Small requests pass unchecked, so that the call costs nothing where it does not matter.
void require_memory(double bytes, const std::string& what, const std::string& remedy);

}  // namespace castile
