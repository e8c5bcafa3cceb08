// Every bound of diskdump in one place, so that the memory rule below can be read as a sum and
// checked by the compiler. A queue, loop, frame or fan-out that has no name here is a bug.
// (long because: they stand beside those that they depend on)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace diskdump::limits {

inline constexpr std::size_t KiB = 1024;
inline constexpr std::size_t MiB = 1024 * KiB;
inline constexpr std::size_t GiB = 1024 * MiB;

// ---- Blocks and batches -------------------------------------------------------------------------
// 128 KiB and 80 blocks are the original's defaults; a store keeps the block size it was made with.
inline constexpr std::uint32_t block_bytes_default = 128 * KiB;
inline constexpr std::uint32_t block_bytes_min = 4 * KiB;
inline constexpr std::uint32_t block_bytes_max = 16 * MiB;
// A list holds so many digests of 32 bytes, 128 KiB, and is a block like others.
inline constexpr std::size_t list_digests_max = 4096;
inline constexpr std::size_t list_bytes_max = list_digests_max * 32;
static_assert(list_bytes_max <= block_bytes_max);
// Blocks are read with O_DIRECT; every logical sector size in use divides this.
inline constexpr std::uint32_t block_bytes_multiple = 4 * KiB;
inline constexpr std::uint32_t batch_blocks_default = 80;
inline constexpr std::uint32_t batch_blocks_max = 65536;
inline constexpr std::uint64_t batch_bytes_max = 1 * GiB;
// One announcement: few enough to leave while later blocks are still being read, enough that a hop
// to the worker pool carries ≥ 64 KiB of work (8 × 128 KiB = 1 MiB).
inline constexpr std::uint32_t group_blocks = 8;
inline constexpr std::uint64_t image_bytes_max = std::uint64_t{1} << 60;
// By how much the LZ4 frame of a block that does not shrink is longer than the block: its header
// with the content's size, its end mark, and the length of each LZ4 block of 4 MiB (LZ4 Frame
// Format).
inline constexpr std::size_t lz4_frame_added_bytes_max = 15 + 4 + 4 * (block_bytes_max / (4 * MiB));

// ---- Wire ---------------------------------------------------------------------------------------
inline constexpr std::size_t frame_header_bytes = 5;
// A BLOCK frame: index, codec, raw length, and at most the raw block (what grows is sent raw).
inline constexpr std::size_t block_header_bytes = 8 + 1 + 4;
inline constexpr std::size_t frame_payload_bytes_max = block_header_bytes + block_bytes_max;
// Every other frame: the largest is DIGESTS with digest_runs_max ids.
inline constexpr std::size_t control_payload_bytes_max = 64 * KiB;
inline constexpr std::size_t digest_runs_max = 256;
inline constexpr std::size_t answers_max = 256;
// The ids of one EXPECT: 8 KiB, so that the first leaves while the next is looked up.
inline constexpr std::size_t expected_ids_max = 256;
// Expected digests that were told of blocks that the server has not seen announced. What is under
// way in a round trip must fit: 2 GB/s x 100 ms / 128 KiB = 1526, and one message and one report
// (expected_report_blocks). 4096 leave room for 200 ms and are 128 KiB of ids on either side.
inline constexpr std::uint64_t expected_ahead_blocks = 4096;
inline constexpr std::size_t expectations_bytes_max = expected_ahead_blocks * 32;
// All blocks of one DIGESTS, zero runs included: what one message makes the receiver hash for the
// image digest (32 bytes a block, 2 MiB, 1.5 ms) and write to a manifest. A long hole takes
// several.
inline constexpr std::uint64_t digests_blocks_max = 65536;
inline constexpr std::size_t path_bytes_max = 4096;
inline constexpr std::size_t note_bytes_max = 1024;
inline constexpr std::size_t identity_bytes_max = 1024;
inline constexpr std::size_t build_bytes_max = 255;
inline constexpr std::size_t notes_max = 1000;
inline constexpr std::size_t bad_ranges_max = 4096;
inline constexpr std::size_t login_noise_bytes_max = 64 * KiB;
// How long a login shell may take to run a command once the login is done; a home on a dead server
// makes it hang for ever. How often openssh is looked at for that.
inline constexpr std::chrono::seconds shell_start_time_max{60};
inline constexpr std::chrono::milliseconds login_look_interval{200};
static_assert(digests_blocks_max >= digest_runs_max);
static_assert(digest_runs_max * 33 + 16 <= control_payload_bytes_max);
static_assert(expected_ids_max * 32 + 16 <= control_payload_bytes_max);
static_assert(2 * expected_ids_max <= expected_ahead_blocks);
static_assert(path_bytes_max + 64 <= control_payload_bytes_max);

