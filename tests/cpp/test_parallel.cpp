#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "castile/errors.hpp"
#include "castile/memory.hpp"
#include "castile/parallel.hpp"
#include "support.hpp"

namespace {

using castile::parallel_for;
using castile::test::Threads;
using Worker = std::function<void(std::int64_t)>;

/// A loop whose threads need no workspace.
void for_each_item(std::int64_t n_items, const Worker& worker) {
  parallel_for(n_items, [&] { return worker; });
}

/// Sets the interrupt check for this scope.
class InterruptCheck {
 public:
  explicit InterruptCheck(std::function<bool()> check) { castile::set_interrupt_check(std::move(check)); }
  ~InterruptCheck() { castile::set_interrupt_check(nullptr); }
  InterruptCheck(const InterruptCheck&) = delete;
  InterruptCheck& operator=(const InterruptCheck&) = delete;
};

}  // namespace

TEST_CASE("every item is done once, on any number of threads") {
  for (const int n_threads : {1, 2, 3, 8}) {
    const Threads threads(n_threads);
    for (const std::int64_t n_items : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> count(static_cast<std::size_t>(n_items));
      for_each_item(n_items, [&](std::int64_t item) { ++count[static_cast<std::size_t>(item)]; });
      bool once = true;
      for (const auto& n : count) once = once && n == 1;
      CHECK(once);
    }
  }
}

TEST_CASE("each thread makes its own worker, and there are no more than asked for") {
  for (const int n_threads : {1, 2, 4}) {
    const Threads threads(n_threads);
    std::atomic<int> n_workers{0};
    parallel_for(100, [&] {
      ++n_workers;
      return [owner = std::this_thread::get_id(), mine = 0](std::int64_t) mutable {
        ++mine;
        if (owner != std::this_thread::get_id()) throw std::logic_error("worker shared");
      };
    });
    CHECK(n_workers >= 1);
    CHECK(n_workers <= n_threads);
  }
}

TEST_CASE("an exception reaches the caller with its type and message, and stops the loop") {
  for (const int n_threads : {1, 2, 4}) {
    const Threads threads(n_threads);
    std::atomic<std::int64_t> done{0};
    try {
      for_each_item(1000000, [&](std::int64_t item) {
        if (item == 17) throw castile::MemoryLimitExceeded("seventeen");
        ++done;
      });
      FAIL("nothing was thrown");
    } catch (const castile::MemoryLimitExceeded& error) {
      CHECK(std::string(error.what()) == "seventeen");
    }
    CHECK(done < 1000000);
    // The next loop knows nothing of it.
    CHECK_NOTHROW(for_each_item(10, [](std::int64_t) {}));
  }
}

TEST_CASE("an exception while a worker is made reaches the caller") {
  const Threads threads(2);
  CHECK_THROWS_AS(parallel_for(10, []() -> Worker { throw std::invalid_argument("no workspace"); }),
                  std::invalid_argument);
}

TEST_CASE("exceptions of several threads become one") {
  const Threads threads(4);
  CHECK_THROWS_AS(for_each_item(64, [](std::int64_t) { throw std::runtime_error("each"); }), std::runtime_error);
}

TEST_CASE("the interrupt check stops a loop, and only the thread that started it asks") {
  for (const int n_threads : {1, 2}) {
    const Threads threads(n_threads);
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> asked_elsewhere{false};
    std::atomic<int> n_asked{0};
    const InterruptCheck check([&] {
      if (std::this_thread::get_id() != caller) asked_elsewhere = true;
      return ++n_asked >= 2;
    });
    const auto start = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(
        for_each_item(1000000, [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }),
        castile::Interrupted);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
    CHECK(!asked_elsewhere);
    CHECK(n_asked == 2);
  }
}

TEST_CASE("a long item stops at its interruption points, which mean nothing outside of a loop") {
  const InterruptCheck check([] { return true; });
  CHECK_NOTHROW(castile::interruption_point());
  for (const int n_threads : {1, 2}) {
    const Threads threads(n_threads);
    CHECK_THROWS_AS(for_each_item(1,
                                  [](std::int64_t) {
                                    for (int part = 0; part < 10000; ++part) {
                                      std::this_thread::sleep_for(std::chrono::milliseconds(1));
                                      castile::interruption_point();
                                    }
                                  }),
                    castile::Interrupted);
  }
  CHECK_NOTHROW(castile::interruption_point());
}

TEST_CASE("a check that asks for nothing changes nothing") {
  const InterruptCheck check([] { return false; });
  std::atomic<int> done{0};
  for_each_item(100, [&](std::int64_t) { ++done; });
  CHECK(done == 100);
}

TEST_CASE("a loop inside a loop runs in the thread that it is in") {
  const Threads threads(2);
  std::atomic<int> done{0};
  std::atomic<bool> moved{false};
  for_each_item(8, [&](std::int64_t) {
    if (castile::openmp_enabled() && castile::num_threads() != 1) moved = true;
    const auto outer = std::this_thread::get_id();
    for_each_item(8, [&](std::int64_t) {
      if (std::this_thread::get_id() != outer) moved = true;
      ++done;
    });
  });
  CHECK(done == 64);
  CHECK(!moved);
}

TEST_CASE("a forked child runs serially instead of waiting for threads that it does not have") {
  const Threads threads(2);
  for_each_item(64, [](std::int64_t) {});  // the parent has used its threads
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);  // a child that hangs is killed, which the parent sees
    std::atomic<int> done{0};
    for_each_item(64, [&](std::int64_t) { ++done; });
    _exit(done == 64 && castile::num_threads() == 1 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  if (castile::openmp_enabled()) CHECK(castile::num_threads() == 2);
}

TEST_CASE("the calling thread's number of threads comes before that of the process") {
  if (!castile::openmp_enabled()) {
    CHECK(castile::num_threads() == 1);
    return;
  }
  const int by_default = castile::num_threads();
  CHECK(by_default >= 1);
  castile::set_num_threads(3);
  CHECK(castile::num_threads() == 3);
  {
    const Threads threads(5);
    CHECK(castile::num_threads() == 5);
    int elsewhere = 0;
    std::thread([&] { elsewhere = castile::num_threads(); }).join();
    CHECK(elsewhere == 3);
    CHECK(castile::set_num_threads_of_this_thread(6) == 5);
    castile::set_num_threads_of_this_thread(5);
  }
  CHECK(castile::num_threads() == 3);
  castile::set_num_threads(0);
  CHECK(castile::num_threads() == by_default);
}

TEST_CASE("requests beyond the memory at hand are refused with the figures, small ones never") {
  CHECK(castile::available_memory() > 0.0);
  CHECK_NOTHROW(castile::require_memory(1e6, "a small array", "nothing"));
  castile::MemoryBudget budget([](double bytes) { return std::to_string(bytes > 1e17) + " rows"; }, "take fewer");
  for (int k = 0; k < 100; ++k) budget.spend(1000);
  CHECK_THROWS_WITH_AS(
      [&] {
        for (int k = 0; k < 1000; ++k) budget.spend(std::int64_t{1} << 50);
      }(),
      doctest::Contains("rows"), castile::MemoryLimitExceeded);
  try {
    castile::require_memory(1e18, "the matrix", "take fewer rows");
    FAIL("nothing was thrown");
  } catch (const castile::MemoryLimitExceeded& error) {
    const std::string message = error.what();
    CHECK(message.find("the matrix, 9.31e+08 GiB; available ") == 0);
    CHECK(message.find("; take fewer rows") != std::string::npos);
  }
}
