/* A process that forks, and goes on in both copies of its base. */
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct event_base *base;
static const char *name = "parent";

static void input_ready(evutil_socket_t fd, short what, void *argument) {
    (void)what, (void)argument;
    char buffer[4096];
    ssize_t count = read(fd, buffer, sizeof buffer - 1);
    if (count <= 0) return;
    buffer[count] = 0;
    printf("%s read %s", name, buffer);
    if (strcmp(buffer, "quit\n") == 0) event_base_loopexit(base, NULL);
}

static void child_ended(evutil_socket_t number, short what, void *argument) {
    (void)number, (void)what, (void)argument;
    int status;
    if (wait(&status) < 0 || !WIFEXITED(status)) return;
    printf("the child has ended with %d\n", WEXITSTATUS(status));
    event_base_loopexit(base, NULL);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3) return 2;
    base = event_base_new();
    struct event *inputs[2];
    for (int at = 0; at < 2; at++) {
        int fd = open(argv[at + 1], O_RDWR | O_NONBLOCK);
        inputs[at] = event_new(base, fd, EV_READ | EV_PERSIST, input_ready, NULL);
        if (fd < 0 || event_add(inputs[at], NULL) != 0) return 1;
    }
    /* Before the fork: the child may end at once. */
    struct event *children = evsignal_new(base, SIGCHLD, child_ended, NULL);
    event_add(children, NULL);
    if (fork() == 0) {
        if (event_reinit(base) != 0) return 1;
        name = "child";
        event_del(inputs[1]);
        puts("the child has a loop of its own");
        event_base_dispatch(base);
        return 7;
    }
    event_del(inputs[0]);
    event_base_dispatch(base);
    event_free(children);
    for (int at = 0; at < 2; at++) event_free(inputs[at]);
    event_base_free(base);
}
