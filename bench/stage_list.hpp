// The stages that bench_stages measures, in the order in which they run. A stage is a function that
// does an operation so many times; a limit is one that does the least that the machine can do in
// its place.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.hpp"

namespace diskdump {

struct stage {
  std::string name;
  std::string limit;  // the stage beside which it is judged; none for a limit
  std::size_t operations = 1;
  std::size_t bytes = 0;  // of one operation; 0 where only their number says something
  std::function<void()> run;
  bool wall = false;  // the time that passes, not that of the processor
  std::vector<double> seconds;

  [[nodiscard]] double ns_each() const;
};

class stage_list {
 public:
  void add(std::string name, std::string limit, std::size_t operations, std::size_t bytes,
           std::function<void()> run) {
    all_.push_back(
        {std::move(name), std::move(limit), operations, bytes, std::move(run), false, {}});
  }
  void add_wall(std::string name, std::string limit, std::size_t operations, std::size_t bytes,
                std::function<void()> run) {
    all_.push_back({std::move(name) + ", wall",
                    limit.empty() ? limit : limit + ", wall",
                    operations,
                    bytes,
                    std::move(run),
                    true,
                    {}});
  }
  void run(int rounds);
  void print() const;

 private:
  std::vector<stage> all_;
};

// Ends the program where something did not work; keeps the compiler from leaving work out, too.
void keep(bool condition);

// What they refer to outlives the list.
void add_codec_stages(stage_list& stages, std::vector<byte_vector> const& blocks);
void add_ssh_stages(stage_list& stages);
void add_hop_stages(stage_list& stages);
void add_store_stages(stage_list& stages, std::string const& folder);
void add_disk_stages(stage_list& stages, std::string const& folder);

}  // namespace diskdump
