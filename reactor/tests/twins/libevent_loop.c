/* loopbreak, loopexit, and loopexit after a time. */
#include <event2/event.h>
#include <stdio.h>
#include <time.h>

static struct event_base *base;
static enum { BREAK, EXIT } leave;
static int calls;

static void called(evutil_socket_t fd, short what, void *argument) {
    (void)fd, (void)what, (void)argument;
    calls++;
    if (leave == BREAK)
        event_base_loopbreak(base);
    else
        event_base_loopexit(base, NULL);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    base = event_base_new();
    struct event *events[2];
    for (int at = 0; at < 2; at++) {
        events[at] = event_new(base, -1, EV_READ, called, NULL);
        event_active(events[at], EV_READ, 0);
    }
    event_base_dispatch(base);
    printf("break: %d of 2 calls\n", calls);
    /* The call that the break has left out. */
    event_base_dispatch(base);
    printf("after it: %d of 2 calls\n", calls);

    leave = EXIT;
    calls = 0;
    for (int at = 0; at < 2; at++) event_active(events[at], EV_READ, 0);
    event_base_dispatch(base);
    printf("exit: %d of 2 calls\n", calls);

    double start = now();
    struct timeval time = {.tv_usec = 20000};
    event_base_loopexit(base, &time);
    event_base_dispatch(base);
    printf("exit after 20 ms: %s\n", now() - start >= 20 ? "not early" : "early");
    for (int at = 0; at < 2; at++) event_free(events[at]);
    event_base_free(base);
}
