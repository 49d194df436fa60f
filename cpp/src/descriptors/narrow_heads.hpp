// The heads of rows that see only some of the channels.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// Each is made when rows first need it, as there are more sets of channels that differ than could be made before.
/// Threads that need the same one at the same time may each make it; one of them is kept. No thread ever waits, so that
/// a process can be forked at any time.
template <typename T>
class NarrowHeads {
 public:
  explicit NarrowHeads(const FeatureHeadParameters& whole) : whole_(whole) {}
  ~NarrowHeads() {
    for (const Entry* entry = newest_; entry != nullptr;) {
      const std::unique_ptr<const Entry> owner(entry);
      entry = owner->older;
    }
  }
  NarrowHeads(const NarrowHeads&) = delete;
  NarrowHeads& operator=(const NarrowHeads&) = delete;

  /// The head for these channels, ascending, counted from 0.
  const FeatureHead<T>* of(const std::vector<std::int32_t>& channels) const {
    const Entry* searched = newest_.load(std::memory_order_acquire);
    if (const Entry* found = find(channels, searched, nullptr)) return found->head.get();
    FeatureHeadParameters parameters = narrowed(channels);
    auto entry = std::make_unique<Entry>(Entry{parameters.n_channels, parameters.product_rule.channel_degrees,
                                               make_feature_head<T>(parameters), searched});
    while (!newest_.compare_exchange_weak(entry->older, entry.get(), std::memory_order_acq_rel)) {
      if (const Entry* found = find(channels, entry->older, searched)) return found->head.get();
      searched = entry->older;
    }
    return entry.release()->head.get();
  }

 private:
  struct Entry {
    int n_channels;
    std::vector<int> channel_degrees;
    std::unique_ptr<const FeatureHead<T>> head;
    const Entry* older;
  };

  /// Channels differ in nothing but their degrees.
  bool fits(const Entry& entry, const std::vector<std::int32_t>& channels) const {
    if (static_cast<std::size_t>(entry.n_channels) != channels.size()) return false;
    const auto& degrees = whole_.product_rule.channel_degrees;
    for (std::size_t k = 0; !degrees.empty() && k < channels.size(); ++k) {
      if (entry.channel_degrees[k] != degrees[static_cast<std::size_t>(channels[k])]) return false;
    }
    return true;
  }

  const Entry* find(const std::vector<std::int32_t>& channels, const Entry* from, const Entry* end) const {
    while (from != end && !fits(*from, channels)) from = from->older;
    return from == end ? nullptr : from;
  }

  FeatureHeadParameters narrowed(const std::vector<std::int32_t>& channels) const {
    FeatureHeadParameters parameters = whole_;
    parameters.n_channels = static_cast<int>(channels.size());
    const auto& degrees = whole_.product_rule.channel_degrees;
    auto& own = parameters.product_rule.channel_degrees;
    own.clear();
    for (std::size_t k = 0; !degrees.empty() && k < channels.size(); ++k) {
      own.push_back(degrees[static_cast<std::size_t>(channels[k])]);
    }
    return parameters;
  }

  FeatureHeadParameters whole_;
  mutable std::atomic<const Entry*> newest_{nullptr};
};

}  // namespace castile
