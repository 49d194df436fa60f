#include "castile/basis/radial_projection.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "castile/math/quadrature.hpp"
#include "castile/math/special_functions.hpp"
#include "castile/memory.hpp"

namespace castile {
namespace {

constexpr double pi = 3.14159265358979323846;
/// Interpolation of a Gaussian at 24 nodes within 2.5 σ leaves 1e-17.
constexpr int panel_nodes = 24;
constexpr double panel_sigmas = 2.5;
constexpr double most_panels = 1e4;
/// Of the quadrature inside a panel, and of pieces much narrower than it.
constexpr int rule_nodes = 24;
constexpr int narrow_rule_nodes = 8;
constexpr double narrow_below = 0.125;
constexpr double tolerance = 1e-13;  // nodes are rounded, too
constexpr int most_subdivisions = 1 << 14;
constexpr double zero_below = 1e-100;  // Å; 1/r² overflows soon after

/// Integrals over one panel, refined by halving the pieces.
class PanelMoments {
 public:
  PanelMoments(const RadialProjection::Functions& functions, std::size_t n_functions)
      : functions_(functions), values_(n_functions), polynomials_(panel_nodes) {}

  /// ∫ P_k x² g dx of all functions, (panel_nodes, n_functions); `edges` are those of the panel and all inside.
  std::vector<double> operator()(const std::vector<double>& edges) {
    std::vector<double> coarse = integrate(edges, 1);
    for (int subdivisions = 2; subdivisions <= most_subdivisions; subdivisions *= 2) {
      std::vector<double> fine = integrate(edges, subdivisions);
      double change = 0.0;
      for (std::size_t k = 0; k < fine.size(); ++k) change = std::max(change, std::abs(fine[k] - coarse[k]));
      if (change <= tolerance * largest_absolute_) return fine;
      coarse.swap(fine);
    }
    throw std::invalid_argument("the radial functions change too fast to be integrated; use a smaller n_max");
  }

 private:
  std::vector<double> integrate(const std::vector<double>& edges, int subdivisions) {
    const std::size_t n_functions = values_.size();
    const double half_width = 0.5 * (edges.back() - edges.front());
    std::vector<double> moments(panel_nodes * n_functions, 0.0);
    std::vector<double> absolute(n_functions, 0.0);
    for (std::size_t piece = 0; piece + 1 < edges.size(); ++piece) {
      const double step = (edges[piece + 1] - edges[piece]) / subdivisions;
      const double piece_begin = edges[piece] - edges.front();
      const GaussLegendre& rule = step < 2.0 * narrow_below * half_width ? narrow_rule_ : rule_;
      for (int part = 0; part < subdivisions; ++part) {
        for (std::size_t node = 0; node < rule.nodes.size(); ++node) {
          // Counted from the panel's begin: far out, x has lost digits of what distinguishes points of a narrow panel.
          const double offset = piece_begin + step * (part + 0.5 * (1.0 + rule.nodes[node]));
          const double x = edges.front() + offset;
          const double weight = 0.5 * step * rule.weights[node] * x * x;
          functions_(x, values_.data());
          legendre_polynomials(panel_nodes, offset / half_width - 1.0, polynomials_.data());
          for (double& value : values_) value *= weight;
          for (std::size_t f = 0; f < n_functions; ++f) absolute[f] += std::abs(values_[f]);
          for (std::size_t k = 0; k < panel_nodes; ++k) {
            for (std::size_t f = 0; f < n_functions; ++f) {
              moments[k * n_functions + f] += polynomials_[k] * values_[f];
            }
          }
        }
      }
    }
    largest_absolute_ = std::max(largest_absolute_, *std::max_element(absolute.begin(), absolute.end()));
    return moments;
  }

