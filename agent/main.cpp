// The program that runs on a target. `probe` proves that it can run there and which build it is;
// `serve` talks to `diskdump dump` over stdin and stdout. It takes nothing else: what to read and
// how comes over the wire.
#include <cstdio>
#include <string_view>

#include "agent/self.hpp"
#include "agent/serve.hpp"
#include "base/error.hpp"
#include "wire/messages.hpp"

namespace diskdump {
namespace {

int probe() {
  try {
    auto const line = self_digest().hex() + "\n";
    return std::fputs(line.c_str(), stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : 1;
  } catch (...) {
    std::fprintf(stderr, "diskdump-agent: %s\n", describe(std::current_exception()).c_str());
    return 1;
  }
}

int usage() {
  std::fputs(
      "usage: diskdump-agent probe          prints the SHA-256 of this program\n"
      "       diskdump-agent serve NONCE    reads an image for `diskdump dump`\n",
      stderr);
  return 2;
}

}  // namespace
}  // namespace diskdump

int main(int argc, char** argv) {
  using namespace diskdump;
  std::string_view const verb = argc > 1 ? argv[1] : "";
  if (verb == "probe" && argc == 2) return probe();
  if (verb == "serve" && argc == 3) {
    if (auto const nonce = nonce_from_hex(argv[2])) return serve(*nonce);
  }
  return usage();
}
