#include "transport/deploy_script.hpp"

#include <algorithm>
#include <charconv>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

// Goes through the candidates; `d` is the directory, `i` its number. One that is relative or unset
// is passed over.
constexpr std::string_view each_directory =
    "umask 077; u=$(id -u); i=0; "
    "for d in \"$XDG_CACHE_HOME/diskdump\" \"$HOME/.cache/diskdump\" \"/var/tmp/diskdump-$u\" "
    "\"/run/user/$u/diskdump\" \"/dev/shm/diskdump-$u\" \"/tmp/diskdump-$u\"; do "
    "i=$((i+1)); case \"$d\" in /diskdump|/.cache/diskdump) continue;; /*) ;; *) continue;; esac; ";

// Only we may write there: a real directory (a symbolic link shows as `l`), mode 0700, ours. Ends
// the turn of the loop with a report line otherwise. `ls -n` is POSIX; a `+` (access list) is
// refused.
constexpr std::string_view check_directory =
    "mkdir -p \"$d\" 2>/dev/null; set -- $(ls -ldn \"$d\" 2>/dev/null); "
    "case \"$1:$3\" in drwx------:$u|drwx------.:$u) ;; "
    ":) echo \"MARK:no:$d: cannot be created\"; continue;; "
    "*) echo \"MARK:no:$d: is $1 of user $3 and not drwx------ of user $u\"; continue;; esac; ";

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

bool is_hex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

std::string wrap(std::string script, std::string_view nonce_hex) {
  DISKDUMP_ASSERT(is_hex(nonce_hex));
  replace_all(script, "MARK", report_mark(nonce_hex));
  replace_all(script, "NONCE", nonce_hex);
  DISKDUMP_ASSERT(script.find_first_of("'\\!\n") == std::string::npos);
  return "exec sh -c '" + script + "'";
}

// Ends the script by running this command, as root where that is asked for. See sudo.hpp for the
// loop in front of one that gets a password. A dollar of the inner shell is a variable of the outer
// one, since within double quotes there is no other way to write it here; without IFS and globbing
// the words of the command stay as they are, unquoted.
std::string as_root(sudo_use sudo, std::string const& command) {
  switch (sudo) {
    case sudo_use::none:
      break;
    case sudo_use::without_password:
      return "exec sudo -n -- " + command;
    case sudo_use::with_password:
      return "q=$; exec sudo -S -p MARK-ask -- sh -c \"set -f; IFS=; while read -r l; do "
             "case ${q}l in MARK-go) exec ${q}@;; esac; done; exit 1\" sh " +
             command;
  }
  return "exec " + command;
}

// The uploaded file proves itself: it must run here (noexec mounts and other machines' formats show
// now) and print the digest of its own content.
std::string install(uploaded_agent const& uploaded) {
  DISKDUMP_ASSERT(is_hex(uploaded.random_hex));
  return format(
      "if [ $i = {} ]; then t=\"$d/{}.tmp\"; chmod 500 \"$t\"; n=$(wc -c < \"$t\"); "
      "x=$(\"$t\" probe 2>&1); "
      "if [ \"$((n+0))\" = {} ] && [ \"$x\" = DIGEST ] && mkdir -p \"$d/DIGEST\" && "
      "mv -f \"$t\" \"$d/DIGEST/agent\"; then :; "
      "else rm -f \"$t\"; echo \"MARK:no:$d: the agent does not run there: \"$x; continue; fi; "
      "fi; ",
      uploaded.directory, uploaded.random_hex, uploaded.size_bytes);
}

}  // namespace

std::string report_mark(std::string_view nonce_hex) { return format("diskdump-{}", nonce_hex); }

std::string launch_command(block_id const& digest, std::string_view nonce_hex, sudo_use sudo,
                           std::optional<uploaded_agent> const& uploaded) {
  std::string script(each_directory);
  script += check_directory;
  if (uploaded) script += install(*uploaded);
  script +=
      "f=\"$d/DIGEST/agent\"; if [ -f \"$f\" ]; then if [ \"$(\"$f\" probe 2>/dev/null)\" = DIGEST "
      "]; "
      "then echo \"MARK:run:$f\"; ";
  script += as_root(sudo, "\"$f\" serve NONCE");
  script +=
      "; fi; rm -f \"$f\"; fi; "
      "find \"$d\" -name \"*.tmp\" -mtime +1 -exec rm -f {} + 2>/dev/null; "
      "echo \"MARK:dir:$i:$d\"; done; "
      "if command -v python3 >/dev/null 2>&1; then p=1; else p=0; fi; "
      "echo \"MARK:end:$p:$(uname -m)\"";
  replace_all(script, "DIGEST", digest.hex());
  return wrap(std::move(script), nonce_hex);
}

