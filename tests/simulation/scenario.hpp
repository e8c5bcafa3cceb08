// What a seed decides before anything runs: the machines, their images and links, and what goes
// wrong. Plain data; the world acts it out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chance.hpp"
#include "images.hpp"
#include "turns.hpp"
#include "wire/messages.hpp"

namespace diskdump::simulation {

// What becomes of a connection once so many bytes have crossed it in one direction.
struct link_fault {
  enum class kind : std::uint8_t {
    none,
    pause,       // nothing moves for `duration`, then all goes on
    cut,         // both ends learn that it is lost
    black_hole,  // nothing moves ever again, and nobody learns of it
  };
  kind what = kind::none;
  bool towards_server = true;
  std::uint64_t after_bytes = 0;
  std::chrono::milliseconds duration{};
};

// What an agent does wrong once it has announced or sent so many blocks.
enum class misdeed : std::uint8_t {
  none,
  // A machine that fails.
  dies,          // the program ends, with an exit status or by a signal
  falls_silent,  // it lives, listens, and says nothing more
  stops,         // it is there, and does nothing at all
  read_fails,    // a bad sector, without leave to skip it
  source_shrinks,
  // A machine that lies.
  wrong_content,
  broken_frame,  // a block that does not decompress
  index_out_of_range,
  not_asked_for,
  sent_twice,
  early_end,
  wrong_totals,
  window_exceeded,
  too_many_zeros,     // more than the image has
  too_many_expected,  // likewise, and more than was expected
  impossible_size,
  note_flood,
  garbage,
};
[[nodiscard]] std::string_view to_string(misdeed what) noexcept;

struct attempt_plan {
  link_fault link;  // counted from START on
  misdeed agent = misdeed::none;
  std::uint64_t after_blocks = 0;
  bool changed_source = false;  // the target's other image, with another size or identity
  std::chrono::milliseconds read_pause{};  // of the disk, before each group
  bool skips_bad_sector = false;  // where skipping is allowed: `bad_block` is read as zeros
  block_index bad_block;
  unsigned notes = 0;

  [[nodiscard]] bool faulty() const noexcept {
    return link.what == link_fault::kind::cut || link.what == link_fault::kind::black_hole ||
           agent != misdeed::none || (link.what == link_fault::kind::pause && duration_hurts());
  }
  // Whether it may end well when it is tried again.
  [[nodiscard]] bool passes() const noexcept;
  [[nodiscard]] bool duration_hurts() const noexcept;
};

// What an earlier dump has left of a target.
struct previous_dump {
  image source;
  std::uint64_t lost_one_in = 0;  // of its blocks the store has lost; 0: none
  bool of_other_machine = false;  // that somebody gave the same name
  bool damaged = false;           // its manifest is
};

struct target_plan_of_seed {
  std::size_t host = 0;
  std::string path;
  std::optional<previous_dump> previous;
  image first;
  image second;                        // what changed_source shows
  bool second_same_size = false;       // then the identity tells them apart
  std::vector<attempt_plan> attempts;  // later ones are without fault
};

// What becomes of a command that is to start the agent.
enum class start_fault : std::uint8_t { none, refused, ends_silently, cut, hangs, other_agent };

struct host_plan {
  std::string name;
  std::chrono::milliseconds latency{};
  std::uint64_t bytes_per_second = 0;  // each way; 0: no limit
  std::size_t window_bytes_max = 0;    // of what the transport holds unread
  std::size_t stdin_bytes_max = 0;     // of what a program there has not read yet
  std::size_t read_bytes_max = 0;      // that one read gives
  bool has_agent = true;               // else it is uploaded first
  bool has_sftp = true;
  unsigned login_noise_lines = 0;
  // Faults of the first connections and of the first commands; later ones are well.
  enum class connect_fault : std::uint8_t { none, refused, refuses_login, times_out };
  std::vector<connect_fault> connects;
  std::vector<start_fault> starts;
  // All streams of the first connection break at this moment.
  std::optional<std::chrono::milliseconds> breaks_at;

  // How many attempts of one target its faults can cost; none where they do not pass.
  [[nodiscard]] std::optional<std::size_t> attempts_lost() const noexcept;
  [[nodiscard]] bool faulty() const noexcept {
    return !connects.empty() || !starts.empty() || breaks_at.has_value();
  }
};

struct store_plan {
  std::optional<std::uint64_t> puts_until_full;
  std::optional<std::uint64_t> barriers_until_full;
  // From `pauses_at` on its disk stands still for so long: nobody's fault, and nobody may fail.
  std::chrono::milliseconds pauses_at{};
  std::chrono::milliseconds pauses_for{};
  std::uint32_t held_before = 0;  // so many blocks of the pool, from `first_block` on

  [[nodiscard]] bool faulty() const noexcept { return puts_until_full || barriers_until_full; }
};

struct scenario {
  std::uint64_t seed = 0;
  turn_policy policy = turn_policy::any;
  std::uint32_t batch_blocks = 0;
  std::size_t targets_active_max = 0;
  codec_policy codec = codec_policy::lz4;
  bool skip_bad_sectors = false;
  unsigned attempts_max = 1;
  bool keeps_interrupted = true;
  // What failed or was cancelled is dumped again the next day, when nothing is wrong any more.
  bool next_day = false;
  std::uint32_t first_block = 0;  // of the pool, that the fleet has in common
  std::uint32_t common_blocks = 1;
  store_plan store;
  std::optional<std::uint64_t> cancelled_at_turn;
  std::vector<host_plan> hosts;
  std::vector<target_plan_of_seed> targets;

  // No fault anywhere, and nobody so slow that others would not wait for him: what is then true of
  // the wire is exact.
  [[nodiscard]] bool flawless_and_brisk() const noexcept;
  [[nodiscard]] bool flawless(std::size_t target) const noexcept;
  // Every fault of this target and of its machine passes before its attempts are used up.
  [[nodiscard]] bool outlasts_its_faults(std::size_t target) const noexcept;
};

[[nodiscard]] scenario make_scenario(std::uint64_t seed);

// For a person: what the seed decided, one line per host and target.
[[nodiscard]] std::string describe(scenario const& what);

}  // namespace diskdump::simulation
