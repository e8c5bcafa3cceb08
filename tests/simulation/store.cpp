#include "store.hpp"

#include "codec/compress.hpp"

namespace diskdump::simulation {

namespace {

constexpr std::uint64_t sabotaged_put = 3;

}  // namespace

byte_vector frame_of(byte_view content) {
  static block_compressor compressor;
  byte_vector frame(lz4_frame_bytes_max(content.size()));
  frame.resize(compressor.lz4_frame(content, frame));
  return frame;
}

simulated_store::simulated_store(store_plan plan, sabotage broken, trace& events)
    : plan_(plan), broken_(broken), events_(events), inner_(make_memory_store(block_bytes)) {}

void simulated_store::hold(block_id const& id, byte_view frame) {
  inner_->put(id, frame);
  inner_->barrier();
}

void simulated_store::heal() {
  plan_ = {};
  failed_ = false;
  stored_.clear();
}

void simulated_store::refuse() {
  failed_ = true;
  throw error(store_errc::cannot_write, severity::permanent).path("simulated").cause("full");
}

std::vector<bool> simulated_store::missing(std::span<block_id const> ids) {
  auto answer = inner_->missing(ids);
  if (broken_ == sabotage::forgetful) answer.assign(ids.size(), true);
  return answer;
}

bool simulated_store::put(block_id const& id, byte_view frame) {
  events_.deed();
  events_.add(load_le<std::uint64_t>(id.bytes.data()));
  if (failed_ || (plan_.puts_until_full && puts_ >= *plan_.puts_until_full)) refuse();
  ++puts_;
  if (puts_ == sabotaged_put && broken_ == sabotage::lost_put) return true;
  bool const wrong = puts_ == sabotaged_put && broken_ == sabotage::wrong_put;
  bool const added = inner_->put(id, wrong ? frame_of(pooled(0).bytes) : frame);
  if (added) stored_.push_back(id);
  return added;
}

void simulated_store::barrier() {
  events_.add(0xba);
  if (failed_ || (plan_.barriers_until_full && barriers_ >= *plan_.barriers_until_full)) refuse();
  ++barriers_;
  if (broken_ != sabotage::no_barrier) inner_->barrier();
}

}  // namespace diskdump::simulation