// ---- Agent --------------------------------------------------------------------------------------
inline constexpr std::size_t read_bytes_max = 1 * MiB;  // one io_uring request
inline constexpr std::size_t reads_in_flight_max = 8;
inline constexpr std::size_t digest_groups_in_flight_max = 4;
inline constexpr std::size_t read_buffers_max = 64;  // blocks of one request
inline constexpr std::size_t sector_bytes_min = 512;
// A lane that compresses has scratch for one block, and keeps what its compressors took: libdeflate
// at level 1 200 KiB, LZ4 at most 16 + 128 KiB, and what malloc adds; the rest is spare.
inline constexpr std::size_t compressor_state_bytes = 416 * KiB;
// All lanes together, but one lane with one block's scratch where blocks are larger.
inline constexpr std::size_t compress_memory_bytes_max = 6 * MiB;
// Everything else beside the batch: 64 threads, each 20 KiB of stack and of what the C library
// keeps for it (1.3 MiB), 100 bytes a block of the batch (6.3 MiB for 65536 blocks), announcements
// and input (0.1 MiB), expected digests (0.1 MiB), the program (1.5 MiB).
inline constexpr std::size_t agent_overhead_bytes_max = 10 * MiB;
inline constexpr std::size_t compress_hop_bytes = 256 * KiB;  // handed to a worker at a time
// Contents that are decompressed one by one and hashed side by side take a buffer of so much,
// beside that of one block: it stays in a core's cache.
inline constexpr std::size_t digest_together_bytes = 512 * KiB;
inline constexpr std::size_t worker_hop_bytes_min = 64 * KiB;  // less is not worth the way
inline constexpr std::size_t control_output_bytes_max = 64 * KiB;
// One gathered write; its slots are free once all of it is written.
inline constexpr std::size_t write_bytes_max = 1 * MiB;
inline constexpr std::size_t write_blocks_max = 32;
inline constexpr std::size_t control_read_bytes = 16 * KiB;
inline constexpr unsigned worker_threads_max = 64;
// Blocks that are as expected need no answer, so they are told together: 8 MiB of 128 KiB blocks,
// few enough that the server's window moves on while they are read.
inline constexpr std::uint64_t expected_report_blocks = 64;
static_assert(expected_report_blocks <= digest_runs_max);
static_assert(expected_report_blocks * 16 <= expected_ahead_blocks);

// ---- Disks --------------------------------------------------------------------------------------
inline constexpr std::size_t disk_buffers_max = 64;  // of one vectored read; far below IOV_MAX
inline constexpr unsigned disk_queue_depth_max = 1024;
inline constexpr unsigned disk_retries_max = 16;  // of one request after EINTR or EAGAIN
// A ring that the kernel does not take entries from is asked again each millisecond: 0.1 s.
inline constexpr unsigned ring_submit_attempts_max = 100;
inline constexpr std::size_t identity_field_bytes_max = 128;
inline constexpr std::size_t directory_read_bytes = 32 * KiB;  // one getdents call
inline constexpr std::size_t system_file_bytes_max = 1 * MiB;  // of /proc and /sys

