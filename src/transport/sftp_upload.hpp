// Writes one new file over the SFTP protocol, version 3, on a stream that speaks it: INIT, OPEN
// with the flags that fail where the file exists, WRITE with many requests under way, CLOSE.
//
// libssh2 has an SFTP client too. Its error path frees its channel in a loop that waits for the
// server without giving control back, which nothing that drives it without blocking can end; and it
// keeps the state of an upload in the session, so that a cancelled one could not be left.
#pragma once

#include <string>

#include "async/task.hpp"
#include "base/bytes.hpp"
#include "transport/stream.hpp"

namespace diskdump {

// Completes with true when the file is written with mode 0600 and closed, false where the other end
// does not speak SFTP. Throws transfer_failed with what the server said, and what the stream
// throws. Cancelled: throws; the file may be there in part. Closes the stream in every case but
// throwing.
[[nodiscard]] task<bool> sftp_upload(stream& sftp, std::string host, std::string path,
                                     byte_view content);

}  // namespace diskdump
