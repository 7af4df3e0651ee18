/* The limit for io_uring: a bare loop with everything that makes it cheaper.
 *
 * - One entry into the kernel a turn: it sends all answers and waits. While turns have more than
 *   one receive, it waits a little for further ones (min_wait_usec, Linux 6.12).
 * - Each connection has one receive that stays (multishot). Its bytes go to a small pool, whose
 *   buffers the kernel fills piece by piece (incremental consumption, Linux 6.12).
 * - A send does not wait, and a completion tells only that it was short or failed. It comes before
 *   the entry returns, so the pieces of a turn are free after the next entry. What is left is
 *   copied and sent again with a send that waits.
 * - Sockets are direct descriptors. */
#include "ring_pool.h"

#include <sys/resource.h>
#include <sys/uio.h>

/* A connection's place in the table of direct descriptors, and what is completed. */
enum kind { ACCEPTED, RECEIVED, SENT_SHORT, SENT, CANCELLED, CLOSED };

/* The pieces of a turn that a connection sends at once. More are copied. */
#define PIECES 4
/* A connection with more unsent bytes does not receive. */
#define UNSENT_MAX (256 * 1024)
#define CONNECTIONS_MAX 65536

#define BATCH 32
#define MIN_WAIT_US 50
#define MIN_WAIT_LARGE_US 100
#define LARGE 16384

struct piece {
    uint32_t from, count;
};

/* Bytes that the socket did not accept, and those that came after. */
struct waiting {
    char *bytes, *next;
    size_t from, count, next_count, next_room;
    bool is_sending;
};

struct connection {
    /* Received in this turn, and sent with the last entry. */
    struct piece got[PIECES], sent[PIECES];
    struct waiting *waiting;
    unsigned char got_count, sent_count;
    bool receives, is_cancelled, has_ended, has_failed, is_touched;
};

static struct ring ring;
static int listener;
static struct connection *connections;
static size_t slots, live;
/* Connections that something has happened to. Those that are visited again do not wait. */
static uint32_t *touched;
static size_t touched_count;
static struct {
    struct msghdr head;
    struct iovec parts[PIECES];
} *messages;

static struct {
    size_t receives, bytes;
} batch;

static void touch(uint32_t slot) {
    if (connections[slot].is_touched) return;
    connections[slot].is_touched = true;
    touched[touched_count++] = slot;
}

static struct io_uring_sqe *entry_for(enum kind kind, uint32_t slot, unsigned char operation) {
    struct io_uring_sqe *entry = ring_entry(&ring);
    entry->opcode = operation;
    entry->fd = (int)slot;
    entry->flags = IOSQE_FIXED_FILE;
    entry->user_data = (uint64_t)kind << 32 | slot;
    return entry;
}

static void accept_all(void) {
    struct io_uring_sqe *entry = entry_for(ACCEPTED, 0, IORING_OP_ACCEPT);
    entry->fd = listener;
    entry->flags = 0;
    entry->ioprio = IORING_ACCEPT_MULTISHOT;
    entry->file_index = IORING_FILE_INDEX_ALLOC;
}

static void receive(uint32_t slot) {
    struct io_uring_sqe *entry = entry_for(RECEIVED, slot, IORING_OP_RECV);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->ioprio = IORING_RECV_MULTISHOT;
    connections[slot].receives = true;
}

static void cancel(uint32_t slot) {
    struct io_uring_sqe *entry = entry_for(CANCELLED, slot, IORING_OP_ASYNC_CANCEL);
    entry->fd = -1;
    entry->flags = IOSQE_CQE_SKIP_SUCCESS;
    entry->addr = (uint64_t)RECEIVED << 32 | slot;
    connections[slot].is_cancelled = true;
}

static void close_slot(uint32_t slot) {
    struct io_uring_sqe *entry = entry_for(CLOSED, slot, IORING_OP_CLOSE);
    entry->fd = 0;
    entry->flags = IOSQE_CQE_SKIP_SUCCESS;
    entry->file_index = slot + 1;
    live--;
}

/* Sends the pieces of this turn with a send that does not wait. */
static void send_pieces(uint32_t slot, struct connection *connection) {
    unsigned count = connection->got_count;
    bool is_one = count == 1;
    struct io_uring_sqe *entry =
        entry_for(SENT_SHORT, slot, is_one ? IORING_OP_SEND : IORING_OP_SENDMSG);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    /* With MSG_WAITALL, a short send counts as failed, and so is not skipped. */
    entry->msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
    if (is_one) {
        entry->addr = (uint64_t)(pool.bytes + connection->got[0].from);
        entry->len = connection->got[0].count;
    } else {
        size_t place = (size_t)(entry - ring.entry);
        struct iovec *parts = messages[place].parts;
        for (unsigned at = 0; at < count; at++)
            parts[at] = (struct iovec){pool.bytes + connection->got[at].from,
                                       connection->got[at].count};
        messages[place].head = (struct msghdr){.msg_iov = parts, .msg_iovlen = count};
        entry->addr = (uint64_t)&messages[place].head;
        entry->len = 1;
    }
    memcpy(connection->sent, connection->got, count * sizeof *connection->got);
    connection->sent_count = (unsigned char)count;
    connection->got_count = 0;
}

