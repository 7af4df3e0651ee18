/* A bufferevent that connects, sends words as lines, and prints as many answers. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static struct event_base *base;
static char **words;
static int unanswered;

static void readable(struct bufferevent *connection, void *argument) {
    (void)argument;
    struct evbuffer *input = bufferevent_get_input(connection);
    for (char *line; (line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF)); free(line)) {
        printf("answer: %s\n", line);
        unanswered--;
    }
    if (unanswered == 0) event_base_loopexit(base, NULL);
}

static void happened(struct bufferevent *connection, short events, void *argument) {
    (void)argument;
    if (events & BEV_EVENT_CONNECTED) {
        puts("connected");
        for (char **word = words; *word; word++)
            evbuffer_add_printf(bufferevent_get_output(connection), "%s\n", *word);
        return;
    }
    if ((events & BEV_EVENT_ERROR) && EVUTIL_SOCKET_ERROR() == ECONNREFUSED)
        puts("nothing listens there");
    else
        puts("the server has ended the connection");
    event_base_loopexit(base, NULL);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sockaddr_in address;
    int length = sizeof address;
    const char *text = argc > 1 ? argv[1] : "127.0.0.1:7000";
    if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &length) != 0) return 2;
    words = argv + 2;
    unanswered = argc - 2;
    base = event_base_new();
    struct bufferevent *connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(connection, readable, NULL, happened, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(connection, (struct sockaddr *)&address, length) != 0) return 1;
    event_base_dispatch(base);
    bufferevent_free(connection);
    puts("the loop has ended");
    event_base_free(base);
}
