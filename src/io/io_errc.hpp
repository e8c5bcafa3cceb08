// What can go wrong between diskdump and a disk or file, beyond an errno of the system.
#pragma once

#include "base/error.hpp"

namespace diskdump {

enum class io_errc {
  not_found = 1,     // no such path
  no_permission,     // the system refuses access
  is_directory,      // a directory where a device or file was meant
  unsupported_type,  // a character device, a tape, a FIFO, a socket
  in_use,            // a device that is mounted, swapped on, or held by another device
  already_exists,    // a file that must not be there yet
  no_medium,         // a drive without a medium, or a device that is not set up
  read_failed,       // the system could not read; the cause has its errno
  write_failed,      // the system could not write; the cause has its errno
  no_space,          // the file system or the quota is full
  read_only,         // the file system or the device does not take writes
  out_of_range,      // beyond the end of a device
  ring_failed,       // io_uring could not be set up
  medium_failed,     // what is to be read is lost: bad sectors, a file system's checksum
};
[[nodiscard]] std::string_view sentence(io_errc e) noexcept;
[[nodiscard]] inline char const* module_name(io_errc) noexcept { return "io"; }

enum class io_direction : std::uint8_t { open, read, write };

// An `error` for a failed call on `path`: the io_errc that the errno stands for, the system's text
// and `what` ("open", "pread") as its cause, and a remedy where there is one.
[[nodiscard]] error disk_error(int errno_value, io_direction direction, std::string_view what,
                               std::string_view path);

// Whether `failure` says that bytes on the disk are lost, and nothing else: not that descriptors,
// memory or a server on the network were short of something, which says nothing about the bytes.
[[nodiscard]] bool is_medium_error(error const& failure) noexcept;

}  // namespace diskdump
