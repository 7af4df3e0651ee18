/* The parts that both loops on io_uring share: a ring with system calls of its own. There is no
 * liburing in between. */
#ifndef RING_H
#define RING_H

#include "common.h"

#include <linux/io_uring.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Newer than the headers of some systems (6.6, 6.12). */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4)
#endif

#define FEATURES                                                                            \
    (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP | \
     IORING_FEAT_MIN_TIMEOUT)

/* struct io_uring_getevents_arg of Linux 6.12. */
struct wait_argument {
    uint64_t signals;
    uint32_t signals_size, min_wait_usec;
    uint64_t timeout;
};

struct ring {
    int number;
    unsigned entries, tail, *kernel_tail, *kernel_head, *kernel_flags;
    struct io_uring_sqe *entry;
    unsigned *completed, *taken, completion_mask;
    struct io_uring_cqe *completion;
};

/* The reason why the kernel refuses what a loop needs. */
static char refused[256];

static inline const char *refusal(const char *what) {
    char disabled[16] = "not there\n";
    int error = errno;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "r");
    if (file != NULL && fgets(disabled, sizeof disabled, file) == NULL) disabled[0] = 0;
    if (file != NULL) fclose(file);
    disabled[strcspn(disabled, "\n")] = 0;
    snprintf(refused, sizeof refused, "%s: %s (/proc/sys/kernel/io_uring_disabled: %s)", what,
             strerror(error), disabled);
    return refused;
}

static inline int ring_register(int fd, unsigned what, void *argument, unsigned count) {
    return (int)syscall(__NR_io_uring_register, fd, what, argument, count);
}

/* Returns the name of an operation that the kernel lacks. */
static inline const char *ring_lacks(int fd) {
    static const struct {
        unsigned char operation;
        const char *name;
    } needed[] = {
        {IORING_OP_ACCEPT, "ACCEPT"},   {IORING_OP_RECV, "RECV"},
        {IORING_OP_SEND, "SEND"},       {IORING_OP_SENDMSG, "SENDMSG"},
        {IORING_OP_CLOSE, "CLOSE"},     {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
    };
    static struct {
        struct io_uring_probe head;
        struct io_uring_probe_op operations[64];
    } probe;
    if (ring_register(fd, IORING_REGISTER_PROBE, &probe, 64) < 0) return "PROBE";
    for (size_t place = 0; place < sizeof needed / sizeof *needed; place++) {
        unsigned char operation = needed[place].operation;
        bool known = operation <= probe.head.last_op;
        if (!known || !(probe.operations[operation].flags & IO_URING_OP_SUPPORTED))
            return needed[place].name;
    }
    return NULL;
}

/* Opens a ring without an array of submissions, and registers its descriptor. Its descriptor stays
 * open in *fd, to register other things. Returns the reason if the kernel refuses. */
static inline const char *ring_open(struct ring *ring, int *fd, unsigned flags, unsigned entries,
                                    unsigned completions) {
    struct io_uring_params params = {.cq_entries = completions};
    params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                   IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_NO_SQARRAY;
    *fd = (int)syscall(__NR_io_uring_setup, entries, &params);
    if (*fd < 0) return refusal("io_uring_setup");
    if ((params.features & FEATURES) != FEATURES)
        return "the kernel's io_uring is older than Linux 6.12";
    const char *lacks = ring_lacks(*fd);
    if (lacks != NULL) {
        snprintf(refused, sizeof refused, "the kernel's io_uring has no operation %s", lacks);
        return refused;
    }
    int mode = PROT_READ | PROT_WRITE, kind = MAP_SHARED | MAP_POPULATE;
    size_t size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    char *rings = mmap(NULL, size, mode, kind, *fd, IORING_OFF_SQ_RING);
    size = params.sq_entries * sizeof(struct io_uring_sqe);
    ring->entry = mmap(NULL, size, mode, kind, *fd, IORING_OFF_SQES);
    if (rings == MAP_FAILED || ring->entry == MAP_FAILED) return refusal("mmap");
    struct io_uring_rsrc_update own = {.offset = ~0u, .data = (uint64_t)*fd};
    if (ring_register(*fd, IORING_REGISTER_RING_FDS, &own, 1) != 1)
        return refusal("IORING_REGISTER_RING_FDS");
    ring->number = (int)own.offset;
    ring->entries = params.sq_entries;
    ring->kernel_head = (unsigned *)(rings + params.sq_off.head);
    ring->kernel_tail = (unsigned *)(rings + params.sq_off.tail);
    ring->kernel_flags = (unsigned *)(rings + params.sq_off.flags);
    ring->taken = (unsigned *)(rings + params.cq_off.head);
    ring->completed = (unsigned *)(rings + params.cq_off.tail);
    ring->completion_mask = params.cq_entries - 1;
    ring->completion = (struct io_uring_cqe *)(rings + params.cq_off.cqes);
    return NULL;
}

/* Submits all entries, and waits for completions if the flags say so. */
static inline void ring_enter(struct ring *ring, unsigned wait, unsigned flags,
                              struct wait_argument *argument) {
    unsigned count = ring->tail - __atomic_load_n(ring->kernel_head, __ATOMIC_ACQUIRE);
    __atomic_store_n(ring->kernel_tail, ring->tail, __ATOMIC_RELEASE);
    flags |= IORING_ENTER_REGISTERED_RING;
    size_t size = argument == NULL ? 0 : sizeof *argument;
    if (argument != NULL) flags |= IORING_ENTER_EXT_ARG;
    long result =
        syscall(__NR_io_uring_enter, ring->number, count, wait, flags, argument, size);
    bool is_fatal = errno != EINTR && errno != ETIME && errno != EAGAIN && errno != EBUSY;
    if (result < 0 && is_fatal) die("io_uring_enter");
}

/* Returns an empty entry. Submits the others first if there is none. */
static inline struct io_uring_sqe *ring_entry(struct ring *ring) {
    while (ring->tail - __atomic_load_n(ring->kernel_head, __ATOMIC_ACQUIRE) == ring->entries)
        ring_enter(ring, 0, 0, NULL);
    struct io_uring_sqe *entry = &ring->entry[ring->tail++ & (ring->entries - 1)];
    memset(entry, 0, sizeof *entry);
    return entry;
}

/* Takes the next completion. Returns whether there was one. */
static inline bool ring_take(struct ring *ring, struct io_uring_cqe *completion) {
    unsigned taken = *ring->taken;
    if (taken == __atomic_load_n(ring->completed, __ATOMIC_ACQUIRE)) return false;
    *completion = ring->completion[taken & ring->completion_mask];
    __atomic_store_n(ring->taken, taken + 1, __ATOMIC_RELEASE);
    return true;
}

/* Ends the program if the kernel refuses what a loop needs. A loop that is probed ends then too. */
static inline void must_open(const char *reason) {
    if (reason == NULL) return;
    fprintf(stderr, "%s\n", reason);
    exit(1);
}

#endif
