#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/geometry/structure.hpp"
#include "geometry/wrapped_centers.hpp"
#include "simd/kernels.hpp"

namespace castile {

/// Images that lie within the search radius of a center, by their slot in the grid.
struct Hits {
  static constexpr std::uint32_t capacity = 1024;
  std::array<std::uint32_t, capacity + simd::selection_slack> slot;
  std::array<double, capacity + simd::selection_slack> distance2;  ///< good to the rounding that the radius allows for
  std::uint32_t n = 0;
};

/// The atoms of a structure and all periodic images within reach of any center, sorted into bins.
///
/// A picture of the box of WrappedCenters:
///
///       +--------------------+  high + radius        Bins divide the outer box. x is the slowest index
///       |  .  +--------+  .  |                       and z the fastest, so that the bins of a row (x, y)
///       |  .  | centers|  .  |  images               follow each other and a sphere is a short list of
///       |  .  +--------+  .  |                       contiguous ranges of slots.
///       +--------------------+  low - radius         Axes that are not periodic have no images.
///
/// The coordinates here only preselect; pairs are decided by the caller, from the positions as given.
class ImageGrid {
 public:
  /// Centers are the atoms, then the points, (n_points, 3). Throws what WrappedCenters throws, MemoryLimitExceeded if
  /// the images would not fit.
  ImageGrid(const Structure& structure, double cutoff, const double* points, std::int64_t n_points);

  std::int64_t n_slots() const { return static_cast<std::int64_t>(images_.size()); }
  /// All pairs closer than the cutoff are closer than `radius()` here; all pairs closer than
  /// `inner_radius()` here are closer than the cutoff.
  double radius() const { return radius_; }
  double inner_radius() const { return inner_radius_; }

  const simd::PairImage* images() const { return images_.data(); }
  const simd::PairImage& image(std::uint32_t slot) const { return images_[slot]; }
  std::int32_t id(std::uint32_t slot) const { return images_[slot].id; }
  /// What wrapping took off the center, to be added to the shifts of images.
  const std::int32_t* wrap(std::int64_t center) const { return centers_.wrap(static_cast<std::size_t>(center)).data(); }
  /// The slot of the atom itself.
  std::uint32_t home(std::int64_t atom) const { return home_[static_cast<std::size_t>(atom)]; }
  /// Cell shift from the center to the image, in the caller's cell.
  std::array<std::int32_t, 3> shift(std::int64_t center, std::uint32_t slot) const {
    const std::int32_t* from = wrap(center);
    const std::int32_t* to = images_[slot].shift;
    return {to[0] + from[0], to[1] + from[1], to[2] + from[2]};
  }

  /// Calls on_hits(hits) with all slots closer than `radius()` to the center, some at a time and in a fixed
  /// order.
  template <typename OnHits>
  void visit(std::int64_t center, OnHits&& on_hits) const {
    const Point& point = centers_.point(static_cast<std::size_t>(center));
    Hits hits;
    // Ranges are gathered before their slots are tested: their many small computations then overlap.
    std::array<Range, 64> ranges;
    std::size_t n_ranges = 0;
    std::uint32_t n_slots = 0;
    const auto test_ranges = [&] {
      if (n_slots <= Hits::capacity - hits.n) {
        append_hits(ranges.data(), n_ranges, point, hits);
      } else {
        for (std::size_t k = 0; k < n_ranges; ++k) test_range(ranges[k], point, hits, on_hits);
      }
      n_ranges = 0;
      n_slots = 0;
    };
    for_each_range(point, [&](Range range) {
      ranges[n_ranges] = range;
      n_ranges += range.first < range.last ? 1U : 0U;
      n_slots += range.last - range.first;
      if (n_ranges == ranges.size()) test_ranges();
    });
    test_ranges();
    if (hits.n > 0) on_hits(hits);
  }

 private:
  using Point = WrappedCenters::Point;
  using Shift = WrappedCenters::Shift;

  struct Axis {
    double low = 0.0;
    double high = 0.0;
    double width = 1.0;
    double inverse_width = 1.0;
    std::int64_t n_bins = 1;

    std::int64_t bin(double coordinate) const {
      // Never falls as the coordinate grows, so that no rounding can put an image outside a range of bins.
      const auto index = static_cast<std::int64_t>((coordinate - low) * inverse_width);
      return std::min(std::max(index, std::int64_t{0}), n_bins - 1);
    }
    /// From the coordinate to the nearest point of a bin.
    double gap(double coordinate, std::int64_t index) const {
      const double middle = low + (static_cast<double>(index) + 0.5) * width;
      return std::max(0.0, std::abs(coordinate - middle) - 0.5 * width);
    }
  };

