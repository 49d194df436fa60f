#include "castile/basis/cutoff_function.hpp"

#include <cmath>
#include <stdexcept>

namespace castile {
namespace {
constexpr double pi = 3.14159265358979323846;
}

CutoffFunction::CutoffFunction(Kind kind, double cutoff, double width) : kind_(kind), cutoff_(cutoff), width_(width) {
  if (kind != Kind::hard && !(width > 0.0 && width <= cutoff)) {
    throw std::invalid_argument("cutoff_width must be above 0 and at most the cutoff (" + std::to_string(cutoff) +
                                " Å), got " + std::to_string(width));
  }
}

CutoffFunction::Value CutoffFunction::operator()(double r) const {
  if (r >= cutoff_) return {0.0, 0.0};
  const double t = (r - cutoff_ + width_) / width_;
  if (kind_ == Kind::hard || t <= 0.0) return {1.0, 0.0};
  if (kind_ == Kind::cosine) {
    return {0.5 * (1.0 + std::cos(pi * t)), -0.5 * pi / width_ * std::sin(pi * t)};
  }
  const double rest = 1.0 - t;
  return {1.0 + t * t * t * (-10.0 + t * (15.0 - 6.0 * t)), -30.0 * t * t * rest * rest / width_};
}

CutoffFunction::Kind cutoff_function_kind(const std::string& name) {
  if (name == "cosine") return CutoffFunction::Kind::cosine;
  if (name == "polynomial") return CutoffFunction::Kind::polynomial;
  if (name == "hard") return CutoffFunction::Kind::hard;
  throw std::invalid_argument("cutoff_function must be 'cosine', 'polynomial' or None, got '" + name + "'");
}

}  // namespace castile
