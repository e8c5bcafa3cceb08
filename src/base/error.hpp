// Errors. A module names what can go wrong in one `enum class <module>_errc` and gives a sentence
// per value; an `error` carries that code with host, path, offset, cause and remedy. Outcomes that
// are normal (a missing block, the end of a stream) are values and never thrown.
//
//   throw error(store_errc::damaged_block, severity::corruption)
//       .path(file).cause("digest differs").remedy("run diskdump verify");
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace diskdump {

enum class severity : std::uint8_t {
  transient,   // another try may succeed: a lost connection, a full queue, a time-out
  permanent,   // another try fails the same way: no such path, no permission, wrong usage
  corruption,  // data is not what it was: a digest differs, a frame does not parse
};

// Implemented by each module's errc: `std::string_view sentence(errc)` says what happened as a
// lower-case clause without a full stop, `char const* module_name(errc)` names the module.
template <class Errc>
concept module_errc = std::is_enum_v<Errc> && requires(Errc e) {
  { sentence(e) } -> std::convertible_to<std::string_view>;
  { module_name(e) } -> std::convertible_to<char const*>;
};

template <module_errc Errc>
std::error_category const& errc_category() noexcept {
  struct category final : std::error_category {
    char const* name() const noexcept override { return module_name(Errc{}); }
    std::string message(int value) const override {
      return std::string(sentence(static_cast<Errc>(value)));
    }
  };
  static category const instance;
  return instance;
}

template <module_errc Errc>
[[nodiscard]] std::error_code make_error_code(Errc e) noexcept {
  return {static_cast<int>(e), errc_category<Errc>()};
}

class error final : public std::exception {
 public:
  template <module_errc Errc>
  explicit error(Errc code, severity kind) : error(make_error_code(code), kind) {}
  // For failures of the operating system: errno in std::generic_category or system_category.
  explicit error(std::error_code code, severity kind);

  // Each returns *this, so that they chain after the constructor.
  error& host(std::string_view value);
  error& path(std::string_view value);
  error& offset(std::uint64_t offset_bytes);
  error& cause(std::string_view value);
  error& remedy(std::string_view value);

  [[nodiscard]] std::error_code code() const noexcept { return code_; }
  [[nodiscard]] severity kind() const noexcept { return kind_; }
  [[nodiscard]] std::string const& host() const noexcept { return host_; }
  [[nodiscard]] std::string const& path() const noexcept { return path_; }
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept { return offset_bytes_; }
  [[nodiscard]] std::string const& cause() const noexcept { return cause_; }
  [[nodiscard]] std::string const& remedy() const noexcept { return remedy_; }

  // "host: path: offset 4096: sentence: cause (remedy)", as far as each is known.
  [[nodiscard]] char const* what() const noexcept override { return text_.c_str(); }

 private:
  void compose();

  std::error_code code_;
  severity kind_;
  std::string host_;
  std::string path_;
  std::optional<std::uint64_t> offset_bytes_;
  std::string cause_;
  std::string remedy_;
  std::string text_;
};

template <module_errc Errc>
[[nodiscard]] bool operator==(std::error_code code, Errc e) noexcept {
  return code == make_error_code(e);
}

// An `error` for a failed system call; errno values that another try may cure are transient.
[[nodiscard]] error errno_error(int errno_value, std::string_view what_was_tried);

// The text of any exception, for a report to a person.
[[nodiscard]] std::string describe(std::exception_ptr failure);

// The severity of any exception; permanent where it is none of ours.
[[nodiscard]] severity severity_of(std::exception_ptr failure) noexcept;

}  // namespace diskdump
