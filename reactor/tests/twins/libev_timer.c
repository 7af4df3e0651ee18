/* A timer that fires once and then starts one that repeats. */
#include <ev.h>
#include <stdio.h>

static ev_timer repeating;

static void tick(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)events;
    static int calls;
    printf("tick %d\n", ++calls);
    if (calls == 3) ev_timer_stop(loop, timer);
}

static void once(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)timer, (void)events;
    puts("once");
    ev_timer_init(&repeating, tick, 0.01, 0.01);
    ev_timer_start(loop, &repeating);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    ev_timer first;
    ev_timer_init(&first, once, 0.02, 0.);
    ev_now_update(EV_DEFAULT);
    ev_timer_start(EV_DEFAULT, &first);
    ev_run(EV_DEFAULT, 0);
    puts("the loop has ended");
}
