// What libssh2 may hold of one session. It keeps whatever a server sends that nobody asked for, so
// its allocations are counted, and one beyond the bound ends the session.
#include <malloc.h>

#include <algorithm>
#include <cstdlib>

#include "transport/ssh_machine_state.hpp"

namespace diskdump {

std::size_t ssh_machine::state::held_bytes_max() const noexcept {
  auto total = limits::ssh_library_bytes_max;
  for (auto const& channel : channels) {
    total += limits::ssh_library_bytes_per_window_byte * channel->window_bytes();
  }
  return total;
}

void* ssh_machine::state::on_allocate(size_t size, void** abstract) {
  return on_reallocate(nullptr, size, abstract);
}

void* ssh_machine::state::on_reallocate(void* old, size_t size, void** abstract) {
  auto& self = *static_cast<state*>(*abstract);
  auto const before = old != nullptr ? ::malloc_usable_size(old) : 0;
  auto const others = self.held_bytes - std::min(before, self.held_bytes);
  if (size > before && size > self.held_bytes_max() - std::min(others, self.held_bytes_max())) {
    self.overfull = true;
    return nullptr;
  }
  auto* const memory = std::realloc(old, std::max<std::size_t>(size, 1));
  if (memory != nullptr) self.held_bytes = others + ::malloc_usable_size(memory);
  return memory;
}

void ssh_machine::state::on_free(void* memory, void** abstract) {
  if (memory == nullptr) return;
  auto& self = *static_cast<state*>(*abstract);
  self.held_bytes -= std::min(::malloc_usable_size(memory), self.held_bytes);
  std::free(memory);
}

}  // namespace diskdump
