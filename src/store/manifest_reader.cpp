// Reads a manifest line by line, and the lists that it names one by one. Whatever they hold, no
// more than one buffer of text and one list are kept.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "io/io_errc.hpp"
#include "io/unique_fd.hpp"
#include "store/manifest.hpp"
#include "store/manifest_name.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

constexpr std::size_t read_buffer_bytes = 64 * limits::KiB;
static_assert(read_buffer_bytes >= 2 * limits::manifest_line_bytes_max);
constexpr std::string_view first_line_any_version = "# diskdump manifest v";

}  // namespace

struct manifest_reader::state {
  state(std::string path, list_source lists, manifest_extent extent)
      : path_(std::move(path)), source_(std::move(lists)), extent_(extent) {
    open();
    read_header();
  }

  [[nodiscard]] error no_such_manifest(std::string_view cause) const {
    return error(store_errc::no_such_manifest, severity::permanent)
        .path(path_)
        .cause(cause)
        .remedy("diskdump list shows what there is");
  }

  void open() {
    // Not blocking on a FIFO that someone put there.
    file_ = unique_fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file_) {
      auto const failure = disk_error(errno, io_direction::open, "open", path_);
      bool const absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
      if (!absent) throw failure;
      // A link is there although what it leads to is not.
      struct stat link{};
      if (::lstat(path_.c_str(), &link) == 0) throw as_cannot_read(failure);
      throw no_such_manifest("");
    }
    struct stat status{};
    if (::fstat(file_.get(), &status) != 0) {
      throw disk_error(errno, io_direction::read, "fstat", path_);
    }
    if (!S_ISREG(status.st_mode)) {
      throw no_such_manifest(S_ISDIR(status.st_mode) ? "it is a directory"
                                                     : "it is not a regular file");
    }
    file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  }

  // ---- Lines ----

  [[nodiscard]] error damaged(std::string_view cause) const { return damaged_at(line_, cause); }
  [[nodiscard]] error damaged_at(std::uint64_t line, std::string_view cause) const {
    return error(store_errc::damaged_manifest, severity::corruption)
        .path(path_)
        .cause(format("line {}: {}", line, cause))
        .remedy("restore this file from a backup, or use another manifest");
  }

  // Moves what is not consumed to the front and reads more; false at the end of the file.
  bool fill() {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    for (;;) {
      auto const n = ::read(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        throw disk_error(errno, io_direction::read, "read", path_).offset(read_bytes_);
      }
      end_ += static_cast<std::size_t>(n);
      read_bytes_ += static_cast<std::uint64_t>(n);
      return n > 0;
    }
  }

  // The next line without its end, valid until the next call; the last one may lack its end.
  std::optional<std::string_view> next_line() {
    if (!at_end_) ++line_;
    std::size_t searched = 0;
    for (;;) {
      auto const* const from = buffer_.data() + begin_;
      auto const* const found =
          static_cast<char const*>(std::memchr(from + searched, '\n', end_ - begin_ - searched));
      auto const length = found != nullptr ? static_cast<std::size_t>(found - from) : end_ - begin_;
      if (length > limits::manifest_line_bytes_max) {
        throw damaged(format("it is longer than {} bytes", limits::manifest_line_bytes_max));
      }
      if (found != nullptr) {
        begin_ += length + 1;
        return std::string_view(from, length);
      }
      searched = length;
      if (fill()) continue;
      at_end_ = length == 0;
      if (at_end_) return std::nullopt;
      begin_ = end_;
      return std::string_view(buffer_.data(), length);
    }
  }

  // ---- Content ----

  std::uint64_t number(std::string_view key, std::string_view text) const {
    std::uint64_t value = 0;
    auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size() || text.empty()) {
      throw damaged(format("{} is not a number: \"{}\"", key, printable(text, 80)));
    }
    return value;
  }

  // A number of the header, and where it stands.
  struct header_number {
    std::optional<std::uint64_t> value;
    std::uint64_t line = 0;
    std::uint64_t operator*() const { return *value; }
    explicit operator bool() const noexcept { return value.has_value(); }
  };
  void set_once(header_number& field, std::string_view key, std::string_view text) {
    if (field) throw damaged(format("{} stands there twice", key));
    field = {number(key, text), line_};
  }

  void take_comment(std::string_view text) {
    if (++comments_ > limits::manifest_comment_lines_max) {
      throw damaged(
          format("there are more than {} comment lines", limits::manifest_comment_lines_max));
    }
    if (text.empty()) return;  // a blank line
    text.remove_prefix(text.starts_with("# ") ? 2 : 1);
    auto const colon = text.find(':');
    if (colon == std::string_view::npos) return;
    auto const key = text.substr(0, colon);
    if (key.empty() || key.size() > manifest_key_bytes_max) return;
    auto value = text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (key == "block_size") {
      set_once(block_size_, key, value);
    } else if (key == "total_blocks") {
      set_once(total_blocks_, key, value);
    } else if (key == "total_size") {
      set_once(total_size_, key, value);
    } else if (key == "source" && !has_source_) {
      has_source_ = true;
      header_.source = value;
    } else if (key == "date" && !has_date_) {
      has_date_ = true;
      header_.date = value;
    } else {
      header_.extra.emplace_back(key, value);
    }
  }

  block_id digest(std::string_view text) const {
    if (auto const id = block_id::from_hex(text)) return *id;
    if (text.ends_with('\r')) throw damaged("it ends in a carriage return");
    throw damaged(format("not a block digest of 64 hex digits: \"{}\"", printable(text, 80)));
  }

  block_id list(std::string_view text) const {
    if (auto const id = list_of_name(text)) return *id;
    if (text.ends_with('\r')) throw damaged("it ends in a carriage return");
    throw damaged(format("not a list's name of {} characters: \"{}\"",
                         limits::manifest_bytes_per_list - 1, printable(text, 80)));
  }

  void check_first_line() {
    auto const line = next_line();
    if (line == manifest_first_line) return;
    has_lists_ = line == manifest_first_line_with_lists;
    if (has_lists_) return;
    if (line && line->starts_with(first_line_any_version)) {
      throw damaged(format("\"{}\" is a version that this diskdump does not know",
                           printable(line->substr(2), 80)));
    }
    throw damaged(format("it is not \"{}\"", manifest_first_line));
  }

  void read_header() {
    check_first_line();
    while (auto const line = next_line()) {
      if (!line->empty() && line->front() != '#') {
        pending_ = id_of(*line);
        break;
      }
      take_comment(*line);
    }
    check_geometry();
  }

  // What a line that is no comment names: a block, or a list.
  block_id id_of(std::string_view text) const { return has_lists_ ? list(text) : digest(text); }

  // `source` and `date` may be missing: an image without them can still be restored.
  void check_geometry() {
    if (!block_size_) throw damaged("the header has no block_size");
    if (!total_blocks_) throw damaged("the header has no total_blocks");
    if (!total_size_) throw damaged("the header has no total_size");
    if (*block_size_ < 1 || *block_size_ > limits::block_bytes_max) {
      throw damaged_at(block_size_.line, format("block_size {} is not between 1 and {}",
                                                *block_size_, limits::block_bytes_max));
    }
    if (*total_size_ > limits::image_bytes_max) {
      throw damaged_at(total_size_.line, format("total_size {} is more than {}", *total_size_,
                                                limits::image_bytes_max));
    }
    header_.geometry = {*total_size_, static_cast<std::uint32_t>(*block_size_)};
    if (header_.geometry.blocks().value != *total_blocks_) {
      throw damaged_at(total_size_.line,
                       format("total_size {} makes {} blocks of {}, not {} as line {} says",
                              *total_size_, header_.geometry.blocks().value, *block_size_,
                              *total_blocks_, total_blocks_.line));
    }
  }

  // The block or list of the next line that names one. `told` blocks are behind it.
  std::optional<block_id> next_id(std::uint64_t told) {
    auto id = std::exchange(pending_, std::nullopt);
    while (!id) {
      auto const line = next_line();
      if (!line) {
        bool const may_end = extent_ == manifest_extent::interrupted;
        if (may_end || told == *total_blocks_) return std::nullopt;
        throw damaged(format("the file ends after {} of {} blocks", told, *total_blocks_));
      }
      if (line->empty() || line->front() == '#') {
        take_comment(*line);
      } else {
        id = id_of(*line);
      }
    }
    if (told == *total_blocks_) {
      throw damaged(format("there are more than {} blocks", *total_blocks_));
    }
    return id;
  }

  std::optional<block_id> next() {
    if (has_lists_) return next_of_lists();
    auto const id = next_id(returned_);
    if (id) ++returned_;
    return id;
  }

  // ---- Lists ----

  [[nodiscard]] error damaged_list(std::string_view cause) const {
    auto const last = list_.first.value + list_.blocks.value - 1;
    return error(store_errc::damaged_manifest, severity::corruption)
        .path(path_)
        .offset(header_.geometry.offset_bytes(list_.first))
        .cause(format("blocks {} to {} stand in the list {}, {}", list_.first.value, last,
                      list_.id.hex(), cause))
        .remedy(
            "dump the source again, which brings the list back where it did not change; or use "
            "another manifest");
  }

  std::optional<named_list> next_list() {
    if (!has_lists_) return std::nullopt;
    digests_.clear();
    at_ = 0;
    wants_list_ = false;
    auto const id = next_id(returned_);
    if (!id) return std::nullopt;
    if (is_cut_) throw damaged("a list follows one that is not full");
    list_ = {*id,
             {returned_},
             {std::min<std::uint64_t>(limits::list_digests_max, *total_blocks_ - returned_)}};
    returned_ += list_.blocks.value;
    wants_list_ = true;
    return list_;
  }

  // A list that cannot be had although the manifest is there: nobody takes a list before that.
  [[nodiscard]] error no_list(std::string_view cause) const {
    if (::access(path_.c_str(), F_OK) == 0 || errno != ENOENT) return damaged_list(cause);
    return no_such_manifest("");
  }

  void load() {
    DISKDUMP_ASSERT(wants_list_);
    wants_list_ = false;
    if (source_.is_none()) throw damaged_list("and no store is at hand");
    std::optional<byte_vector> frame;
    try {
      frame = source_.get(list_.id);
      if (!frame) throw no_list("which the store lacks");
      digests_ = decode_list(list_.id, *frame);
    } catch (error const& failure) {
      if (failure.code() != store_errc::damaged_block) throw;
      throw no_list(format("which is damaged: {}", failure.cause()));
    }
    // What an interrupted dump left may end anywhere.
    is_cut_ = digests_.size() < list_.blocks.value && extent_ == manifest_extent::interrupted;
    if (digests_.size() == list_.blocks.value || is_cut_) return;
    auto const found = digests_.size();
    digests_.clear();
    throw damaged_list(format("which holds {} digests instead of {}", found, list_.blocks.value));
  }

  std::span<block_id const> read_list() {
    load();
    at_ = digests_.size();
    return digests_;
  }

  std::optional<block_id> next_of_lists() {
    for (;;) {
      if (at_ < digests_.size()) return digests_[at_++];
      if (wants_list_) {
        load();
      } else if (!next_list()) {
        return std::nullopt;
      }
    }
  }

  std::string path_;
  list_source source_;
  manifest_extent extent_;
  unique_fd file_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t read_bytes_ = 0;
  std::array<char, read_buffer_bytes> buffer_;
  std::size_t begin_ = 0;  // [begin_, end_) of the buffer is not consumed yet
  std::size_t end_ = 0;
  std::uint64_t line_ = 0;
  bool at_end_ = false;
  std::size_t comments_ = 0;

  manifest_header header_;
  bool has_source_ = false;
  bool has_date_ = false;
  header_number block_size_;
  header_number total_blocks_;
  header_number total_size_;
  std::optional<block_id> pending_;  // what ended the header
  std::uint64_t returned_ = 0;       // blocks: by next(), or of the lists up to this one

  bool has_lists_ = false;
  named_list list_{};
  bool wants_list_ = false;  // it is not read yet
  bool is_cut_ = false;      // it is shorter than it could be, so it must be the last
  std::vector<block_id> digests_;
  std::size_t at_ = 0;  // of digests_: the next one to be given
};

