#include "bench/bottleneck.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace diskdump {

namespace {

constexpr double alone_share_min = 0.4;
constexpr double cores_share_min = 0.8;
constexpr double busy_share_min = 0.6;
constexpr double waiting_share_min = 0.5;
constexpr double others_share_min = 0.05;
constexpr char const* agent_name = "agent";

double percent(double share) { return 100 * share; }

std::string threads_text(unsigned threads) {
  return threads == 1 ? "its one thread was" : format("its {} threads were", threads);
}

}  // namespace

double stage_load::share_of(std::chrono::duration<double> wall) const {
  return wall.count() > 0 ? busy / wall / std::max(threads, 1U) : 0;
}

bottleneck find_bottleneck(phase_load const& load) {
  auto const& stages = load.stages;
  if (load.wall.count() <= 0 || stages.empty()) return {"none", "nothing was measured"};
  auto const by_share = [&](stage_load const& a, stage_load const& b) {
    return a.share_of(load.wall) < b.share_of(load.wall);
  };
  auto const busiest = std::max_element(stages.begin(), stages.end(), by_share);
  for (auto const& s : stages) {
    if (!s.alone || s.share_of(load.wall) < alone_share_min) continue;
    return {s.name, format("{:.0f} % of the time went to {}, while nothing else could go on",
                           percent(s.share_of(load.wall)), s.does)};
  }
  auto const cores = std::max(load.cores, 1U);
  auto const cores_share = (load.cpu + load.others) / load.wall / cores;
  auto const others_share = load.others / load.wall / cores;
  // Of a full machine it matters who filled it.
  auto const busy_text =
      format("{} busy for {:.0f} %{}",
             cores == 1 ? std::string("the core was") : format("the {} cores were", cores),
             percent(std::min(cores_share, 1.0)),
             others_share < others_share_min
                 ? std::string()
                 : format(" ({:.0f} % with other programs)", percent(others_share)));
  auto const hungriest =
      std::max_element(stages.begin(), stages.end(),
                       [](stage_load const& a, stage_load const& b) { return a.cpu < b.cpu; });
  if (cores_share >= cores_share_min && hungriest->cpu.count() > 0) {
    return {hungriest->name,
            format("{}, and {:.0f} % of what diskdump took of that went to {}", busy_text,
                   percent(hungriest->cpu / load.cpu), hungriest->does)};
  }
  if (busiest->threads == 0) {
    return {busiest->name, format("{:.0f} % of the time went to {}, while {}",
                                  percent(busiest->share_of(load.wall)), busiest->does, busy_text)};
  }
  if (busiest->share_of(load.wall) >= busy_share_min) {
    return {busiest->name,
            format("{} busy for {:.0f} % of the time, {}", threads_text(busiest->threads),
                   percent(busiest->share_of(load.wall)), busiest->does)};
  }
  auto const waited = load.waited_for_agent / load.wall;
  if (waited >= waiting_share_min) {
    return {agent_name,
            format("{:.0f} % of the time the server waited for it, while {}: it starts, or waits "
                   "for the source",
                   percent(waited), busy_text)};
  }
  return {busiest->name,
          format("nothing was busy all the time; {:.0f} % of it, the most, went to {}",
                 percent(busiest->share_of(load.wall)), busiest->does)};
}

}  // namespace diskdump
