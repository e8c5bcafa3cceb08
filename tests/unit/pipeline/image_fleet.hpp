// An agent whose disk is in memory, and dumps of several of them at once over memory streams: the
// real stages, sessions, store files and manifests.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <random>

#include "async/scope.hpp"
#include "async/spawned.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "pipeline/dump.hpp"
#include "pipeline/image_ledger.hpp"
#include "pipeline/manifest_room.hpp"
#include "store/manifest.hpp"
#include "transport/memory_stream.hpp"
#include "wire/agent_session.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

struct temporary_folder {
  std::string path;
  temporary_folder() {
    // In memory where the system has such a place: what the disk is like is no matter here.
    bool const memory = ::access("/dev/shm", W_OK) == 0;
    std::string pattern =
        (memory ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) +
        "/diskdump-XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~temporary_folder() { std::filesystem::remove_all(path); }
};

// What an agent may do wrong, for the tests of a hostile target.
enum class lie {
  none,
  wrong_content,
  dies_half_way,
  endless_notes,
  all_as_expected,
  falls_silent,  // once it has said what its disk is
  drips,         // a byte of a block every two seconds
};

// An agent whose disk is `image`: announces group by group, sends what is needed.
class memory_agent {
 public:
  memory_agent(byte_vector image, session_nonce nonce, lie how = lie::none)
      : image_(std::move(image)), nonce_(nonce), how_(how) {}

  task<> serve(std::unique_ptr<memory_stream> io);

  block_index first;  // as START said
  std::string identity = "serial=1";
  std::size_t blocks_sent = 0;
  std::size_t waits = 0;
  std::size_t dies_after = 5;
  timer_source* drips_by = nullptr;
  // Where it is set, no more is read than the server allows: a block at a time.
  timer_source* timers = nullptr;
  std::vector<std::uint64_t> read_limits;  // of START, and as they changed
  block_codec codec = block_codec::lz4;    // of blocks that shrink by it
  std::size_t blocks_expected = 0;         // announced as such
  std::size_t verdicts_heard = 0;
  std::string abort_heard;  // what ABORT said
  // Announces no block of which it has not heard what it is expected to be.
  bool waits_for_all = false;
  // Announces nothing before it has heard what this block is expected to be.
  std::optional<block_index> waits_for_expectation;
  std::function<void()> on_expectation;  // called once, then

 private:
  task<> flush(stream& io) {
    auto const out = session_.take_output();
    if (!out.empty()) co_await io.write(out);
  }
  task<> send_block(stream& io, block_index index);
  void announce();
  task<> wait_for_rate();
  task<> turn(stream& io);
  [[nodiscard]] byte_view block(block_index i) const {
    return byte_view(image_).subspan(geometry_.offset_bytes(i), geometry_.length_bytes(i));
  }