bool is_gone(error const& failure) noexcept {
  return failure.code() == store_errc::no_such_manifest && failure.cause().empty();
}

manifest_reader::manifest_reader(std::string path, list_source lists, manifest_extent extent)
    : state_(std::make_unique<state>(std::move(path), std::move(lists), extent)) {}
manifest_reader::~manifest_reader() = default;
manifest_reader::manifest_reader(manifest_reader&&) noexcept = default;
manifest_reader& manifest_reader::operator=(manifest_reader&&) noexcept = default;

manifest_header const& manifest_reader::header() const noexcept { return state_->header_; }
std::optional<block_id> manifest_reader::next() { return state_->next(); }
std::string const& manifest_reader::path() const noexcept { return state_->path_; }
std::uint64_t manifest_reader::file_bytes() const noexcept { return state_->file_bytes_; }
bool manifest_reader::has_lists() const noexcept { return state_->has_lists_; }
std::optional<named_list> manifest_reader::next_list() { return state_->next_list(); }
std::span<block_id const> manifest_reader::read_list() { return state_->read_list(); }

std::uint64_t manifest_reader::file_bytes_min() const noexcept {
  auto const blocks = state_->header_.geometry.blocks().value;
  if (blocks == 0) return 0;
  // The last line end may be missing.
  if (!state_->has_lists_) return blocks * limits::manifest_bytes_per_block - 1;
  return (blocks - 1) / limits::list_digests_max * limits::manifest_bytes_per_list +
         limits::manifest_bytes_per_list - 1;
}

std::uint64_t manifest_bytes_max(block_store const& store, block_count blocks) noexcept {
  if (!keeps_lists(store)) return blocks.value * limits::manifest_bytes_per_block;
  auto const lists = blocks.value / limits::list_digests_max + 1;
  return blocks.value * block_id::size_bytes + lists * limits::manifest_bytes_per_list;
}

std::uint64_t manifest_line_bytes(block_store const& store, block_count blocks) noexcept {
  if (!keeps_lists(store)) return blocks.value * limits::manifest_bytes_per_block;
  return blocks.value / limits::list_digests_max * limits::manifest_bytes_per_list;
}

}  // namespace diskdump
