/* A reader of several files at once. */
#include <ev.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void input_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    char buffer[4096];
    ssize_t count = read(io->fd, buffer, sizeof buffer);
    if (count > 0) printf("%s: %.*s", (char *)io->data, (int)count, buffer);
    if (count == 0) {
        printf("%s: finished\n", (char *)io->data);
        ev_io_stop(loop, io);
        close(io->fd);
        free(io);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int at = 1; at < argc; at++) {
        int fd = open(argv[at], O_RDONLY | O_NONBLOCK);
        ev_io *io = malloc(sizeof *io);
        if (fd < 0 || !io) return 1;
        ev_io_init(io, input_ready, fd, EV_READ);
        io->data = basename(argv[at]);
        ev_io_start(EV_DEFAULT, io);
    }
    puts("reading");
    ev_run(EV_DEFAULT, 0);
}