  const RadialProjection::Functions& functions_;
  std::vector<double> values_;
  std::vector<double> polynomials_;
  GaussLegendre rule_ = gauss_legendre(rule_nodes);
  GaussLegendre narrow_rule_ = gauss_legendre(narrow_rule_nodes);
  double largest_absolute_ = 0.0;  ///< ∫ x² |g| dx of any panel so far: what tails are compared with
};

std::size_t affordable_panels(double extent, double sigma, std::size_t n_functions) {
  const double n_panels = std::max(1.0, std::ceil(extent / (panel_sigmas * sigma)));
  std::ostringstream what;
  what << "a sigma of " << sigma << " Å needs " << n_panels * panel_nodes
       << " nodes to project on the radial functions";
  const char* remedy = "use a larger sigma or a smaller cutoff, or sigma = 0 for delta densities";
  require_memory(n_panels * panel_nodes * static_cast<double>(n_functions) * sizeof(double), what.str(), remedy);
  if (n_panels > most_panels) {
    what << ", more than " << most_panels * panel_nodes << "; " << remedy;
    throw std::invalid_argument(what.str());
  }
  return static_cast<std::size_t>(n_panels);
}

/// exp(-(x² + r²)/2σ²) times i_l, x i_{l+1} and x² i_{l+2}, whose sums give R_l and its two derivatives.
class Kernel {
 public:
  Kernel(int l_max, double sigma) : l_max_(l_max), inverse_variance_(1.0 / (sigma * sigma)) {
    bessel_.resize(static_cast<std::size_t>(l_max) + 3);
    for (auto& terms : terms_) terms.assign(static_cast<std::size_t>(l_max) + 1, 0.0);
  }

  void evaluate(double x, double r) {
    const double envelope = std::exp(-0.5 * inverse_variance_ * (x - r) * (x - r));
    if (r == 0.0) return at_zero(x, envelope);
    scaled_modified_spherical_bessel(l_max_ + 2, x * r * inverse_variance_, bessel_.data());
    for (std::size_t l = 0; l < terms_[0].size(); ++l) {
      terms_[0][l] = envelope * bessel_[l];
      terms_[1][l] = envelope * x * bessel_[l + 1];
      terms_[2][l] = envelope * x * x * bessel_[l + 2];
    }
  }

  double term(std::size_t order, std::size_t l) const { return terms_[order][l]; }

 private:
  /// i_l(y) = y^l/(2l+1)!! (1 + y²/(4l+6) + ...), so that only these derivatives by r are left; see combine().
  void at_zero(double x, double envelope) {
    terms_[0][0] = envelope;
    terms_[2][0] = envelope * x * x / 3.0;
    if (l_max_ >= 1) terms_[1][1] = envelope * x / 3.0;
    if (l_max_ >= 2) terms_[2][2] = envelope * x * x * 2.0 / 15.0;
  }

