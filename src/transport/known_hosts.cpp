#include "transport/known_hosts.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "base/error.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/hmac_sha1.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// `*` any characters, `?` one. Linear in text × stars.
bool matches_pattern(std::string_view text, std::string_view pattern) {
  std::size_t t = 0, p = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++t;
      ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// "|1|salt|hash": HMAC-SHA1 of the name.
bool matches_hash(std::string_view name, std::string_view hashed) {
  hashed.remove_prefix(3);
  auto const bar = hashed.find('|');
  if (bar == std::string_view::npos) return false;
  auto const salt = base64_decode(hashed.substr(0, bar));
  auto const wanted = base64_decode(hashed.substr(bar + 1));
  if (!salt || !wanted) return false;
  auto const digest = hmac_sha1(*salt, as_bytes(name));
  return std::ranges::equal(digest, *wanted);
}

bool matches_names(std::string_view name, std::string_view list) {
  if (list.starts_with("|1|")) return matches_hash(name, list);
  bool found = false;
  while (!list.empty()) {
    auto const comma = list.find(',');
    auto pattern = lower(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    bool const excludes = pattern.starts_with('!');
    if (matches_pattern(name, std::string_view(pattern).substr(excludes ? 1 : 0))) {
      if (excludes) return false;
      found = true;
    }
  }
  return found;
}

std::string_view next_word(std::string_view& rest) {
  auto const start = rest.find_first_not_of(" \t");
  if (start == std::string_view::npos) {
    rest = {};
    return {};
  }
  rest.remove_prefix(start);
  auto const end = std::min(rest.find_first_of(" \t"), rest.size());
  auto const word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

std::string read_text(std::string const& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  char chunk[4096];
  while (text.size() < limits::known_hosts_bytes_max &&
         (in.read(chunk, sizeof chunk) || in.gcount() > 0)) {
    text.append(chunk, static_cast<std::size_t>(in.gcount()));
  }
  return text;
}

}  // namespace

std::string known_hosts_name(std::string_view host, std::uint16_t port) {
  constexpr std::uint16_t ssh_port = 22;
  return port == ssh_port ? lower(host) : format("[{}]:{}", lower(host), port);
}

std::vector<known_host> find_known_hosts(std::string_view text, std::string const& file,
                                         std::string_view name) {
  std::vector<known_host> found;
  auto const wanted = lower(name);
  std::size_t number = 0;
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto rest = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (rest.ends_with('\r')) rest.remove_suffix(1);
    auto names = next_word(rest);
    if (names.empty() || names.starts_with('#')) continue;
    bool const revoked = names == "@revoked";
    if (names.starts_with('@')) {
      if (!revoked) continue;
      names = next_word(rest);
    }
    auto const type = next_word(rest);
    auto const blob = base64_decode(next_word(rest));
    if (!blob || blob->empty() || key_type_of(*blob) != type) continue;
    if (matches_names(wanted, names)) found.push_back({key_of(*blob), file, number, revoked});
  }
  return found;
}

std::vector<known_host> read_known_hosts(std::vector<std::string> const& files,
                                         std::string_view name) {
  std::vector<known_host> found;
  for (auto const& file : files) {
    for (auto& entry : find_known_hosts(read_text(file), file, name)) {
      found.push_back(std::move(entry));
    }
  }
  return found;
}

host_key_judgement judge_host_key(std::vector<known_host> const& known, public_key const& shown) {
  host_key_judgement judgement;
  for (auto const& entry : known) {
    bool const same = entry.key.blob == shown.blob;
    if (entry.revoked) {
      if (same) return {host_key_verdict::revoked, entry};
      continue;
    }
    if (same) {
      judgement = {host_key_verdict::known, entry};
    } else if (judgement.verdict == host_key_verdict::unknown ||
               (judgement.verdict == host_key_verdict::changed &&
                judgement.entry->key.type != shown.type && entry.key.type == shown.type)) {
      judgement = {host_key_verdict::changed, entry};  // a line of the same type tells more
    }
  }
  return judgement;
}

void append_known_host(std::string const& file, std::string_view name, public_key const& key) {
  auto const slash = file.rfind('/');
  if (slash != std::string::npos && slash > 0) {
    ::mkdir(file.substr(0, slash).c_str(), 0700);  // there already, in nearly all cases
  }
  unique_fd const fd(::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw errno_error(errno, "open known_hosts").path(file);
  std::string line;
  char last = '\n';
  auto const size = ::lseek(fd.get(), 0, SEEK_END);
  if (size > 0 && ::pread(fd.get(), &last, 1, size - 1) == 1 && last != '\n') line += '\n';
  line += format("{} {} {}\n", name, key.type, base64_encode(key.blob));
  if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw errno_error(errno, "write known_hosts").path(file);
  }
}

}  // namespace diskdump