/* Sends what is left with a send that waits until the socket has accepted all. */
static void send_waiting(uint32_t slot, struct waiting *waiting) {
    struct io_uring_sqe *entry = entry_for(SENT, slot, IORING_OP_SEND);
    entry->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    entry->addr = (uint64_t)(waiting->bytes + waiting->from);
    entry->len = (uint32_t)(waiting->count - waiting->from);
    waiting->is_sending = true;
}

static void append(struct waiting *waiting, const char *bytes, size_t count) {
    size_t needed = waiting->next_count + count;
    if (needed > waiting->next_room) {
        waiting->next_room = needed > 2 * waiting->next_room ? needed : 2 * waiting->next_room;
        waiting->next = realloc(waiting->next, waiting->next_room);
        if (waiting->next == NULL) die("realloc");
    }
    memcpy(waiting->next + waiting->next_count, bytes, count);
    waiting->next_count = needed;
}

/* Copies pieces behind the bytes that wait, without the first `skipped` bytes. */
static void copy_pieces(struct connection *connection, const struct piece *pieces, size_t count,
                        size_t skipped) {
    if (connection->waiting == NULL) {
        connection->waiting = calloc(1, sizeof *connection->waiting);
        if (connection->waiting == NULL) die("calloc");
    }
    for (; count > 0; count--, pieces++) {
        size_t skip = skipped < pieces->count ? skipped : pieces->count;
        skipped -= skip;
        append(connection->waiting, pool.bytes + pieces->from + skip, pieces->count - skip);
    }
}

/* Makes the bytes that came later those that are sent next. Returns whether there are any. */
static bool waiting_advance(struct waiting *waiting) {
    if (waiting->from < waiting->count) return true;
    free(waiting->bytes);
    waiting->bytes = waiting->next, waiting->count = waiting->next_count, waiting->from = 0;
    waiting->next = NULL, waiting->next_count = waiting->next_room = 0;
    return waiting->count > 0;
}

static void waiting_free(struct connection *connection) {
    free(connection->waiting->bytes);
    free(connection->waiting->next);
    free(connection->waiting);
    connection->waiting = NULL;
}

static void keep(struct connection *connection, uint32_t from, uint32_t count) {
    compute_for(count);
    struct piece piece = {from, count};
    if (connection->waiting != NULL) {
        copy_pieces(connection, &piece, 1, 0);
        return;
    }
    unsigned pieces = connection->got_count;
    struct piece *last = pieces > 0 ? &connection->got[pieces - 1] : NULL;
    if (last != NULL && last->from + last->count == from) {
        last->count += count;
    } else if (pieces < PIECES) {
        connection->got[connection->got_count++] = piece;
    } else {
        copy_pieces(connection, connection->got, pieces, 0);
        copy_pieces(connection, &piece, 1, 0);
        connection->got_count = 0;
    }
}

static void accepted(const struct io_uring_cqe *completion) {
    if (completion->res >= 0) {
        uint32_t slot = (uint32_t)completion->res;
        connections[slot] = (struct connection){0};
        live++;
        touch(slot);
    } else if (completion->res != -ECONNABORTED && completion->res != -EINTR) {
        errno = -completion->res;
        die("accept");
    }
    if (!(completion->flags & IORING_CQE_F_MORE)) accept_all();
}

static void received(uint32_t slot, const struct io_uring_cqe *completion) {
    struct connection *connection = &connections[slot];
    int result = completion->res;
    if (!(completion->flags & IORING_CQE_F_MORE))
        connection->receives = connection->is_cancelled = false;
    if (completion->flags & IORING_CQE_F_BUFFER) {
        uint32_t from = pool_use(completion);
        if (result > 0) {
            batch.receives++, batch.bytes += (size_t)result;
            keep(connection, from, (uint32_t)result);
        }
    }
    /* Without a buffer the receive has ended, and begins again when some are given back. */
    if (result == 0) connection->has_ended = true;
    else if (result < 0 && result != -ENOBUFS && result != -ECANCELED && result != -EINTR)
        connection->has_ended = connection->has_failed = true;
    touch(slot);
}

static void sent_short(uint32_t slot, int result) {
    struct connection *connection = &connections[slot];
    if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ENOBUFS)
        connection->has_ended = connection->has_failed = true;
    size_t done = result < 0 ? 0 : (size_t)result;
    copy_pieces(connection, connection->sent, connection->sent_count, done);
    /* What came with the same entry is behind it. */
    copy_pieces(connection, connection->got, connection->got_count, 0);
    connection->got_count = connection->sent_count = 0;
    touch(slot);
}

static void sent(uint32_t slot, int result) {
    struct connection *connection = &connections[slot];
    connection->waiting->is_sending = false;
    if (result >= 0) connection->waiting->from += (size_t)result;
    else if (result != -EAGAIN && result != -EINTR && result != -ENOBUFS)
        connection->has_ended = connection->has_failed = true;
    touch(slot);
}

