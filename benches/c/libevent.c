/* libevent: plain events for the works that other loops do without buffers, a bufferevent for lines. */
#include "common.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

struct connection {
    struct event *reads, *writes;
    struct unsent unsent;
};

static void connection_end(evutil_socket_t fd, struct connection *connection) {
    event_free(connection->reads);
    if (connection->writes != NULL) event_free(connection->writes);
    close(fd);
    free(connection->unsent.bytes);
    free(connection);
}

static void connection_writable(evutil_socket_t fd, short events, void *argument) {
    (void)events;
    struct connection *connection = argument;
    enum fate fate = flush_unsent(fd, &connection->unsent);
    if (fate == ENDED) connection_end(fd, connection);
    if (fate == DRAINED) {
        event_del(connection->writes);
        event_add(connection->reads, NULL);
    }
}

static void connection_readable(evutil_socket_t fd, short events, void *argument) {
    (void)events;
    struct connection *connection = argument;
    enum fate fate = echo_once(fd, &connection->unsent);
    if (fate == ENDED) connection_end(fd, connection);
    if (fate == FULL) {
        if (connection->writes == NULL) {
            struct event_base *base = event_get_base(connection->reads);
            short kind = EV_WRITE | EV_PERSIST;
            connection->writes = event_new(base, fd, kind, connection_writable, connection);
        }
        event_del(connection->reads);
        event_add(connection->writes, NULL);
    }
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                     int length, void *argument) {
    (void)peer, (void)length, (void)argument;
    struct event_base *base = evconnlistener_get_base(listener);
    struct connection *connection = must_allocate(sizeof *connection);
    short kind = EV_READ | EV_PERSIST;
    connection->unsent = (struct unsent){0};
    connection->writes = NULL;
    connection->reads = event_new(base, fd, kind, connection_readable, connection);
    event_add(connection->reads, NULL);
}

static void serve(evconnlistener_cb callback) {
    struct event_base *base = event_base_new();
    /* A backlog of 0 means that the socket already listens. */
    evconnlistener_new(base, callback, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, listen_and_tell());
    event_base_dispatch(base);
}

static void echo(size_t steps) {
    computation.steps = steps;
    serve(accepted);
}

static void lines_readable(struct bufferevent *event, void *argument) {
    (void)argument;
    struct evbuffer *input = bufferevent_get_input(event);
    struct evbuffer *output = bufferevent_get_output(event);
    size_t length;
    for (char *line; (line = evbuffer_readln(input, &length, EVBUFFER_EOL_CRLF)) != NULL;) {
        for (size_t place = 0; place < length; place++)
            line[place] = (char)toupper((unsigned char)line[place]);
        evbuffer_add(output, line, length);
        evbuffer_add(output, "\n", 1);
        free(line);
    }
}

static void lines_ended(struct bufferevent *event, short events, void *argument) {
    (void)argument;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(event);
}

static void lines_accepted(struct evconnlistener *listener, evutil_socket_t fd,
                           struct sockaddr *peer, int length, void *argument) {
    (void)peer, (void)length, (void)argument;
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *event = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(event, lines_readable, NULL, lines_ended, NULL);
    bufferevent_set_max_single_read(event, READ_SIZE);
    bufferevent_set_max_single_write(event, READ_SIZE);
    bufferevent_enable(event, EV_READ | EV_WRITE);
}

static void lines(size_t number) {
    (void)number;
    serve(lines_accepted);
}

static void pair_ready(evutil_socket_t fd, short events, void *argument) {
    (void)fd, (void)events;
    chain_read((size_t)argument);
}

static void dispatch(size_t count) {
    struct event_base *base = event_base_new();
    chain_make(count);
    for (size_t pair = 0; pair < count; pair++) {
        short kind = EV_READ | EV_PERSIST;
        event_add(event_new(base, chain.pairs[pair][0], kind, pair_ready, (void *)pair), NULL);
    }
    while (chain_start()) {
        while (!chain_is_done()) event_base_loop(base, EVLOOP_ONCE);
        chain_end();
    }
}

static struct event_base *base;
static size_t total, fired;

static void timer_fires(evutil_socket_t fd, short events, void *argument) {
    (void)fd, (void)events, (void)argument;
    fired++;
}

static struct event **all;

static inline void rearm(size_t place, uint64_t delay) {
    struct timeval at = {(time_t)(delay / 1000), (suseconds_t)(delay % 1000 * 1000)};
    event_add(all[place], &at);
}

/* A cancelled timer still exists and can be armed again. */
static inline void arm(size_t place, uint64_t delay) {
    if (all[place] == NULL) all[place] = evtimer_new(base, timer_fires, NULL);
    rearm(place, delay);
}

static inline void cancel(size_t place) {
    event_del(all[place]);
}

/* Runs in a callback, where the loop has a cached time. */
static void work_timers(evutil_socket_t fd, short events, void *argument) {
    (void)fd, (void)events, (void)argument;
    size_t count = total;
    all = must_allocate(count * sizeof *all);
    memset(all, 0, count * sizeof *all);
    measure_timers(count, arm, rearm, cancel);
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    event_base_update_cache_time(base);
    for (size_t place = 0; place < count; place++) arm(place, delay_short());
    sleep_until_due(now);
}

static void timers(size_t count) {
    base = event_base_new();
    total = count;
    struct timeval at_once = {0, 0};
    event_base_once(base, -1, EV_TIMEOUT, work_timers, NULL, &at_once);
    event_base_loop(base, EVLOOP_ONCE);
    phases_of(count);
    while (fired < count) event_base_loop(base, EVLOOP_ONCE);
    phases_end("expire_ns");
}

int main(int argc, char **argv) {
    const struct work works[] = {
        {"echo", echo},         {"bound", echo},   {"lines", lines},
        {"dispatch", dispatch}, {"timers", timers}, {0}};
    return run_work(argc, argv, works);
}
