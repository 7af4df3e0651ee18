/* Prints each change of a file's mode, until the file is gone. */
#include <ev.h>
#include <stdio.h>

static void changed(struct ev_loop *loop, ev_stat *watched, int events) {
    (void)events;
    unsigned mode = watched->attr.st_mode & 07777, before = watched->prev.st_mode & 07777;
    if (watched->attr.st_nlink == 0) {
        puts("it is gone");
        ev_stat_stop(loop, watched);
    } else if (mode != before) {
        printf("mode %o, before %o\n", mode, before);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2) return 2;
    ev_stat watched;
    ev_stat_init(&watched, changed, argv[1], 0.1);
    ev_stat_start(EV_DEFAULT, &watched);
    puts("watching");
    ev_run(EV_DEFAULT, 0);
}
