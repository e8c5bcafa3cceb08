// What makes the store and keeps it in order: init, protect, unprotect, prune, gc, verify, reindex.
#include <memory>

#include "base/limits.hpp"
#include "cli/values.hpp"
#include "cli/verb_syntax.hpp"

namespace diskdump {

namespace {

constexpr char const* wait_help = "for running dumps, restores and verify to end, then delete";

verb_syntax init_syntax() {
  struct raw_init {
    std::string kind;
    std::optional<std::string> block_size;
  };
  auto const raw = std::make_shared<raw_init>();
  return {
      "init", "make a store, in the format of your choice",
      "loose: a file per block, which diskdump 0.1.x can use as well.\n"
      "pack: many blocks to a file, for speed, for large stores and for small blocks. diskdump\n"
      "copy leads from one to the other.\n"
      "The first dump makes a store by itself, as init does that is told nothing: loose, or pack\n"
      "where blocks are smaller than 32 KiB.",
      [raw](option_set& options) {
        options.choice("--format", raw->kind, {"loose", "pack"},
                       "how blocks are stored (default: by their size)");
        options.text("--block-size", raw->block_size, "N",
                     "bytes of a block (131072), for dumps that do not say otherwise");
      },
      [raw](auto const&) {
        init_arguments out;
        if (!raw->kind.empty()) out.format = store_format_of(raw->kind);
        if (raw->block_size) {
          out.block_bytes = parse_block_size("--block-size", *raw->block_size);
        }
        return out;
      }};
}

verb_syntax protect_syntax(bool protect) {
  auto const given = std::make_shared<protect_arguments>();
  given->protect = protect;
  return {protect ? "protect" : "unprotect",
          protect ? "keep an image whatever a prune says" : "let a prune decide again",
          manifest_help,
          [given](option_set& options) {
            options.argument("MANIFEST", given->manifest, "which image");
          },
          [given](auto const&) { return *given; }};
}

constexpr char const* prune_footer =
    "Per name, the newest image of each of the N newest days (weeks from Monday, months, years; "
    "UTC) that\nhave one is kept; an image may count for several rules. What no rule keeps, and is "
    "not protected,\nis removed, and gc frees its blocks. At least one rule is needed. Damaged "
    "manifests are named and\nleft alone. NAME may be a pattern with *, ? and [].\n\n"
    "  diskdump prune --keep-last 3 --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run";

verb_syntax prune_syntax() {
  struct raw_prune {
    prune_arguments given;
    std::optional<std::uint64_t> last, daily, weekly, monthly, yearly;
    bool no_gc = false;
  };
  auto const raw = std::make_shared<raw_prune>();
  return {"prune", "remove old images by a rule, then their blocks", prune_footer,
          [raw](option_set& options) {
            options.arguments("NAME", raw->given.names, "only images of this name (repeatable)");
            auto const keep = [&](char const* name, std::optional<std::uint64_t>& into,
                                  char const* help) {
              options.number(name, into, 0, limits::keep_count_max, help);
            };
            keep("--keep-last", raw->last, "the newest N");
            keep("--keep-daily", raw->daily, "the newest of each of N days");
            keep("--keep-weekly", raw->weekly, "the newest of each of N weeks");
            keep("--keep-monthly", raw->monthly, "the newest of each of N months");
            keep("--keep-yearly", raw->yearly, "the newest of each of N years");
            options.flag("--dry-run", raw->given.dry_run, "only say what would be removed");
            options.flag("--no-gc", raw->no_gc, "leave the blocks to the next gc");
            options.flag("--wait", raw->given.wait, wait_help);
          },
          [raw](auto const&) {
            auto out = raw->given;
            out.policy = {.last = raw->last.value_or(0),
                          .daily = raw->daily.value_or(0),
                          .weekly = raw->weekly.value_or(0),
                          .monthly = raw->monthly.value_or(0),
                          .yearly = raw->yearly.value_or(0)};
            bool const any = raw->last || raw->daily || raw->weekly || raw->monthly || raw->yearly;
            if (!any) throw usage_error("prune: say what to keep, with --keep-last N for instance");
            if (!out.policy.keeps_any()) {
              throw usage_error("prune: this would keep nothing; one --keep-… must be more than 0");
            }
            out.collect = !raw->no_gc;
            return out;
          }};
}

verb_syntax gc_syntax() {
  auto const given = std::make_shared<gc_arguments>();
  return {"gc", "delete the blocks that no image needs",
          "May run beside dumps and restores, and takes nothing that they rely on: blocks are "
          "deleted once those\nthat ran at the beginning have ended, by this gc (--wait) or the "
          "next one.",
          [given](option_set& options) {
            options.flag("--dry-run", given->dry_run, "only say what would be deleted");
            options.flag("--wait", given->wait, wait_help);
          },
          [given](auto const&) { return *given; }};
}

verb_syntax verify_syntax() {
  struct raw_verify {
    verify_arguments given;
    std::optional<std::string> sample;
    bool no_repair = false;
  };
  auto const raw = std::make_shared<raw_verify>();
  return {"verify", "read and check every block and every manifest",
          "A bad block is moved to .blockstore/quarantine, so that the next dump that has the data "
          "sends it\nagain. Status 1 if there is damage.",
          [raw](option_set& options) {
            options.text("--manifest", raw->given.manifest, "MANIFEST", "only this image");
            options.text("--sample", raw->sample, "5%",
                         "only so much, going on where the last such run ended");
            options.flag(
                "--no-repair", raw->no_repair,
                "change nothing in the store; where a --sample ended is noted if the store "
                "can be written,\notherwise it begins anywhere");
          },
          [raw](auto const&) {
            auto out = raw->given;
            if (raw->sample) out.sample_percent = parse_percent("--sample", *raw->sample);
            if (out.manifest && out.sample_percent) {
              throw usage_error("verify: --manifest and --sample exclude each other");
            }
            out.repair = !raw->no_repair;
            return out;
          }};
}

verb_syntax reindex_syntax() {
  auto const given = std::make_shared<reindex_arguments>();
  return {"reindex", "rebuild the index from the blocks themselves",
          "May run beside dumps. An index that is no database is moved aside first.",
          [given](option_set& options) {
            options.flag("--quick", given->quick, "go by names and sizes, do not read the blocks");
          },
          [given](auto const&) { return *given; }};
}

}  // namespace

std::vector<verb_syntax> upkeep_verbs() {
  return {init_syntax(), protect_syntax(true), protect_syntax(false), prune_syntax(),
          gc_syntax(),   verify_syntax(),      reindex_syntax()};
}

}  // namespace diskdump
