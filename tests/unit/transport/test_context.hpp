// A loop, pools and a log for the transport's tests. run() drives one task to its end.
#pragma once

#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "transport/connect.hpp"
#include "transport/passphrase_book.hpp"

namespace diskdump::test {

class recording_log final : public log_sink {
 public:
  void write(log_level, std::string_view line) override {
    std::lock_guard const lock(mutex_);
    text_ += std::string(line) + "\n";
  }
  std::string text() {
    std::lock_guard const lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

// Answers with what a test put in; nullopt when that is used up, as without a terminal.
class scripted_prompt final : public secret_prompt {
 public:
  std::optional<std::string> ask(std::string_view question, std::atomic<bool> const&) override {
    std::lock_guard const lock(mutex_);
    questions.emplace_back(question);
    if (answers.empty()) return std::nullopt;
    auto answer = answers.front();
    answers.erase(answers.begin());
    return answer;
  }
  std::vector<std::string> answers;
  std::vector<std::string> questions;

 private:
  std::mutex mutex_;
};

struct test_context {
  asio::io_context loop;
  worker_pool workers{2};
  worker_pool blocking{2};
  asio_timer_source timers;
  recording_log log;
  scripted_prompt prompt;
  passphrase_book passphrases;

  connect_context context() {
    return {loop.get_executor(), workers, blocking, timers, log, prompt, passphrases};
  }

  template <class T>
  T run(task<T> work) {
    std::optional<T> value;
    run(keep(std::move(work), value));
    return std::move(*value);
  }
  void run(task<> work) {
    std::exception_ptr failure;
    // An open connection keeps reading; the task's end is the end.
    asio::co_spawn(loop, std::move(work), [&](std::exception_ptr e) {
      failure = e;
      loop.stop();
    });
    loop.restart();
    loop.run();
    loop.restart();
    loop.poll();
    if (failure) std::rethrow_exception(failure);
  }

  // The `error` that `work` must throw.
  template <class T>
  error failure_of(task<T> work) {
    try {
      static_cast<void>(run(std::move(work)));
    } catch (error const& e) {
      return e;
    }
    throw std::runtime_error("the task did not fail");
  }

 private:
  template <class T>
  static task<> keep(task<T> work, std::optional<T>& value) {
    value.emplace(co_await std::move(work));
  }
};

}  // namespace diskdump::test