  byte_vector image_;
  session_nonce nonce_;
  lie how_;
  agent_session session_;
  block_geometry geometry_;
  block_index next_;
  std::uint32_t batch_blocks_ = 0;
  bool ended_ = false;
  std::optional<rate_limiter> reading_;
};

inline void memory_agent::announce() {
  if (waits_for_expectation) {
    if (session_.expected(*waits_for_expectation) == no_block) return;
    waits_for_expectation.reset();
    if (on_expectation) on_expectation();
  }
  while (next_.value < geometry_.blocks().value &&
         session_.unsettled() + limits::group_blocks <=
             std::max(batch_blocks_, limits::group_blocks)) {
    digests_message m{next_, {}};
    auto const blocks_max = reading_ ? 1 : limits::group_blocks;
    for (std::uint32_t i = 0; i < blocks_max && next_.value < geometry_.blocks().value; ++i) {
      if (waits_for_all && session_.expected(next_) == no_block) break;
      auto const bytes = block(next_);
      auto const id = sha256(bytes);
      if (is_zero(bytes)) {
        m.runs.push_back({run_kind::zeros, {}, {1}});
      } else if (id == session_.expected(next_)) {
        m.runs.push_back({run_kind::expected, id, {1}});
        ++blocks_expected;
      } else {
        m.runs.push_back({run_kind::data, id, {1}});
      }
      ++next_;
    }
    if (m.runs.empty()) return;
    session_.digests(m);
    if (reading_) return;
  }
}

inline task<> memory_agent::wait_for_rate() {
  if (timers == nullptr || next_.value == geometry_.blocks().value) co_return;
  if (!reading_) reading_.emplace(*timers, read_limits.back());
  reading_->set_rate(read_limits.back());
  co_await reading_->take(geometry_.length_bytes(next_));
}

inline task<> memory_agent::send_block(stream& io, block_index index) {
  byte_vector content(block(index).begin(), block(index).end());
  if (how_ == lie::wrong_content) content.front() ^= std::byte{1};
  byte_vector packed(lz4_frame_bytes_max(content.size()));
  block_compressor compressor;
  packed.resize(codec == block_codec::lz4
                    ? compressor.lz4_frame(content, packed)
                    : compressor.zlib(content, packed).value_or(content.size()));
  bool const raw = packed.size() >= content.size();
  auto const& payload = raw ? content : packed;
  byte_vector frame;
  session_.block(
      {index, raw ? block_codec::raw : codec, static_cast<std::uint32_t>(content.size())},
      payload.size(), frame);
  append_bytes(frame, payload);
  co_await flush(io);
  for (auto rest = byte_view(frame); how_ == lie::drips && !rest.empty(); rest = rest.subspan(1)) {
    co_await drips_by->sleep(std::chrono::seconds(2));
    co_await io.write(rest.first(1));
  }
  if (how_ != lie::drips) co_await io.write(frame);
  ++blocks_sent;
}

// Says what there is to say, after whatever the server said.
inline task<> memory_agent::turn(stream& io) {
  if (geometry_.block_bytes == 0) co_return;
  if (how_ == lie::falls_silent) {
    co_await flush(io);
    co_return;
  }
  co_await wait_for_rate();
  announce();
  if (session_.complete() && next_.value == geometry_.blocks().value && !ended_) {
    session_.end(image_.size());
    ended_ = true;
  }
  co_await flush(io);
}

inline task<> memory_agent::serve(std::unique_ptr<memory_stream> io) {
  hello_message hello;
  hello.nonce = nonce_;
  session_.hello(hello);
  co_await flush(*io);
  byte_vector buffer(4096);
  for (bool open = true; open;) {
    auto const n = co_await io->read(byte_span(buffer));
    if (n == 0) co_return;
    auto input = byte_view(buffer).first(n);
    while (auto event = session_.feed(input)) {
      if (auto* const start = std::get_if<start_message>(&*event)) {
        geometry_ = {image_.size(), start->block_bytes};
        next_ = first = start->first_block;
        batch_blocks_ = start->batch_blocks;
        read_limits.push_back(start->read_limit_bytes_per_s);
        session_.source({.image_bytes = image_.size(), .identity = identity});
      } else if (auto* const verdicts = std::get_if<std::vector<block_verdict>>(&*event)) {
        for (auto const& v : *verdicts) {
          ++verdicts_heard;
          if (v.outcome == verdict::wait) ++waits;
          if (v.outcome == verdict::need) co_await send_block(*io, v.index);
          if (how_ == lie::dies_half_way && blocks_sent == dies_after) co_return;
        }
      } else if (auto* const limit = std::get_if<limit_message>(&*event)) {
        read_limits.push_back(limit->read_limit_bytes_per_s);
      } else if (std::holds_alternative<finished>(*event)) {
        open = false;
      }
      if (how_ == lie::endless_notes) {
        byte_vector notes;
        for (std::size_t i = 0; i <= limits::notes_max; ++i)
          encode(notes, note_message{1, "again"});
        co_await io->write(notes);
      }
      if (how_ == lie::all_as_expected) {
        byte_vector frame;
        encode(frame, digests_message{next_, {{run_kind::expected, {}, {8}}}});
        co_await flush(*io);
        co_await io->write(frame);
      }
      if (!open) break;
      co_await turn(*io);
    }
    // EXPECT is no event.
    if (open) co_await turn(*io);
  }
}

inline byte_vector random_image(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  byte_vector image(bytes);
  for (auto& b : image) b = static_cast<std::byte>(random() & 0x3f);
  return image;
}

inline constexpr std::uint32_t block_bytes = 4096;

// Time passes only while a limited stage sleeps, and then at once; who waits for a time-out waits.
// Where `by_hand` is set everybody waits for advance_to_next().
class skipping_timers final : public timer_source {
 public:
  explicit skipping_timers(asio::any_io_executor executor) : timers_(std::move(executor)) {}
  clock_source const& clock() const override { return timers_.clock(); }
  task<> sleep(std::chrono::steady_clock::duration duration) override {
    if (!by_hand && duration <= limits::rate_look_interval) {
      slept += duration;
      timers_.advance(duration);
    } else {
      co_await timers_.sleep(duration);
    }
  }
  bool advance_to_next() { return timers_.advance_to_next(); }
  std::chrono::duration<double> slept{};
  bool by_hand = false;

 private:
  manual_timer_source timers_;
};

// Whether jobs run on threads of their own, or between the turns of the event loop, which then
// stands still exactly when nothing is left to do.
enum class jobs_run { on_threads, on_loop };

// A dump of several images at once into one store, each target with its own memory agent.
struct fleet_of_images {
  explicit fleet_of_images(store_format which = store_format::loose,
                           jobs_run where = jobs_run::on_threads)
      : kind(which), workers(pool(where)), writers(pool(where)) {}

  worker_pool pool(jobs_run where) {
    return where == jobs_run::on_loop ? worker_pool(loop.get_executor(), 2) : worker_pool(2);
  }

