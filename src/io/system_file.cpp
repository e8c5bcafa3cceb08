#include "io/system_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "io/unique_fd.hpp"

namespace diskdump {

std::string read_system_file(std::string const& path, std::size_t bytes_max) {
  unique_fd const file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return {};
  std::string text;
  char chunk[4096];
  while (text.size() < bytes_max) {
    auto const n = ::read(file.get(), chunk, std::min(sizeof chunk, bytes_max - text.size()));
    if (n <= 0) break;
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

std::vector<std::string> list_system_directory(std::string const& path) {
  struct closer {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
  };
  std::unique_ptr<DIR, closer> const directory(::opendir(path.c_str()));
  std::vector<std::string> names;
  if (!directory) return names;
  while (auto const* const found = ::readdir(directory.get())) {
    std::string name(found->d_name);
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace diskdump
