#include "store/pack_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/assert.hpp"
#include "io/io_errc.hpp"
#include "store/pack_format.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

constexpr std::string_view packs_folder = "packs";

}  // namespace

std::string pack_path(store_layout const& layout, std::uint32_t number) {
  return layout.in(packs_folder) + "/" + pack_name(number);
}

std::vector<pack_file> list_packs(file_system& files, store_layout const& layout) {
  std::vector<pack_file> packs;
  for (auto const& entry : files.list_directory(layout.in(packs_folder), listing::sizes)) {
    if (entry.kind != entry_kind::file) continue;
    if (auto const number = pack_of_name(entry.name)) packs.push_back({*number, entry.size_bytes});
  }
  std::sort(packs.begin(), packs.end(),
            [](pack_file const& a, pack_file const& b) { return a.number < b.number; });
  return packs;
}

pack_writer::pack_writer(file_system& files, store_layout layout, scratch_folder& scratch,
                         held_room* room, durability level, std::size_t write_bytes)
    : files_(files),
      layout_(std::move(layout)),
      scratch_(scratch),
      room_(room),
      level_(level),
      write_bytes_(write_bytes) {}

void pack_writer::throw_if_failed() const {
  if (failure_) throw *failure_;
}

// Packs are numbered in the order of their making, and no number is used by two at a time.
// REQUIRES: the lock is held and the buffer is empty.
void pack_writer::begin_pack() {
  auto const folder = layout_.in(packs_folder);
  if (next_number_ == 0) {
    files_.make_directories(folder);
    auto const packs = list_packs(files_, layout_);
    next_number_ = packs.empty() ? 1 : packs.back().number + 1;
    new_names_ = true;
  }
  // It gets its name with its header in it: what has a name and no header belongs to nobody alive.
  auto const temporary = scratch_.next_path();
  auto const when = level_ == durability::none ? write_back::late : write_back::early;
  auto file = files_.create_appendable(temporary, when);
  if (!file) throw cannot_write(EEXIST, "create", temporary);
  file->append(encode_pack_header({scratch_.unique_name()}));
  while (!files_.rename_noreplace(temporary, pack_path(layout_, next_number_))) {
    if (++next_number_ == std::numeric_limits<std::uint32_t>::max()) {
      throw cannot_write(EOVERFLOW, "number the next pack in", folder);
    }
  }
  pack_ = std::make_shared<open_pack>();
  pack_->number = next_number_++;
  pack_->file = std::move(file);
  dirty_.push_back(pack_);
  new_names_ = true;
  buffer_.reserve(write_bytes_);
  pack_bytes_ = limits::pack_header_bytes;
  reserved_bytes_ = 0;
}

void pack_writer::ask_for_room(std::uint64_t bytes, entry_use use) {
  if (room_ == nullptr) return;
  if (use == entry_use::list) {
    room_->before_list(bytes);
  } else {
    room_->before_block();
  }
}

// Want of room is the matter of whose block it is; what others added lies in packs that are whole.
void pack_writer::begin_pack_or_fail(entry_use use) {
  ask_for_room(limits::pack_header_bytes, use);
  try {
    writing([this] { begin_pack(); });
  } catch (...) {
    auto const failure = as_store_error(std::current_exception());
    give_up_room(failure);
    if (failure.code() != store_errc::store_full) failure_ = failure;
    throw failure;
  }
}

// The buffer holds blocks of all targets. Without room for them in the file, a write for which the
// last of them left none would lose the others, too.
void pack_writer::reserve(std::uint64_t entry_bytes, entry_use use) {
  auto const needed = pack_bytes_ + entry_bytes;
  if (needed <= reserved_bytes_) return;
  ask_for_room(entry_bytes, use);
  // In large steps while there is plenty. A list may be in what is kept back for rows.
  if (use == entry_use::block) {
    try {
      pack_->file->reserve(needed + write_bytes_);
      reserved_bytes_ = needed + write_bytes_;
      return;
    } catch (error const& failure) {
      if (failure.code() != io_errc::no_space) throw as_cannot_write(failure);
    }
  }
  try {
    writing([&] { pack_->file->reserve(needed); });
  } catch (error const& failure) {
    give_up_room(failure);
    throw;
  }
  reserved_bytes_ = needed;
}

