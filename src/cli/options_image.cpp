// What reads the store: restore and list.
#include <memory>

#include "cli/verb_syntax.hpp"

namespace diskdump {

namespace {

verb_syntax restore_syntax() {
  struct raw_restore {
    restore_arguments given;
    std::string output;
  };
  auto const raw = std::make_shared<raw_restore>();
  return {"restore", "write an image back to a file, a device or stdout",
          std::string(manifest_help) +
              "\nEvery block is checked against its digest. A file appears under its name only "
              "when it is whole;\nholes are left where the image is zero. A block device in use is "
              "refused.",
          [raw](option_set& options) {
            options.argument("MANIFEST", raw->given.manifest, "which image");
            options.text("-o,--output", raw->output, "OUT",
                         "file or block device (default: stdout)");
            options.flag("-f,--force", raw->given.force, "replace an existing file");
          },
          [raw](auto const&) {
            auto out = raw->given;
            if (!raw->output.empty() && raw->output != "-") out.output = raw->output;
            return out;
          }};
}

verb_syntax list_syntax() {
  return {"list", "the images in the store", "", [](option_set&) {},
          [](auto const&) { return list_arguments{}; }};
}

}  // namespace

std::vector<verb_syntax> image_verbs() { return {restore_syntax(), list_syntax()}; }

}  // namespace diskdump
