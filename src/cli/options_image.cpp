// What reads the store: restore, copy, list, info, status, diff.
#include <memory>

#include "cli/values.hpp"
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

verb_syntax copy_syntax() {
  struct raw_copy {
    copy_arguments given;
    std::string kind;
  };
  auto const raw = std::make_shared<raw_copy>();
  return {
      "copy", "images to another store, with the blocks that it lacks",
      std::string(manifest_help) +
          "\nWithout MANIFEST all images are copied. Each block is checked against its digest "
          "first. Names, dates\nand days stay; an image that is there already is passed over. "
          "Both stores must have blocks of one size.\nWhat protect says of an image is not copied.",
      [raw](option_set& options) {
        options.arguments("MANIFEST", raw->given.manifests, "only this image (repeatable)");
        options.required_text("--to", raw->given.to, "STORE",
                              "folder of the other store, which is made where it is absent");
        options.choice("--format", raw->kind, {"loose", "pack"},
                       "of a store that is made (default: as init)");
      },
      [raw](auto const&) {
        auto out = raw->given;
        while (out.to.size() > 1 && out.to.ends_with('/')) out.to.pop_back();
        if (out.to.empty()) throw usage_error("copy: --to names no folder");
        if (!raw->kind.empty()) out.format = store_format_of(raw->kind);
        return out;
      }};
}

verb_syntax list_syntax() {
  struct raw_list {
    std::vector<std::string> names;
    std::optional<std::string> since, until;
  };
  auto const raw = std::make_shared<raw_list>();
  return {"list", "the images in the store",
          "NAME may be a pattern with *, ? and []. DATE is ISO 8601, UTC unless it names a zone; a "
          "day without\na time is meant as a whole.",
          [raw](option_set& options) {
            options.arguments("NAME", raw->names, "only images of this name (repeatable)");
            options.text("--since", raw->since, "DATE", "only images from then on");
            options.text("--until", raw->until, "DATE", "only images up to then");
          },
          [raw](auto const&) {
            list_arguments out;
            out.names = raw->names;
            if (raw->since) out.since = parse_moment("--since", *raw->since);
            if (raw->until) out.until = parse_moment_end("--until", *raw->until);
            return out;
          }};
}

verb_syntax info_syntax() {
  auto const given = std::make_shared<info_arguments>();
  return {"info", "one image: what it is and what it takes", manifest_help,
          [given](option_set& options) {
            options.argument("MANIFEST", given->manifest, "which image");
            options.flag("--digests", given->digests,
                         "the digest of each block instead, one a line");
          },
          [given](auto const&) { return *given; }};
}

verb_syntax status_syntax() {
  return {"status", "the store: sizes, ratios, what is running, its images", "", [](option_set&) {},
          [](auto const&) { return status_arguments{}; }};
}

verb_syntax diff_syntax() {
  auto const given = std::make_shared<diff_arguments>();
  return {"diff", "where two images differ",
          std::string(manifest_help) +
              "\nBoth must have been made with the same block size. Whole blocks are compared; the "
              "status is 0\nwhether they differ or not.",
          [given](option_set& options) {
            options.argument("BEFORE", given->before, "MANIFEST of the one image");
            options.argument("AFTER", given->after, "MANIFEST of the other");
            options.flag("--all", given->all, "every range, not only the first 20");
          },
          [given](auto const&) { return *given; }};
}

}  // namespace

std::vector<verb_syntax> image_verbs() {
  return {restore_syntax(), copy_syntax(),   list_syntax(),
          info_syntax(),    status_syntax(), diff_syntax()};
}

}  // namespace diskdump
