#include "transport/connect.hpp"

namespace diskdump {

std::string_view sentence(transport_errc e) noexcept {
  switch (e) {
    case transport_errc::unknown_host:
      return "the host name does not resolve";
    case transport_errc::cannot_connect:
      return "cannot connect";
    case transport_errc::connection_lost:
      return "the connection was lost";
    case transport_errc::negotiation_failed:
      return "the SSH negotiation failed";
    case transport_errc::host_key_unknown:
      return "the host key is not known";
    case transport_errc::host_key_changed:
      return "the host key HAS CHANGED, someone may be in between";
    case transport_errc::authentication_failed:
      return "authentication failed";
    case transport_errc::cannot_exec:
      return "the command could not be started there";
    case transport_errc::no_more_sessions:
      return "the server allows no more sessions on one connection";
    case transport_errc::no_place_for_agent:
      return "no directory there may hold and execute the agent";
    case transport_errc::agent_did_not_start:
      return "the agent did not start";
    case transport_errc::transfer_failed:
      return "the file did not arrive whole";
    case transport_errc::ssh_not_found:
      return "there is no `ssh` program on this machine";
    case transport_errc::sudo_refused:
      return "sudo does not take the password";
    case transport_errc::bad_configuration:
      return "the SSH configuration cannot be used";
  }
  return "unknown transport error";
}

}  // namespace diskdump
