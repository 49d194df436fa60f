#include "castile/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

#ifdef _OPENMP
#include <omp.h>
#endif
#include <pthread.h>

namespace castile {
namespace {

std::atomic<int> process_threads{0};
thread_local int local_threads = 0;

// True in a forked child: the threads of the OpenMP pool, whoever used it, did not survive the fork, and the runtime
// would wait for them for ever.
std::atomic<bool> forked{false};

[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });

std::function<bool()>& interrupt_check() {
  static std::function<bool()> check;
  return check;
}

/// Asks the interrupt check at most twenty times a second.
class InterruptPoll {
 public:
  bool stop_requested() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_ || !interrupt_check()) return false;
    next_ = now + interval;
    return interrupt_check()();
  }

 private:
  static constexpr std::chrono::milliseconds interval{50};
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + interval;
};

/// Of the loop that this thread started and works on.
thread_local InterruptPoll* current_poll = nullptr;

/// Makes a poll the current one until the end of the scope.
class PollScope {
 public:
  explicit PollScope(InterruptPoll* poll) : outer_(std::exchange(current_poll, poll)) {}
  ~PollScope() { current_poll = outer_; }
  PollScope(const PollScope&) = delete;
  PollScope& operator=(const PollScope&) = delete;

 private:
  InterruptPoll* outer_;
};

/// Takes items from a shared counter until none is left or the loop has been stopped.
class Loop {
 public:
  Loop(std::int64_t n_items, const std::function<std::function<void(std::int64_t)>()>& make_worker)
      : n_items_(n_items), make_worker_(make_worker) {}

  void run(bool polls_interrupts) noexcept {
    try {
      const auto worker = make_worker_();
      InterruptPoll poll;
      const PollScope scope(polls_interrupts ? &poll : nullptr);
      while (!stopped_.load(std::memory_order_relaxed)) {
        interruption_point();
        const std::int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
        if (item >= n_items_) break;
        worker(item);
      }
    } catch (...) {
      stopped_.store(true, std::memory_order_relaxed);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::int64_t n_items_;
  const std::function<std::function<void(std::int64_t)>()>& make_worker_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

int num_threads() {
#ifdef _OPENMP
  if (omp_in_parallel() || forked.load()) return 1;
  if (local_threads > 0) return local_threads;
  const int n_threads = process_threads.load();
  return n_threads > 0 ? n_threads : std::min(omp_get_max_threads(), omp_get_num_procs());
#else
  return 1;
#endif
}

void set_num_threads(int n_threads) { process_threads.store(n_threads); }

int set_num_threads_of_this_thread(int n_threads) { return std::exchange(local_threads, n_threads); }

bool openmp_enabled() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

void set_interrupt_check(std::function<bool()> check) { interrupt_check() = std::move(check); }

void interruption_point() {
  if (current_poll != nullptr && current_poll->stop_requested()) throw Interrupted();
}

void parallel_for(std::int64_t n_items, const std::function<std::function<void(std::int64_t)>()>& make_worker) {
  Loop loop(n_items, make_worker);
  const int n_threads = static_cast<int>(std::min<std::int64_t>(num_threads(), n_items));
  if (n_threads <= 1) {
    loop.run(true);
  } else {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
    loop.run(omp_get_thread_num() == 0);
#endif
  }
  loop.rethrow();
}

}  // namespace castile
