// Loops that several threads of the caller run at once share the threads of the process.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "castile/parallel.hpp"
#include "support.hpp"

namespace {

using castile::parallel_for;
using castile::test::Threads;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t endless = std::int64_t{1} << 40;

void for_each_item(std::int64_t n_items, const std::function<void(std::int64_t)>& worker) {
  parallel_for(n_items, [&] { return worker; });
}

/// The process-wide number of threads of this scope.
class ProcessThreads {
 public:
  explicit ProcessThreads(int n) { castile::set_num_threads(n); }
  ~ProcessThreads() { castile::set_num_threads(0); }
  ProcessThreads(const ProcessThreads&) = delete;
  ProcessThreads& operator=(const ProcessThreads&) = delete;
};

/// A thread of the caller with a loop that goes on until it is told to stop.
class Caller {
 public:
  explicit Caller(int n_own_threads = 0)
      : thread_([this, n_own_threads] {
          castile::set_num_threads_of_this_thread(n_own_threads);
          try {
            for_each_item(endless, [this](std::int64_t) {
              if (stop_) throw std::runtime_error("stop");
              ++n_running_;
              std::this_thread::sleep_for(std::chrono::milliseconds(1));
              --n_running_;
            });
          } catch (const std::runtime_error&) {
          }
        }) {}
  ~Caller() {
    stop_ = true;
    thread_.join();
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  int n_running() const { return n_running_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> n_running_{0};
  std::thread thread_;  // last, as it uses the others
};

/// Most items of a caller that run at once, seen in a while.
int threads_of(const Caller& caller) {
  int most = 0;
  for (int k = 0; k < 30; ++k) {
    most = std::max(most, caller.n_running());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return most;
}

/// Waits until callers have so many threads each; false if that does not come true.
bool settles(const std::vector<const Caller*>& callers, const std::vector<int>& expected) {
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  while (Clock::now() < deadline) {
    bool as_expected = true;
    for (std::size_t k = 0; k < callers.size(); ++k) {
      as_expected = as_expected && threads_of(*callers[k]) == expected[k];
    }
    if (as_expected) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("callers at once share the threads of the process, and take them back") {
  if (!castile::openmp_enabled()) return;
  const ProcessThreads threads(4);
  const Caller first;
  CHECK(settles({&first}, {4}));
  {
    const Caller second;
    CHECK(settles({&first, &second}, {2, 2}));
    const Caller third;
    CHECK(settles({&first, &second, &third}, {2, 2, 2}));  // rounded up: no processor idles
    {
      const Caller fourth;
      const Caller fifth;
      CHECK(settles({&first, &second, &third, &fourth, &fifth}, {1, 1, 1, 1, 1}));
    }
    CHECK(settles({&first, &second, &third}, {2, 2, 2}));
  }
  CHECK(settles({&first}, {4}));
}

TEST_CASE("a caller with a number of its own neither shares nor takes from others") {
  if (!castile::openmp_enabled()) return;
  const ProcessThreads threads(2);
  const Caller own(3);
  const Caller other;
  CHECK(settles({&own, &other}, {3, 2}));
}

TEST_CASE("the number of threads that a caller asks for is that of the process, whoever else runs") {
  if (!castile::openmp_enabled()) return;
  const ProcessThreads threads(4);
  const Caller other;
  CHECK(settles({&other}, {4}));
  CHECK(castile::num_threads() == 4);
}

TEST_CASE("a loop within a loop of one item is not a second caller") {
  if (!castile::openmp_enabled()) return;
  const ProcessThreads threads(2);
  std::atomic<int> n_workers{0};
  for_each_item(1, [&](std::int64_t) {
    parallel_for(64, [&] {
      ++n_workers;
      return [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
    });
  });
  CHECK(n_workers == 2);
}

TEST_CASE("every item is done once while callers come and go") {
  const ProcessThreads threads(4);
  constexpr std::size_t n_items = 400;
  std::vector<std::atomic<int>> count(n_items);
  std::atomic<bool> stop{false};
  std::thread passer_by([&] {
    while (!stop) {
      for_each_item(60, [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
  });
  for_each_item(n_items, [&](std::int64_t item) {
    ++count[static_cast<std::size_t>(item)];
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  });
  stop = true;
  passer_by.join();
  CHECK(std::all_of(count.begin(), count.end(), [](const auto& n) { return n == 1; }));
}

TEST_CASE("interrupts are asked for even if the number of threads changes all the time") {
  if (!castile::openmp_enabled()) return;
  const ProcessThreads threads(4);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> stop{false};
  std::atomic<int> n_rounds{0};
  // Only of this thread's loop: the other one has its own end.
  castile::set_interrupt_check([&] { return std::this_thread::get_id() == caller && n_rounds >= 4; });
  std::thread other([&] {
    const auto wait_for_round = [&](int seen) {
      while (!stop && n_rounds == seen) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    // Comes when the caller has begun without it, and goes when it has begun with it.
    for (int seen = 0; !stop; seen = n_rounds) {
      wait_for_round(seen);
      seen = n_rounds;
      for_each_item(1, [&](std::int64_t) { wait_for_round(seen); });
    }
  });
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  const auto item = [&](std::int64_t) {
    if (Clock::now() > deadline) throw std::runtime_error("never interrupted");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  CHECK_THROWS_AS(parallel_for(endless,
                               [&] {
                                 // Workspaces take their time, after which it is too late to begin to wait.
                                 std::this_thread::sleep_for(std::chrono::milliseconds(20));
                                 if (std::this_thread::get_id() == caller) ++n_rounds;
                                 return item;
                               }),
                  castile::Interrupted);
  stop = true;
  other.join();
  castile::set_interrupt_check(nullptr);
}

#ifdef _OPENMP
TEST_CASE("within an OpenMP region of the caller, loops run in the thread that calls them") {
  const ProcessThreads threads(4);
  std::atomic<int> n_done{0};
  std::atomic<int> n_moved{0};
  std::atomic<int> n_said{0};
#pragma omp parallel num_threads(3)
  {
    const auto owner = std::this_thread::get_id();
    if (castile::num_threads() != 1) ++n_said;
    for_each_item(100, [&](std::int64_t) {
      ++n_done;
      if (std::this_thread::get_id() != owner) ++n_moved;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
  }
  CHECK(n_done % 100 == 0);
  CHECK(n_done >= 100);
  CHECK(n_moved == 0);
  CHECK(n_said == 0);
}

TEST_CASE("within an OpenMP region of the caller, an exception stays with the thread that called") {
  const ProcessThreads threads(4);
  std::atomic<int> n_caught{0};
  std::atomic<int> n_regions{0};
#pragma omp parallel num_threads(3)
  {
    ++n_regions;
    try {
      for_each_item(10, [](std::int64_t item) {
        if (item == 3) throw std::invalid_argument("three");
      });
    } catch (const std::invalid_argument&) {
      ++n_caught;
    }
  }
  CHECK(n_caught == n_regions);
}
#endif
