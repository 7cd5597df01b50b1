/* probe.c: what the device, the memory and the CPU do with nothing between them and the caller.
 *
 * Built with the checksum sources of the engine into one shared object; see probe.py.  Every
 * function returns nanoseconds for `count` repetitions, or -1 with errno set.
 *
 * Ownership: the caller owns descriptors and buffers.
 * Threads:   none of its own.
 * Invariants: a direct write uses a buffer and offsets that are multiples of 4096. */
#include <errno.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "oor.h"

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

/* Writes `size` bytes at a time from `*offset` on, round and round in the first `limit` bytes.
 * With `sync` each write is followed by fdatasync; without, the descriptor itself is
 * O_DIRECT|O_DSYNC. */
int64_t probe_write(int fd, const uint8_t *data, size_t size, int64_t *offset, int64_t limit,
                    int count, int sync) {
    const int64_t since = now_ns();
    for (int i = 0; i < count; i++) {
        if (*offset + (int64_t)size > limit) *offset = 0;
        if (pwrite(fd, data, size, *offset) != (ssize_t)size) return -1;
        if (sync && fdatasync(fd) != 0) return -1;
        *offset += (int64_t)size;
    }
    return now_ns() - since;
}

/* Reads `size` bytes, a multiple of 64, `count` times over, with as many loads at a time as the
 * compiler makes of eight sums: the speed of memory when `size` is larger than the caches. */
int64_t probe_read_memory(const uint64_t *data, size_t size, int count, uint64_t *sum) {
    uint64_t sums[8] = {0};
    const int64_t since = now_ns();
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < size / 8; at += 8) {
            for (size_t lane = 0; lane < 8; lane++) sums[lane] += data[at + lane];
        }
    }
    const int64_t spent = now_ns() - since;
    for (int lane = 0; lane < 8; lane++) *sum += sums[lane];
    return spent;
}

/* The checksum of `size` bytes, `count` times, each behind the one before it, as records are. */
int64_t probe_crc32c(const uint8_t *data, size_t size, int count, uint32_t *crc) {
    const int64_t since = now_ns();
    for (int i = 0; i < count; i++) *crc = oor_crc32c(*crc, data, size);
    return now_ns() - since;
}
