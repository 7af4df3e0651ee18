/* A base with a method of choice, and standard input as its only event. */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void input_ready(evutil_socket_t fd, short what, void *base) {
    (void)what;
    char buffer[4096];
    ssize_t count = read(fd, buffer, sizeof buffer);
    if (count > 0) {
        printf("read %.*s", (int)count, buffer);
    } else if (count == 0) {
        puts("the input has ended");
        event_base_loopexit(base, NULL);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *wanted = argc > 1 ? argv[1] : "epoll";
    struct event_config *config = event_config_new();
    for (const char **method = event_get_supported_methods(); *method; method++)
        if (strcmp(*method, wanted) != 0) event_config_avoid_method(config, *method);
    struct event_base *base = event_base_new_with_config(config);
    if (!base) return 1;
    printf("the loop uses %s\n", event_base_get_method(base));
    struct event *input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, input_ready, base);
    if (!input || event_add(input, NULL) != 0) return 1;
    event_base_dispatch(base);
    puts("the loop has ended");
    event_free(input);
    event_base_free(base);
    event_config_free(config);
}