  using Range = simd::IndexRange;

  /// An image on its way into the grid.
  struct Found {
    Point point;
    Shift shift;
    std::int32_t atom;
    bool home;
    std::int64_t bin;  ///< or, of a sparse table, the row of bins
  };

  template <typename OnHits>
  void test_range(Range range, const Point& point, Hits& hits, OnHits&& on_hits) const {
    constexpr std::uint32_t smallest_chunk = 256;
    while (range.first < range.last) {
      if (hits.n > Hits::capacity - smallest_chunk) {
        on_hits(hits);
        hits.n = 0;
      }
      const Range part{range.first, std::min(range.last, range.first + (Hits::capacity - hits.n))};
      append_hits(&part, 1, point, hits);
      range.first = part.last;
    }
  }

  double estimated_slots() const;
  void choose_bins(double n_slots);
  void set_bins(std::size_t axis, double width);
  std::vector<Found> find_images() const;
  void fill_dense(const Structure& structure, std::vector<Found> images);
  void fill_sparse(const Structure& structure, std::vector<Found> images);
  void allocate(std::size_t n_slots);
  void put_image(std::size_t slot, const Structure& structure, const Found& found);
  void append_hits(const Range* ranges, std::size_t n_ranges, const Point& point, Hits& hits) const;

  /// Calls on_range with ranges of slots, some empty, that together hold all images within the radius.
  template <typename OnRange>
  void for_each_range(const Point& point, OnRange&& on_range) const {
    if (n_bins_ == 1) {
      on_range(Range{0, static_cast<std::uint32_t>(images_.size())});
      return;
    }
    const std::int64_t last_x = bins_[0].bin(point[0] + radius_);
    for (std::int64_t x = bins_[0].bin(point[0] - radius_); x <= last_x; ++x) {
      const double gap_x = bins_[0].gap(point[0], x);
      const double rest2 = radius_ * radius_ - gap_x * gap_x;
      if (rest2 < 0.0) continue;
      const double reach = std::sqrt(rest2);
      const std::int64_t first_y = bins_[1].bin(point[1] - reach);
      const std::int64_t last_y = bins_[1].bin(point[1] + reach);
      if (sparse_) {
        ranges_of_sparse_rows(x, first_y, last_y, point[2], on_range);
        continue;
      }
      // One range of z for all y: testing some more images costs less than a root for each row.
      const std::int64_t first_z = bins_[2].bin(point[2] - reach);
      const std::int64_t last_z = bins_[2].bin(point[2] + reach) + 1;
      const std::uint32_t* row = starts_.data() + (x * bins_[1].n_bins + first_y) * bins_[2].n_bins;
      for (std::int64_t y = first_y; y <= last_y; ++y, row += bins_[2].n_bins)
        on_range(Range{row[first_z], row[last_z]});
    }
  }

  template <typename OnRange>
  void ranges_of_sparse_rows(std::int64_t x, std::int64_t first_y, std::int64_t last_y, double z,
                             OnRange&& on_range) const {
    const std::int64_t first_key = x * bins_[1].n_bins + first_y;
    const std::int64_t last_key = x * bins_[1].n_bins + last_y;
    auto key = std::lower_bound(row_keys_.begin(), row_keys_.end(), first_key);
    for (; key != row_keys_.end() && *key <= last_key; ++key) {
      const auto row = static_cast<std::size_t>(key - row_keys_.begin());
      const auto row_begin = z_.begin() + starts_[row];
      const auto row_end = z_.begin() + starts_[row + 1];
      const auto first = std::lower_bound(row_begin, row_end, z - radius_);
      const auto last = std::upper_bound(first, row_end, z + radius_);
      on_range(Range{static_cast<std::uint32_t>(first - z_.begin()), static_cast<std::uint32_t>(last - z_.begin())});
    }
  }

  decltype(simd::GeometryKernels::select_close) select_close_ = simd::geometry_kernels().select_close;
  WrappedCenters centers_;
  double radius_ = 0.0;
  double inner_radius_ = 0.0;
  std::array<Axis, 3> bins_;         // the box of the images
  std::vector<std::uint32_t> home_;  // by atom

  // By slot.
  std::vector<double> x_, y_, z_;
  AlignedVector<simd::PairImage> images_;

  // Dense: first slot of each bin. Sparse: of each row that holds images, which are then sorted by z.
  std::vector<std::uint32_t> starts_;
  std::vector<std::int64_t> row_keys_;
  std::int64_t n_bins_ = 1;
  bool sparse_ = false;
};

}  // namespace castile
