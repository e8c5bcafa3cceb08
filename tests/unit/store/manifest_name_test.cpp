#include "store/manifest_name.hpp"

#include "base/limits.hpp"
#include "store/manifest.hpp"
#include "store_support.hpp"

namespace diskdump {

TEST_SUITE("manifest_name") {
  TEST_CASE("default names drop /dev/ and turn slashes into dots") {
    CHECK(default_manifest_name("server01", "/dev/sda") == "server01-sda");
    CHECK(default_manifest_name("server01", "/dev/mapper/vg-root") == "server01-mapper.vg-root");
    CHECK(default_manifest_name("localhost", "/srv/images/disk.img") ==
          "localhost-srv.images.disk.img");
    CHECK(default_manifest_name("h", "relative//path/") == "h-relative.path");
    CHECK(default_manifest_name("fe80::1", "/dev/vda") == "fe80::1-vda");
    CHECK(default_manifest_name("h", "/srv/../x") == "h-srv....x");
    CHECK(default_manifest_name("h", "/srv/a b'$(c)") == "h-srv.a b'$(c)");
    CHECK_THROWS_AS((void)default_manifest_name("h", "/srv/a\nb"), error);
    CHECK_THROWS_AS((void)default_manifest_name("h", std::string(300, 'x')), error);
  }

  TEST_CASE("names that would leave their folder or mean something else are refused") {
    for (std::string const name : {"", ".", "..", "../../x", "a/b", "/a", ".hidden", "a\nb", "a\tb",
                                   "a\x7f", "x.manifest", "a~1", "a~", "a~007"}) {
      CAPTURE(name);
      auto const failure = thrown_by([&] { check_manifest_name(name); });
      CHECK(failure.code() == store_errc::bad_name);
      CHECK_FALSE(failure.remedy().empty());
    }
    CHECK_THROWS_AS(check_manifest_name(std::string("a\0b", 3)), error);
    CHECK_THROWS_AS(check_manifest_name(std::string(limits::name_bytes_max + 1, 'a')), error);
    for (std::string const name : {"a", "server01.sda", "fe80::1-sda", "my disk", "a~b",
                                   "user@host", "foo.2", "ä", "manifest", "a..b"}) {
      CAPTURE(name);
      CHECK_NOTHROW(check_manifest_name(name));
    }
    CHECK_NOTHROW(check_manifest_name(std::string(limits::name_bytes_max, 'a')));
  }

  TEST_CASE("a name and a version make one file name, and the file name gives both back") {
    CHECK(manifest_stem("foo", 1) == "foo");
    CHECK(manifest_stem("foo", 2) == "foo.2");
    CHECK(manifest_stem("foo.2", 1) == "foo.2.1");
    CHECK(manifest_stem("foo.2", 2) == "foo.2.2");
    CHECK(manifest_stem("disk.20260424", 1) == "disk.20260424");
    CHECK(manifest_stem("disk.007", 1) == "disk.007");
    for (std::string const name : {"foo", "foo.2", "foo.2.1", "foo.1", "10.0.0.5", "a.0", "a.01",
                                   "a.100000", "a.100001", "a.", "7", "foo.2x"}) {
      for (std::uint32_t const version : {1U, 2U, 10U, 100000U}) {
        CAPTURE(name);
        CAPTURE(version);
        auto const parsed = parse_manifest_stem(manifest_stem(name, version));
        CHECK(parsed.name == name);
        CHECK(parsed.version == version);
      }
    }
  }

  TEST_CASE("dates are understood with and without time and zone") {
    CHECK(iso_seconds("1970-01-02") == 86400);
    CHECK(iso_seconds("2026-04-24T02:00:00+00:00") == 1776996000);
    CHECK(iso_seconds("2026-04-24T02:00:00Z") == 1776996000);
    CHECK(iso_seconds("2026-04-24 02:00") == 1776996000);
    CHECK(iso_seconds("2026-04-24T04:00:00.123456+02:00") == 1776996000);
    CHECK(iso_seconds("2026-04-23T21:00:00-0500") == 1776996000);
    for (auto const* const nonsense :
         {"", "yesterday", "2026", "2026-04", "2026-13-01", "2026-02-30", "2026-04-24T",
          "24.4.2026", "2026-04-24T25:00", "2026-04-24T02:61", "2026-04-24T02:00:00X",
          "2026-04-24T02:00:00+1"}) {
      CAPTURE(nonsense);
      CHECK_FALSE(iso_seconds(nonsense).has_value());
    }
  }
}

}  // namespace diskdump
