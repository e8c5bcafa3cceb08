#include "io/simulated_file_system.hpp"

#include <algorithm>
#include <cerrno>

#include "base/assert.hpp"
#include "base/format.hpp"

namespace diskdump {

namespace {

std::string parent_of(std::string const& path) {
  auto const slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// "a//b/" is "a/b".
std::string tidy(std::string const& path) {
  DISKDUMP_ASSERT(!path.starts_with('/'));
  std::string out;
  for (char const c : path) {
    if (c == '/' && (out.empty() || out.back() == '/')) continue;
    out += c;
  }
  if (out.ends_with('/')) out.pop_back();
  return out == "." ? std::string() : out;
}

}  // namespace

simulated_file_system::simulated_file_system() {
  now_.directories.insert("");
  durable_ = now_;
}

void simulated_file_system::fail_change(std::uint64_t nth, int errno_value, bool from_then_on) {
  std::lock_guard const lock(mutex_);
  DISKDUMP_ASSERT(nth > 0);
  change_fault_ = {changes_ + nth, errno_value, from_then_on};
}

void simulated_file_system::fail_read(std::uint64_t nth, int errno_value) {
  std::lock_guard const lock(mutex_);
  DISKDUMP_ASSERT(nth > 0);
  read_fault_ = {reads_ + nth, errno_value, false};
}

void simulated_file_system::heal() {
  std::lock_guard const lock(mutex_);
  change_fault_ = {};
  read_fault_ = {};
}

std::uint64_t simulated_file_system::changes() const {
  std::lock_guard const lock(mutex_);
  return changes_;
}

void simulated_file_system::step(std::uint64_t& calls, plan& fault, io_direction direction,
                                 std::string const& path) {
  ++calls;
  if (fault.at == 0 || calls < fault.at) return;
  auto const errno_value = fault.errno_value;
  if (!fault.from_then_on) fault = {};
  throw disk_error(errno_value, direction, "simulated failure", path);
}

bool simulated_file_system::exists(std::string const& path) const {
  return now_.files.contains(path) || now_.directories.contains(path);
}

void simulated_file_system::need_parent(std::string const& path) const {
  if (!now_.directories.contains(parent_of(path))) {
    throw disk_error(ENOENT, io_direction::write, "open", path);
  }
}

void simulated_file_system::power_cut(power_cut_leaves what) {
  std::lock_guard const lock(mutex_);
  if (what == power_cut_leaves::nothing) now_ = durable_;
  // A name in a directory whose own name is lost cannot be found again. Parents sort before what
  // is below them.
  std::erase_if(now_.directories, [this](auto const& e) {
    return !e.empty() && !now_.directories.contains(parent_of(e));
  });
  std::erase_if(now_.files,
                [this](auto const& e) { return !now_.directories.contains(parent_of(e.first)); });
  for (auto const& [name, content] : now_.files) content->bytes = content->durable_bytes;
  // What survived is on the disk now.
  durable_ = now_;
}

bool simulated_file_system::create_exclusive(std::string const& path, byte_view bytes) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  need_parent(name);
  if (exists(name)) return false;
  step(changes_, change_fault_, io_direction::write, name);
  auto content = std::make_shared<file>();
  content->number = ++files_made_;
  content->bytes.assign(bytes.begin(), bytes.end());
  now_.files.emplace(name, std::move(content));
  return true;
}

// Holds the content, whatever its name is by now.
class simulated_file_system::open_file final : public append_file {
 public:
  open_file(simulated_file_system& files, std::shared_ptr<file> content)
      : files_(files), content_(std::move(content)) {}

  void append(byte_view bytes) override {
    std::lock_guard const lock(files_.mutex_);
    files_.append_to(*content_, "an open file", bytes);
  }
  void sync() override {
    std::lock_guard const lock(files_.mutex_);
    step(files_.changes_, files_.change_fault_, io_direction::write, "an open file");
    content_->durable_bytes = content_->bytes;
  }

 private:
  simulated_file_system& files_;
  std::shared_ptr<file> content_;
};

std::unique_ptr<append_file> simulated_file_system::create_appendable(std::string const& path,
                                                                      write_back) {
  if (!create_exclusive(path, {})) return nullptr;
  std::lock_guard const lock(mutex_);
  return std::make_unique<open_file>(*this, now_.files.at(tidy(path)));
}

void simulated_file_system::append(std::string const& path, byte_view bytes) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  auto const at = now_.files.find(name);
  if (at == now_.files.end()) throw disk_error(ENOENT, io_direction::write, "open", name);
  append_to(*at->second, name, bytes);
}

void simulated_file_system::append_to(file& content, std::string const& name, byte_view bytes) {
  try {
    step(changes_, change_fault_, io_direction::write, name);
  } catch (...) {
    append_bytes(content.bytes, bytes.first(bytes.size() / 2));  // what fails wrote a part
    throw;
  }
  append_bytes(content.bytes, bytes);
}

class simulated_file_system::file_to_read final : public read_file {
 public:
  file_to_read(simulated_file_system& files, std::shared_ptr<file> content, std::string name)
      : files_(files),
        content_(std::move(content)),
        name_(std::move(name)),
        size_bytes_(content_->bytes.size()) {}

  std::uint64_t size_bytes() const noexcept override { return size_bytes_; }

