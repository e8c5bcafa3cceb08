#include "store/null_store.hpp"

#include <fstream>
#include <map>
#include <mutex>

#include "store_conformance.hpp"

namespace diskdump {

namespace {

// The null store with frames to get, kept here: so that the shared suite holds it to all the rest.
class with_frames final : public block_store {
 public:
  std::vector<bool> missing(std::span<block_id const> ids) override { return null_->missing(ids); }
  bool put(block_id const& id, byte_view frame) override {
    std::lock_guard const lock(mutex_);
    bool const is_new = null_->put(id, frame);
    if (is_new) frames_[id].assign(frame.begin(), frame.end());
    return is_new;
  }
  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    null_->fetch(ids, frames);
    auto const missing = null_->missing(ids);
    std::lock_guard const lock(mutex_);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      CHECK_FALSE(frames[i].has_value());
      if (!missing[i]) frames.set_copy(i, frames_.at(ids[i]));
    }
  }
  void barrier() override { null_->barrier(); }
  void list(std::function<void(stored_block const&)> const& each) override { null_->list(each); }
  void remove(std::span<block_id const> ids) override { null_->remove(ids); }
  store_stats stats() override { return null_->stats(); }
  store_properties const& properties() const noexcept override { return null_->properties(); }

 private:
  std::unique_ptr<block_store> null_ = make_null_store(4096);
  std::mutex mutex_;
  std::map<block_id, byte_vector> frames_;
};

}  // namespace

TEST_SUITE("null_store") {
  TEST_CASE("the null store does what every store does, but for get") {
    check_store_conformance([] { return std::make_unique<with_frames>(); });
  }

  TEST_CASE("what was put is held, counted, and never to be had again") {
    auto const store = make_null_store(65536);
    auto const block = make_block(1);
    CHECK(store->put(block.id, block.frame));
    store->barrier();
    CHECK(holds(*store, block.id));
    CHECK_FALSE(store->get(block.id).has_value());
    CHECK(store->stats().blocks == 1);
    CHECK(store->stats().stored_bytes == block.frame.size());
    CHECK(store->properties().format == "null");
    CHECK(store->properties().block_bytes == 65536);
    CHECK_FALSE(store->properties().durable);
    CHECK_FALSE(store->properties().shared);
  }

  TEST_CASE("one that remembers nothing lacks every block and counts every put") {
    auto const store = make_null_store(4096, null_memory::nothing);
    auto const block = make_block(1);
    CHECK(store->put(block.id, block.frame));
    CHECK(store->put(block.id, block.frame));
    CHECK_FALSE(holds(*store, block.id));
    CHECK(store->stats().blocks == 0);
    store->barrier();
    CHECK(store->stats().blocks == 2);
    CHECK(store->stats().stored_bytes == 2 * block.frame.size());
    CHECK(list_of(*store).empty());
    store->remove(std::span(&block.id, 1));
    CHECK(store->stats().blocks == 2);
  }

  TEST_CASE("no store on disk is a null store, whatever its config says") {
    CHECK_FALSE(store_format_of("null").has_value());
    test_folder const folder;
    store_open_options options;
    options.create_block_bytes = 4096;
    options.create_format = store_format::pack;
    static_cast<void>(open_store(folder.path(), options));
    auto const config = folder.path() + "/.blockstore/config.json";
    std::string text;
    {
      std::ifstream in(config);
      text.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto const at = text.find("\"pack\"");
    REQUIRE(at != std::string::npos);
    std::ofstream(config, std::ios::trunc) << text.replace(at, 6, "\"null\"");
    try {
      static_cast<void>(open_store(folder.path(), {}));
      FAIL("it was opened");
    } catch (error const& e) {
      CHECK(e.code() == store_errc::unsupported_store);
    }
  }
}

}  // namespace diskdump