  store_format kind;
  temporary_folder folder;
  asio::io_context loop{1};
  worker_pool workers;
  worker_pool writers;
  skipping_timers timers{loop.get_executor()};
  null_log log;
  std::unique_ptr<block_store> store =
      open_store(folder.path, {.create_block_bytes = block_bytes, .create_format = kind});
  claims_table claims;
  dump_context context{loop.get_executor(), workers, writers, timers, *store, claims, log,
                       folder.path};

  std::optional<manifest_room> manifests;  // where a test bounds them: what they leave of the disk

  struct target {
    std::unique_ptr<memory_agent> agent;  // of the next attempt, or of the last
    bool pending = true;
    target_progress progress;
    image_ledger ledger{progress, block_bytes};
    target_plan plan;
    std::string manifest;
    std::exception_ptr failure;
    clock_source::steady ended_at;
  };
  std::vector<std::unique_ptr<target>> targets;
  std::size_t wire_capacity_bytes = 65536;
  std::uint32_t batch_blocks = 80;
  std::uint64_t read_limit = 0;
  std::uint64_t wire_limit = 0;

  target& dump(byte_vector image, lie how = lie::none) {
    auto& t = *targets.emplace_back(std::make_unique<target>());
    t.plan.host = "host";
    t.plan.path = "/disk";
    t.plan.source = "host:/disk";
    t.plan.manifest_name = "disk";
    t.plan.nonce[0] = static_cast<std::byte>(targets.size());
    t.plan.start.path = t.plan.path;
    t.plan.start.block_bytes = block_bytes;
    t.plan.start.batch_blocks = batch_blocks;
    t.plan.start.read_limit_bytes_per_s = read_limit;
    t.plan.wire_limit_bytes_per_s = wire_limit;
    again(t, std::move(image), how);
    return t;
  }
  // Another attempt at the same target.
  void again(target& t, byte_vector image, lie how = lie::none) {
    t.agent = std::make_unique<memory_agent>(std::move(image), t.plan.nonce, how);
    t.failure = nullptr;
    t.pending = true;
  }

  static task<> serve(memory_agent& agent, std::unique_ptr<memory_stream> io) {
    try {
      co_await agent.serve(std::move(io));
    } catch (error const& e) {
      if (e.code() == wire_errc::aborted_by_peer) agent.abort_heard = e.cause();
    } catch (std::exception const&) {
      // The server hung up on it; what became of the target is what the test looks at.
    }
  }
  static task<> one(dump_context& context, target& t, std::unique_ptr<stream> io) {
    try {
      t.manifest = co_await dump_target(context, t.plan, std::move(io), t.ledger, t.progress);
    } catch (...) {
      t.failure = std::current_exception();
    }
    t.ended_at = context.timers.clock().now();
  }
  static task<> all(fleet_of_images& self) {
    scope agents(self.loop.get_executor());
    scope dumps(self.loop.get_executor());
    for (auto const& t : self.targets) {
      if (!std::exchange(t->pending, false)) continue;
      auto ends = make_memory_stream_pair(self.loop.get_executor(), self.wire_capacity_bytes);
      agents.spawn(serve(*t->agent, std::move(ends.second)));
      dumps.spawn(one(self.context, *t, std::move(ends.first)));
    }
    co_await dumps.join();
    co_await agents.join();
  }
  void run(task<> work) {
    std::exception_ptr failure;
    asio::co_spawn(loop, std::move(work), [&](std::exception_ptr e) { failure = e; });
    loop.restart();
    loop.run();
    if (failure) std::rethrow_exception(failure);
    CHECK(claims.size() == 0);
  }
  // One attempt at every target that is due.
  void run() { run(all(*this)); }
  // The same, where time passes when nobody has anything else to do. REQUIRES: jobs run on the
  // loop.
  void run_in_time() {
    timers.by_hand = true;
    auto const dumps = start(loop, all(*this));
    while (!dumps->ended) {
      REQUIRE(timers.advance_to_next());
      settle(loop);
    }
    CHECK_FALSE(dumps->failure);
    CHECK(claims.size() == 0);
  }

  byte_vector restored(std::string const& manifest) {
    manifest_reader reader(folder.path + "/" + manifest, *store);
    byte_vector image;
    block_decompressor decompressor;
    byte_vector raw(reader.header().geometry.block_bytes);
    while (auto id = reader.next()) {
      auto const frame = store->get(*id);
      REQUIRE(frame);
      auto const n = decompressor.lz4_frame(*frame, raw);
      CHECK(sha256(byte_view(raw).first(n)) == *id);
      append_bytes(image, byte_view(raw).first(n));
    }
    CHECK(image.size() == reader.header().geometry.image_bytes);
    return image;
  }
};

inline std::error_code code_of(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    return e.code();
  } catch (...) {
    return {};
  }
}

}  // namespace diskdump
