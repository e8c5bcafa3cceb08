// Runs an agent as a real child process over pipes and plays the server of one dump, with a script
// that says what it answers. What came back is kept as a record. Blocking; one thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "wire/server_session.hpp"

namespace diskdump {

enum class agent_kind { native, python };

// For cases that hold for both.
struct native_agent {
  static constexpr auto kind = agent_kind::native;
};
struct python_agent {
  static constexpr auto kind = agent_kind::python;
};

inline constexpr std::uint32_t small_block = limits::block_bytes_min;
// A dump of `path` in small blocks.
[[nodiscard]] start_message small_start(std::string path, std::uint32_t batch_blocks);

struct agent_options {
  bool without_uring = false;
  bool as_nobody = false;  // only as root
  // Of the Python agent: an expression of `sector`, the number of 512 bytes of the source, that
  // gives the errno with which a read of it fails, or 0.
  std::string read_errno = {};
};

// The child and its pipes. The destructor ends and reaps it.
class agent_process {
 public:
  agent_process(agent_kind kind, session_nonce const& nonce, agent_options options = {});
  ~agent_process();
  agent_process(agent_process const&) = delete;
  agent_process& operator=(agent_process const&) = delete;

  // Writes what fits of `output` and reads what there is; false at the end of the agent's stdout.
  // Throws std::runtime_error after ten silent seconds (more under a sanitizer).
  [[nodiscard]] bool exchange(byte_vector& output, byte_vector& input);
  // Closes the agent's stdin.
  void close_input();
  void close_output();
  // Waits for its end; the exit status, or minus the signal's number. Throws if it lives on.
  [[nodiscard]] int wait();

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // The most memory it had resident so far.
  [[nodiscard]] std::uint64_t peak_rss_bytes() const;
  // CPU time it used, all threads.
  [[nodiscard]] std::chrono::milliseconds cpu_time() const;

 private:
  pid_t pid_ = -1;
  int to_agent_ = -1;
  int from_agent_ = -1;
};

struct dump_record {
  std::optional<hello_message> hello;
  std::optional<source_message> source;
  std::map<std::uint64_t, block_id> ids;  // of data blocks, as announced
  std::uint64_t zero_blocks = 0;
  std::uint64_t hole_blocks = 0;
  std::uint64_t expected_blocks = 0;  // of those in `ids`
  std::uint64_t digests_messages = 0;
  std::map<std::uint64_t, byte_vector> blocks;  // sent ones, decompressed and checked
  std::map<block_codec, std::uint64_t> codecs;
  std::uint64_t payload_bytes = 0;
  std::vector<note_message> notes;
  std::vector<bad_range_message> bad_ranges;
  std::optional<end_message> end;
  std::uint64_t peak_rss_bytes = 0;  // when END came
  std::optional<int> exit_status;
  std::string failure;  // what the session threw, if it did
  std::error_code failure_code;
  std::optional<std::uint64_t> failure_offset;
  std::chrono::steady_clock::duration elapsed{};
};

class server_script;

struct server_hooks {
  // The verdict for each announced data block; need where it is empty.
  std::function<verdict(block_index, block_id const&)> decide = {};
  // After each event, with the default reaction done.
  std::function<void(server_script&, server_session::event const&)> after = {};
  // What the blocks are expected to be, told with START and as far ahead as may be.
  std::vector<block_id> expected = {};
  bool keep_blocks = true;
  bool check_blocks = true;
};

// One dump: drives `session` against the agent until the agent's stdout ends.
class server_script {
 public:
  server_script(agent_kind kind, start_message start, server_hooks hooks = {},
                agent_options options = {});

  [[nodiscard]] dump_record run();

  server_session session;
  agent_process agent;
  dump_record record;
  std::vector<block_index> waiting;  // told to wait, not yet settled
  byte_vector raw_output;            // sent as it is, before what the session says
  bool hang_up = false;              // both pipes are closed at the next turn

 private:
  void react(server_session::event& event);
  void on_digests(digests_message const& m);
  void on_block(block_received& m);
  void tell_expected();

  server_hooks hooks_;
  block_decompressor decompressor_;
};

// Runs a dump and gives its record.
[[nodiscard]] dump_record run_dump(agent_kind kind, start_message start, server_hooks hooks = {},
                                   agent_options options = {});

// A folder below the system's temporary one that goes with its content.
class scratch_folder {
 public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(scratch_folder const&) = delete;
  scratch_folder& operator=(scratch_folder const&) = delete;
  [[nodiscard]] std::string path(std::string const& name) const { return folder_ + "/" + name; }
  // Writes a file and gives its path.
  std::string file(std::string const& name, byte_view content) const;

 private:
  std::string folder_;
};

// Bytes that repeat nowhere, and bytes that compress to less than half.
[[nodiscard]] byte_vector random_bytes(std::size_t count, std::uint64_t seed);
[[nodiscard]] byte_vector text_bytes(std::size_t count, std::uint64_t seed);

// Whether the record is a whole and true dump of `image`: END, totals, ids, zeros, and the content
// of each block that was asked for.
void check_complete(dump_record const& record, byte_view image, std::uint32_t block_bytes);

[[nodiscard]] bool sanitized_build() noexcept;
[[nodiscard]] std::string native_agent_path();
[[nodiscard]] std::string fallback_path();

}  // namespace diskdump
