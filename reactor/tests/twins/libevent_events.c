/* An event that fires once, and one that persists. */
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct event_base *base;
static struct event *one_shot;

static void one_shot_ready(evutil_socket_t fd, short what, void *argument) {
    (void)what, (void)argument;
    char buffer[4096];
    ssize_t count = read(fd, buffer, sizeof buffer);
    if (count > 0) printf("one-shot: %.*s", (int)count, buffer);
}

static void persistent_ready(evutil_socket_t fd, short what, void *argument) {
    (void)what, (void)argument;
    char buffer[4096];
    ssize_t count = read(fd, buffer, sizeof buffer - 1);
    if (count <= 0) return;
    buffer[count] = 0;
    printf("persistent: %s", buffer);
    if (strcmp(buffer, "again\n") == 0) event_add(one_shot, NULL);
    if (strcmp(buffer, "quit\n") == 0) event_base_loopexit(base, NULL);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3) return 2;
    base = event_base_new();
    int first = open(argv[1], O_RDWR | O_NONBLOCK), second = open(argv[2], O_RDWR | O_NONBLOCK);
    one_shot = event_new(base, first, EV_READ, one_shot_ready, NULL);
    struct event *persistent = event_new(base, second, EV_READ | EV_PERSIST, persistent_ready, NULL);
    if (event_add(one_shot, NULL) != 0 || event_add(persistent, NULL) != 0) return 1;
    puts("both are open");
    event_base_dispatch(base);
    event_free(one_shot);
    event_free(persistent);
    event_base_free(base);
}
