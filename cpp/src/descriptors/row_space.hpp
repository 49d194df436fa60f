// The columns of rows that see only some of the channels, as sparse rows and their derivatives store them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"

namespace castile {

/// What rows with the same channels share. Among these channels alone they are dense: a head for as many channels makes
/// them, from coefficients whose channels are counted within the set.
template <typename T>
struct DensityDescriptor<T>::RowSpace {
  std::vector<std::int32_t> channels;  ///< ascending
  const FeatureHead<T>* head;

  std::int64_t size() const { return head->n_features(); }
  int n_channels() const { return static_cast<int>(channels.size()); }

  /// Counts the channels of coefficients within those of the rows.
  void relabel(Coefficients<T>& c) const {
    if (n_channels() == 0 || n_channels() == channels.back() + 1) return;  // all of them, from 0
    for (std::int32_t& channel : c.channels) {
      channel =
          static_cast<std::int32_t>(std::lower_bound(channels.begin(), channels.end(), channel) - channels.begin());
    }
  }
};

/// The space of each row.
template <typename T>
struct DensityDescriptor<T>::RowSpaces {
  std::vector<RowSpace> spaces;
  std::vector<std::int64_t> of_row;  ///< empty: all have the first

  const RowSpace& operator[](std::int64_t row) const {
    return of_row.empty() ? spaces.front() : spaces[static_cast<std::size_t>(of_row[static_cast<std::size_t>(row)])];
  }

  /// The largest value of measure(space).
  template <typename Measure>
  std::int64_t largest(const Measure& measure) const {
    std::int64_t most = 0;
    for (const RowSpace& space : spaces) most = std::max<std::int64_t>(most, measure(space));
    return most;
  }
};

}  // namespace castile
