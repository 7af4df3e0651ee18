/* Two watchers that are pending at once: the one of the higher priority is called first. */
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void input_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    char byte;
    if (read(io->fd, &byte, 1) == 1)
        printf("%s: %c\n", (char *)io->data, byte);
    else
        ev_io_stop(loop, io);
}

static void start(ev_io *io, char *name, int priority, const char *text) {
    int ends[2];
    if (pipe(ends) != 0 || write(ends[1], text, strlen(text)) < 0) _exit(1);
    close(ends[1]);
    ev_io_init(io, input_ready, ends[0], EV_READ);
    ev_set_priority(io, priority);
    io->data = name;
    ev_io_start(EV_DEFAULT, io);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    ev_io low, high;
    start(&low, "low", EV_MINPRI, "abc");
    start(&high, "high", EV_MAXPRI, "ABC");
    ev_run(EV_DEFAULT, 0);
}
