// Which blocks the manifests of a store name. Reads them all on several threads; may be brought up
// to date later, when only those that appeared meanwhile are read. Blocking. Internal to src/store
// and to what reports on a store.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "store/block_marks.hpp"
#include "store/manifest.hpp"
#include "store/monitor.hpp"

namespace diskdump {

class manifest_marks {
 public:
  // `base` is DIR. `files`, rooted at DIR, outlives this object; nullptr: the real one.
  explicit manifest_marks(std::string base, unsigned threads, file_system* files = nullptr);

  // Reads every manifest that was not read before. Throws the first that cannot be read: nobody
  // knows what it needs. Besides those of both layouts it finds every *.manifest file elsewhere
  // below DIR: a person may have moved one.
  void update(work_monitor& monitor);

  [[nodiscard]] block_marks const& blocks() const noexcept { return blocks_; }
  [[nodiscard]] std::uint64_t manifests() const noexcept { return read_.size(); }

 private:
  std::string base_;
  unsigned threads_;
  file_system* files_;
  block_marks blocks_;
  std::set<std::string> read_;
};

}  // namespace diskdump
