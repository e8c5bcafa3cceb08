#include "transport/private_folder.hpp"

#include <stdlib.h>

#include <cerrno>
#include <filesystem>

#include "base/error.hpp"

namespace diskdump {

private_folder::private_folder() {
  // A socket's path holds 107 characters, and ssh appends 17 while it makes the socket.
  constexpr std::size_t parent_max = 60;
  std::error_code ignored;
  auto parent = std::filesystem::temp_directory_path(ignored).string();
  if (parent.empty() || parent.size() > parent_max) parent = "/tmp";
  path_ = parent + "/diskdump-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw errno_error(errno, "mkdtemp").path(path_);
}

private_folder::~private_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace diskdump
