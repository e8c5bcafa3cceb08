// Whole dumps of one and more targets over memory streams: the real stages, sessions, store files
// and manifests; only the wire and the agent's disk are in memory.
#include "pipeline/dump.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <random>

#include "async/scope.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "store/manifest.hpp"
#include "transport/memory_stream.hpp"
#include "wire/agent_session.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

namespace {

struct temporary_folder {
  std::string path;
  temporary_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "diskdump-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~temporary_folder() { std::filesystem::remove_all(path); }
};

// What an agent may do wrong, for the tests of a hostile target.
enum class lie { none, wrong_content, dies_half_way, endless_notes };

// An agent whose disk is `image`: announces group by group, sends what is needed.
class memory_agent {
 public:
  memory_agent(byte_vector image, session_nonce nonce, lie how = lie::none)
      : image_(std::move(image)), nonce_(nonce), how_(how) {}

  task<> serve(std::unique_ptr<memory_stream> io);

  std::size_t blocks_sent = 0;
  std::size_t waits = 0;

 private:
  task<> flush(stream& io) {
    auto const out = session_.take_output();
    if (!out.empty()) co_await io.write(out);
  }
  task<> send_block(stream& io, block_index index);
  void announce();
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
};

void memory_agent::announce() {
  while (next_.value < geometry_.blocks().value &&
         session_.unsettled() + limits::group_blocks <=
             std::max(batch_blocks_, limits::group_blocks)) {
    digests_message m{next_, {}};
    for (std::uint32_t i = 0; i < limits::group_blocks && next_.value < geometry_.blocks().value;
         ++i) {
      auto const bytes = block(next_);
      if (is_zero(bytes)) {
        m.runs.push_back({run_kind::zeros, {}, {1}});
      } else {
        m.runs.push_back({run_kind::data, sha256(bytes), {1}});
      }
      ++next_;
    }
    session_.digests(m);
  }
}

task<> memory_agent::send_block(stream& io, block_index index) {
  byte_vector content(block(index).begin(), block(index).end());
  if (how_ == lie::wrong_content) content.front() ^= std::byte{1};
  byte_vector packed(lz4_frame_bytes_max(content.size()));
  block_compressor compressor;
  packed.resize(compressor.lz4_frame(content, packed));
  bool const raw = packed.size() >= content.size();
  auto const& payload = raw ? content : packed;
  byte_vector frame;
  session_.block({index, raw ? block_codec::raw : block_codec::lz4,
                  static_cast<std::uint32_t>(content.size())},
                 payload.size(), frame);
  append_bytes(frame, payload);
  co_await flush(io);
  co_await io.write(frame);
  ++blocks_sent;
}

task<> memory_agent::serve(std::unique_ptr<memory_stream> io) {
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
        batch_blocks_ = start->batch_blocks;
        session_.source({.image_bytes = image_.size(), .identity = ""});
      } else if (auto* const verdicts = std::get_if<std::vector<block_verdict>>(&*event)) {
        for (auto const& v : *verdicts) {
          if (v.outcome == verdict::wait) ++waits;
          if (v.outcome == verdict::need) co_await send_block(*io, v.index);
          if (how_ == lie::dies_half_way && blocks_sent == 5) co_return;
        }
      } else if (std::holds_alternative<finished>(*event)) {
        open = false;
      }
      if (how_ == lie::endless_notes) {
        byte_vector notes;
        for (std::size_t i = 0; i <= limits::notes_max; ++i)
          encode(notes, note_message{1, "again"});
        co_await io->write(notes);
      }
      if (!open) break;
      announce();
      if (session_.complete() && next_.value == geometry_.blocks().value && !ended_) {
        session_.end(image_.size());
        ended_ = true;
      }
      co_await flush(*io);
    }
  }
}

byte_vector random_image(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  byte_vector image(bytes);
  for (auto& b : image) b = static_cast<std::byte>(random() & 0x3f);
  return image;
}

constexpr std::uint32_t block_bytes = 4096;

// A dump of several images at once into one store, each target with its own memory agent.
struct fleet_of_images {
  temporary_folder folder;
  asio::io_context loop{1};
  worker_pool workers{2};
  worker_pool writers{2};
  asio_timer_source timers;
  null_log log;
  std::unique_ptr<block_store> store = open_store(folder.path, {.create_block_bytes = block_bytes});
  claims_table claims;
  dump_context context{loop.get_executor(), workers, writers, timers, *store, claims, log,
                       folder.path};

  struct target {
    std::unique_ptr<memory_agent> agent;
    target_progress progress;
    std::string manifest;
    std::exception_ptr failure;
  };
  std::vector<std::unique_ptr<target>> targets;
  std::size_t wire_capacity_bytes = 65536;
  std::uint32_t batch_blocks = 80;

  target& dump(byte_vector image, lie how = lie::none) {
    targets.push_back(std::make_unique<target>());
    session_nonce nonce{};
    nonce[0] = static_cast<std::byte>(targets.size());
    targets.back()->agent = std::make_unique<memory_agent>(std::move(image), nonce, how);
    return *targets.back();
  }

