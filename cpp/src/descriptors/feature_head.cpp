#include "castile/descriptors/feature_head.hpp"

#include <stdexcept>
#include <utility>

#include "castile/descriptors/power_spectrum.hpp"
#include "castile/descriptors/product_spectrum.hpp"
#include "castile/descriptors/radial_spectrum.hpp"
#include "castile/descriptors/spherical_expansion.hpp"
#include "castile/descriptors/tensor_spectrum.hpp"
#include "castile/descriptors/total_spectrum.hpp"

namespace castile {
namespace {

template <typename T>
using Factory = std::unique_ptr<FeatureHead<T>> (*)(const FeatureHeadParameters&);

template <typename T, typename Head>
std::unique_ptr<FeatureHead<T>> make(const FeatureHeadParameters& parameters) {
  return std::make_unique<Head>(parameters);
}

template <typename T>
std::unique_ptr<FeatureHead<T>> make_crossover(const FeatureHeadParameters& parameters) {
  return std::make_unique<PowerSpectrum<T>>(parameters, ChannelPairs::like);
}

/// A new head is a file of its own and a line here.
template <typename T>
std::vector<std::pair<std::string, Factory<T>>> registry() {
  return {{"spherical_expansion", make<T, SphericalExpansion<T>>}, {"radial_spectrum", make<T, RadialSpectrum<T>>},
          {"power_spectrum", make<T, PowerSpectrum<T>>},           {"crossover_spectrum", make_crossover<T>},
          {"total_spectrum", make<T, TotalSpectrum<T>>},           {"tensor_spectrum", make<T, TensorSpectrum<T>>},
          {"product_spectrum", make<T, ProductSpectrum<T>>}};
}

}  // namespace

std::vector<std::string> feature_head_names() {
  std::vector<std::string> names;
  for (const auto& entry : registry<double>()) names.push_back(entry.first);
  return names;
}

template <typename T>
void FeatureHead<T>::forward_rows(std::int64_t n, const Coefficients<T>* const* centers, T* features,
                                  Scratch& scratch) const {
  for (std::int64_t k = 0; k < n; ++k) forward(*centers[k], features + k * n_features(), scratch);
}

template <typename T>
void FeatureHead<T>::vjp_rows(std::int64_t n, const Coefficients<T>* const* centers, const T* grad_features,
                              std::vector<T>* const* grad_c, Scratch& scratch) const {
  for (std::int64_t k = 0; k < n; ++k) vjp(*centers[k], grad_features + k * n_features(), *grad_c[k], scratch);
}

template <typename T>
void FeatureHead<T>::pair_jacobians(const Coefficients<T>& c, const PairTerms<T>* terms, std::int64_t n,
                                    const TouchedChannels<T>& touched, std::int64_t size, Scratch& scratch,
                                    T* out) const {
  for (std::int64_t k = 0; k < n; ++k) pair_jacobian(c, terms[k], touched, scratch, out + k * size);
}

template <typename T>
std::unique_ptr<FeatureHead<T>> make_feature_head(const FeatureHeadParameters& parameters) {
  for (const auto& [known, factory] : registry<T>()) {
    if (known == parameters.name) return factory(parameters);
  }
  throw std::invalid_argument("there is no descriptor '" + parameters.name + "'");
}

template class FeatureHead<double>;
template class FeatureHead<float>;
template std::unique_ptr<FeatureHead<double>> make_feature_head<double>(const FeatureHeadParameters&);
template std::unique_ptr<FeatureHead<float>> make_feature_head<float>(const FeatureHeadParameters&);

}  // namespace castile
