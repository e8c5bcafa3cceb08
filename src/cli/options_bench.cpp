// bench: which stores are measured, with which images.
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/screen_text.hpp"
#include "cli/values.hpp"
#include "cli/verb_syntax.hpp"

namespace diskdump {

namespace {

constexpr char const* footer =
    "SPEC is loose:DIR or pack:DIR with a DIR that is empty or not there; memory: which keeps all "
    "blocks in\nthis process; null: which keeps their ids alone, and shows what everything but "
    "storing costs; or\nnull:nothing, which forgets those, too. Each store in turn takes a first "
    "dump, one of the same images,\none after 5% of their blocks changed, a restore that goes "
    "nowhere (every block is verified), verify, and\ngc after all but the last dump were removed; "
    "memory: has no verify and gc, null: has only dumps.\n\n"
    "The images are made in a folder of their own, or are a copy of FILE, and are read from the "
    "page cache:\nthe disk below them is not measured. The agent is that of a localhost: target. "
    "All folders are gone or\nempty again at the end, also after Ctrl-C; --keep leaves the stores "
    "as they are.\n\n"
    "  diskdump bench --store pack:/tmp/b\n"
    "  diskdump bench --store loose:/srv/b1 --store pack:/srv/b2 --store null: --html bench.html\n"
    "  diskdump bench --store pack:/srv/b --source server.img --json";

constexpr char const* size_default = "1G";
constexpr double compressibility_percent_max = 99;

struct raw_bench {
  std::vector<std::string> stores;
  std::optional<std::string> source, size, dedup, zeros, compressibility;
  std::optional<std::uint64_t> targets;
  std::string block_size = "131072", batch_size = "80";
  std::uint64_t seed = 1;
  std::optional<std::string> scratch, page;
  bool keep = false;
};

void declare(option_set& options, raw_bench& raw) {
  options.texts("--store", raw.stores, "SPEC", "a store to measure (repeatable)");
  options.text("--source", raw.source, "FILE", "a copy of this image, instead of a synthetic one");
  options.text("--size", raw.size, "N", "bytes of an image (default: 1G)");
  options.text("--block-size", raw.block_size, "N", "bytes of a block (default: 131072)");
  options.text("--batch-size", raw.batch_size, "N", "blocks in memory per target (default: 80)");
  options.text("--zeros", raw.zeros, "20%", "blocks that are holes (default: 20%)");
  options.text("--dedup", raw.dedup, "25%",
               "other blocks that repeat one, in any of the images (default: 25%)");
  options.text("--compressibility", raw.compressibility, "50%",
               "what lz4 saves of the blocks (default: 50%, at most 99%)");
  options.number("--targets", raw.targets, 1, limits::bench_targets_max,
                 "images, each a target; 4 are dumped at a time (default: 1)");
  options.number("--seed", raw.seed, 0, UINT64_MAX, "the same images for the same N (default: 1)");
  options.text("--scratch", raw.scratch, "DIR",
               "where images are made (default: TMPDIR, else /tmp)");
  options.text("--html", raw.page, "FILE", "write a page with charts");
  options.flag("--keep", raw.keep, "leave what is in the stores at the end");
}

usage_error bad_store(std::string const& text, std::string_view why) {
  return usage_error(
      format("--store '{}': {}; write loose:DIR, pack:DIR, memory:, null: or "
             "null:nothing",
             screen_text(text), why));
}

bench_store_choice parse_store(std::string const& text) {
  auto const colon = text.find(':');
  if (colon == std::string::npos) throw bad_store(text, "there is no colon");
  auto const kind = text.substr(0, colon), rest = text.substr(colon + 1);
  bench_store_choice out{.name = text};
  if (kind == "loose" || kind == "pack") {
    if (rest.empty()) throw bad_store(text, "a folder is missing");
    out.backend = kind == "pack" ? bench_backend_kind::pack : bench_backend_kind::loose;
    out.folder = rest;
    return out;
  }
  if (kind == "null" && rest == "nothing") {
    out.null_keeps = null_memory::nothing;
  } else if (!rest.empty() && (kind == "null" || kind == "memory")) {
    throw bad_store(text, "nothing like this can follow the colon");
  }
  if (kind == "null") {
    out.backend = bench_backend_kind::null;
  } else if (kind == "memory") {
    out.backend = bench_backend_kind::memory;
  } else {
    throw bad_store(text, "there is no such kind of store");
  }
  return out;
}

std::vector<bench_store_choice> parse_stores(std::vector<std::string> const& texts) {
  if (texts.empty()) throw usage_error("bench: no store; write --store pack:DIR for instance");
  if (texts.size() > limits::bench_stores_max) {
    throw usage_error(
        format("bench: {} stores, {} at most", texts.size(), limits::bench_stores_max));
  }
  std::vector<bench_store_choice> out;
  std::vector<std::filesystem::path> folders;
  for (auto const& text : texts) {
    out.push_back(parse_store(text));
    if (out.back().folder.empty()) continue;
    std::error_code failed;
    auto const folder = std::filesystem::weakly_canonical(
                            std::filesystem::absolute(out.back().folder, failed), failed) /
                        "";
    // What empties one folder at the end must not take another one with it.
    for (auto const& other : folders) {
      auto const one = folder.string(), two = other.string();
      if (one.starts_with(two) || two.starts_with(one)) {
        throw usage_error(
            format("--store '{}': its folder is that of another store, or one is "
                   "within the other",
                   screen_text(text)));
      }
    }
    folders.push_back(folder);
  }
  return out;
}

std::uint32_t parse_batch(std::string const& text, std::uint32_t block_bytes) {
  auto const blocks = parse_size("--batch-size", text);
  if (blocks < 1 || blocks > limits::batch_blocks_max ||
      blocks * block_bytes > limits::batch_bytes_max) {
    throw usage_error(
        format("--batch-size: {} is not between 1 and {} blocks of at most {} bytes "
               "together",
               blocks, limits::batch_blocks_max, limits::batch_bytes_max));
  }
  return static_cast<std::uint32_t>(blocks);
}

workload_options parse_work(raw_bench const& raw) {
  workload_options work;
  work.block_bytes = parse_block_size("--block-size", raw.block_size);
  work.zeros_percent = parse_share("--zeros", raw.zeros.value_or("20"), 100);
  work.dedup_percent = parse_share("--dedup", raw.dedup.value_or("25"), 100);
  work.compressibility_percent = parse_share(
      "--compressibility", raw.compressibility.value_or("50"), compressibility_percent_max);
  work.images = static_cast<std::uint32_t>(raw.targets.value_or(1));
  work.seed = raw.seed;
  auto const bytes = parse_size("--size", raw.size.value_or(size_default));
  if (bytes == 0) throw usage_error("--size: an image of 0 bytes has nothing to measure");
  auto const blocks = block_geometry{bytes, work.block_bytes}.blocks().value;
  if (blocks > limits::bench_blocks_max / work.images) {
    throw usage_error(
        format("--size: {} images of {} blocks are more than {} blocks; use a "
               "larger --block-size",
               work.images, blocks, limits::bench_blocks_max));
  }
  // Whole blocks.
  work.image_bytes = blocks * work.block_bytes;
  return work;
}

std::string default_scratch() {
  auto const* const folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

bench_arguments finish(raw_bench const& raw) {
  bench_arguments out;
  if (raw.source && (raw.size || raw.dedup || raw.zeros || raw.compressibility || raw.targets)) {
    throw usage_error(
        "bench: --source is what it is; --size, --dedup, --zeros, "
        "--compressibility and --targets are for synthetic images");
  }
  auto& bench = out.bench;
  bench.stores = parse_stores(raw.stores);
  bench.source = raw.source;
  bench.work = parse_work(raw);
  bench.batch_blocks = parse_batch(raw.batch_size, bench.work.block_bytes);
  bench.scratch = raw.scratch.value_or(default_scratch());
  bench.keep = raw.keep;
  bench.version = DISKDUMP_VERSION;
  out.page = raw.page;
  return out;
}

}  // namespace

std::vector<verb_syntax> bench_verbs() {
  auto const raw = std::make_shared<raw_bench>();
  return {{"bench", "measure stores with the whole pipeline", footer,
           [raw](option_set& options) { declare(options, *raw); },
           [raw](auto const&) { return finish(*raw); }}};
}

}  // namespace diskdump
