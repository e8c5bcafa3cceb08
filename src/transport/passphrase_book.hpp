// What a person said the passphrase of a key file is: a fleet that logs in everywhere with the same
// key asks for it once. Kept in memory while the process runs, and told to nothing but that key.
#pragma once

#include <string.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "transport/connect.hpp"

namespace diskdump {

// Any thread; blocking, as what it asks by.
class passphrase_book {
 public:
  passphrase_book() = default;
  ~passphrase_book() {
    for (auto& [path, secret] : known_) ::explicit_bzero(secret.data(), secret.size());
  }
  passphrase_book(passphrase_book const&) = delete;
  passphrase_book& operator=(passphrase_book const&) = delete;

  struct answer {
    std::string passphrase;
    bool asked = false;  // just now, and not before
  };

  // Asks `question` by `prompt` where nothing is known for the key file at `path`. Who comes
  // meanwhile waits for that answer. nullopt: there is nobody to ask, or the person declined, who
  // is not asked for this key again; an empty answer declines, as with OpenSSH. As is who does not
  // want it any more when his turn comes, but nothing is known of the key by that.
  [[nodiscard]] std::optional<answer> ask(std::string const& path, secret_prompt& prompt,
                                          std::string_view question,
                                          std::atomic<bool> const& wanted) {
    std::lock_guard const turn(turn_mutex_);
    if (auto const said_before = known(path)) return answer_of(*said_before);
    auto said = prompt.ask(question, wanted);
    if (!said && !wanted) return std::nullopt;
    std::lock_guard const lock(mutex_);
    auto const& kept = known_[path] = said.value_or("");
    if (kept.empty()) return std::nullopt;
    return answer{kept, true};
  }

  // Whether ask() would ask nobody. Does not wait for a question that is being asked.
  [[nodiscard]] bool knows(std::string const& path) { return known(path).has_value(); }

  // It does not open the key. Does not wait for a question that is being asked.
  void forget(std::string const& path, std::string const& passphrase) {
    std::lock_guard const lock(mutex_);
    auto const at = known_.find(path);
    if (at != known_.end() && at->second == passphrase) known_.erase(at);
  }

 private:
  std::optional<std::string> known(std::string const& path) {
    std::lock_guard const lock(mutex_);
    auto const at = known_.find(path);
    return at == known_.end() ? std::nullopt : std::optional(at->second);
  }
  static std::optional<answer> answer_of(std::string const& said) {
    if (said.empty()) return std::nullopt;
    return answer{said, false};
  }

  std::mutex turn_mutex_;  // held while a person is asked
  std::mutex mutex_;       // of known_
  // Empty: declined. At most one for each key file of the configuration.
  std::map<std::string, std::string> known_;
};

}  // namespace diskdump
