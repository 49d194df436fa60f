#include "geometry/image_grid.hpp"

#include <numeric>
#include <stdexcept>
#include <string>

#include "castile/memory.hpp"
#include "geometry/number_text.hpp"
#include "geometry/pair_vector.hpp"

namespace castile {
namespace {

constexpr double relative_slack = 1e-10;
constexpr double bytes_per_slot = 152.0;  // 64 of them while the grid is made
constexpr double largest_bin_count = 2147483647.0;

/// The same as std::ceil and std::floor, which are calls on processors of old, for numbers that fit.
std::int64_t ceiling(double value) {
  const auto whole = static_cast<std::int64_t>(value);
  return whole + (static_cast<double>(whole) < value ? 1 : 0);
}
std::int64_t floored(double value) { return -ceiling(-value); }

}  // namespace

ImageGrid::ImageGrid(const Structure& structure, double cutoff, const double* points, std::int64_t n_points)
    : centers_(structure, points, n_points) {
  if (structure.n_atoms == 0) return;
  const double allowance = centers_.rounding_allowance(cutoff);
  radius_ = cutoff * (1.0 + relative_slack) + allowance;
  inner_radius_ = cutoff * (1.0 - relative_slack) - allowance;
  const double n_slots = estimated_slots();
  require_memory(
      n_slots * bytes_per_slot,
      [&] { return "the neighbor search would hold about " + number_text(n_slots) + " periodic images"; },
      "use a smaller cutoff");
  if (n_slots > 4e9) {
    throw std::invalid_argument("the neighbor search would hold about " + number_text(n_slots) +
                                " periodic images, more than 32-bit indices can count; use a smaller cutoff");
  }
  choose_bins(n_slots);
  if (sparse_) {
    fill_sparse(structure, find_images());
  } else {
    fill_dense(structure, find_images());
  }
}

/// Expected number of images in the box of the grid, from volumes.
double ImageGrid::estimated_slots() const {
  auto n_slots = static_cast<double>(centers_.n_atoms());
  for (std::size_t k = 0; k < centers_.n_axes(); ++k) {
    n_slots *= std::max(1.0, (centers_.high(k) - centers_.low(k) + 2.0 * radius_) / centers_.lattice().basis[k][k]);
  }
  return n_slots;
}

void ImageGrid::set_bins(std::size_t axis, double width) {
  const double margin = axis < centers_.n_axes() ? radius_ : 0.0;
  Axis& bins = bins_[axis];
  bins.low = centers_.low(axis) - margin;
  bins.high = centers_.high(axis) + margin;
  const double extent = bins.high - bins.low;
  const double count = std::min(std::max(1.0, std::floor(extent / width)), largest_bin_count);
  bins.n_bins = static_cast<std::int64_t>(count);
  bins.width = extent > 0.0 ? extent / count : 1.0;
  bins.inverse_width = 1.0 / bins.width;
}

/// Finer bins fit the sphere better, but each row of bins costs as much as testing a few images; and there
/// must not be many more bins than images: where even bins as wide as the radius are too many, because the
/// structure is clusters in a void, the table is sparse.
void ImageGrid::choose_bins(double n_slots) {
  constexpr double images_per_bin = 6.0;
  constexpr double bins_per_image = 4.0;
  constexpr double growth = 1.26;
  const auto n_atoms = static_cast<double>(centers_.n_atoms());
  const bool few_atoms = n_atoms <= 8.0 || n_atoms * n_slots <= 4096.0;  // of points there may be any number
  if (n_slots <= 64.0 || (few_atoms && !centers_.has_points())) return;  // all pairs cost less
  double volume = 1.0;
  for (std::size_t k = 0; k < 3; ++k) {
    set_bins(k, radius_);
    volume *= bins_[k].high - bins_[k].low;
  }
  double width = std::min(std::max(std::cbrt(images_per_bin * volume / n_slots), radius_ / 4.0), radius_);
  while (true) {
    double count = 1.0;
    for (std::size_t k = 0; k < 3; ++k) {
      set_bins(k, width);
      count *= static_cast<double>(bins_[k].n_bins);
    }
    if (count <= bins_per_image * n_slots) {
      n_bins_ = static_cast<std::int64_t>(count);
      return;
    }
    if (width >= radius_) break;
    width = std::min(width * growth, radius_);
  }
  sparse_ = true;
  n_bins_ = 0;
}

/// All images of all atoms inside the box of the grid.
std::vector<ImageGrid::Found> ImageGrid::find_images() const {
  const auto& basis = centers_.lattice().basis;
  const std::size_t n_axes = centers_.n_axes();
  std::array<double, 3> low{}, high{}, inverse{};  // along axes without images all zero
  for (std::size_t k = 0; k < n_axes; ++k) {
    low[k] = centers_.low(k) - radius_;
    high[k] = centers_.high(k) + radius_;
    inverse[k] = 1.0 / basis[k][k];
  }
  const auto first = [&](std::size_t k, const Point& point) {
    return k < n_axes ? ceiling((low[k] - point[k]) * inverse[k]) : 0;
  };
  const auto last = [&](std::size_t k, const Point& point) {
    return k < n_axes ? floored((high[k] - point[k]) * inverse[k]) : 0;
  };
  const auto moved = [&](std::size_t k, std::int64_t n, Point point) {
    for (std::size_t m = 0; n != 0 && m <= k; ++m) point[m] += static_cast<double>(n) * basis[k][m];
    return point;
  };
  std::vector<Found> images;
  images.reserve(static_cast<std::size_t>(1.1 * estimated_slots()) + 8);
  std::array<std::int64_t, 3> image{};
  for (std::size_t atom = 0; atom < centers_.n_atoms(); ++atom) {
    const Point& origin = centers_.point(atom);
    const std::int64_t last_2 = last(2, origin);
    for (image[2] = first(2, origin); image[2] <= last_2; ++image[2]) {
      const Point plane = moved(2, image[2], origin);
      const std::int64_t last_1 = last(1, plane);
      for (image[1] = first(1, plane); image[1] <= last_1; ++image[1]) {
        const Point line = moved(1, image[1], plane);
        const std::int64_t last_0 = last(0, line);
        for (image[0] = first(0, line); image[0] <= last_0; ++image[0]) {
          const bool home = (image[0] | image[1] | image[2]) == 0;
          images.push_back(
              {moved(0, image[0], line), centers_.image_shift(atom, image), static_cast<std::int32_t>(atom), home, 0});
        }
      }
    }
  }
  return images;
}

void ImageGrid::allocate(std::size_t n_slots) {
  x_.resize(n_slots);
  y_.resize(n_slots);
  z_.resize(n_slots);
  images_.resize(n_slots);
  home_.resize(centers_.n_atoms());
}

void ImageGrid::put_image(std::size_t slot, const Structure& structure, const Found& found) {
  x_[slot] = found.point[0];
  y_[slot] = found.point[1];
  z_[slot] = found.point[2];
  const double* position = structure.positions + 3 * found.atom;
  const auto moved = translation(found.shift.data(), structure.cell.data());
  images_[slot] = {{position[0], position[1], position[2]},
                   {moved[0], moved[1], moved[2]},
                   {found.shift[0], found.shift[1], found.shift[2]},
                   found.atom};
  if (found.home) home_[static_cast<std::size_t>(found.atom)] = static_cast<std::uint32_t>(slot);
}

/// A counting sort.
void ImageGrid::fill_dense(const Structure& structure, std::vector<Found> images) {
  allocate(images.size());
  if (n_bins_ == 1) {
    for (std::size_t slot = 0; slot < images.size(); ++slot) put_image(slot, structure, images[slot]);
    return;
  }
  starts_.assign(static_cast<std::size_t>(n_bins_) + 1, 0);
  for (Found& image : images) {
    const std::int64_t row = bins_[0].bin(image.point[0]) * bins_[1].n_bins + bins_[1].bin(image.point[1]);
    image.bin = row * bins_[2].n_bins + bins_[2].bin(image.point[2]);
    ++starts_[static_cast<std::size_t>(image.bin)];
  }
  std::exclusive_scan(starts_.begin(), starts_.end(), starts_.begin(), std::uint32_t{0});
  for (const Found& image : images) put_image(starts_[static_cast<std::size_t>(image.bin)]++, structure, image);
  // Placing moved every start to the start of the next bin.
  std::copy_backward(starts_.begin(), starts_.end() - 1, starts_.end());
  starts_[0] = 0;
}

/// Sorts the images by row and inside a row by z; ties keep the order of atoms.
void ImageGrid::fill_sparse(const Structure& structure, std::vector<Found> images) {
  for (Found& image : images) {
    image.bin = bins_[0].bin(image.point[0]) * bins_[1].n_bins + bins_[1].bin(image.point[1]);
  }
  std::stable_sort(images.begin(), images.end(), [](const Found& a, const Found& b) {
    return a.bin != b.bin ? a.bin < b.bin : a.point[2] < b.point[2];
  });
  allocate(images.size());
  for (std::size_t slot = 0; slot < images.size(); ++slot) {
    put_image(slot, structure, images[slot]);
    if (row_keys_.empty() || row_keys_.back() != images[slot].bin) {
      row_keys_.push_back(images[slot].bin);
      starts_.push_back(static_cast<std::uint32_t>(slot));
    }
  }
  starts_.push_back(static_cast<std::uint32_t>(images.size()));
}

/// The hot loop. Every slot is written and only hits are kept: no branch depends on a distance.
void ImageGrid::append_hits(const Range* ranges, std::size_t n_ranges, const Point& point, Hits& hits) const {
  hits.n += select_close_({x_.data(), y_.data(), z_.data()}, ranges, static_cast<std::uint32_t>(n_ranges),
                          {point[0], point[1], point[2], radius_ * radius_}, hits.slot.data() + hits.n,
                          hits.distance2.data() + hits.n);
}

}  // namespace castile