  std::size_t read(byte_span into, std::uint64_t offset_bytes) override {
    std::lock_guard const lock(files_.mutex_);
    step(files_.reads_, files_.read_fault_, io_direction::read, name_);
    byte_view const bytes(content_->bytes);
    auto const first = std::min<std::uint64_t>(offset_bytes, bytes.size());
    auto const found = bytes.subspan(first, std::min(into.size(), bytes.size() - first));
    std::copy(found.begin(), found.end(), into.begin());
    return found.size();
  }

 private:
  simulated_file_system& files_;
  std::shared_ptr<file> content_;
  std::string name_;
  std::uint64_t size_bytes_;
};

std::unique_ptr<read_file> simulated_file_system::open_readable(std::string const& path) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  if (now_.directories.contains(name)) {
    throw error(io_errc::is_directory, severity::permanent).path(name);
  }
  auto const at = now_.files.find(name);
  if (at == now_.files.end()) return nullptr;
  return std::make_unique<file_to_read>(*this, at->second, name);
}

std::optional<byte_vector> simulated_file_system::read(std::string const& path,
                                                       std::size_t bytes_max,
                                                       std::uint64_t offset_bytes) {
  auto const file = open_readable(path);
  if (!file) return std::nullopt;
  auto const size_bytes = file->size_bytes();
  auto const rest = offset_bytes < size_bytes ? size_bytes - offset_bytes : 0;
  byte_vector bytes(static_cast<std::size_t>(std::min<std::uint64_t>(rest, bytes_max)));
  bytes.resize(file->read(bytes, offset_bytes));
  return bytes;
}

std::string simulated_file_system::stamp(std::string const& path) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  step(reads_, read_fault_, io_direction::read, name);
  if (now_.directories.contains(name)) return "a directory";
  auto const at = now_.files.find(name);
  if (at == now_.files.end()) return {};
  return format("{} {}", at->second->number, at->second->bytes.size());
}

bool simulated_file_system::rename_noreplace(std::string const& from, std::string const& to) {
  std::lock_guard const lock(mutex_);
  auto const old_name = tidy(from);
  auto const new_name = tidy(to);
  need_parent(new_name);
  if (exists(new_name)) return false;
  auto const at = now_.files.find(old_name);
  if (at == now_.files.end()) throw disk_error(ENOENT, io_direction::write, "rename", old_name);
  step(changes_, change_fault_, io_direction::write, new_name);
  auto content = at->second;
  now_.files.erase(at);
  now_.files.emplace(new_name, std::move(content));
  return true;
}

bool simulated_file_system::remove(std::string const& path) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  if (!exists(name)) return false;
  auto const below = name + "/";
  auto const inside = [&below](auto const& names, auto const& key) {
    auto const at = names.lower_bound(below);
    return at != names.end() && key(*at).starts_with(below);
  };
  if (inside(now_.files, [](auto const& entry) { return entry.first; }) ||
      inside(now_.directories, [](auto const& entry) { return entry; })) {
    throw disk_error(ENOTEMPTY, io_direction::write, "unlink", name);
  }
  step(changes_, change_fault_, io_direction::write, name);
  now_.files.erase(name);
  now_.directories.erase(name);
  return true;
}

void simulated_file_system::make_directories(std::string const& path) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  if (now_.directories.contains(name)) return;
  step(changes_, change_fault_, io_direction::write, name);
  for (auto at = name; !at.empty(); at = parent_of(at)) {
    if (now_.files.contains(at)) throw disk_error(ENOTDIR, io_direction::write, "mkdir", at);
    now_.directories.insert(at);
  }
}

std::vector<directory_entry> simulated_file_system::list_directory(std::string const& path,
                                                                   listing) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  step(reads_, read_fault_, io_direction::read, name);
  std::vector<directory_entry> entries;
  auto const add = [&](std::string const& entry, entry_kind kind, std::uint64_t size_bytes) {
    if (entry.empty() || parent_of(entry) != name) return;
    auto const start = name.empty() ? 0 : name.size() + 1;
    entries.push_back({entry.substr(start), kind, size_bytes, 0});
  };
  for (auto const& [entry, content] : now_.files) {
    add(entry, entry_kind::file, content->bytes.size());
  }
  for (auto const& entry : now_.directories) add(entry, entry_kind::directory, 0);
  return entries;
}

void simulated_file_system::sync(sync_scope what, std::string const& path) {
  std::lock_guard const lock(mutex_);
  auto const name = tidy(path);
  step(changes_, change_fault_, io_direction::write, name);
  switch (what) {
    case sync_scope::file_system:
      for (auto const& [entry, content] : now_.files) content->durable_bytes = content->bytes;
      durable_ = now_;
      return;
    case sync_scope::file: {
      auto const at = now_.files.find(name);
      if (at == now_.files.end()) throw disk_error(ENOENT, io_direction::write, "open", name);
      at->second->durable_bytes = at->second->bytes;
      return;
    }
    case sync_scope::directory:
      if (!now_.directories.contains(name)) {
        throw disk_error(ENOENT, io_direction::write, "open", name);
      }
      // The names in it, and nothing below; that it exists itself is its parent's matter.
      std::erase_if(durable_.files, [&](auto const& e) { return parent_of(e.first) == name; });
      std::erase_if(durable_.directories,
                    [&](auto const& e) { return !e.empty() && parent_of(e) == name; });
      for (auto const& e : now_.files) {
        if (parent_of(e.first) == name) durable_.files.insert(e);
      }
      for (auto const& e : now_.directories) {
        if (!e.empty() && parent_of(e) == name) durable_.directories.insert(e);
      }
      return;
  }
}

}  // namespace diskdump