  static task<> serve(memory_agent& agent, std::unique_ptr<memory_stream> io) {
    try {
      co_await agent.serve(std::move(io));
    } catch (std::exception const&) {
      // The server hung up on it; what became of the target is what the test looks at.
    }
  }
  static task<> one(dump_context& context, target& t, target_plan plan,
                    std::unique_ptr<stream> io) {
    try {
      t.manifest = co_await dump_target(context, std::move(plan), std::move(io), t.progress);
    } catch (...) {
      t.failure = std::current_exception();
    }
  }
  static task<> all(fleet_of_images& self) {
    scope agents(self.loop.get_executor());
    scope dumps(self.loop.get_executor());
    unsigned char number = 0;
    for (auto const& t : self.targets) {
      auto ends = make_memory_stream_pair(self.loop.get_executor(), self.wire_capacity_bytes);
      target_plan plan;
      plan.host = "host";
      plan.path = "/disk";
      plan.source = "host:/disk";
      plan.manifest_name = "disk";
      plan.nonce[0] = std::byte{++number};
      plan.start.path = plan.path;
      plan.start.block_bytes = block_bytes;
      plan.start.batch_blocks = self.batch_blocks;
      agents.spawn(serve(*t->agent, std::move(ends.second)));
      dumps.spawn(one(self.context, *t, std::move(plan), std::move(ends.first)));
    }
    co_await dumps.join();
    co_await agents.join();
  }
  void run() {
    std::exception_ptr failure;
    asio::co_spawn(loop, all(*this), [&](std::exception_ptr e) { failure = e; });
    loop.run();
    if (failure) std::rethrow_exception(failure);
    CHECK(claims.size() == 0);
  }

  byte_vector restored(std::string const& manifest) {
    manifest_reader reader(folder.path + "/" + manifest);
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

std::error_code code_of(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    return e.code();
  } catch (...) {
    return {};
  }
}

}  // namespace

TEST_SUITE("dump") {
  TEST_CASE("an image of any length comes back byte for byte") {
    for (std::size_t const bytes : {0, 1, 4095, 4096, 4097, 80 * 4096, 81 * 4096 + 17, 1000000}) {
      CAPTURE(bytes);
      fleet_of_images fleet;
      auto const image = random_image(bytes, 7);
      auto& t = fleet.dump(image);
      fleet.run();
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == image);
      CHECK(t.progress.blocks_stored.value == t.progress.blocks.value);
    }
  }

  TEST_CASE("zero blocks are never sent and come back") {
    fleet_of_images fleet;
    byte_vector image(100 * 4096 + 5);
    image[50 * 4096] = std::byte{1};
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(t.progress.blocks_zero.value == 100);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a block repeated inside the window is sent once") {
    fleet_of_images fleet;
    auto const one = random_image(4096, 3);
    byte_vector image;
    for (int i = 0; i < 40; ++i) append_bytes(image, one);
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("identical targets together send every block once") {
    fleet_of_images fleet;
    auto const image = random_image(300 * 4096, 5);
    for (int i = 0; i < 4; ++i) fleet.dump(image);
    fleet.run();
    std::size_t sent = 0, waits = 0;
    for (auto const& t : fleet.targets) {
      REQUIRE_FALSE(t->failure);
      CHECK(fleet.restored(t->manifest) == image);
      sent += t->agent->blocks_sent;
      waits += t->agent->waits;
    }
    CHECK(sent == 300);
    CHECK(waits > 0);
  }

  TEST_CASE("the smallest batch and a narrow wire make it slow, not stuck") {
    fleet_of_images fleet;
    fleet.wire_capacity_bytes = 512;
    fleet.batch_blocks = 8;
    auto const image = random_image(50 * 4096, 9);
    auto& a = fleet.dump(image);
    auto& b = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(a.failure);
    REQUIRE_FALSE(b.failure);
    CHECK(a.agent->blocks_sent + b.agent->blocks_sent == 50);
  }

  TEST_CASE("a block with other content than announced ends the target and is not stored") {
    fleet_of_images fleet;
    auto& liar = fleet.dump(random_image(10 * 4096, 1), lie::wrong_content);
    fleet.run();
    REQUIRE(liar.failure);
    CHECK(code_of(liar.failure) == wire_errc::digest_mismatch);
    CHECK(fleet.store->stats().blocks == 0);
    CHECK(liar.manifest.empty());
  }

  TEST_CASE("a claimant that lies or dies hands its blocks on to those who wait for them") {
    for (auto const how : {lie::wrong_content, lie::dies_half_way}) {
      fleet_of_images fleet;
      auto const image = random_image(60 * 4096, 2);
      // Ten blocks that nobody else has, so that it certainly sends some.
      auto bad_image = random_image(10 * 4096, 77);
      append_bytes(bad_image, image);
      auto& bad = fleet.dump(bad_image, how);
      auto& good = fleet.dump(image);
      auto& other = fleet.dump(image);
      fleet.run();
      CHECK(bad.failure);
      REQUIRE_FALSE(good.failure);
      REQUIRE_FALSE(other.failure);
      CHECK(fleet.restored(good.manifest) == image);
      CHECK(fleet.restored(other.manifest) == image);
    }
  }

  TEST_CASE("an agent that goes away before END publishes nothing") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(60 * 4096, 2), lie::dies_half_way);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::early_end);
    CHECK(t.manifest.empty());
    CHECK_FALSE(std::filesystem::exists(fleet.folder.path + "/2026"));
  }

  TEST_CASE("endless notes end the target") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(4096, 2), lie::endless_notes);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::too_much_talk);
  }
}

}  // namespace diskdump