std::string receive_command(std::string_view nonce_hex, uploaded_agent const& uploaded) {
  DISKDUMP_ASSERT(is_hex(uploaded.random_hex));
  std::string script(each_directory);
  script += check_directory;
  script += format(
      "if [ $i = {} ]; then set -C; if cat > \"$d/{}.tmp\"; then echo \"MARK:got\"; fi; exit; fi; "
      "done; echo \"MARK:end:0:none\"",
      uploaded.directory, uploaded.random_hex);
  return wrap(std::move(script), nonce_hex);
}

std::string sudo_check_command(std::string_view nonce_hex) {
  return wrap("exec sudo -k -S -p MARK-ask -- sh -c \"echo MARK:got\"", nonce_hex);
}

std::string script_command(std::string_view nonce_hex, sudo_use sudo) {
  return wrap(as_root(sudo, "sh -s"), nonce_hex);
}

std::string python_command(std::string_view nonce_hex, sudo_use sudo, std::size_t script_bytes) {
  std::string script =
      "if command -v python3 >/dev/null 2>&1; then echo \"MARK:run:python3 on stdin\"; ";
  // The program text comes first on stdin; it finds the frames behind it in the same buffer.
  // Isolated (-I): without it, modules are looked for first in the current directory, which may be
  // one where anybody can write, and in what PYTHONPATH names.
  script +=
      as_root(sudo, format("python3 -I -u -c \"import sys;exec(sys.stdin.buffer.read({}))\" NONCE",
                           script_bytes));
  script += "; else echo \"MARK:end:0:$(uname -m)\"; fi";
  return wrap(std::move(script), nonce_hex);
}

bool report_parser::on_line(std::string_view line) {
  auto const at = line.find(mark_);
  if (at == std::string_view::npos) {
    noise_ += line;
    noise_ += '\n';
    return false;
  }
  line.remove_prefix(at + mark_.size());
  auto const take = [&line](std::string_view key) {
    if (!line.starts_with(key)) return false;
    line.remove_prefix(key.size());
    return true;
  };
  if (take(":run:")) {
    report_.running = true;
    report_.location = printable(line);
    return true;
  }
  if (take(":got")) {
    report_.received = true;
    return true;
  }
  if (take(":end:")) {
    report_.has_python = line.starts_with('1');
    report_.machine = printable(line.substr(std::min<std::size_t>(2, line.size())), 64);
    return true;
  }
  if (take(":dir:")) {
    usable_directory found;
    auto const [rest, failed] =
        std::from_chars(line.data(), line.data() + line.size(), found.number);
    auto const used = static_cast<std::size_t>(rest - line.data());
    if (failed == std::errc() && used < line.size() && line[used] == ':' &&
        report_.usable.size() < limits::agent_directories_max) {
      found.path = line.substr(used + 1);
      report_.usable.push_back(std::move(found));
    }
  } else if (take(":no:") && report_.refused.size() < limits::agent_directories_max) {
    report_.refused.push_back(printable(line, 512));
  }
  return false;
}

bool report_parser::feed(byte_view bytes) {
  append_bytes(held_, bytes);
  taken_bytes_ += bytes.size();
  auto text = as_text(held_);
  bool whole = false;
  std::size_t used = 0;
  while (!whole) {
    auto const end = text.find('\n', used);
    if (end == std::string_view::npos) break;
    whole = on_line(text.substr(used, end - used));
    used = end + 1;
  }
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(used));
  if (!whole && taken_bytes_ > limits::login_noise_bytes_max + limits::launch_report_bytes_max) {
    throw error(transport_errc::agent_did_not_start, severity::permanent)
        .cause("the login scripts print too much: " + noise())
        .remedy("let them print nothing where there is no terminal");
  }
  return whole;
}

std::string report_parser::noise() const {
  return printable(noise_ + std::string(as_text(held_)), 512);
}

}  // namespace diskdump
