// Stages of the store: the index, and blocks that become durable.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <random>
#include <unordered_map>

#include "base/limits.hpp"
#include "stage_list.hpp"
#include "store/block_store.hpp"
#include "store/index.hpp"

namespace diskdump {

namespace {

constexpr std::size_t ids_per_call = 80;  // a batch of the default size
constexpr std::size_t index_rows = 200'000;
constexpr std::size_t lookups = 40'000;
constexpr std::size_t put_blocks = 2000;
constexpr std::size_t frame_bytes = 64 * limits::KiB;

std::vector<block_id> random_ids(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<block_id> ids(count);
  for (auto& id : ids) {
    for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
      store_le<std::uint64_t>(id.bytes.data() + i, random());
    }
  }
  return ids;
}

void insert_rows(std::string const& path, std::vector<block_id> const& ids) {
  std::uint64_t rebuilt = 0;
  store_index index(
      {.path = path, .wait_max = limits::index_wait_max}, [](auto const&) {}, rebuilt);
  std::vector<stored_block> batch;
  for (auto const& id : ids) {
    batch.push_back({id, frame_bytes});
    if (batch.size() < limits::epoch_blocks_max && &id != &ids.back()) continue;
    index.insert(batch, [] {});
    batch.clear();
  }
}

struct store_data {
  explicit store_data(std::string below) : folder(std::move(below)) {
    for (auto const& id : held) table.emplace(id, frame_bytes);
    std::mt19937_64 random(3);
    for (auto& byte : frame) byte = static_cast<std::byte>(random());
    (void)open_store(folder + "/index", {.create_block_bytes = limits::block_bytes_default});
    insert_rows(folder + "/index/.blockstore/blocks.db", held);
    store = open_store(folder + "/index", {});
  }

  void look_up(std::vector<block_id> const& ids, bool expect_missing) {
    for (std::size_t at = 0; at < lookups; at += ids_per_call) {
      auto const some = std::span(ids).subspan(at, ids_per_call);
      keep(store->missing(some) == std::vector<bool>(ids_per_call, expect_missing));
    }
  }

  void insert_all() {
    auto const path = folder + "/fresh.db";
    for (auto const* const suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
    insert_rows(path, held);
  }

  void put_all() {
    std::filesystem::remove_all(folder + "/put");
    auto const fresh =
        open_store(folder + "/put", {.create_block_bytes = limits::block_bytes_default});
    for (std::size_t i = 0; i < put_blocks; ++i) keep(fresh->put(held[i], frame));
    fresh->barrier();
  }

  void write_one_file() {
    auto const path = folder + "/one";
    std::filesystem::remove(path);
    int const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    for (std::size_t i = 0; i < put_blocks; ++i) {
      keep(::write(file, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size()));
    }
    keep(::fdatasync(file) == 0);
    ::close(file);
  }

  std::string folder;
  std::vector<block_id> held = random_ids(index_rows, 1);
  std::vector<block_id> absent = random_ids(lookups, 2);
  std::unordered_map<block_id, std::uint64_t, block_id_hash> table;
  byte_vector frame = byte_vector(frame_bytes);
  std::unique_ptr<block_store> store;
};

}  // namespace

void add_store_stages(stage_list& stages, std::string const& folder) {
  auto const data = std::make_shared<store_data>(folder);
  stages.add("hash table, lookup", "", lookups, 0, [data] {
    for (std::size_t i = 0; i < lookups; ++i) keep(data->table.contains(data->held[i]));
  });
  stages.add("index lookup, held", "hash table, lookup", lookups, 0,
             [data] { data->look_up(data->held, false); });
  stages.add("index lookup, absent", "hash table, lookup", lookups, 0,
             [data] { data->look_up(data->absent, true); });
  stages.add("hash table, insert", "", index_rows, 0, [data] {
    decltype(data->table) fresh;
    for (auto const& id : data->held) fresh.emplace(id, frame_bytes);
    keep(fresh.size() == index_rows);
  });
  stages.add("index insert", "hash table, insert", index_rows, 0, [data] { data->insert_all(); });
  stages.add_wall("one file, fdatasync", "", put_blocks, frame_bytes,
                  [data] { data->write_one_file(); });
  stages.add_wall("put and barrier", "one file, fdatasync", put_blocks, frame_bytes,
                  [data] { data->put_all(); });
}

}  // namespace diskdump
