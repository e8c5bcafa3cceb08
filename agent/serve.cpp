// Start → read → digest → hold → send → end. One thread runs all stages as coroutines of one scope;
// workers hash and compress. `dump_state` outlives a failure, so that it can be told: the output
// may still be writing from a slot then, and the server may still answer.
#include "agent/serve.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <thread>

#include "agent/agent_errc.hpp"
#include "agent/control.hpp"
#include "agent/digest.hpp"
#include "agent/hold.hpp"
#include "agent/output.hpp"
#include "agent/process.hpp"
#include "agent/read.hpp"
#include "agent/self.hpp"
#include "agent/send.hpp"
#include "async/buffer_pool.hpp"
#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/disk.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

namespace {

struct dump_state {
  dump_state(asio::any_io_executor ex, serve_descriptors fds)
      : executor(ex), descriptors(fds), word(ex), out(ex, fds.output, session) {}

  asio::any_io_executor executor;
  serve_descriptors descriptors;
  agent_session session;
  server_word word;
  std::optional<buffer_pool> slots;  // exactly one batch
  std::optional<hold> held;
  asio_timer_source timers;
  std::optional<rate_limiter> reading;  // the server may change its rate
  output out;
  bool ended = false;  // END was said
};

// Nobody is left to talk to, and nothing is to be left behind: no wait for reads in flight.
[[noreturn]] void leave_at_once(int status) { ::_exit(status); }

task<> listen(dump_state& dump) {
  auto const end = co_await read_server(dump.descriptors.input, dump.session, dump.word);
  if (end == control_end::done) co_return;
  if (!dump.word.start) std::fputs("diskdump-agent: stdin ended before START\n", stderr);
  leave_at_once(dump.ended ? 0 : 1);
}

unsigned worker_threads(start_message const& start) {
  unsigned const cores = available_cores();
  unsigned const wanted =
      start.threads_max == 0 ? cores : std::min<unsigned>(cores, start.threads_max);
  return std::clamp(wanted, 1u, limits::worker_threads_max);
}

struct opened_source {
  std::unique_ptr<worker_pool> blocking;  // outlives the source
  std::unique_ptr<disk> source;
};

// A ring needs hardly a thread beside it, pread one for each read. That io_uring works says nothing
// about this ring, which is larger than that of the probe: it may be one more than limits allow.
opened_source open_source(asio::any_io_executor executor, std::string const& path) {
  opened_source opened;
  for (bool with_ring = uring_available();; with_ring = false) {
    opened.source.reset();
    opened.blocking = std::make_unique<worker_pool>(with_ring ? 1 : limits::reads_in_flight_max);
    opened.source =
        open_disk(executor, *opened.blocking, path,
                  {.engine = with_ring ? engine_choice::automatic : engine_choice::posix_only,
                   .queue_depth = 2 * limits::reads_in_flight_max});
    if (!with_ring || opened.source->properties().engine == disk_engine::uring) return opened;
  }
}

task<> dump_image(dump_state& dump, session_nonce nonce) {
  auto& session = dump.session;
  session.hello({.nonce = nonce,
                 .version = protocol_version,
                 .architecture = own_architecture(),
                 .engine = uring_available() ? read_engine::uring : read_engine::posix,
                 .self_digest = self_digest(),
                 .build = DISKDUMP_VERSION});
  dump.out.flush_session();
  while (!dump.word.start) co_await dump.word.changed.wait();
  auto const start = *dump.word.start;

  // Threads and rings inherit the priority, so it comes before them.
  if (start.low_priority) lower_priority();
  worker_pool workers(worker_threads(start));
  auto const opened = open_source(dump.executor, start.path);
  auto const& source = opened.source;
  auto const& properties = source->properties();
  session.source(
      {.image_bytes = properties.size_bytes,
       .type = properties.block_device ? source_type::block_device : source_type::regular_file,
       .direct_io = properties.direct_io,
       .without_ring = uring_available() && properties.engine != disk_engine::uring,
       .alignment_bytes = properties.alignment_bytes,
       .identity = properties.identity});
  dump.out.flush_session();

  // From here on `image_bytes` rules, whatever becomes of the source.
  block_geometry const geometry{properties.size_bytes, start.block_bytes};
  dump.slots.emplace(dump.executor, start.block_bytes, start.batch_blocks);
  auto& limiter = dump.reading.emplace(dump.timers, dump.word.start->read_limit_bytes_per_s);
  dump.word.reading = &limiter;
  image_reader reader(dump.executor, *source, *dump.slots, limiter,
                      {.geometry = geometry,
                       .first_block = start.first_block,
                       .batch_blocks = start.batch_blocks,
                       .skip_bad_sectors = start.skip_bad_sectors});
  auto& held = dump.held.emplace(dump.executor, start.batch_blocks);
  dump.word.held = &held;
  announcer announce(geometry, start.first_block, dump.timers.clock(), session, dump.out, held);

  auto groups = make_channel<read_group>(dump.executor, 1);
  co_await with_scope([&](scope& stages) {
    stages.spawn(reader.run(std::move(groups.first)));
    stages.spawn(
        digest_stage(dump.executor, workers, geometry, std::move(groups.second), announce, held));
    stages.spawn(send_stage(workers, start.block_bytes, dump.word.policy, held, dump.out));
  });

  // From here on every block is announced, answered, and sent where it was needed.
  session.end(reader.read_bytes());
  dump.ended = true;
  dump.out.flush_session();
  while (!dump.word.done) co_await dump.word.changed.wait();
}

// The dump, and the reader that feeds it; the first failure of either is what is told.
task<> work(dump_state& dump, session_nonce nonce) {
  co_await with_scope([&](scope& both) {
    both.spawn(listen(dump));
    both.spawn(dump_image(dump, nonce));
  });
}

task<> write_out(dump_state& dump) {
  try {
    co_await dump.out.run();
  } catch (error const&) {
    leave_at_once(1);
  }
}

bool is_abort_of_peer(std::exception_ptr failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    return e.code() == wire_errc::aborted_by_peer;
  } catch (...) {
    return false;
  }
}

// Everything but the writing; how it went is in `status`.
task<> converse(dump_state& dump, session_nonce nonce, int& status) {
  std::exception_ptr failure;
  try {
    co_await work(dump, nonce);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    status = 1;
    dump.out.discard();
    if (!is_abort_of_peer(failure)) {
      std::fprintf(stderr, "diskdump-agent: %s\n", describe(failure).c_str());
      dump.session.abort(abort_for(failure));
      dump.out.flush_session();
    }
    // A server that does not read must not keep the agent.
    die_after(limits::abort_write_timeout);
  }
  dump.out.finish();
}

// The writer is not one of the stages: it goes on after they have failed, to say why.
task<> serve_one(dump_state& dump, session_nonce nonce, int& status) {
  co_await with_scope([&](scope& both) {
    both.spawn(write_out(dump));
    both.spawn(converse(dump, nonce, status));
  });
}

}  // namespace

int serve(session_nonce const& nonce) {
  int status = 0;
  try {
    auto const descriptors = take_over_process();
    asio::io_context context(1);
    dump_state dump(context.get_executor(), descriptors);
    scope all(context.get_executor());
    all.spawn(serve_one(dump, nonce, status));
    context.run();
    if (all.failed()) status = 1;
  } catch (...) {
    std::fprintf(stderr, "diskdump-agent: %s\n", describe(std::current_exception()).c_str());
    return 1;
  }
  return status;
}

}  // namespace diskdump
