#include "transport/sftp_upload.hpp"

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

enum class packet_kind : std::uint8_t {
  init = 1,
  version = 2,
  open = 3,
  close = 4,
  write = 6,
  status = 101,
  handle = 102,
};

// Every server takes requests with this much data.
constexpr std::size_t packet_content_bytes = 32000;
constexpr unsigned writes_in_flight_max = 64;
// What a server answers to these requests is a few hundred bytes.
constexpr std::size_t reply_bytes_max = 34000;
constexpr std::uint32_t protocol_version = 3;
constexpr std::uint32_t flags_write_create_exclusive = 0x02 | 0x08 | 0x20;
constexpr std::uint32_t attribute_permissions = 0x04;
constexpr std::uint32_t status_ok = 0;

void append_be32(byte_vector& to, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    to.push_back(static_cast<std::byte>(value >> shift & 0xff));
  }
}

void append_string(byte_vector& to, byte_view bytes) {
  append_be32(to, static_cast<std::uint32_t>(bytes.size()));
  append_bytes(to, bytes);
}

// A packet whose length is filled in by finish().
byte_vector packet(packet_kind kind) {
  byte_vector bytes(4);
  bytes.push_back(static_cast<std::byte>(kind));
  return bytes;
}
byte_vector finish(byte_vector bytes) {
  auto const length = static_cast<std::uint32_t>(bytes.size() - 4);
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[i] = static_cast<std::byte>(length >> (24 - 8 * i) & 0xff);
  }
  return bytes;
}

// What the server sent. Reading past its end gives zero and the empty string.
class reply {
 public:
  explicit reply(byte_vector bytes) : bytes_(std::move(bytes)), rest_(bytes_) {
    if (!rest_.empty()) {
      kind_ = std::to_integer<std::uint8_t>(rest_[0]);
      rest_ = rest_.subspan(1);
    }
  }
  reply(reply&&) noexcept = default;  // rest_ stays inside the moved bytes
  reply& operator=(reply&&) noexcept = default;
  reply(reply const&) = delete;
  reply& operator=(reply const&) = delete;
  ~reply() = default;

  [[nodiscard]] bool is(packet_kind kind) const noexcept {
    return kind_ == static_cast<std::uint8_t>(kind);
  }
  std::uint32_t number() {
    if (rest_.size() < 4) {
      rest_ = {};
      return 0;
    }
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(rest_[i]);
    }
    rest_ = rest_.subspan(4);
    return value;
  }
  byte_view text() {
    auto const size = std::min<std::size_t>(number(), rest_.size());
    auto const found = rest_.first(size);
    rest_ = rest_.subspan(size);
    return found;
  }

 private:
  byte_vector bytes_;
  byte_view rest_;
  std::uint8_t kind_ = 0;
};

class upload {
 public:
  upload(stream& sftp, std::string host, std::string path)
      : sftp_(sftp), host_(std::move(host)), path_(std::move(path)) {}

  task<bool> greet() {
    auto hello = packet(packet_kind::init);
    append_be32(hello, protocol_version);
    hello = finish(std::move(hello));
    try {
      co_await sftp_.write(hello);
      auto const answer = co_await receive();
      co_return answer && answer->is(packet_kind::version);
    } catch (error const&) {
      // A subsystem that ends at once, or one behind a login script that prints. Where the whole
      // connection is lost, the caller's next use of it says so.
      co_return false;
    }
  }

  task<> run(byte_view content) {
    auto const handle = co_await open();
    std::uint64_t offset = 0;
    unsigned in_flight = 0;
    while (!content.empty() || in_flight > 0) {
      while (!content.empty() && in_flight < writes_in_flight_max) {
        auto const part = content.first(std::min(content.size(), packet_content_bytes));
        co_await write(handle, offset, part);
        offset += part.size();
        content = content.subspan(part.size());
        ++in_flight;
      }
      expect_ok(co_await must_receive(), "write");
      --in_flight;
    }
    auto close = packet(packet_kind::close);
    append_be32(close, next_id_++);
    append_string(close, handle);
    close = finish(std::move(close));
    co_await sftp_.write(close);
    expect_ok(co_await must_receive(), "close");
  }

 private:
  task<byte_vector> open() {
    auto request = packet(packet_kind::open);
    append_be32(request, next_id_++);
    append_string(request, as_bytes(path_));
    append_be32(request, flags_write_create_exclusive);
    append_be32(request, attribute_permissions);
    append_be32(request, 0600);
    request = finish(std::move(request));
    co_await sftp_.write(request);
    auto answer = co_await must_receive();
    if (!answer.is(packet_kind::handle)) {
      expect_ok(std::move(answer), "open");
      throw failed("the server answered open without a handle");
    }
    static_cast<void>(answer.number());
    auto const handle = answer.text();
    co_return byte_vector(handle.begin(), handle.end());
  }

  task<> write(byte_vector const& handle, std::uint64_t offset, byte_view part) {
    auto request = packet(packet_kind::write);
    append_be32(request, next_id_++);
    append_string(request, handle);
    append_be32(request, static_cast<std::uint32_t>(offset >> 32));
    append_be32(request, static_cast<std::uint32_t>(offset & 0xffffffff));
    append_string(request, part);
    request = finish(std::move(request));
    co_await sftp_.write(request);
  }

  // The next packet; nullopt at the end of the stream.
  task<std::optional<reply>> receive() {
    byte_vector head(4);
    if (!co_await fill(head)) co_return std::nullopt;
    std::uint32_t length = 0;
    for (auto const b : head) length = length << 8 | std::to_integer<std::uint32_t>(b);
    if (length == 0 || length > reply_bytes_max) throw failed("what the server says is not SFTP");
    byte_vector body(length);
    if (!co_await fill(body)) co_return std::nullopt;
    co_return reply(std::move(body));
  }
  task<reply> must_receive() {
    auto answer = co_await receive();
    if (!answer) throw failed("the SFTP server ended");
    co_return std::move(*answer);
  }

  task<bool> fill(byte_span to) {
    while (!to.empty()) {
      auto const n = co_await sftp_.read(to);
      if (n == 0) co_return false;
      to = to.subspan(n);
    }
    co_return true;
  }

  void expect_ok(reply answer, std::string_view what) const {
    if (!answer.is(packet_kind::status)) {
      throw failed(format("the server answered {} with another packet", what));
    }
    static_cast<void>(answer.number());
    auto const status = answer.number();
    if (status == status_ok) return;
    throw failed(
        format("{}: {} (SFTP status {})", what, printable(as_text(answer.text())), status));
  }

  [[nodiscard]] error failed(std::string_view cause) const {
    return error(transport_errc::transfer_failed, severity::permanent)
        .host(host_)
        .path(path_)
        .cause(cause);
  }

  stream& sftp_;
  std::string host_;
  std::string path_;
  std::uint32_t next_id_ = 1;
};

}  // namespace

task<bool> sftp_upload(stream& sftp, std::string host, std::string path, byte_view content) {
  upload one(sftp, std::move(host), std::move(path));
  bool const speaks = co_await one.greet();
  if (speaks) co_await one.run(content);
  static_cast<void>(co_await sftp.close());
  co_return speaks;
}

}  // namespace diskdump
