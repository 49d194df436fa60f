#pragma once

#include <cstdint>

#include "simd/kernels.hpp"

namespace castile {

/// Writes a row past the caches, part by part while the next is computed: memory then works beside the arithmetic.
/// Only whole cache lines are written, so that none is fetched; the rest of a part waits for the next one.
template <typename T>
class RowStream {
 public:
  /// What is written is also taken off `minus`, unless that is null.
  RowStream(const T* row, T* out, T* minus = nullptr) : row_(row), out_(out), minus_(minus) {}

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

  /// The same for numbers that the caller writes.
  void skip(std::int64_t first, std::int64_t n) {
    finish();
    first_ = last_ = first + n;
    used_ = true;
  }
  T* place(std::int64_t first) const { return out_ + first; }
  T* minus(std::int64_t first) const { return minus_ + first; }

  /// Writes what is waiting.
  void finish() { write_until(last_); }

  /// Whether anything was put.
  bool used() const { return used_; }

 private:
  void write_until(std::int64_t end) {
    if (end <= first_) return;
    T* minus = minus_ == nullptr ? nullptr : minus_ + first_;
    simd::kernels<T>().stream(end - first_, row_ + first_, out_ + first_, minus);
    first_ = end;
  }

  const T* row_;
  T* out_;
  T* minus_;
  std::int64_t first_ = 0;  ///< of what is waiting
  std::int64_t last_ = 0;
  bool used_ = false;
};

/// The same for derivatives along three axes, rows of `width` numbers behind each other.
template <typename T>
class GradientStream {
 public:
  /// `kept` tells that the gradient is read again, so that it must be there, too.
  GradientStream(const T* gradient, std::int64_t width, T* out, T* minus, bool kept)
      : width_(width),
        kept_(kept),
        axes_{{gradient, out, minus},
              {gradient + width, out + width, minus + width},
              {gradient + 2 * width, out + 2 * width, minus + 2 * width}} {}

  void put(std::int64_t first, std::int64_t n) {
    for (RowStream<T>& axis : axes_) axis.put(first, n);
  }

  /// The same for numbers that the caller writes, from the place returned on, and takes off `minus`.
  T* skip(std::int64_t first, std::int64_t n) {
    for (RowStream<T>& axis : axes_) axis.skip(first, n);
    return place(first);
  }
  bool kept() const { return kept_; }
  T* place(std::int64_t first) const { return axes_[0].place(first); }
  T* minus(std::int64_t first) const { return axes_[0].minus(first); }

  /// Writes what is waiting, or all if nothing was put.
  void finish() {
    if (!axes_[0].used()) put(0, width_);
    for (RowStream<T>& axis : axes_) axis.finish();
  }

 private:
  std::int64_t width_;
  bool kept_;
  RowStream<T> axes_[3];
};

}  // namespace castile