// ---- Server memory, per target ------------------------------------------------------------------
// What a target may hold on the server is one batch, taken as leases from its byte budget:
//   ssh channel window            channel_window_bytes (at most half of the batch, below)
// + frames being received         one block
// + blocks waiting for verify     the rest, by lease
// + blocks being written          the same leases, handed on
// A lease is for the most that its block takes on the way: what came, or the LZ4 frame that is made
// of it for the store (lz4_frame_added_bytes_max above the block). The budget is never less than
// two of the largest.
// Digests in flight are 33 bytes per block of the batch and a few control frames: below 0.1 batch.
// Expected digests come on top (expect_bytes_max).
inline constexpr std::size_t channel_window_bytes_max = 16 * MiB;
inline constexpr std::size_t channel_window_bytes_min = 256 * KiB;
inline constexpr std::size_t stream_read_bytes = 256 * KiB;
inline constexpr std::size_t ssh_receive_buffer_bytes = 256 * KiB;
inline constexpr std::size_t ssh_send_buffer_bytes_max = 1 * MiB;
// What one call of the SSH machine takes in before it gives its worker back: some 2 ms of
// decryption, and several rings, so that a call that ends by it knows of more input.
inline constexpr std::size_t ssh_call_bytes_max = 1 * MiB;
static_assert(ssh_call_bytes_max >= 2 * ssh_receive_buffer_bytes);
// What libssh2 may hold of one session: its keys and packets take below 1 MiB, the answers to
// signs of life 0.3 MB in a day of silence, so a month of that is 10 MB. The windows of the
// channels come on top, twice, for what is allocated around each packet's data.
inline constexpr std::size_t ssh_library_bytes_max = 16 * MiB;
inline constexpr std::size_t ssh_library_bytes_per_window_byte = 2;
inline constexpr std::size_t stderr_tail_bytes_max = 8 * KiB;
inline constexpr std::size_t agent_keys_max = 64;  // keys taken from an ssh-agent
inline constexpr std::size_t key_file_bytes_max = 64 * KiB;
inline constexpr std::size_t known_hosts_bytes_max = 16 * MiB;
inline constexpr std::size_t ssh_config_bytes_max = 256 * KiB;  // what `ssh -G` prints
inline constexpr int secret_tries_max = 3;                      // passphrases, passwords
inline constexpr std::size_t secret_bytes_max = 1024;
inline constexpr std::size_t addresses_max = 8;  // of one host name that are tried
inline constexpr int pipe_bytes = 1 << 20;       // F_SETPIPE_SZ; an unprivileged user's limit

// What all of it comes to on the server, for so many targets at work with batches of so many bytes:
//   the process itself            server_overhead_bytes: the program, worker and writer threads,
//                                 SQLite's page caches, an epoch's list of blocks, a pack's two
//                                 buffers and the one for direct writes
// + per target                    its batch (leases and channel window), a tenth of it for digests,
//                                 expected digests
// + per connection                the socket's ring, what waits to be sent, a stream's read buffer,
//                                 libssh2's own packets
// Measured in bench/fleet.py, which prints this bound beside the peak.
inline constexpr std::size_t server_overhead_bytes = 48 * MiB;
inline constexpr std::size_t connection_bytes_max =
    ssh_receive_buffer_bytes + ssh_send_buffer_bytes_max + stream_read_bytes + 512 * KiB;
// Expected digests in the session, with 8 bytes of index each; the same on their way to the agent;
// and for the reader of the manifest that they come from 64 KiB of text and one list, packed and
// unpacked. The same again for the manifest that is written.
inline constexpr std::size_t expect_bytes_max =
    2 * expectations_bytes_max + 96 * KiB + 4 * list_bytes_max;
[[nodiscard]] constexpr std::uint64_t server_memory_bytes_max(std::uint64_t targets_active,
                                                              std::uint64_t batch_bytes) noexcept {
  return server_overhead_bytes + targets_active * (batch_bytes + batch_bytes / 10 +
                                                   expect_bytes_max + connection_bytes_max);
}
static_assert(server_memory_bytes_max(1, 10 * MiB) <= 64 * MiB + 11 * MiB);

// ---- Deployment -------------------------------------------------------------------------------
// Candidates for the agent's place (six), and what their report takes: a path and a sentence each.
inline constexpr std::size_t agent_directories_max = 16;
inline constexpr std::size_t launch_report_bytes_max = 16 * KiB;

// ---- Commands around a dump
// -----------------------------------------------------------------------
inline constexpr std::size_t target_command_bytes_max = 16 * KiB;
// Of each command's output: what is shown of it, and how much of one line.
inline constexpr std::size_t target_command_lines_max = 1000;
inline constexpr std::size_t target_command_line_bytes_max = 1024;
// A snapshot or a freeze takes seconds; flushing a large database first may take minutes.
inline constexpr std::chrono::minutes target_command_time_max{10};
// A post command whose connection was lost is given so long to be reached again.
inline constexpr std::chrono::seconds post_connect_time_max{120};
inline constexpr std::chrono::seconds post_connect_pause{5};

