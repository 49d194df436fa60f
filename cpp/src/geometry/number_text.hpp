#pragma once

#include <cstdio>
#include <string>

namespace castile {

/// Three significant digits, for messages.
inline std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}  // namespace castile
