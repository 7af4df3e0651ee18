/* The pool of the bare io_uring loop: a ring of buffers that the kernel fills piece by piece. */
#ifndef RING_POOL_H
#define RING_POOL_H

#include "ring.h"

#define BUFFERS_MAX 8
/* A pool of 4 MiB costs 4 % more at messages of 64 KiB. */
#define BUFFER_SIZE (256 * 1024)

/* The pool. A buffer is given back one turn after the kernel has finished it. */
static struct {
    struct io_uring_buf_ring *ring;
    char *bytes;
    uint32_t size, used[BUFFERS_MAX];
    uint16_t count, finished[BUFFERS_MAX], finished_count, old_count, tail;
} pool;

static void give_back(uint16_t buffer) {
    struct io_uring_buf *entry = &pool.ring->bufs[pool.tail++ & (pool.count - 1)];
    pool.used[buffer] = 0;
    entry->addr = (uint64_t)(pool.bytes + (size_t)buffer * pool.size);
    entry->len = pool.size;
    entry->bid = buffer;
    __atomic_store_n(&pool.ring->tail, pool.tail, __ATOMIC_RELEASE);
}

/* Gives back the buffers that were finished a turn ago: the last entry has sent their pieces, or
 * they are copied. */
static void give_old_back(void) {
    for (uint16_t place = 0; place < pool.old_count; place++) give_back(pool.finished[place]);
    pool.finished_count = (uint16_t)(pool.finished_count - pool.old_count);
    memmove(pool.finished, pool.finished + pool.old_count,
            pool.finished_count * sizeof *pool.finished);
    pool.old_count = pool.finished_count;
}

/* Notes what a receive has put into a buffer. Returns where it begins. */
static uint32_t pool_use(const struct io_uring_cqe *completion) {
    uint16_t buffer = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    uint32_t from = buffer * pool.size + pool.used[buffer];
    if (completion->res > 0) pool.used[buffer] += (uint32_t)completion->res;
    if (!(completion->flags & IORING_CQE_F_BUF_MORE))
        pool.finished[pool.finished_count++] = buffer;
    return from;
}

/* struct io_uring_buf_reg of Linux 6.12. */
struct pool_registration {
    uint64_t ring;
    uint32_t entries;
    uint16_t group, flags;
    uint64_t reserved[3];
};
#define INCREMENTAL 2

static const char *pool_open(int fd, uint16_t count, uint32_t size) {
    int mode = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
    pool.count = count, pool.size = size;
    pool.ring = mmap(NULL, 4096, mode, kind, -1, 0);
    pool.bytes = mmap(NULL, (size_t)count * size, mode, kind, -1, 0);
    if (pool.ring == MAP_FAILED || pool.bytes == MAP_FAILED) return refusal("mmap");
    struct pool_registration registration = {
        .ring = (uint64_t)pool.ring, .entries = count, .flags = INCREMENTAL};
    if (ring_register(fd, IORING_REGISTER_PBUF_RING, &registration, 1) < 0)
        return refusal("IORING_REGISTER_PBUF_RING");
    for (uint16_t buffer = 0; buffer < count; buffer++) give_back(buffer);
    return NULL;
}

#endif
