#pragma once

#include <cstdint>
#include <exception>
#include <functional>

namespace castile {

/// Thrown out of a parallel loop when the interrupt check asked to stop.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// Threads that the next parallel loop started from this thread will use, if no other thread runs one at that time.
int num_threads();

/// Sets the process-wide number of threads; 0 restores the default (the CPUs this process may use). Threads that run
/// loops at once, whatever started them, share this number in equal parts, rounded up.
void set_num_threads(int n_threads);

/// Overrides the number of threads for loops started from the calling thread, which then shares with nobody; 0 removes
/// the override.
/// Returns the previous override, so that a scope can restore it.
int set_num_threads_of_this_thread(int n_threads);

/// True if the library was built with OpenMP.
bool openmp_enabled();

/// Called now and then from the thread that started a loop; returns true to stop it.
void set_interrupt_check(std::function<bool()> check);

/// Throws Interrupted if the interrupt check asks for it; for items that take long. Does nothing on other threads than
/// the one that started the loop.
void interruption_point();

/// Runs `worker(item)` for every item in [0, n_items), on several threads, in no fixed order.
///
/// Every thread calls `make_worker` and so owns its workspace: once, and again when the number of threads changes since
/// other loops began or ended. The first exception stops the loop and is rethrown in the calling thread. Nested calls,
/// calls in an OpenMP region of the caller and calls in a forked child run serially.
void parallel_for(std::int64_t n_items, const std::function<std::function<void(std::int64_t)>()>& make_worker);

}  // namespace castile
