#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

namespace castile {

/// Bytes that a request may take: most of the free memory of the machine and, if lower, of its control group.
double available_memory();

/// Requests of no more bytes pass unchecked, so that checks cost nothing where it does not matter.
constexpr double unchecked_bytes = 64.0 * 1024 * 1024;

/// Throws MemoryLimitExceeded, "<what>, X GiB; available Y GiB; <remedy>", if that many bytes are not at hand.
void require_memory(double bytes, const std::string& what, const std::string& remedy);

/// The same with a text that what() makes only for requests that are checked.
template <typename What, typename = std::enable_if_t<std::is_invocable_v<const What&>>>
void require_memory(double bytes, const What& what, const char* remedy) {
  if (bytes > unchecked_bytes) require_memory(bytes, std::string(what()), std::string(remedy));
}

/// Stops work whose results outgrow the memory, while it is still on its way; shared by the threads.
class MemoryBudget {
 public:
  /// what(bytes) describes results of so many bytes; see require_memory.
  MemoryBudget(std::function<std::string(double)> what, std::string remedy)
      : what_(std::move(what)), remedy_(std::move(remedy)) {}

  /// Throws MemoryLimitExceeded if everything that was spent so far does not fit.
  void spend(std::int64_t bytes);

 private:
  std::function<std::string(double)> what_;
  std::string remedy_;
  double available_ = 0.0;
  std::atomic<std::int64_t> spent_{0};
  std::once_flag once_;
};

}  // namespace castile
