#include "bench/measured_store.hpp"

namespace diskdump {

std::string_view name_of(store_call which) noexcept {
  switch (which) {
    case store_call::put:
      return "put";
    case store_call::get:
      return "get";
    case store_call::missing:
      return "missing";
    case store_call::barrier:
      return "barrier";
  }
  return "";
}

}  // namespace diskdump