void pack_writer::give_up_room(error const& failure) noexcept {
  if (room_ != nullptr && failure.code() == store_errc::store_full) (void)room_->give_up();
}

// Writes what is in the buffer, without the lock, after what is being written now. Returns the pack
// that it belongs to.
std::shared_ptr<pack_writer::open_pack> pack_writer::write_buffer(lock& held) {
  auto const pack = pack_;
  written_.wait(held, [this] { return !writing_; });
  throw_if_failed();
  if (!pack || pack != pack_ || buffer_.empty()) return pack;  // another thread was faster
  writing_ = true;
  spare_.clear();
  std::swap(buffer_, spare_);
  buffer_.reserve(write_bytes_);
  held.unlock();
  std::optional<error> failure;
  try {
    writing([&] { pack->file->append(spare_); });
  } catch (...) {
    failure = as_store_error(std::current_exception());
  }
  held.lock();
  // Not before: a sync that ran meanwhile covered a part of it at most.
  pack->dirty = true;
  writing_ = false;
  // One thread alone never needs the memory of the other.
  if (buffer_.empty()) {
    spare_.clear();
    std::swap(buffer_, spare_);
  }
  if (failure) failure_ = failure;
  written_.notify_all();
  throw_if_failed();
  return pack;
}

block_place pack_writer::add(block_id const& id, byte_view frame, entry_use use) {
  lock held(mutex_);
  throw_if_failed();
  auto const entry_bytes = limits::pack_entry_header_bytes + frame.size();
  std::shared_ptr<open_pack> ended;
  for (;;) {
    bool const full = pack_ && pack_bytes_ >= limits::pack_bytes;
    bool const fits = pack_ && buffer_.size() + entry_bytes <= write_bytes_;
    if (pack_ && !full && (fits || buffer_.empty())) break;
    if (pack_ && !buffer_.empty()) {
      (void)write_buffer(held);
      continue;  // what is true now was not looked at before
    }
    // Others may still write the end of the full one.
    written_.wait(held, [this] { return !writing_; });
    throw_if_failed();
    if (pack_ && (pack_bytes_ < limits::pack_bytes || !buffer_.empty())) continue;
    ended = std::move(pack_);
    begin_pack_or_fail(use);
  }
  reserve(entry_bytes, use);
  block_place const place{pack_->number, static_cast<std::uint32_t>(pack_bytes_)};
  append_pack_entry(buffer_, id, block_codec::lz4, frame);
  pack_bytes_ += entry_bytes;
  held.unlock();
  // Early, so that little is left to do when the barrier comes.
  if (ended && level_ == durability::barrier) make_durable(*ended);
  return place;
}

// A pack that another thread syncs now is waited for. The mark goes first: what is added meanwhile
// sets it again.
void pack_writer::make_durable(open_pack& pack) {
  std::lock_guard const one_at_a_time(pack.syncing);
  {
    std::lock_guard const held(mutex_);
    throw_if_failed();
    if (!std::exchange(pack.dirty, false)) return;
  }
  try {
    writing([&] { pack.file->sync(); });
  } catch (...) {
    std::lock_guard const held(mutex_);
    failure_ = as_store_error(std::current_exception());
    throw;
  }
}

void pack_writer::write_out() {
  lock held(mutex_);
  throw_if_failed();
  (void)write_buffer(held);
}

void pack_writer::flush() {
  std::vector<std::shared_ptr<open_pack>> packs;
  bool names = false;
  {
    lock held(mutex_);
    throw_if_failed();
    (void)write_buffer(held);
    packs = std::exchange(dirty_, {});
    if (pack_) dirty_.push_back(pack_);
    names = std::exchange(new_names_, false);
  }
  if (level_ == durability::none) return;
  for (auto const& pack : packs) make_durable(*pack);
  if (!names) return;
  try {
    writing([&] {
      auto const folder = layout_.in(packs_folder);
      files_.sync(sync_scope::directory, folder);
      // The folder itself may be new.
      auto const slash = folder.rfind('/');
      files_.sync(sync_scope::directory,
                  slash == std::string::npos ? std::string() : folder.substr(0, slash));
    });
  } catch (...) {
    std::lock_guard const held(mutex_);
    failure_ = as_store_error(std::current_exception());
    throw;
  }
}

}  // namespace diskdump
