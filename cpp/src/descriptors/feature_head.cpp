#include "castile/descriptors/feature_head.hpp"

#include <stdexcept>
#include <utility>

#include "castile/descriptors/power_spectrum.hpp"
#include "castile/descriptors/radial_spectrum.hpp"
#include "castile/descriptors/spherical_expansion.hpp"

namespace castile {
namespace {

template <typename T>
using Factory = std::unique_ptr<FeatureHead<T>> (*)(int n_species, int n_max, int l_max);

template <typename T, typename Head>
std::unique_ptr<FeatureHead<T>> make(int n_species, int n_max, int l_max) {
  return std::make_unique<Head>(n_species, n_max, l_max);
}

template <typename T>
std::vector<std::pair<std::string, Factory<T>>> registry() {
  return {{"spherical_expansion", make<T, SphericalExpansion<T>>},
          {"radial_spectrum", make<T, RadialSpectrum<T>>},
          {"power_spectrum", make<T, PowerSpectrum<T>>}};
}

}  // namespace

template <typename T>
std::unique_ptr<FeatureHead<T>> make_feature_head(const std::string& name, int n_species, int n_max, int l_max) {
  for (const auto& [known, factory] : registry<T>()) {
    if (known == name) return factory(n_species, n_max, l_max);
  }
  throw std::invalid_argument("there is no descriptor '" + name + "'");
}

template std::unique_ptr<FeatureHead<double>> make_feature_head<double>(const std::string&, int, int, int);
template std::unique_ptr<FeatureHead<float>> make_feature_head<float>(const std::string&, int, int, int);

}  // namespace castile
