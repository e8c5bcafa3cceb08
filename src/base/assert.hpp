// Assertions for our own bugs. They stay on in release builds: a dump that goes on after a broken
// invariant can write a wrong image. What comes from disk, network or a person is checked and
// reported through `error`, never asserted.
#pragma once

namespace diskdump {

[[noreturn]] void assertion_failed(char const* expression, char const* file, int line) noexcept;

}  // namespace diskdump

#define DISKDUMP_ASSERT(expression)                     \
  (static_cast<bool>(expression) ? static_cast<void>(0) \
                                 : ::diskdump::assertion_failed(#expression, __FILE__, __LINE__))
