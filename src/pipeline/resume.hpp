// Going on with a dump that another run began: what is kept of an image when its last attempt
// failed, and how it is taken up again. On the event loop's thread; files are read and written on
// the writer threads.
#pragma once

#include "pipeline/image_ledger.hpp"

namespace diskdump {

// Makes what `ledger` has durable under the manifest's name. Completes with the bytes of the image
// that a later run need not ask for again, 0 where there is nothing to keep; throws cannot_write.
// Called with cancellation disabled. The ledger's manifest is spent.
[[nodiscard]] task<std::uint64_t> keep_interrupted(dump_context& context, target_plan const& plan,
                                                   image_ledger& ledger);

// Fills `ledger`, a new one, from the interrupted dump of the plan's name as far as the store still
// holds its blocks. Completes with false where there is none. Throws cannot_resume where it is of
// another source or block size, or damaged.
[[nodiscard]] task<bool> take_up_interrupted(dump_context& context, target_plan const& plan,
                                             image_ledger& ledger);

}  // namespace diskdump
