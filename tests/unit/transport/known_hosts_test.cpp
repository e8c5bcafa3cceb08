#include "transport/known_hosts.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "base/error.hpp"
#include "base/format.hpp"
#include "sshd_fixture.hpp"

namespace diskdump::test {

namespace {

byte_vector blob_of(std::string_view type, std::string_view rest) {
  byte_vector blob(3);
  blob.push_back(static_cast<std::byte>(type.size()));
  append_bytes(blob, as_bytes(type));
  append_bytes(blob, as_bytes(rest));
  return blob;
}
public_key key(std::string_view type, std::string_view rest) { return key_of(blob_of(type, rest)); }
std::string line(std::string_view names, public_key const& k) {
  return format("{} {} {}\n", names, k.type, base64_encode(k.blob));
}

public_key const ed = key("ssh-ed25519", "one");
public_key const ed_other = key("ssh-ed25519", "two");
public_key const rsa = key("ssh-rsa", "three");

std::size_t count(std::string_view text, std::string_view name) {
  return find_known_hosts(text, "file", name).size();
}

}  // namespace

TEST_SUITE("known_hosts") {
  TEST_CASE("names match plainly, in lists, by pattern, and without regard to case") {
    auto const text = line("alpha,10.0.0.1", ed) + line("*.example.org,!bad.example.org", ed) +
                      line("[gamma]:2222", ed) + line("h?st", ed);
    CHECK(count(text, "alpha") == 1);
    CHECK(count(text, "ALPHA") == 1);
    CHECK(count(text, "10.0.0.1") == 1);
    CHECK(count(text, "beta") == 0);
    CHECK(count(text, "www.example.org") == 1);
    CHECK(count(text, "bad.example.org") == 0);
    CHECK(count(text, known_hosts_name("Gamma", 2222)) == 1);
    CHECK(count(text, "gamma") == 0);
    CHECK(count(text, "host") == 1);
    CHECK(count(text, "hoost") == 0);
    CHECK(known_hosts_name("Alpha", 22) == "alpha");
  }

  TEST_CASE("hashed names, as ssh-keygen writes them") {
    scratch_folder folder;
    folder.write("known", line("alpha", ed) + line("[beta]:2222", ed_other));
    run_or_throw({"ssh-keygen", "-q", "-H", "-f", folder.path("known")});
    auto const text = folder.read("known");
    REQUIRE(text.find("|1|") == 0);
    CHECK(count(text, "alpha") == 1);
    CHECK(count(text, "[beta]:2222") == 1);
    CHECK(count(text, "beta") == 0);
    CHECK(find_known_hosts(text, "file", "[beta]:2222")[0].key == ed_other);
  }

  TEST_CASE("file and line are kept; comments, markers and rubbish are passed over") {
    auto const text = "# comment\n\n" + line("  alpha", ed) + "alpha ssh-ed25519 !!!\n" +
                      "alpha ssh-rsa " + base64_encode(ed.blob) + "\n" +
                      line("@cert-authority alpha", rsa) + "alpha\n" + line("@revoked alpha", rsa) +
                      "alpha ssh-ed25519 " + base64_encode(ed.blob) + " a comment\r";
    auto const found = find_known_hosts(text, "/x/known", "alpha");
    REQUIRE(found.size() == 3);
    CHECK(found[0].line == 3);
    CHECK(found[0].file == "/x/known");
    CHECK(found[1].revoked);
    CHECK(found[1].line == 8);
    CHECK(!found[2].revoked);
    CHECK(find_known_hosts("|1|x|y ssh-rsa AAAA\n|1|\n", "f", "x").empty());
  }

  TEST_CASE("a key is known, unknown, changed or revoked") {
    std::vector<known_host> const one{{ed, "f", 1, false}};
    CHECK(judge_host_key(one, ed).verdict == host_key_verdict::known);
    CHECK(judge_host_key({}, ed).verdict == host_key_verdict::unknown);
    CHECK(judge_host_key(one, ed_other).verdict == host_key_verdict::changed);
    // A key of another type does not pass for a new host.
    CHECK(judge_host_key(one, rsa).verdict == host_key_verdict::changed);
    std::vector<known_host> const several{{rsa, "f", 1, false}, {ed, "f", 2, false}};
    CHECK(judge_host_key(several, ed).verdict == host_key_verdict::known);
    auto const changed = judge_host_key(several, ed_other);
    CHECK(changed.verdict == host_key_verdict::changed);
    CHECK(changed.entry->line == 2);  // the line of the same type is the one to show
    std::vector<known_host> const revoked{{ed, "f", 1, false}, {ed, "f", 2, true}};
    CHECK(judge_host_key(revoked, ed).verdict == host_key_verdict::revoked);
    CHECK(judge_host_key({{ed, "f", 1, true}}, rsa).verdict == host_key_verdict::unknown);
  }

  TEST_CASE("a new key is appended on a line of its own, in a file for the user alone") {
    scratch_folder folder;
    auto const file = folder.path("new/known");
    append_known_host(file, "alpha", ed);
    struct stat about{};
    REQUIRE(::stat(file.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
    folder.write("old", "beta ssh-ed25519 AAAA");
    append_known_host(folder.path("old"), "alpha", ed);
    CHECK(read_known_hosts({file, folder.path("absent"), folder.path("old")}, "alpha").size() == 2);
    CHECK_THROWS_AS(append_known_host("/proc/nothing/here", "alpha", ed), error);
  }

  TEST_CASE("base64 and fingerprints") {
    for (std::string_view const text : {"", "a", "ab", "abc", "abcd", "\xff\xfe\x00z"}) {
      auto const encoded = base64_encode(as_bytes(text));
      CHECK(encoded.size() % 4 == 0);
      auto const back = base64_decode(encoded);
      REQUIRE(back);
      CHECK(as_text(*back) == text);
    }
    CHECK(base64_encode(as_bytes("ab")) == "YWI=");
    CHECK(!base64_decode("YWI*"));
    CHECK(!base64_decode("Y"));
    scratch_folder folder;
    run_or_throw({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder.path("k")});
    auto const said = run_or_throw({"ssh-keygen", "-lf", folder.path("k.pub")});
    auto const text = folder.read("k.pub");
    auto const blob = base64_decode(text.substr(12, text.find(' ', 12) - 12));
    REQUIRE(blob);
    CHECK(said.find(" " + fingerprint(*blob) + " ") != std::string::npos);
    CHECK(key_type_of(*blob) == "ssh-ed25519");
    CHECK(key_type_of(byte_view(*blob).first(3)).empty());
    CHECK(key_type_of(byte_view(*blob).first(8)).empty());
  }
}

}  // namespace diskdump::test
