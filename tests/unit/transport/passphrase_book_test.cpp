#include "transport/passphrase_book.hpp"

#include <doctest/doctest.h>

#include <future>
#include <thread>
#include <vector>

namespace diskdump {

namespace {

// Answers in turn; then there is nobody any more.
struct person final : secret_prompt {
  std::vector<std::string> answers;
  std::size_t asked = 0;
  std::optional<std::string> ask(std::string_view, std::atomic<bool> const& wanted) override {
    if (!wanted) return std::nullopt;
    return asked < answers.size() ? std::optional(answers[asked++]) : std::nullopt;
  }
};

// Thinks until the test says so.
struct thinker final : secret_prompt {
  std::promise<void> begun;
  std::promise<std::string> answer;
  std::optional<std::string> ask(std::string_view, std::atomic<bool> const&) override {
    begun.set_value();
    return answer.get_future().get();
  }
};

std::atomic<bool> const wanted = true;

}  // namespace

TEST_SUITE("passphrase_book") {
  TEST_CASE("a key is asked for once, each key by itself") {
    passphrase_book book;
    person somebody;
    somebody.answers = {"one", "two"};
    auto const first = book.ask("a", somebody, "?", wanted);
    REQUIRE(first);
    CHECK(first->passphrase == "one");
    CHECK(first->asked);
    auto const again = book.ask("a", somebody, "?", wanted);
    REQUIRE(again);
    CHECK(again->passphrase == "one");
    CHECK_FALSE(again->asked);
    CHECK(book.ask("b", somebody, "?", wanted)->passphrase == "two");
  }

  TEST_CASE("what opens no key is forgotten, unless another answer has come meanwhile") {
    passphrase_book book;
    person somebody;
    somebody.answers = {"wrong", "right"};
    (void)book.ask("a", somebody, "?", wanted);
    book.forget("a", "wrong");
    CHECK(book.ask("a", somebody, "?", wanted)->passphrase == "right");
    book.forget("a", "wrong");  // of a host that was slower
    CHECK(book.ask("a", somebody, "?", wanted)->passphrase == "right");
    CHECK(somebody.asked == 2);
  }

  TEST_CASE("who declines, by an empty answer or by none, is not asked again") {
    passphrase_book book;
    person somebody;
    somebody.answers = {"", "never given"};
    CHECK_FALSE(book.ask("a", somebody, "?", wanted));
    CHECK_FALSE(book.ask("a", somebody, "?", wanted));
    CHECK(somebody.asked == 1);
    person nobody;
    CHECK_FALSE(book.ask("b", nobody, "?", wanted));
    CHECK_FALSE(book.ask("b", somebody, "?", wanted));
  }

  TEST_CASE("while a person thinks, who asks waits for the answer, and who forgets does not wait") {
    passphrase_book book;
    thinker slow;
    std::jthread const asking([&] { (void)book.ask("a", slow, "?", wanted); });
    slow.begun.get_future().wait();
    book.forget("a", "wrong");  // comes back: the event loop calls it
    book.forget("b", "wrong");
    person other;
    other.answers = {"not asked for"};
    auto waiting =
        std::async(std::launch::async, [&] { return book.ask("a", other, "?", wanted); });
    slow.answer.set_value("right");
    auto const heard = waiting.get();
    REQUIRE(heard);
    CHECK(heard->passphrase == "right");
    CHECK(other.asked == 0);
  }

  TEST_CASE(
      "who waited for his turn and wants no answer any more is not asked, and declines nothing") {
    passphrase_book book;
    thinker slow;
    std::jthread const asking([&] { (void)book.ask("a", slow, "?", wanted); });
    slow.begun.get_future().wait();
    person other;
    other.answers = {"of b"};
    std::atomic<bool> still_wanted = true;
    auto waiting =
        std::async(std::launch::async, [&] { return book.ask("b", other, "?", still_wanted); });
    still_wanted = false;
    slow.answer.set_value("of a");
    CHECK_FALSE(waiting.get());
    CHECK(other.asked == 0);
    CHECK_FALSE(book.knows("b"));
    CHECK(book.ask("b", other, "?", wanted)->passphrase == "of b");
    CHECK(book.knows("b"));
  }
}

}  // namespace diskdump
