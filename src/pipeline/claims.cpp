#include "pipeline/claims.hpp"

#include <algorithm>

#include "base/limits.hpp"

namespace diskdump {

claims_table::outcome claims_table::ask(claim_holder& who, block_id const& id, block_index index) {
  auto const [at, is_new] = entries_.try_emplace(id);
  auto& e = at->second;
  if (is_new) {
    e.claimant = &who;
    return outcome::claimed;
  }
  // A repeat inside the window: the first occurrence decides, and if that fails the target fails.
  auto const mine = [&who](waiter const& w) { return w.who == &who; };
  if (e.claimant == &who || std::any_of(e.waiters.begin(), e.waiters.end(), mine)) {
    return outcome::in_hand;
  }
  e.waiters.push_back({&who, index});
  return outcome::wait;
}

void claims_table::stored(block_id const& id) {
  auto node = entries_.extract(id);
  if (node.empty()) return;
  for (auto const& w : node.mapped().waiters) w.who->settled(w.index, verdict::have);
}

void claims_table::pass_stalled() {
  using enum claim_holder::delivery;
  for (auto& [id, e] : entries_) {
    if (e.waiters.empty()) continue;
    auto const how = e.claimant->how_it_delivers();
    if (how == brisk) continue;
    if (how == slow && e.slow_passes == limits::claim_slow_passes_max) continue;
    auto const next = std::find_if(e.waiters.begin(), e.waiters.end(), [](waiter const& w) {
      return w.who->how_it_delivers() == brisk;
    });
    if (next == e.waiters.end()) continue;
    if (how == slow) ++e.slow_passes;
    auto const heir = *next;
    e.waiters.erase(next);
    e.claimant = heir.who;
    heir.who->settled(heir.index, verdict::need);
  }
}

void claims_table::leave(claim_holder& who) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    auto& e = at->second;
    std::erase_if(e.waiters, [&who](waiter const& w) { return w.who == &who; });
    if (e.claimant != &who) {
      ++at;
      continue;
    }
    if (e.waiters.empty()) {
      at = entries_.erase(at);
      continue;
    }
    auto const next = e.waiters.front();
    e.waiters.erase(e.waiters.begin());
    e.claimant = next.who;
    next.who->settled(next.index, verdict::need);
    ++at;
  }
}

}  // namespace diskdump
