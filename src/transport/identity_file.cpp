#include "transport/identity_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

std::optional<std::string> read_small(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string text(limits::key_file_bytes_max, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

// Takes a string behind a big-endian length off the front.
std::optional<byte_view> take_string(byte_view& rest) {
  if (rest.size() < 4) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = length << 8 | std::to_integer<std::size_t>(rest[i]);
  if (length > rest.size() - 4) return std::nullopt;
  auto const found = rest.subspan(4, length);
  rest = rest.subspan(4 + length);
  return found;
}

// openssh-key-v1: magic, cipher, kdf, kdf options, number of keys, then the public key in clear.
private_key_info inspect_openssh(std::string_view body) {
  constexpr std::string_view magic("openssh-key-v1\0", 15);
  private_key_info info;
  std::string packed;
  for (char const c : body) {
    if (c != '\n' && c != '\r') packed += c;
  }
  auto const bytes = base64_decode(packed);
  if (!bytes || !as_text(*bytes).starts_with(magic)) return info;
  auto rest = byte_view(*bytes).subspan(magic.size());
  auto const cipher = take_string(rest);
  auto const kdf = take_string(rest);
  auto const options = take_string(rest);
  if (!cipher || !kdf || !options || rest.size() < 4) return info;
  rest = rest.subspan(4);
  auto const key = take_string(rest);
  if (!key) return info;
  info.recognised = true;
  info.encrypted = as_text(*cipher) != "none";
  info.key = key_of(*key);
  return info;
}

std::optional<public_key> read_public_key(std::string const& path) {
  auto const text = read_small(path);
  if (!text) return std::nullopt;
  auto const space = text->find(' ');
  if (space == std::string::npos) return std::nullopt;
  auto const end = text->find_first_of(" \r\n", space + 1);
  auto const blob = base64_decode(std::string_view(*text).substr(space + 1, end - space - 1));
  if (!blob || key_type_of(*blob).empty()) return std::nullopt;
  return key_of(*blob);
}

}  // namespace

private_key_info inspect_private_key(std::string_view text) {
  constexpr std::string_view openssh_begin = "-----BEGIN OPENSSH PRIVATE KEY-----";
  if (auto const at = text.find(openssh_begin); at != std::string_view::npos) {
    auto const body = text.substr(at + openssh_begin.size());
    return inspect_openssh(body.substr(0, body.find("-----")));
  }
  private_key_info info;
  info.recognised = text.find("PRIVATE KEY-----") != std::string_view::npos;
  info.encrypted = text.find("BEGIN ENCRYPTED PRIVATE KEY") != std::string_view::npos ||
                   text.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos;
  return info;
}

identity_file inspect_identity_file(std::string path) {
  identity_file file;
  file.path = std::move(path);
  file.certificate = ::access((file.path + "-cert.pub").c_str(), R_OK) == 0;
  file.key = read_public_key(file.path + ".pub");
  struct stat about{};
  if (::stat(file.path.c_str(), &about) != 0) {
    file.unusable = std::strerror(errno);
    return file;
  }
  file.exists = true;
  constexpr unsigned others = 077;
  if ((about.st_mode & others) != 0 && about.st_uid == ::geteuid()) {
    file.unusable = format("can be read by others (mode {:04o}): chmod 600 {}",
                           about.st_mode & 07777, file.path);
    return file;
  }
  auto const text = read_small(file.path);
  if (!text) {
    file.unusable = std::strerror(errno);
    return file;
  }
  auto const info = inspect_private_key(*text);
  file.encrypted = info.encrypted;
  if (info.key) file.key = info.key;
  if (!info.recognised) file.unusable = "is not a private key";
  return file;
}

}  // namespace diskdump
