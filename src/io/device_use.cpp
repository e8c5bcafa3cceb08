#include "io/device_use.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/format.hpp"
#include "io/disk.hpp"
#include "io/io_errc.hpp"
#include "io/system_file.hpp"

namespace diskdump {

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    auto const end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// "\040" is a blank: the kernel writes blank, tab, newline and backslash so.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto const octal = text.substr(i + 1, 3);
    unsigned value = 0;
    if (text[i] == '\\' && octal.size() == 3 &&
        std::from_chars(octal.data(), octal.data() + 3, value, 8).ptr == octal.data() + 3) {
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "8:1"
std::optional<dev_t> parse_device(std::string_view text) {
  auto const colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  unsigned numbers[2] = {};
  std::string_view const halves[2] = {text.substr(0, colon), text.substr(colon + 1)};
  for (int i = 0; i < 2; ++i) {
    auto const* const end = halves[i].data() + halves[i].size();
    if (std::from_chars(halves[i].data(), end, numbers[i]).ptr != end) return std::nullopt;
  }
  return makedev(numbers[0], numbers[1]);
}

std::optional<dev_t> device_at(std::string const& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
  return status.st_rdev;
}

std::string sys_folder(dev_t device) {
  return format("/sys/dev/block/{}:{}/", major(device), minor(device));
}

std::string first_line(std::string const& path) {
  auto text = read_system_file(path);
  text.erase(std::min(text.find('\n'), text.size()));
  return text;
}

// The device and its partitions.
std::vector<dev_t> family(dev_t device) {
  std::vector<dev_t> members{device};
  auto const folder = sys_folder(device);
  for (auto const& name : list_system_directory(folder)) {
    if (read_system_file(folder + name + "/partition", 16).empty()) continue;
    if (auto const part = parse_device(first_line(folder + name + "/dev"))) {
      members.push_back(*part);
    }
  }
  return members;
}

[[noreturn]] void refuse(std::string const& path, std::string const& cause,
                         std::string const& remedy) {
  throw error(io_errc::in_use, severity::permanent).path(path).cause(cause).remedy(remedy);
}

}  // namespace

std::vector<mount_entry> parse_mountinfo(std::string_view text) {
  std::vector<mount_entry> mounts;
  for (auto const line : split(text, '\n')) {
    // 36 35 98:0 /root /mount/point options optional… - type source super-options
    auto const parts = split(line, ' ');
    auto const dash = std::find(parts.begin(), parts.end(), std::string_view("-"));
    if (parts.size() < 5 || parts.end() - dash < 3) continue;
    auto const device = parse_device(parts[2]);
    if (!device) continue;
    mount_entry entry;
    entry.device_major = major(*device);
    entry.device_minor = minor(*device);
    entry.mount_point = unescape(parts[4]);
    entry.source = unescape(dash[2]);
    mounts.push_back(std::move(entry));
  }
  return mounts;
}

std::vector<std::string> parse_swaps(std::string_view text) {
  std::vector<std::string> paths;
  for (auto const line : split(text, '\n')) {
    auto const path = line.substr(0, line.find_first_of(" \t"));
    if (path.starts_with('/')) paths.push_back(unescape(path));
  }
  return paths;
}

void refuse_if_in_use(std::string const& path) {
  auto const device = device_at(path);
  if (!device) return;
  auto const members = family(*device);
  auto const is_member = [&members](dev_t d) {
    return std::find(members.begin(), members.end(), d) != members.end();
  };
  for (auto const& m : parse_mountinfo(read_system_file("/proc/self/mountinfo"))) {
    bool used = is_member(makedev(m.device_major, m.device_minor));
    if (!used && m.source.starts_with('/')) {
      auto const source = device_at(m.source);
      used = source && is_member(*source);
    }
    if (used) {
      refuse(path, format("mounted on {}", m.mount_point), format("umount {}", m.mount_point));
    }
  }
  for (auto const& swap : parse_swaps(read_system_file("/proc/swaps"))) {
    auto const swap_device = device_at(swap);
    if (swap_device && is_member(*swap_device)) {
      refuse(path, format("swap space on {}", swap), format("swapoff {}", swap));
    }
  }
  for (auto const member : members) {
    auto const holders = list_system_directory(sys_folder(member) + "holders");
    if (holders.empty()) continue;
    auto const name = first_line("/sys/class/block/" + holders.front() + "/dm/name");
    refuse(path,
           name.empty() ? format("held by /dev/{}", holders.front())
                        : format("held by /dev/{} ({})", holders.front(), name),
           "take that device down first");
  }
}

}  // namespace diskdump
