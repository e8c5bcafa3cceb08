#include "store/pack_files.hpp"

#include <algorithm>

#include "base/limits.hpp"
#include "store/pack_writer.hpp"

namespace diskdump {

std::shared_ptr<read_file> pack_files::open(std::uint32_t number) {
  std::lock_guard const lock(mutex_);
  auto const at =
      std::find_if(open_.begin(), open_.end(), [&](auto const& p) { return p.number == number; });
  if (at != open_.end()) {
    open_.splice(open_.begin(), open_, at);
    return at->file;
  }
  std::shared_ptr<read_file> file = files_.open_readable(pack_path(layout_, number));
  if (!file) return nullptr;
  open_.push_front({number, file});
  if (open_.size() > limits::pack_files_open_max) open_.pop_back();
  return file;
}

}  // namespace diskdump
