// Packs that are open to be read: one that is read again and again is opened once, and the system
// sees that it is read in order. At most limits::pack_files_open_max, the last ones used.
// Thread-safe. Internal to src/store.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "io/file_system.hpp"
#include "store/layout.hpp"

namespace diskdump {

class pack_files {
 public:
  // Both outlive this object.
  pack_files(file_system& files, store_layout const& layout) : files_(files), layout_(layout) {}

  // nullptr where there is no such pack. One that was deleted since it was opened can still be
  // read, and its number may have been given to another one since then: what is read must say
  // itself what it is. Throws what open_readable() throws.
  [[nodiscard]] std::shared_ptr<read_file> open(std::uint32_t number);

 private:
  struct open_pack {
    std::uint32_t number = 0;
    std::shared_ptr<read_file> file;
  };

  file_system& files_;
  store_layout const& layout_;
  std::mutex mutex_;
  std::list<open_pack> open_;  // the one used last comes first
};

}  // namespace diskdump
