/* libuv: streams for echo, polls for the chain, a UDP handle for datagrams. */
#include "common.h"

#include <uv.h>

struct unsent_write {
    uv_write_t request;
    uv_buf_t buffer;
};

static void ended(uv_handle_t *handle) {
    free(handle);
}

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle, (void)suggested;
    *buffer = uv_buf_init(read_buffer, READ_SIZE);
}

static void readable(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void written(uv_write_t *request, int status) {
    uv_stream_t *stream = request->handle;
    struct unsent_write *unsent = (struct unsent_write *)request;
    free(unsent->buffer.base);
    free(unsent);
    if (uv_is_closing((uv_handle_t *)stream)) return;
    if (status < 0) uv_close((uv_handle_t *)stream, ended);
    else uv_read_start(stream, lend_buffer, readable);
}

static void readable(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    if (count == 0) return;
    if (count < 0) {
        uv_close((uv_handle_t *)stream, ended);
        return;
    }
    compute_for((size_t)count);
    uv_buf_t bytes = uv_buf_init(buffer->base, (unsigned)count);
    int taken = uv_try_write(stream, &bytes, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        uv_close((uv_handle_t *)stream, ended);
        return;
    }
    size_t from = taken < 0 ? 0 : (size_t)taken, left = (size_t)count - from;
    if (left == 0) return;
    /* The rest is written when the socket is writable. Until then nothing is read. */
    struct unsent_write *unsent = must_allocate(sizeof *unsent);
    unsent->buffer = uv_buf_init(must_allocate(left), (unsigned)left);
    memcpy(unsent->buffer.base, buffer->base + from, left);
    uv_read_stop(stream);
    uv_write(&unsent->request, stream, &unsent->buffer, 1, written);
}

static void accept_ready(uv_stream_t *listener, int status) {
    if (status < 0) return;
    uv_tcp_t *stream = must_allocate(sizeof *stream);
    uv_tcp_init(listener->loop, stream);
    if (uv_accept(listener, (uv_stream_t *)stream) < 0) uv_close((uv_handle_t *)stream, ended);
    else uv_read_start((uv_stream_t *)stream, lend_buffer, readable);
}

static void echo(size_t steps) {
    computation.steps = steps;
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_tcp_init(loop, &listener);
    uv_tcp_open(&listener, listen_and_tell());
    if (uv_listen((uv_stream_t *)&listener, BACKLOG, accept_ready) < 0) die("uv_listen");
    uv_run(loop, UV_RUN_DEFAULT);
}

static void pair_ready(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    chain_read((size_t)poll->data);
}

static void dispatch(size_t count) {
    uv_loop_t *loop = uv_default_loop();
    uv_poll_t *polls = must_allocate(count * sizeof *polls);
    chain_make(count);
    for (size_t pair = 0; pair < count; pair++) {
        uv_poll_init(loop, &polls[pair], chain.pairs[pair][0]);
        polls[pair].data = (void *)pair;
        uv_poll_start(&polls[pair], UV_READABLE, pair_ready);
    }
    while (chain_start()) {
        while (!chain_is_done()) uv_run(loop, UV_RUN_ONCE);
        chain_end();
    }
}

/* As many datagrams as libuv receives with one call: it divides the buffer it is lent. */
#define DATAGRAMS 20

struct unsent_datagram {
    uv_udp_send_t request;
    char bytes[];
};

static void lend_datagrams(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle, (void)suggested;
    static char datagrams[DATAGRAMS * DATAGRAM_SIZE];
    *buffer = uv_buf_init(datagrams, sizeof datagrams);
}

static void datagram_sent(uv_udp_send_t *request, int status) {
    (void)status;
    free(request);
}

static void datagram_arrived(uv_udp_t *socket, ssize_t count, const uv_buf_t *buffer,
                             const struct sockaddr *sender, unsigned flags) {
    (void)flags;
    if (count < 0 || sender == NULL) return;
    uv_buf_t bytes = uv_buf_init(buffer->base, (unsigned)count);
    if (uv_udp_try_send(socket, &bytes, 1, sender) != UV_EAGAIN) return;
    /* libuv sends it when the socket is writable. */
    struct unsent_datagram *unsent = must_allocate(sizeof *unsent + (size_t)count);
    memcpy(unsent->bytes, buffer->base, (size_t)count);
    bytes.base = unsent->bytes;
    if (uv_udp_send(&unsent->request, socket, &bytes, 1, sender, datagram_sent) < 0) free(unsent);
}

static void udp(size_t number) {
    (void)number;
    uv_loop_t *loop = uv_default_loop();
    uv_udp_t socket;
    uv_udp_init_ex(loop, &socket, AF_UNSPEC | UV_UDP_RECVMMSG);
    uv_udp_open(&socket, bind_and_tell());
    if (uv_udp_recv_start(&socket, lend_datagrams, datagram_arrived) < 0) die("uv_udp_recv_start");
    uv_run(loop, UV_RUN_DEFAULT);
}

static size_t fired;

static void timer_fires(uv_timer_t *timer) {
    (void)timer;
    fired++;
}

static uv_loop_t *timed;
static uv_timer_t *all;

static inline void rearm(size_t place, uint64_t delay) {
    uv_timer_start(&all[place], timer_fires, delay, 0);
}

/* A stopped timer still exists and can be started again. */
static inline void arm(size_t place, uint64_t delay) {
    if (all[place].loop == NULL) uv_timer_init(timed, &all[place]);
    rearm(place, delay);
}

static inline void cancel(size_t place) {
    uv_timer_stop(&all[place]);
}

static void timers(size_t count) {
    timed = uv_default_loop();
    all = calloc(count, sizeof *all);
    if (all == NULL) die("calloc");
    measure_timers(count, arm, rearm, cancel);
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    uv_update_time(timed);
    for (size_t place = 0; place < count; place++) arm(place, delay_short());
    sleep_until_due(now);
    phases_of(count);
    while (fired < count) uv_run(timed, UV_RUN_ONCE);
    phases_end("expire_ns");
}

int main(int argc, char **argv) {
    const struct work works[] = {
        {"echo", echo},     {"bound", echo}, {"dispatch", dispatch},
        {"timers", timers}, {"udp", udp},    {0}};
    return run_work(argc, argv, works);
}
