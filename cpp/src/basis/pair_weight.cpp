#include "castile/basis/pair_weight.hpp"

#include <cmath>
#include <sstream>
#include <stdexcept>

namespace castile {
namespace {

using Value = PairWeight::Value;

[[noreturn]] void refuse(const char* parameter, const char* requirement, double value) {
  std::ostringstream message;
  message << "density_weighting['" << parameter << "'] must be " << requirement << ", got " << value;
  throw std::invalid_argument(message.str());
}

void require_positive(const char* parameter, double value) {
  if (!(std::isfinite(value) && value > 0.0)) refuse(parameter, "a positive number", value);
}

void require_not_negative(const char* parameter, double value) {
  if (!(std::isfinite(value) && value >= 0.0)) refuse(parameter, "0 or more", value);
}

void check_none(const DensityWeighting&) {}

Value weigh_none(const DensityWeighting&, double) { return {1.0, 0.0}; }

void check_poly(const DensityWeighting& p) {
  require_positive("c", p.c);
  require_not_negative("m", p.m);
  require_positive("r0", p.r0);
}

Value weigh_poly(const DensityWeighting& p, double r) {
  const double x = r / p.r0;
  if (x >= 1.0) return {0.0, 0.0};
  const double rest = 1.0 - x;
  const double value = p.c * std::pow(rest * rest * (1.0 + 2.0 * x), p.m);
  return {value, -6.0 * value * p.m * x / (p.r0 * rest * (1.0 + 2.0 * x))};
}

/// numerator/(offset + x^exponent), also where the power overflows.
Value decay(double numerator, double offset, double x, double exponent, double r) {
  const double power = std::pow(x, exponent);
  const double value = numerator / (offset + power);
  const double share = offset > 0.0 ? 1.0 / (1.0 + offset / power) : 1.0;
  return {value, -value * share * exponent / r};
}

void check_pow(const DensityWeighting& p) {
  require_positive("c", p.c);
  require_not_negative("d", p.d);
  require_not_negative("m", p.m);
  require_positive("r0", p.r0);
}

Value weigh_pow(const DensityWeighting& p, double r) { return decay(p.c, p.d, r / p.r0, p.m, r); }

void check_exp(const DensityWeighting& p) {
  require_positive("c", p.c);
  require_not_negative("d", p.d);
  require_positive("r0", p.r0);
}

Value weigh_exp(const DensityWeighting& p, double r) {
  const double falling = std::exp(-r / p.r0);
  const double value = p.c / (p.d + falling);
  return {value, value * falling / (p.r0 * (p.d + falling))};
}

void check_willatt(const DensityWeighting& p) {
  require_not_negative("rate", p.rate);
  require_positive("scale", p.scale);
  require_not_negative("exponent", p.exponent);
}

Value weigh_willatt(const DensityWeighting& p, double r) {
  return decay(p.rate > 0.0 ? p.rate : 1.0, p.rate, r / p.scale, p.exponent, r);
}

struct Kind {
  const char* name;
  void (*check)(const DensityWeighting&);
  Value (*weighting)(const DensityWeighting&, double r);  ///< the derivative is asked for only at r > 0
};

/// A new weighting is two functions and a line here.
constexpr Kind kinds[] = {
    {"none", check_none, weigh_none}, {"poly", check_poly, weigh_poly},          {"pow", check_pow, weigh_pow},
    {"exp", check_exp, weigh_exp},    {"willatt", check_willatt, weigh_willatt},
};

const Kind& find_kind(const std::string& name) {
  std::string names;
  for (const Kind& kind : kinds) {
    if (name == kind.name) return kind;
    names += std::string(names.empty() ? "'" : ", '") + kind.name + "'";
  }
  throw std::invalid_argument("density_weighting['function'] must be one of " + names + ", got '" + name + "'");
}

CutoffFunction make_cutoff_function(const PairWeightParameters& p) {
  if (!(std::isfinite(p.reach) && p.reach > 0.0)) {
    throw std::invalid_argument("neighbor_radius must be a positive length in Å, got " + std::to_string(p.reach));
  }
  return {cutoff_function_kind(p.cutoff_function), p.reach, p.cutoff_width};
}

}  // namespace

PairWeight::PairWeight(const PairWeightParameters& p)
    : cutoff_function_(make_cutoff_function(p)), parameters_(p.density_weighting) {
  const Kind& kind = find_kind(parameters_.name);
  kind.check(parameters_);
  if (parameters_.w0) require_not_negative("w0", *parameters_.w0);
  weighting_ = kind.weighting;
  const double limit = weighting_(parameters_, 0.0).value;
  const bool diverges = !std::isfinite(limit);
  if (diverges && !parameters_.w0) {
    throw std::invalid_argument("density_weighting '" + parameters_.name +
                                "' diverges at distance zero; give density_weighting['w0'], the weight of the center");
  }
  if (!std::isfinite(weighting_(parameters_, reach()).derivative)) {
    throw std::invalid_argument("density_weighting '" + parameters_.name +
                                "' overflows within the reach of the neighbors; use a larger density_weighting['r0']");
  }
  limit_at_zero_ = diverges ? 0.0 : limit;
  at_zero_ = parameters_.w0.value_or(limit);
}

PairWeight::Value PairWeight::operator()(double r) const {
  if (r == 0.0) return {at_zero_, 0.0};
  if (r >= reach()) return {0.0, 0.0};
  const auto [f, df] = cutoff_function_(r);
  const auto [u, du] = weighting_(parameters_, r);
  return {f * u, df * u + f * du};
}

std::vector<std::string> density_weighting_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds) names.emplace_back(kind.name);
  return names;
}

}  // namespace castile