  int l_max_;
  double inverse_variance_;
  std::vector<double> bessel_;
  std::vector<double> terms_[3];
};

/// R, R' and R'' of one l from the three sums, in place: i_l' = i_{l+1} + (l/y) i_l, twice.
void combine(int l, double r, double sigma, double* values, double* first, double* second, std::size_t n) {
  const double inverse_variance = 1.0 / (sigma * sigma);
  const double inverse_r = r > 0.0 ? 1.0 / r : 0.0;
  const double slope = l * inverse_r - r * inverse_variance;
  const double next_slope = (l + 1) * inverse_r - r * inverse_variance;
  const double ratio = r * inverse_variance;
  const double curvature = l * (l - 1) * inverse_r * inverse_r - (2 * l + 1) * inverse_variance + ratio * ratio;
  for (std::size_t k = 0; k < n; ++k) {
    const double T[3] = {4.0 * pi * values[k], 4.0 * pi * inverse_variance * first[k],
                         4.0 * pi * inverse_variance * inverse_variance * second[k]};
    values[k] = T[0];
    first[k] = slope * T[0] + T[1];
    // At r = 0 the middle term vanishes: T1 there belongs to l = 1, whose second derivative is zero.
    second[k] = curvature * T[0] + (r > 0.0 ? slope + next_slope : 0.0) * T[1] + T[2];
  }
}

}  // namespace

RadialProjection::RadialProjection(const Functions& functions, int l_max, int n_max, double sigma,
                                   const std::vector<double>& edges)
    : l_max_(l_max), n_max_(static_cast<std::size_t>(n_max)), sigma_(sigma) {
  const std::size_t n_functions = (static_cast<std::size_t>(l_max) + 1) * n_max_;
  const double extent = edges.back();
  const std::size_t n_panels = affordable_panels(extent, sigma, n_functions);
  panel_width_ = extent / static_cast<double>(n_panels);
  const GaussLegendre rule = gauss_legendre(panel_nodes);
  // From moments to weights of the interpolant's nodes: w_i Σ_k (2k+1)/2 P_k(x_i) M_k.
  std::vector<double> transform(panel_nodes * panel_nodes);
  for (std::size_t i = 0; i < panel_nodes; ++i) {
    legendre_polynomials(panel_nodes, rule.nodes[i], &transform[i * panel_nodes]);
    for (std::size_t k = 0; k < panel_nodes; ++k) {
      transform[i * panel_nodes + k] *= rule.weights[i] * (static_cast<double>(k) + 0.5);
    }
  }
  PanelMoments panel_moments(functions, n_functions);
  weighted_functions_.assign(n_panels * panel_nodes * n_functions, 0.0);
  double* out = weighted_functions_.data();
  auto edge = edges.begin();
  for (std::size_t panel = 0; panel < n_panels; ++panel) {
    const double begin = static_cast<double>(panel) * panel_width_;
    const double end = panel + 1 == n_panels ? extent : begin + panel_width_;
    std::vector<double> inside{begin};
    edge = std::upper_bound(edge, edges.end(), begin);
    for (; edge != edges.end() && *edge < end; ++edge) inside.push_back(*edge);
    inside.push_back(end);
    const std::vector<double> moments = panel_moments(inside);
    for (std::size_t i = 0; i < panel_nodes; ++i, out += n_functions) {
      nodes_.push_back(0.5 * (begin + end + (end - begin) * rule.nodes[i]));
      for (std::size_t k = 0; k < panel_nodes; ++k) {
        const double factor = transform[i * panel_nodes + k];
        for (std::size_t f = 0; f < n_functions; ++f) out[f] += factor * moments[k * n_functions + f];
      }
    }
  }
}

void RadialProjection::evaluate(double r, double* values, double* first, double* second) const {
  if (r < zero_below) r = 0.0;
  const std::size_t n_l = static_cast<std::size_t>(l_max_) + 1;
  double* sums[3] = {values, first, second};
  for (double* sum : sums) std::fill_n(sum, n_l * n_max_, 0.0);
  // Beyond, exp(-(x - r)²/2σ²) is too small for any power of x of the lowest l.
  const double window = sigma_ * (9.0 + std::sqrt(l_max_ + 2.0));
  const auto begin = static_cast<std::size_t>(std::max(0.0, std::floor((r - window) / panel_width_))) * panel_nodes;
  Kernel kernel(l_max_, sigma_);
  for (std::size_t node = begin; node < nodes_.size() && nodes_[node] < r + window; ++node) {
    kernel.evaluate(nodes_[node], r);
    const double* functions = &weighted_functions_[node * n_l * n_max_];
    for (std::size_t order = 0; order < 3; ++order) {
      for (std::size_t l = 0; l < n_l; ++l) {
        const double factor = kernel.term(order, l);
        double* sum = sums[order] + l * n_max_;
        for (std::size_t n = 0; n < n_max_; ++n) sum[n] += factor * functions[l * n_max_ + n];
      }
    }
  }
  for (std::size_t l = 0; l < n_l; ++l) {
    const std::size_t row = l * n_max_;
    combine(static_cast<int>(l), r, sigma_, values + row, first + row, second + row, n_max_);
  }
}

}  // namespace castile
