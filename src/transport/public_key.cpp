#include "transport/public_key.hpp"

#include "codec/base64.hpp"
#include "codec/digest.hpp"

namespace diskdump {

std::string key_type_of(byte_view blob) {
  if (blob.size() < 4) return {};
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = length << 8 | std::to_integer<std::size_t>(blob[i]);
  if (length > blob.size() - 4) return {};
  return std::string(as_text(blob.subspan(4, length)));
}

public_key key_of(byte_view blob) { return {key_type_of(blob), {blob.begin(), blob.end()}}; }

std::string fingerprint(byte_view blob) {
  auto text = base64_encode(sha256(blob).bytes);
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

}  // namespace diskdump
