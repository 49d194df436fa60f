#pragma once

#include <cstdint>

#include "simd/kernels.hpp"

namespace castile {

/// Writes a row past the caches, part by part while the next is computed: memory then works beside the arithmetic.
/// Only whole cache lines are written, so that none is fetched; the rest of a part waits for the next one.
template <typename T>
class RowStream {
 public:
  RowStream(const T* row, T* out) : row_(row), out_(out) {}

  /// Numbers `first` to `first + n` of the row are there.
  void put(std::int64_t first, std::int64_t n) {
    if (first != last_) {
      finish();
      first_ = first;
    }
    last_ = first + n;
    constexpr std::uintptr_t cache_line = 64;
    const auto beyond = reinterpret_cast<std::uintptr_t>(out_ + last_) % cache_line / sizeof(T);
    write_until(last_ - static_cast<std::int64_t>(beyond));
    used_ = true;
  }

  /// Writes what is waiting.
  void finish() { write_until(last_); }

  /// Whether anything was put.
  bool used() const { return used_; }

 private:
  void write_until(std::int64_t end) {
    if (end <= first_) return;
    simd::kernels<T>().stream(end - first_, row_ + first_, out_ + first_);
    first_ = end;
  }

  const T* row_;
  T* out_;
  std::int64_t first_ = 0;  ///< of what is waiting
  std::int64_t last_ = 0;
  bool used_ = false;
};

}  // namespace castile
