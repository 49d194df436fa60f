#pragma once

#include <stdexcept>
#include <string>

namespace castile {

/// A request whose result or workspace would not fit into memory; the message gives the figure.
class MemoryLimitExceeded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace castile
