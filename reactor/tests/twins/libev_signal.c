/* Counts interrupts, and ends with the third. */
#include <ev.h>
#include <signal.h>
#include <stdio.h>

static void interrupted(struct ev_loop *loop, ev_signal *it, int events) {
    (void)it, (void)events;
    static int count;
    printf("SIGINT %d\n", ++count);
    if (count == 3) ev_break(loop, EVBREAK_ALL);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    ev_signal watched;
    ev_signal_init(&watched, interrupted, SIGINT);
    ev_signal_start(EV_DEFAULT, &watched);
    puts("waiting");
    ev_run(EV_DEFAULT, 0);
    puts("the loop has ended");
}
