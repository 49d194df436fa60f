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

/// Says twenty times a second that it is time to look again at what may have changed.
class Reminder {
 public:
  bool due() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return false;
    next_ = now + interval;
    return true;
  }

 private:
  static constexpr std::chrono::milliseconds interval{50};
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + interval;
};

class InterruptPoll {
 public:
  bool stop_requested() { return reminder_.due() && interrupt_check() && interrupt_check()(); }

 private:
  Reminder reminder_;
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

/// Threads that have a loop running and share the threads of the process.
std::atomic<int> n_callers{0};
thread_local bool is_caller = false;

/// Threads of the loops of one caller. Callers that run at once share the process's number of threads in equal parts,
/// rounded up, so that N of them do not start N times as many threads as there are processors. Left alone is who asked
/// for a number of its own, who has one thread anyhow, and a loop within a loop, which belongs to a caller already.
class ThreadShare {
 public:
  ThreadShare() : limit_(num_threads()), shares_(limit_ > 1 && local_threads == 0), registers_(shares_ && !is_caller) {
    if (!registers_) return;
    is_caller = true;
    n_callers.fetch_add(1);
  }
  ~ThreadShare() {
    if (!registers_) return;
    n_callers.fetch_sub(1);
    is_caller = false;
  }
  ThreadShare(const ThreadShare&) = delete;
  ThreadShare& operator=(const ThreadShare&) = delete;

  int now() const {
    if (!shares_) return limit_;
    const int n = std::max(n_callers.load(), 1);
    return (limit_ + n - 1) / n;
  }

 private:
  int limit_;
  bool shares_;
  bool registers_;
};

/// Takes items from a shared counter until none is left or the loop has been stopped.
class Loop {
 public:
  Loop(std::int64_t n_items, const std::function<std::function<void(std::int64_t)>()>& make_worker)
      : n_items_(n_items), make_worker_(make_worker) {}

  /// Runs all items, in rounds: a new one begins whenever the caller's share of the threads has changed.
  void run(const ThreadShare& share) {
    do {
      round_ended_.store(false, std::memory_order_relaxed);
      const int n_threads = share.now();
      const int n_useful = static_cast<int>(std::min<std::int64_t>(n_threads, n_items_ - next_.load()));
      const auto share_changed = [&, reminder = Reminder()]() mutable {
        return reminder.due() && share.now() != n_threads;
      };
      if (n_useful <= 1) {
        work(share_changed);
      } else {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_useful)
        if (omp_get_thread_num() == 0) {
          work(share_changed);
        } else {
          work(nullptr);
        }
#endif
      }
    } while (!stopped_.load() && next_.load() < n_items_);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  /// One thread's part of a round. The calling thread has `share_changed`, asks for interrupts and ends the round.
  void work(const std::function<bool()>& share_changed) noexcept {
    try {
      const auto worker = make_worker_();
      const PollScope scope(share_changed ? &poll_ : nullptr);
      while (!stopped_.load(std::memory_order_relaxed) && !round_ended_.load(std::memory_order_relaxed)) {
        interruption_point();
        if (share_changed && share_changed()) round_ended_.store(true, std::memory_order_relaxed);
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

  std::int64_t n_items_;
  const std::function<std::function<void(std::int64_t)>()>& make_worker_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> round_ended_{false};
  InterruptPoll poll_;  // of the calling thread; not made anew with each round, or interrupts might never be due
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
  Loop(n_items, make_worker).run(ThreadShare());
}

}  // namespace castile
