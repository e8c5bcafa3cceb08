// What every disk promises, as one suite: run it with a way to make a disk with given content.
//
//   TEST_CASE("posix") { disk_conformance(my_maker); }
#pragma once

#include <functional>
#include <memory>

#include "async/offload.hpp"
#include "base/bytes.hpp"
#include "io/disk.hpp"

namespace diskdump {

// Makes a disk that holds `content` and can be read and written. The content's size is a multiple
// of 4096 where `whole_sectors` was said.
struct disk_maker {
  std::function<std::unique_ptr<disk>(asio::io_context& loop, worker_pool& pool,
                                      byte_vector const& content)>
      make;
  bool whole_sectors = false;
};

void disk_conformance(disk_maker const& maker);

}  // namespace diskdump
