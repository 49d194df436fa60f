#include "castile/memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>

#include "castile/errors.hpp"

namespace castile {
namespace {

constexpr double usable = 0.9;  // the rest is for what grows beside a request, here and in other processes
constexpr double unlimited = std::numeric_limits<double>::infinity();

/// The number after `key` in a file of "key value" lines, or -1.
double value_in_file(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    double value = 0.0;
    if (word == key && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return -1.0;
}

/// The only number in a file, or -1 if there is none ("max" means no limit).
double number_in_file(const std::string& path) {
  std::ifstream file(path);
  double value = -1.0;
  return file >> value ? value : -1.0;
}

struct GroupFiles {
  const char* root;
  const char* limit;
  const char* usage;
  const char* reclaimable;
};
constexpr GroupFiles version_1{"/sys/fs/cgroup/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                               "total_inactive_file"};
constexpr GroupFiles version_2{"/sys/fs/cgroup", "/memory.max", "/memory.current", "inactive_file"};

/// What a control group and those above it leave; cached files count as free, they are given up first.
double available_in_group(const GroupFiles& files, std::string group) {
  double available = unlimited;
  while (true) {
    const std::string folder = files.root + group;
    const double limit = number_in_file(folder + files.limit);
    const double usage = number_in_file(folder + files.usage);
    if (limit >= 0.0 && usage >= 0.0) {
      const double cached = std::max(0.0, value_in_file(folder + "/memory.stat", files.reclaimable));
      available = std::min(available, limit - usage + cached);
    }
    if (group.empty()) return std::max(0.0, available);
    group.erase(group.rfind('/'));
  }
}

double available_in_groups() {
  double available = unlimited;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {  // hierarchy:controllers:path
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (path == "/") path.clear();
    if (controllers.empty()) available = std::min(available, available_in_group(version_2, path));
    if (controllers == "memory") available = std::min(available, available_in_group(version_1, path));
  }
  return available;
}

double physical_memory() {
  const auto pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

std::string gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g GiB", bytes / (1024.0 * 1024 * 1024));
  return text;
}

}  // namespace

double available_memory() {
  const double kibibytes = value_in_file("/proc/meminfo", "MemAvailable:");
  const double machine = kibibytes >= 0.0 ? kibibytes * 1024.0 : physical_memory();
  return usable * std::min(machine, available_in_groups());
}

void require_memory(double bytes, const std::string& what, const std::string& remedy) {
  if (bytes <= unchecked_bytes) return;
  const double available = available_memory();
  if (bytes <= available) return;
  throw MemoryLimitExceeded(what + ", " + gibibytes(bytes) + "; available " + gibibytes(available) + "; " + remedy);
}

void MemoryBudget::spend(std::int64_t bytes) {
  const auto spent = static_cast<double>(spent_ += bytes);
  if (spent <= unchecked_bytes) return;
  std::call_once(once_, [this] { available_ = available_memory(); });
  if (spent > available_) require_memory(spent, what_(spent), remedy_);
}

}  // namespace castile