// ---- Server, shared -----------------------------------------------------------------------------
inline constexpr std::size_t targets_max = 4096;
inline constexpr std::size_t targets_active_default = 32;
inline constexpr std::size_t paths_per_host_max = 4;  // sshd's MaxSessions is 10
inline constexpr unsigned writer_threads = 4;
// Announcements that one index look-up takes together (each is limits::group_blocks blocks).
inline constexpr std::size_t lookup_groups_max = 32;
// Announcements that wait for their answer: runs of zeros are not bounded by the batch, and each
// message may hold digest_runs_max runs of 48 bytes (64 × 256 × 48 = 0.8 MB at the very most).
inline constexpr std::size_t announcements_queued_max = 64;
// Blocks handed to a worker at a time: enough bytes that the hop does not show.
inline constexpr std::size_t verify_bytes_per_hop = 512 * KiB;  // four blocks of 128 KiB
inline constexpr std::size_t verify_blocks_per_hop = 32;
// A barrier is run after so many blocks at the latest; what is not yet durable is remembered in
// memory, 100 bytes a block: 8192 × 100 = 0.8 MB.
inline constexpr std::size_t epoch_blocks_max = 8192;
inline constexpr std::uint64_t epoch_bytes_max = 1 * GiB;
// Kept back on a store's disk for what is no block: the rows of an epoch, each of which may change
// a page of 4 KiB of its own in the index (8192 × 4 KiB = 32 MiB), and 8 MiB of manifests.
inline constexpr std::uint64_t held_room_bytes_max = epoch_blocks_max * 4 * KiB + 8 * MiB;
// Of that, lists of digests may take this part, which are blocks and belong to manifests: 8 MiB.
inline constexpr std::uint64_t held_room_lists_part = 5;
// At most this part of what is free, where that is less: stores on small disks have small indexes.
inline constexpr std::uint64_t held_room_part = 8;

// ---- Lists of targets ---------------------------------------------------------------------------
// --targets-from: a line holds a target with a few paths, quoted at worst, and its flags.
inline constexpr std::size_t targets_line_bytes_max = 16 * KiB;
// 4096 targets of 1 KiB; a file that is larger is not such a list.
inline constexpr std::size_t targets_file_bytes_max = 4 * MiB;
inline constexpr std::size_t targets_line_words_max = 64;
static_assert(targets_line_bytes_max >= 2 * path_bytes_max);

// ---- Store --------------------------------------------------------------------------------------
// A stored frame: the largest block and what LZ4 adds to data that does not shrink.
inline constexpr std::size_t stored_block_bytes_max = block_bytes_max + 1 * MiB;
static_assert(block_bytes_max + lz4_frame_added_bytes_max <= stored_block_bytes_max);
inline constexpr std::size_t config_bytes_max = 64 * KiB;
// How long to wait for another program that holds blocks.db locked.
inline constexpr std::chrono::milliseconds index_wait_max{30000};
inline constexpr std::chrono::milliseconds index_retry_pause{10};
inline constexpr std::chrono::milliseconds index_busy_pause{2};
inline constexpr std::size_t index_readers_max = 4;  // connections, 2 MiB of page cache each
// Parts of all digests that threads ask an index for at the same time; a power of two up to 256.
inline constexpr std::size_t index_slices = 64;
inline constexpr std::size_t index_rows_per_step = 4096;  // of list(), remove() and a rebuild
// How long gc holds the write lock to judge condemned blocks: dumps wait for it. So many rows at a
// time as took so long before, within these bounds.
inline constexpr std::chrono::milliseconds sweep_step_time{40};
inline constexpr std::size_t sweep_rows_per_step_first = 512;
inline constexpr std::size_t sweep_rows_per_step_min = 32;
inline constexpr std::size_t sweep_rows_per_step_max = 8192;
// While the files of one part are deleted, the next is read from the index.
inline constexpr std::size_t sweep_rows_per_part = 1024;
inline constexpr std::size_t erased_files_per_task = 16;
// Between two such steps: a waiting dump, which looks every index_busy_pause, gets its turn.
inline constexpr std::chrono::milliseconds sweep_pause{1};
inline constexpr std::size_t lease_bytes_max = 16 * KiB;
inline constexpr std::chrono::milliseconds lease_poll_interval{200};  // of gc --wait
// Below DIR, where a person may have moved a manifest: entries looked at.
inline constexpr std::size_t manifest_search_entries_max = 10'000'000;
// Files that verify and reindex look at together, in the order of the disk: 64 bytes each.
inline constexpr std::size_t upkeep_files_per_window = 1'000'000;
inline constexpr unsigned upkeep_folders_per_task = 256;
// Neighbours that one thread looks at in turn: one read where they lie in a pack.
inline constexpr std::size_t upkeep_blocks_per_task = 1024;
inline constexpr std::size_t upkeep_bytes_per_task = 4 * MiB;
// What it reads at once: little enough to be in a core's own cache when it is hashed.
inline constexpr std::size_t upkeep_bytes_per_read = 256 * KiB;
// What verify lists one by one; more are counted.
inline constexpr std::size_t verify_findings_max = 100'000;
inline constexpr unsigned upkeep_threads_max = 64;
// Tries of put() at one name while others create, quarantine and remove it.
inline constexpr unsigned put_tries_max = 16;
inline constexpr unsigned quarantine_copies_max = 10000;  // of one block

