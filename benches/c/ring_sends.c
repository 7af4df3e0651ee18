/* A bare edge-triggered epoll loop that sends all answers of a turn with one entry into a ring, and
 * is otherwise like the bare loop. It shows what that alone is worth.
 *
 * A send does not wait, and a completion tells only that it was short or failed. That is known when
 * the entry returns. A connection has at most one send in an entry, so none overtakes another. */
#include "ring.h"

#include <sys/epoll.h>

#define EVENTS 1024
/* The input of a turn lies here until it is sent. */
#define INPUT_SIZE (4 * 1024 * 1024)
#define ENTRIES 2048
#define INPUT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

struct connection {
    int fd;
    bool reports_room, is_ending, is_listed, has_ended;
    const char *sent;
    size_t sent_count;
    struct unsent unsent;
    struct connection *next;
};

static struct ring ring;
static int epoll, listener;
static char *input;
static size_t input_used;
/* Those with more input than one read, and those that have ended. */
static struct connection *again;

static void watch(struct connection *connection, int operation, unsigned events) {
    struct epoll_event interest = {.events = events, .data.ptr = connection};
    int fd = connection == NULL ? listener : connection->fd;
    if (epoll_ctl(epoll, operation, fd, &interest) < 0) die("epoll_ctl");
}

static void connection_end(struct connection *connection) {
    close(connection->fd);
    free(connection->unsent.bytes);
    free(connection);
}

static void list(struct connection *connection) {
    if (connection->is_listed) return;
    connection->is_listed = true;
    connection->next = again;
    again = connection;
}

static void prepare(struct connection *connection, const char *bytes, size_t count) {
    struct io_uring_sqe *entry = ring_entry(&ring);
    entry->opcode = IORING_OP_SEND;
    entry->fd = connection->fd;
    entry->flags = IOSQE_CQE_SKIP_SUCCESS;
    /* With MSG_WAITALL, a short send counts as failed, and so is not skipped. */
    entry->msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
    entry->addr = (uint64_t)bytes;
    entry->len = (uint32_t)count;
    entry->user_data = (uint64_t)connection;
    connection->sent = bytes;
    connection->sent_count = count;
}

/* The rest is sent when the socket is writable. Until then nothing is read. */
static void sent_short(struct connection *connection, int result) {
    if (result < 0 && result != -EAGAIN) {
        connection->has_ended = true;
        list(connection);
        return;
    }
    size_t done = result < 0 ? 0 : (size_t)result, left = connection->sent_count - done;
    if (left == 0) return;
    connection->unsent = (struct unsent){must_allocate(left), 0, left};
    memcpy(connection->unsent.bytes, connection->sent + done, left);
    if (!connection->reports_room) watch(connection, EPOLL_CTL_MOD, INPUT_EVENTS | EPOLLOUT);
    connection->reports_room = true;
}

static void send_all(void) {
    struct io_uring_cqe completion;
    ring_enter(&ring, 0, 0, NULL);
    while (ring_take(&ring, &completion))
        sent_short((struct connection *)completion.user_data, completion.res);
    input_used = 0;
}

/* Reads once, unless something is unsent. */
static void read_once(struct connection *connection) {
    if (INPUT_SIZE - input_used < READ_SIZE) send_all();
    /* One of the sends may have been its own. */
    if (connection->has_ended || connection->unsent.bytes != NULL) return;
    char *bytes = input + input_used;
    ssize_t count = read(connection->fd, bytes, READ_SIZE);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        connection->is_ending = false;
    } else if (count <= 0) {
        connection->has_ended = true;
        list(connection);
    } else {
        compute_for((size_t)count);
        input_used += (size_t)count;
        prepare(connection, bytes, (size_t)count);
        if (count == READ_SIZE || connection->is_ending) list(connection);
    }
}

static void ready(struct connection *connection, unsigned events) {
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) connection->is_ending = true;
    if (connection->unsent.bytes != NULL) {
        enum fate fate = flush_unsent(connection->fd, &connection->unsent);
        if (fate == FULL) return;
        connection->has_ended = fate == ENDED;
        if (fate == ENDED) list(connection);
        /* The end may have been reported while the connection waited for this. */
        connection->is_ending = true;
    }
    read_once(connection);
}

static void accept_all(void) {
    for (int fd; (fd = accept_one(listener)) >= 0;) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) die("calloc");
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, INPUT_EVENTS);
    }
}

/* Reads on until no connection has more input, and ends those that have ended. All that was
 * prepared has been sent before. */
static void read_again(void) {
    while (again != NULL) {
        struct connection *listed = again;
        again = NULL;
        while (listed != NULL) {
            struct connection *connection = listed;
            listed = connection->next;
            connection->is_listed = false;
            if (connection->has_ended) connection_end(connection);
            else ready(connection, 0);
        }
        send_all();
    }
}

static void serve(void) {
    static struct epoll_event events[EVENTS];
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) die("epoll_create1");
    listener = listen_and_tell();
    watch(NULL, EPOLL_CTL_ADD, INPUT_EVENTS);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int place = 0; place < count; place++)
            if (events[place].data.ptr == NULL) accept_all();
            else ready(events[place].data.ptr, events[place].events);
        send_all();
        read_again();
    }
}

static void probe(size_t number) {
    (void)number;
    int fd;
    must_open(ring_open(&ring, &fd, 0, ENTRIES, 2 * ENTRIES));
}

static void echo(size_t steps) {
    computation.steps = steps;
    probe(0);
    input = must_allocate(INPUT_SIZE);
    serve();
}

int main(int argc, char **argv) {
    const struct work works[] = {{"echo", echo}, {"bound", echo}, {"probe", probe}, {0}};
    return run_work(argc, argv, works);
}
