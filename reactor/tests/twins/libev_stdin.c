/* A reader of standard input. */
#include <ev.h>
#include <stdio.h>
#include <unistd.h>

static void input_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    static size_t bytes;
    char buffer[4096];
    ssize_t count = read(io->fd, buffer, sizeof buffer);
    if (count < 0) return;
    printf("%.*s", (int)count, buffer);
    bytes += (size_t)count;
    if (count == 0) {
        printf("%zu bytes\n", bytes);
        ev_io_stop(loop, io); /* The loop ends with its last watcher. */
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    ev_io io;
    ev_io_init(&io, input_ready, STDIN_FILENO, EV_READ);
    ev_io_start(EV_DEFAULT, &io);
    ev_run(EV_DEFAULT, 0);
}