static void take_all(void) {
    for (struct io_uring_cqe completion; ring_take(&ring, &completion);) {
        uint32_t slot = (uint32_t)completion.user_data;
        switch ((enum kind)(completion.user_data >> 32)) {
        case ACCEPTED: accepted(&completion); break;
        case RECEIVED: received(slot, &completion); break;
        case SENT_SHORT: sent_short(slot, completion.res); break;
        case SENT: sent(slot, completion.res); break;
        case CANCELLED:
        case CLOSED: break;
        }
    }
}

/* Begins what a connection does next. Returns whether it has to be visited again after the next
 * entry. */
static bool settle(uint32_t slot, struct connection *connection) {
    struct waiting *waiting = connection->waiting;
    connection->is_touched = false;
    connection->sent_count = 0;
    if (connection->has_failed) connection->got_count = 0;
    if (connection->got_count > 0) {
        send_pieces(slot, connection);
    } else if (waiting != NULL && !waiting->is_sending) {
        if (!connection->has_failed && waiting_advance(waiting)) send_waiting(slot, waiting);
        else waiting_free(connection);
    }
    waiting = connection->waiting;
    size_t unsent = waiting == NULL ? 0 : waiting->count - waiting->from + waiting->next_count;
    bool stops = connection->has_failed || unsent > UNSENT_MAX;
    if (connection->receives) {
        if (stops && !connection->is_cancelled) cancel(slot);
        return false;
    }
    if (!connection->has_ended) {
        if (!stops) receive(slot);
        return false;
    }
    if (waiting != NULL) return false;
    /* The next entry tells whether the last send was short. */
    if (connection->sent_count > 0) return true;
    close_slot(slot);
    return false;
}

/* Returns whether a connection has to be visited without a wait. */
static bool settle_all(void) {
    size_t again = 0, count = touched_count;
    for (size_t place = 0; place < count; place++) {
        uint32_t slot = touched[place];
        if (settle(slot, &connections[slot])) touched[again++] = slot;
    }
    touched_count = 0;
    for (size_t place = 0; place < again; place++) touch(touched[place]);
    return again > 0;
}

/* Sends what is prepared, and waits for completions. */
static void enter_and_wait(bool is_waiting) {
    struct wait_argument argument = {0};
    unsigned wait = is_waiting ? 1 : 0;
    if (is_waiting && batch.receives > 1) {
        bool is_large = batch.bytes / batch.receives >= LARGE;
        argument.min_wait_usec = is_large ? MIN_WAIT_LARGE_US : MIN_WAIT_US;
        wait = live < BATCH ? (unsigned)live : BATCH;
    }
    batch.receives = batch.bytes = 0;
    ring_enter(&ring, wait, IORING_ENTER_GETEVENTS, &argument);
    take_all();
    /* While completions are left in the kernel, one of them may tell of a short send. */
    while (__atomic_load_n(ring.kernel_flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) {
        ring_enter(&ring, 0, IORING_ENTER_GETEVENTS, NULL);
        take_all();
    }
}

/* As many direct descriptors as the process may have descriptors. */
static const char *slots_open(int fd) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return refusal("getrlimit");
    slots = limit.rlim_cur < CONNECTIONS_MAX ? limit.rlim_cur : CONNECTIONS_MAX;
    struct io_uring_rsrc_register files = {.nr = (uint32_t)slots,
                                           .flags = IORING_RSRC_REGISTER_SPARSE};
    if (ring_register(fd, IORING_REGISTER_FILES2, &files, sizeof files) < 0)
        return refusal("IORING_REGISTER_FILES2");
    connections = calloc(slots, sizeof *connections);
    touched = calloc(slots, sizeof *touched);
    messages = calloc(ring.entries, sizeof *messages);
    if (connections == NULL || touched == NULL || messages == NULL) return refusal("calloc");
    return NULL;
}

static const char *loop_open(unsigned entries, uint16_t buffers, uint32_t size) {
    int fd;
    const char *reason =
        ring_open(&ring, &fd, IORING_SETUP_DEFER_TASKRUN, entries, 2 * entries);
    if (reason == NULL) reason = pool_open(fd, buffers, size);
    if (reason == NULL) reason = slots_open(fd);
    return reason;
}

static void serve(void) {
    listener = listen_and_tell();
    accept_all();
    for (bool is_waiting = true;;) {
        enter_and_wait(is_waiting);
        is_waiting = !settle_all();
        give_old_back();
    }
}

static void probe(size_t number) {
    (void)number;
    must_open(loop_open(4096, BUFFERS_MAX, BUFFER_SIZE));
}

static void echo(size_t steps) {
    computation.steps = steps;
    probe(0);
    serve();
}

/* The same with so little of everything that it is always used up, for a test. */
static void echo_narrow(size_t steps) {
    computation.steps = steps;
    must_open(loop_open(4, 2, 4096));
    serve();
}

int main(int argc, char **argv) {
    const struct work works[] = {
        {"echo", echo}, {"bound", echo}, {"echo-narrow", echo_narrow}, {"probe", probe}, {0}};
    return run_work(argc, argv, works);
}
