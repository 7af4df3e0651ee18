/* libev, level-triggered by default. */
#include "common.h"

#include <ev.h>

struct connection {
    ev_io io;
    struct unsent unsent;
};

static void connection_end(struct ev_loop *loop, struct connection *connection) {
    ev_io_stop(loop, &connection->io);
    close(connection->io.fd);
    free(connection->unsent.bytes);
    free(connection);
}

/* With level triggers, a change of interest has to be registered. */
static void connection_wait(struct ev_loop *loop, struct connection *connection, int events) {
    ev_io_stop(loop, &connection->io);
    ev_io_set(&connection->io, connection->io.fd, events);
    ev_io_start(loop, &connection->io);
}

static void connection_ready(struct ev_loop *loop, ev_io *io, int events) {
    struct connection *connection = (struct connection *)io;
    int writes = (events & EV_WRITE) != 0;
    enum fate fate = writes ? flush_unsent(io->fd, &connection->unsent)
                            : echo_once(io->fd, &connection->unsent);
    if (fate == ENDED) connection_end(loop, connection);
    if (fate == FULL && !writes) connection_wait(loop, connection, EV_WRITE);
    if (fate == DRAINED && writes) connection_wait(loop, connection, EV_READ);
}

static void accept_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    for (int fd; (fd = accept_one(io->fd)) >= 0;) {
        struct connection *connection = must_allocate(sizeof *connection);
        connection->unsent = (struct unsent){0};
        ev_io_init(&connection->io, connection_ready, fd, EV_READ);
        ev_io_start(loop, &connection->io);
    }
}

static void echo(size_t steps) {
    computation.steps = steps;
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io acceptor;
    ev_io_init(&acceptor, accept_ready, listen_and_tell(), EV_READ);
    ev_io_start(loop, &acceptor);
    ev_run(loop, 0);
}

static void pair_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop, (void)events;
    chain_read((size_t)io->data);
}

static void dispatch(size_t count) {
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io *ios = must_allocate(count * sizeof *ios);
    chain_make(count);
    for (size_t pair = 0; pair < count; pair++) {
        ev_io_init(&ios[pair], pair_ready, chain.pairs[pair][0], EV_READ);
        ios[pair].data = (void *)pair;
        ev_io_start(loop, &ios[pair]);
    }
    while (chain_start()) {
        while (!chain_is_done()) ev_run(loop, EVRUN_ONCE);
        chain_end();
    }
}

static size_t fired;

static void timer_fires(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop, (void)timer, (void)events;
    fired++;
}

static struct ev_loop *timed;
static ev_timer *all;

static inline void arm(size_t place, uint64_t delay) {
    ev_timer_init(&all[place], timer_fires, (double)delay / 1e3, 0);
    ev_timer_start(timed, &all[place]);
}

/* The way to move a timer that the manual of libev recommends. */
static inline void rearm(size_t place, uint64_t delay) {
    all[place].repeat = (double)delay / 1e3;
    ev_timer_again(timed, &all[place]);
}

static inline void cancel(size_t place) {
    ev_timer_stop(timed, &all[place]);
}

static void timers(size_t count) {
    timed = ev_default_loop(EVBACKEND_EPOLL);
    all = must_allocate(count * sizeof *all);
    measure_timers(count, arm, rearm, cancel);
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    ev_now_update(timed);
    for (size_t place = 0; place < count; place++) arm(place, delay_short());
    sleep_until_due(now);
    phases_of(count);
    while (fired < count) ev_run(timed, EVRUN_ONCE);
    phases_end("expire_ns");
}

int main(int argc, char **argv) {
    const struct work works[] = {
        {"echo", echo}, {"bound", echo}, {"dispatch", dispatch}, {"timers", timers}, {0}};
    return run_work(argc, argv, works);
}
