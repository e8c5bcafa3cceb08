#include "agent.hpp"

#include <algorithm>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"

namespace diskdump::simulation {

simulated_agent::simulated_agent(asio::any_io_executor const& executor, timer_source& timers,
                                 std::shared_ptr<connection> link, session_nonce nonce,
                                 block_id self_digest, assign_path assign, random_sequence random)
    : executor_(executor),
      timers_(timers),
      link_(std::move(link)),
      nonce_(nonce),
      self_digest_(self_digest),
      assign_(std::move(assign)),
      random_(random),
      changed_(executor) {}

task<exit_report> simulated_agent::run() {
  session_.hello({.nonce = nonce_,
                  .version = protocol_version,
                  .architecture = machine_architecture::x86_64,
                  .engine = read_engine::uring,
                  .self_digest = self_digest_,
                  .build = "simulated"});
  try {
    co_await with_scope([this](scope& both) {
      both.spawn(listen());
      both.spawn(work());
    });
  } catch (std::exception const&) {
    // Lost, hung up on, or ended by itself.
  }
  co_return end_report_.value_or(
      exit_report{.status = done_ ? 0 : 1, .signal = {}, .stderr_tail = {}});
}

void simulated_agent::end_program(int status) {
  end_report_ = exit_report{.status = status, .signal = {}, .stderr_tail = "simulated end"};
  throw std::runtime_error("the program ended");
}

// ---- What the server says -----------------------------------------------------------------------

// Reads at all times and never waits for anything else, as the real agent.
task<> simulated_agent::listen() {
  byte_vector buffer(limits::control_read_bytes);
  while (!done_) {
    if (stopped_) {
      co_await link_->wait_for_our_end();
      end_program(1);
    }
    auto const n = co_await link_->read(connection::end::theirs, buffer);
    if (n == 0) end_program(1);
    auto input = byte_view(buffer).first(n);
    while (auto event = session_.feed(input)) hear(std::move(*event));
    changed_.wake_all();
  }
}

void simulated_agent::hear(agent_session::event&& event) {
  if (auto* const start = std::get_if<start_message>(&event)) {
    start_ = std::move(*start);
  } else if (auto* const verdicts = std::get_if<std::vector<block_verdict>>(&event)) {
    for (auto const& v : *verdicts) {
      if (v.outcome == verdict::need) needed_.push_back(v.index);
      if (v.outcome == verdict::have) mine_.record->held.insert(v.index.value);
      // Announcements are answered in their order.
      for (auto const index : mine_.record->expected) {
        if (index < v.index.value) mine_.record->held.insert(index);
      }
    }
  } else if (std::holds_alternative<finished>(event)) {
    done_ = true;
    mine_.record->heard_done = true;
  }
}

// ---- What the agent says ------------------------------------------------------------------------

task<> simulated_agent::raw(byte_vector frames) {
  co_await flush();
  co_await link_->write(connection::end::theirs, frames);
}

task<> simulated_agent::flush() {
  for (;;) {
    auto const out = session_.take_output();
    if (out.empty()) co_return;
    co_await link_->write(connection::end::theirs, out);
  }
}

task<> simulated_agent::take_start() {
  while (!start_) co_await changed_.wait();
  mine_ = assign_(start_->path);
  next_ = start_->first_block;
  mine_.record->first_block = next_;
  link_->plan(mine_.plan.link);
  if (due(misdeed::impossible_size)) {
    mine_.record->misdeed_done = true;
    byte_vector frame;
    encode(frame, source_message{.image_bytes = limits::image_bytes_max, .identity = {}});
    co_await raw(std::move(frame));
    co_await say_nothing_more();
  }
  source_message const source{.image_bytes = mine_.source->geometry().image_bytes,
                              .type = source_type::block_device,
                              .direct_io = true,
                              .alignment_bytes = 512,
                              .identity = mine_.identity};
  std::string refusal;
  try {
    session_.source(source);
  } catch (error const& e) {
    refusal = e.what();  // it is shorter now than where it is to go on
  }
  if (!refusal.empty()) {
    session_.abort({.code = abort_code::protocol, .text = refusal});
    co_await flush();
    end_program(1);
  }
  for (unsigned i = 0; i < mine_.plan.notes; ++i) {
    session_.note({1, format("note {}", i)});
  }
  co_await flush();
}

bool simulated_agent::can_announce() const noexcept {
  return next_.value < mine_.source->geometry().blocks().value &&
         session_.unsettled() < start_->batch_blocks;
}

task<> simulated_agent::work() {
  co_await flush();
  co_await take_start();
  while (!done_) {
    if (is_due()) co_await misbehave();
    bool const may_announce = can_announce();
    if (!needed_.empty() && (!may_announce || random_.percent(50))) {
      co_await send_next();
    } else if (may_announce) {
      co_await announce();
    } else if (session_.complete() && !ended_) {
      ended_ = true;
      mine_.record->said_end = true;
      session_.end(mine_.source->geometry().image_bytes);
      co_await flush();
    } else {
      co_await changed_.wait();
    }
  }
}

task<> simulated_agent::announce() {
  if (mine_.plan.read_pause.count() > 0) co_await timers_.sleep(mine_.plan.read_pause);
  auto const& source = *mine_.source;
  auto const blocks = source.geometry().blocks().value;
  auto const most = std::min<std::uint64_t>(
      {random_.percent(70) ? limits::group_blocks : random_.between(1, limits::digest_runs_max),
       start_->batch_blocks - session_.unsettled()});
  digests_message m{next_, {}};
  while (next_.value < blocks && m.runs.size() < most) {
    if (mine_.plan.skips_bad_sector && next_ == mine_.plan.bad_block && start_->skip_bad_sectors) {
      session_.bad_range(
          {source.geometry().offset_bytes(next_), source.geometry().length_bytes(next_)});
    }
    if (!source.is_zero(next_) && source.id(next_) == session_.expected(next_)) {
      m.runs.push_back({run_kind::expected, source.id(next_), {1}});
      mine_.record->expected.insert(next_.value);
    } else if (!source.is_zero(next_)) {
      m.runs.push_back({run_kind::data, source.id(next_), {1}});
    } else {
      auto const kind = source.is_hole(next_) ? run_kind::hole : run_kind::zeros;
      if (m.runs.empty() || m.runs.back().kind != kind) m.runs.push_back({kind, {}, {0}});
      ++m.runs.back().blocks;
    }
    ++next_;
  }
  mine_.record->announced_blocks = next_.value - start_->first_block.value;
  session_.digests(m);
  co_await flush();
}

task<> simulated_agent::send_next() {
  auto const at = random_.percent(70) ? 0 : random_.below(needed_.size());
  auto const index = needed_[at];
  needed_.erase(needed_.begin() + static_cast<std::ptrdiff_t>(at));
  co_await send_block(index);
}

task<> simulated_agent::send_block(block_index index) {
  auto const content = mine_.source->block(index);
  thread_local block_compressor compressor;
  auto codec = block_codec::raw;
  byte_vector payload(content.begin(), content.end());
  if (start_->codec == codec_policy::lz4) {
    byte_vector packed(lz4_frame_bytes_max(content.size()));
    packed.resize(compressor.lz4_frame(content, packed));
    if (packed.size() < content.size()) {
      payload = std::move(packed);
      codec = block_codec::lz4;
    }
  } else if (start_->codec == codec_policy::zlib) {
    byte_vector packed(content.size());
    if (auto const n = compressor.zlib(content, packed)) {
      packed.resize(*n);
      payload = std::move(packed);
      codec = block_codec::zlib;
    }
  }
  if (due(misdeed::wrong_content)) {
    payload.assign(content.begin(), content.end());
    payload[random_.below(payload.size())] ^= std::byte{1};
    codec = block_codec::raw;
    mine_.record->misdeed_done = true;
  } else if (due(misdeed::broken_frame)) {
    payload.assign(content.begin(), content.end());
    codec = block_codec::lz4;
    mine_.record->misdeed_done = true;
  }
  byte_vector frame;
  session_.block({index, codec, static_cast<std::uint32_t>(content.size())}, payload.size(), frame);
  append_bytes(frame, payload);
  co_await flush();
  co_await link_->write(connection::end::theirs, frame);
  mine_.record->sent.push_back(mine_.source->id(index));
  mine_.record->sent_raw_bytes += content.size();
  if (due(misdeed::sent_twice)) {
    mine_.record->misdeed_done = true;
    co_await raw(std::move(frame));
  }
}

// ---- What it does wrong -------------------------------------------------------------------------

bool simulated_agent::due(misdeed what) const noexcept {
  if (mine_.plan.agent != what || mine_.record->misdeed_done) return false;
  if (what == misdeed::impossible_size) return true;
  return mine_.record->announced_blocks >= mine_.plan.after_blocks;
}

// Whether misbehave() has something to do now; what is done while sending is not its business.
bool simulated_agent::is_due() const noexcept {
  auto const what = mine_.plan.agent;
  return what != misdeed::none && what != misdeed::wrong_content && what != misdeed::broken_frame &&
         what != misdeed::sent_twice && due(what);
}

// Until the server has had enough.
task<> simulated_agent::say_nothing_more() {
  for (;;) co_await changed_.wait();
}

task<> simulated_agent::misbehave() {
  auto& record = *mine_.record;
  auto const geometry = mine_.source->geometry();
  auto const what = mine_.plan.agent;
  // An END that is true is none of these.
  if (what == misdeed::early_end && session_.complete()) co_return;
  if (what == misdeed::wrong_totals && (!session_.complete() || ended_)) co_return;
  if (ended_) co_return;
  record.misdeed_done = true;
  byte_vector frames;
  byte_vector const content(block_bytes, std::byte{3});
  auto const add_block = [&](block_index index) {
    encode_block_header(frames, {index, block_codec::raw, block_bytes}, content.size());
    append_bytes(frames, content);
  };
  switch (what) {
    case misdeed::dies:
      end_program(random_.percent(50) ? 0 : 139);
    case misdeed::stops:
      stopped_ = true;
      [[fallthrough]];
    case misdeed::falls_silent:
      co_await say_nothing_more();
      co_return;
    case misdeed::read_fails:
    case misdeed::source_shrinks:
      session_.abort({.code = what == misdeed::read_fails ? abort_code::read_failed
                                                          : abort_code::source_shrank,
                      .errno_value = 5,
                      .offset_bytes = 4096,
                      .text = "simulated"});
      co_await flush();
      end_program(1);
    case misdeed::index_out_of_range:
      add_block({geometry.blocks().value + random_.below(3)});
      break;
    case misdeed::not_asked_for:
      add_block({next_.value});
      break;
    case misdeed::early_end:
    case misdeed::wrong_totals:
      encode(frames, end_message{.blocks = geometry.blocks(), .ids_digest = {}});
      break;
    case misdeed::window_exceeded: {
      digests_message m{next_, {}};
      for (std::size_t i = 0; i <= start_->batch_blocks; ++i)
        m.runs.push_back({run_kind::data, {}, {1}});
      encode(frames, m);
      break;
    }
    case misdeed::too_many_zeros:
      encode(frames,
             digests_message{next_,
                             {{run_kind::zeros, {}, {geometry.blocks().value - next_.value + 1}}}});
      break;
    case misdeed::too_many_expected: {
      auto const rest = geometry.blocks().value - next_.value;
      encode(frames,
             digests_message{next_,
                             {{run_kind::expected,
                               {},
                               {std::min<std::uint64_t>(rest + 1, limits::digest_runs_max)}}}});
      break;
    }
    case misdeed::note_flood:
      for (std::size_t i = 0; i <= limits::notes_max; ++i) encode(frames, note_message{1, "again"});
      break;
    case misdeed::garbage:
      for (int i = 0; i < 64; ++i) frames.push_back(static_cast<std::byte>(random_.next() | 0x40));
      break;
    default:
      break;
  }
  co_await raw(std::move(frames));
}

}  // namespace diskdump::simulation
