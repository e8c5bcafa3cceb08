// A byte stream to a program at the other end, and the host on which programs are started. All
// calls come from the event loop's thread; every awaitable resumes there.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/task.hpp"
#include "base/bytes.hpp"

namespace diskdump {

// How a remote program ended, as far as the transport could learn. Exit status 0 proves nothing.
struct exit_report {
  std::optional<int> status;          // exit code, where one was received
  std::optional<std::string> signal;  // "KILL", where it died of one
  std::string stderr_tail;            // the last limits::stderr_tail_bytes_max of its stderr
};

// stdin and stdout of one program. stderr is drained meanwhile and its tail kept.
class stream {
 public:
  virtual ~stream() = default;  // ends the program's connection without waiting

  // Completes with 1..to.size() bytes, or 0 at end of stream. Throws `error` (severity transient,
  // with the host) where the connection is lost. One read at a time. Terminal cancellation throws
  // operation_aborted; bytes are not lost by it unless the stream is dropped.
  [[nodiscard]] virtual task<std::size_t> read(byte_span to) = 0;

  // Completes when all of `bytes` were taken over by the transport. Throws as read(). One write at
  // a time, at the same time as a read. `bytes` stay alive until then.
  [[nodiscard]] virtual task<> write(byte_view bytes) = 0;

  // The program's stdin ends; reading goes on.
  [[nodiscard]] virtual task<> write_eof() = 0;

  // Closes both ways, waits (bounded) for the program's end, reports it. Last call.
  [[nodiscard]] virtual task<exit_report> close() = 0;

  // What came on stderr so far.
  [[nodiscard]] virtual std::string stderr_tail() const = 0;

  // Bytes of both directions that crossed the wire for this stream's payload so far.
  [[nodiscard]] virtual std::uint64_t wire_bytes() const noexcept = 0;
};

// One machine that we can start programs on: an SSH connection, or this machine. Streams may
// outlive neither the host nor each other's host.
class remote_host {
 public:
  virtual ~remote_host() = default;

  // Runs `command` with the login shell of the user there (`sh -c` on this machine). `window_bytes`
  // bounds what the transport holds unread for this stream.
  [[nodiscard]] virtual task<std::unique_ptr<stream>> exec(std::string command,
                                                           std::size_t window_bytes) = 0;

  // Writes a new file (it must not exist) with mode 0600; false where the host offers no file
  // transfer, and the caller uses exec("cat > …"). Throws on any other failure.
  [[nodiscard]] virtual task<bool> put_file(std::string path, byte_view content) = 0;

  // Ends the connection; the streams are gone by then.
  [[nodiscard]] virtual task<> close() = 0;

  // "ssh (libssh2)", "openssh", "process": for -v and for errors.
  [[nodiscard]] virtual std::string description() const = 0;
};

}  // namespace diskdump