// Smaller blocks than these are stored in packs where nobody chose: as files they take an inode
// each, of which ext4 has one per 16 KiB, and a third (16 KiB) to three quarters (4 KiB) of the
// time of verify; bench/README.md.
inline constexpr std::size_t loose_block_bytes_min = 32 * KiB;

// ---- Packs --------------------------------------------------------------------------------------
// A pack is ended when it has this size: few files (16,384 for a TiB), little to copy when gc
// makes its free part usable again.
inline constexpr std::size_t pack_bytes = 64 * MiB;
inline constexpr std::size_t pack_header_bytes = 64;
inline constexpr std::size_t pack_entry_header_bytes = 64;
// An offset in a pack is 32 bits: the last entry begins below pack_bytes.
static_assert(pack_bytes + pack_entry_header_bytes + stored_block_bytes_max < 0x8000'0000ULL);
// One write; two such buffers are in memory, one that fills and one that is written.
inline constexpr std::size_t pack_write_bytes = 4 * MiB;
// The same of gc, which copies a block at a time and so fills one of the two only.
inline constexpr std::size_t pack_copy_write_bytes = 2 * MiB;
// Blocks that gc copies before what it wrote is made durable and their rows are changed: 0.4 MB.
inline constexpr std::size_t pack_moves_per_step = 8192;
// One read of what looks after packs, per thread, and what may lie between two of its blocks that
// are read together.
inline constexpr std::size_t pack_read_bytes = 4 * MiB;
inline constexpr std::size_t pack_read_gap_bytes = 64 * KiB;
// gc copies what is left of a pack when less than this is still needed: for a byte that becomes
// free at most 70/30 bytes are copied, and a store is at most 1/0.7 of what it needs.
inline constexpr unsigned pack_live_percent_min = 70;
// Packs smaller than a quarter are put together once there are so many of them.
inline constexpr std::size_t pack_small_bytes = pack_bytes / 4;
inline constexpr std::size_t pack_small_count_max = 16;
// Packs that gc names because it could not read them; more are counted.
inline constexpr std::size_t packs_told_max = 100;
// Packs that gc removes under the index's write lock, 1 to 20 ms each on a disk that turns: a dump
// waits so long at the most, far below index_wait_max.
inline constexpr std::size_t pack_removals_per_step = 64;
// Between two such steps: a waiting dump, which looks every index_busy_pause, gets its turn.
inline constexpr std::chrono::milliseconds pack_removal_pause{5};
static_assert(pack_removal_pause > 2 * index_busy_pause);
// Looks at all rows for packs that are not in use; another one is needed where a reindex gave rows
// to what lay in them meanwhile. What is left then is left to the next gc.
inline constexpr unsigned pack_removal_scans_max = 4;
// Rows that are dealt out to a file by the ranges of packs that they are in: 1024 million of them
// in windows of upkeep_files_per_window, more in larger ones; a sixteenth of that where packs are
// copied. What waits to be written is bounded over all ranges, so that a piece for one of them is
// 32 KiB or more.
inline constexpr std::size_t pack_row_ranges_max = 1024;
inline constexpr std::size_t pack_copy_rows_per_window = 65'536;
inline constexpr std::size_t pack_row_buffer_bytes = 32 * MiB;
inline constexpr std::size_t pack_row_piece_bytes_max = 256 * KiB;
static_assert(pack_row_buffer_bytes / pack_row_ranges_max >= 32 * KiB);
// Packs that a store keeps open for fetch(), and what it reads of one at once.
inline constexpr std::size_t pack_files_open_max = 32;
inline constexpr std::size_t pack_fetch_bytes_max = 1 * MiB;
// What may lie between two blocks that are read together: copying it takes no longer than a call.
inline constexpr std::size_t pack_fetch_gap_bytes = 4 * KiB;
// Tries of fetch() to find a block that is being moved.
inline constexpr unsigned pack_read_tries_max = 16;
// A piece of a file that is written so large goes to the disk at once.
inline constexpr std::size_t early_write_back_bytes_min = 1 * MiB;
// And past the page cache, where a file system is good at it: one write through a buffer that all
// files of a store share, in whole pages of every common device.
inline constexpr std::size_t direct_write_bytes = 1 * MiB;
inline constexpr std::size_t direct_write_alignment_bytes = 4096;
static_assert(direct_write_bytes % direct_write_alignment_bytes == 0);

// ---- Manifests ----------------------------------------------------------------------------------
inline constexpr std::size_t manifest_bytes_per_block = 65;  // 64 hex digits and a line end
// In a store of packs a line names a list of list_digests_max, with 43 characters and a line end:
// 88 KiB for a TiB in blocks of 128 KiB.
inline constexpr std::size_t manifest_bytes_per_list = 44;
// Lines that one hop to a writer thread may write, so that a huge hole stays cancellable.
inline constexpr std::uint64_t manifest_lines_per_hop = 65536;
inline constexpr std::size_t manifest_line_bytes_max = 8 * KiB;
// Where the manifests that a run writes have left less than this free, the largest of them is given
// up, so that the others can end. 1 GiB are the manifests of 2 TiB in blocks of 128 KiB; on small
// disks it is a part of what was free when the run began.
inline constexpr std::uint64_t manifest_reserve_bytes_max = 1 * GiB;
inline constexpr std::uint64_t manifest_reserve_part = 8;
// One that is smaller than this part of the reserve (8 MiB, an image of 16 GiB) is not given up:
// as many as are at work by default are a quarter of the reserve. What is free is looked up again
// when so much was written.
inline constexpr std::uint64_t manifest_reserve_steps = 128;
static_assert(targets_active_default * 4 <= manifest_reserve_steps);
// It is blocks, or another program, that have filled the disk where less than this part of what is
// gone since the run began are manifests: giving one up would not help then.
inline constexpr std::uint64_t manifest_share_part = 8;
inline constexpr std::size_t manifest_comment_lines_max = 10000;
inline constexpr std::size_t manifest_versions_per_day_max = 100000;
inline constexpr std::size_t name_bytes_max = 200;  // a file name with ".NNNNN.manifest" fits 255
// How long gc keeps what an interrupted dump has in the store.
inline constexpr std::chrono::hours interrupted_keep{7 * 24};
// Digests of an interrupted dump that one look-up in the index takes.
inline constexpr std::size_t resume_blocks_per_lookup = 4096;
// Ranges of a diff that are shown unless all are asked for.
inline constexpr std::size_t diff_ranges_shown_max = 20;
// Manifests that one --keep-… of a prune may keep.
inline constexpr std::uint64_t keep_count_max = 1'000'000;
// Tries to give a manifest its name while a prune takes the empty folder away.
inline constexpr unsigned publish_tries_max = 16;

// ---- Codec of a dump ----------------------------------------------------------------------------
// --wire auto tries zlib where a link carries no more than this, for so much of the time that
// blocks were waited for; measured over a window of so long and so much content.
inline constexpr std::uint64_t codec_link_bytes_per_s_max = 125'000'000;
inline constexpr int codec_starved_percent = 90;
inline constexpr std::chrono::seconds codec_window{2};
inline constexpr std::uint64_t codec_window_bytes = 4 * MiB;
// It stays where so much more content comes than before. After a trial there is a pause, twice as
// long after each that was in vain, up to so often.
inline constexpr int codec_gain_percent_min = 5;
inline constexpr std::chrono::seconds codec_trial_pause{30};
inline constexpr unsigned codec_trial_doublings_max = 4;

// ---- Copy ---------------------------------------------------------------------------------------
// Blocks that one look-up in the other store's index takes; those that it lacks are then brought by
// all threads, of which each holds one block, packed and unpacked.
inline constexpr std::size_t copy_blocks_per_lookup = 4096;
inline constexpr std::size_t copy_bytes_per_thread_max = stored_block_bytes_max + block_bytes_max;
inline constexpr unsigned copy_threads_max = 16;

// ---- Restore ------------------------------------------------------------------------------------
// One write of the output; (readers + 2) of them are in memory at a time, and for each reader the
// stored frames of one.
inline constexpr std::size_t restore_piece_bytes = 1 * MiB;
inline constexpr unsigned reader_threads_min = 4;

// ---- Fleet --------------------------------------------------------------------------------------
inline constexpr unsigned retries_default = 2;
inline constexpr unsigned retries_max = 1000;
inline constexpr std::chrono::milliseconds retry_delay_first{2000};
inline constexpr std::chrono::milliseconds retry_delay_max{60'000};
inline constexpr double retry_delay_factor = 5.0;
// How often a session on a connection is asked for that was refused, each pause twice the one
// before: 0.6 s in all.
inline constexpr int session_tries_max = 6;
inline constexpr std::chrono::milliseconds session_pause_first{20};
// Connections that are being made at a time: sshd begins to refuse at ten (MaxStartups), and a
// jump host sees them all.
inline constexpr std::size_t connects_in_flight_max = 8;
// Connections that wait for a person, beside those that are being made; who needs one more closes
// his until then. A person answers one after the other, so a second one that is ready is enough;
// and all together are as many as sshd takes.
inline constexpr std::size_t questions_open_max = 2;
static_assert(connects_in_flight_max + questions_open_max <= 10);
// For name resolution, key files, ssh-agents, and the questions to a person. A connection that is
// being made takes one at a time, and so does one that waits for a person; as many again are for
// names that nobody waits for any longer.
inline constexpr unsigned blocking_threads = 2 * connects_in_flight_max + questions_open_max;
// A target that owes a block and was silent for so long does not keep others waiting for it: the
// next one that waits is asked to send it.
inline constexpr std::chrono::seconds claim_patience{3};
// Nor does one that is so slow that sending all it owes would take longer than the first of these,
// judged by what came in the second. Silence ends sooner; this is for those who drip.
inline constexpr std::chrono::seconds claim_hold_max{30};
inline constexpr std::chrono::seconds claim_pace_window{10};
// What else it sends takes us time that it could have sent them in, and counts as such: at most so
// much for a run that it announces (a hop to a writer thread and back, on a machine that is busy)
// and so much for each of the run's blocks (a line of the manifest, ten times what it takes on a
// disk that keeps up). Beyond that it is our store that takes its time.
inline constexpr std::chrono::microseconds claim_pace_run_time{100};
inline constexpr std::chrono::microseconds claim_pace_line_time{1};
// Of the times of what waits to be answered, so much is kept: little beside claim_pace_window, for
// it is what a store that stands still may be taken for.
inline constexpr std::chrono::seconds claim_pace_kept_max{2};
static_assert(claim_pace_kept_max * 5 <= claim_pace_window);
// And so many times for one block: each may cross a wire that is the same for all.
inline constexpr unsigned claim_slow_passes_max = 2;
inline constexpr std::chrono::seconds claim_check_interval{1};
inline constexpr std::chrono::seconds timeout_max{24 * 3600};

// ---- Time ---------------------------------------------------------------------------------------
inline constexpr std::chrono::seconds connect_timeout_max{20};
// Through a proxy a person may have to log in there first, for which sshd gives 120 s
// (LoginGraceTime).
inline constexpr std::chrono::seconds proxied_connect_timeout_max =
    connect_timeout_max + std::chrono::seconds(120);
inline constexpr std::chrono::seconds silence_timeout_max{60};
// How long an ssh-agent may take, which may ask a person whether a key may be used. Less than a
// step of the authentication, so that the agent is named and not the server.
inline constexpr std::chrono::seconds key_agent_reply_time_max =
    silence_timeout_max - std::chrono::seconds(10);
// How long it may leave us waiting to be let in, which asks nobody. Both together stay below that
// step.
inline constexpr std::chrono::seconds key_agent_connect_time_max{5};
static_assert(key_agent_connect_time_max + key_agent_reply_time_max < silence_timeout_max);
inline constexpr std::chrono::seconds deploy_timeout_max{60};
// A ring that the kernel will not take requests from just now is tried again after this.
inline constexpr std::chrono::milliseconds ring_submit_pause{1};
// Without a pidfd (before Linux 5.3) a child is looked at so often.
inline constexpr std::chrono::milliseconds child_poll_interval{10};
inline constexpr std::size_t child_output_bytes = 16 * KiB;  // one read of a helper's output
inline constexpr std::chrono::milliseconds progress_interval{200};
// The same without a terminal: events for a program, lines for a log.
inline constexpr std::chrono::seconds progress_event_interval{1};
inline constexpr std::chrono::seconds progress_line_interval{60};
// A display's rates are those of the last rate_window, its forecasts rest on the last eta_window:
// a rate answers at once to what happens, a forecast must not jump.
inline constexpr std::chrono::milliseconds rate_sample_interval{500};
inline constexpr std::chrono::seconds rate_window{5};
inline constexpr std::chrono::seconds eta_window{30};
inline constexpr std::size_t rate_samples_max = 64;
static_assert(eta_window / rate_sample_interval < rate_samples_max && rate_window <= eta_window);
// What a terminal is believed to have; a line is drawn at most so wide.
inline constexpr std::size_t terminal_columns_max = 500;
inline constexpr std::size_t terminal_rows_max = 500;
// How long what the target said before its connection broke may take to be read.
inline constexpr std::chrono::seconds last_words_wait_max{2};
// How long close() of a stream waits for the program's end before it breaks the connection.
inline constexpr std::chrono::seconds close_wait_max{5};
// By how much the end of a shared `ssh` may come after that of its clients.
inline constexpr std::chrono::milliseconds master_end_wait_max{500};
// How long the loop may stand still for a child that was sent SIGKILL.
inline constexpr std::chrono::milliseconds kill_wait_max{50};
// How long the agent tries to tell a server that does not read why it ends.
inline constexpr std::chrono::seconds abort_write_timeout{5};
// What a rate-limited reader or receiver may catch up after a pause.
inline constexpr std::chrono::milliseconds rate_allowance_max{100};
// One that waits for its turn looks so often whether the rate has changed.
inline constexpr std::chrono::milliseconds rate_look_interval{500};
// At the lowest rate that a person may ask for, one block takes so long: far below the silence
// after which a target is given up.
inline constexpr std::chrono::seconds rate_block_time_max{15};
// An idle SSH connection is asked for a sign of life so often; with none to so many questions it is
// lost, within the silence timeout.
inline constexpr int alive_probes_max = 3;
inline constexpr std::chrono::seconds alive_interval = silence_timeout_max / (alive_probes_max + 1);

static_assert(block_bytes_default % block_bytes_multiple == 0);
static_assert(block_bytes_max % block_bytes_multiple == 0);
static_assert(std::uint64_t{block_bytes_default} * batch_blocks_default <= batch_bytes_max);
static_assert(group_blocks <= digest_runs_max && group_blocks <= answers_max);
static_assert(reads_in_flight_max <= disk_queue_depth_max);
static_assert(rate_block_time_max * 2 <= silence_timeout_max);
static_assert(rate_look_interval * 2 <= silence_timeout_max);
static_assert(read_bytes_max >= group_blocks * block_bytes_default);

// ---- Benchmark ----------------------------------------------------------------------------------
inline constexpr std::size_t bench_stores_max = 16;
inline constexpr std::uint64_t bench_targets_max = 64;
// Blocks of all images of a run: what each one held and holds is 8 bytes (32 MiB), 16 more where it
// changed; a store that only counts keeps 76 bytes a block, measured (304 MiB).
inline constexpr std::uint64_t bench_blocks_max = std::uint64_t{4} << 20;
inline constexpr std::size_t bench_write_bytes = 4 * MiB;  // of an image that is made, at a time
// Blocks that are compressed to find out how much a content must repeat itself: 64 of 128 KiB.
inline constexpr std::size_t bench_probe_bytes = 2 * MiB;
inline constexpr unsigned bench_probe_steps = 14;
// Throughput over time: when so many samples are there, each two become one of twice the time.
inline constexpr std::chrono::milliseconds bench_sample_interval{20};
inline constexpr std::size_t bench_samples_max = 256;
static_assert(bench_samples_max % 2 == 0);
// Of the machine's free memory, what a store in memory may be expected to take.
inline constexpr unsigned bench_memory_percent_max = 60;

}  // namespace diskdump::limits
