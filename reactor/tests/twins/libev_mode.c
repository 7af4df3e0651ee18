/* A watcher whose events change, and whose descriptor is switched between modes meanwhile. */
#include <arpa/inet.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char unsent[4096];
static ssize_t length;

static void wait_for(struct ev_loop *loop, ev_io *io, int events) {
    ev_io_stop(loop, io);
    ev_io_set(io, io->fd, events);
    ev_io_start(loop, io);
}

static void set_blocking(int fd, int is_blocking) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, is_blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* One call is made for each event, so that neither mode makes a difference. */
static void ready(struct ev_loop *loop, ev_io *io, int events) {
    if (events & EV_WRITE) {
        if (write(io->fd, unsent, (size_t)length) != length) _exit(1);
        puts("written");
        wait_for(loop, io, EV_READ);
        return;
    }
    length = read(io->fd, unsent, sizeof unsent - 1);
    if (length < 0) return;
    unsent[length] = 0;
    if (length == 0) {
        puts("end");
        ev_io_stop(loop, io);
        return;
    }
    printf("read %s", unsent);
    if (strcmp(unsent, "block\n") == 0) set_blocking(io->fd, 1);
    if (strcmp(unsent, "nonblock\n") == 0) set_blocking(io->fd, 0);
    wait_for(loop, io, EV_WRITE);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    char host[16] = "127.0.0.1";
    unsigned short port = 7000;
    if (argc > 1 && sscanf(argv[1], "%15[^:]:%hu", host, &port) != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(host, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return 1;
    ev_io io;
    ev_io_init(&io, ready, fd, EV_READ);
    ev_io_start(EV_DEFAULT, &io);
    ev_run(EV_DEFAULT, 0);
}
