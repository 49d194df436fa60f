#include <cmath>

#include "geometry/pair_vector.hpp"
#include "simd/kernels.hpp"

namespace castile::simd {

void write_pairs_one_by_one(const PairWriting& pairs) {
  for (std::int64_t k = 0; k < pairs.n; ++k) {
    const PairImage& image = pairs.images[pairs.slots[k]];
    if (pairs.j != nullptr) pairs.j[k] = pairs.first_atom + image.id;
    if (pairs.S != nullptr) {
      for (int m = 0; m < 3; ++m) pairs.S[3 * k + m] = image.shift[m] + pairs.wrap[m];
    }
    if (pairs.D == nullptr && pairs.d == nullptr) continue;
    const auto D = pair_vector(image, pairs.center, pairs.wrap, pairs.cell);
    if (pairs.D != nullptr) {
      for (int m = 0; m < 3; ++m) pairs.D[3 * k + m] = D[static_cast<std::size_t>(m)];
    }
    if (pairs.d != nullptr) pairs.d[k] = pair_distance(D);
  }
}

}  // namespace castile::simd
