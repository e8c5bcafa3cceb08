// init: makes a store, in a format of one's choice. The first dump makes one by itself.
#include <unistd.h>

#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"

namespace diskdump {

namespace {

// One that exists is opened, not made: what it is must be what was asked for.
void check_same(std::string const& base, init_arguments const& wanted,
                store_properties const& found) {
  if (wanted.format && found.format != name_of(*wanted.format)) {
    throw error(store_errc::unsupported_store, severity::permanent)
        .path(base)
        .cause(format("there is a store of format {} already", found.format))
        .remedy("choose another folder with --base");
  }
  if (wanted.block_bytes && *wanted.block_bytes != found.block_bytes) {
    throw error(store_errc::block_size_differs, severity::permanent)
        .path(base)
        .cause(format("there is a store with blocks of {} bytes already", found.block_bytes))
        .remedy("choose another folder with --base; dump --block-size chooses for one dump");
  }
}

}  // namespace

exit_code run_verb(global_options const& global, init_arguments const& arguments) {
  auto const config = global.base + "/.blockstore/config.json";
  bool const created = ::access(config.c_str(), F_OK) != 0;
  auto const block_bytes = arguments.block_bytes.value_or(limits::block_bytes_default);
  auto const store = open_store(
      global.base, {.create_block_bytes = block_bytes,
                    .create_format = arguments.format.value_or(usual_store_format(block_bytes))});
  auto const& properties = store->properties();
  check_same(global.base, arguments, properties);
  if (global.json) {
    json_init_event(global.base, properties, created);
  } else if (!global.quiet) {
    std::printf("%s\n", format("{}: {} of format {}, blocks of {} bytes", global.base,
                               created ? "a new store" : "there is a store already:",
                               properties.format, properties.block_bytes)
                            .c_str());
  }
  return exit_code::ok;
}

}  // namespace diskdump
