#pragma once

#include <string>

namespace castile {

/// How the weight of a neighbor goes to zero at the cutoff, the end of its reach.
class CutoffFunction {
 public:
  enum class Kind {
    hard,        ///< 1 inside, 0 outside: descriptors jump when an atom crosses the cutoff
    cosine,      ///< half a cosine over the last `width`: continuous first derivative
    polynomial,  ///< 1 - 10t³ + 15t⁴ - 6t⁵ over the last `width`: continuous second derivative
  };

  /// Throws std::invalid_argument unless 0 < width <= cutoff (a hard edge ignores the width).
  CutoffFunction(Kind kind, double cutoff, double width);

  struct Value {
    double value;
    double derivative;  ///< in 1/Å
  };
  /// For 0 <= r; zero from the cutoff on.
  Value operator()(double r) const;

  Kind kind() const { return kind_; }
  double cutoff() const { return cutoff_; }
  double width() const { return width_; }

 private:
  Kind kind_;
  double cutoff_;
  double width_;
};

/// "cosine", "polynomial" or "hard"; throws std::invalid_argument for another name.
CutoffFunction::Kind cutoff_function_kind(const std::string& name);

}  // namespace castile
