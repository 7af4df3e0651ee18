/* A listener, and a bufferevent for each connection: a server of lines in capital letters. */
#include <arpa/inet.h>
#include <ctype.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct event_base *base;
static struct evconnlistener *listener;
static int connections, is_ending;

static void end(struct bufferevent *connection) {
    bufferevent_free(connection);
    connections--;
    if (is_ending && connections == 0) event_base_loopexit(base, NULL);
}

static void drained(struct bufferevent *connection, void *argument) {
    (void)argument;
    end(connection);
}

static void happened(struct bufferevent *connection, short events, void *argument);

/* To free a bufferevent drops its output, so the output is sent first. */
static void end_in_order(struct bufferevent *connection) {
    bufferevent_disable(connection, EV_READ);
    bufferevent_setcb(connection, NULL, drained, happened, NULL);
    if (evbuffer_get_length(bufferevent_get_output(connection)) == 0) end(connection);
}

static void readable(struct bufferevent *connection, void *argument) {
    (void)argument;
    struct evbuffer *input = bufferevent_get_input(connection);
    size_t length;
    for (char *line; (line = evbuffer_readln(input, &length, EVBUFFER_EOL_CRLF)); free(line)) {
        printf("line: %s\n", line);
        int is_last = strcmp(line, "stop") == 0;
        for (size_t at = 0; at < length; at++) line[at] = (char)toupper((unsigned char)line[at]);
        evbuffer_add_printf(bufferevent_get_output(connection), "%s\n", line);
        if (is_last) {
            free(line);
            is_ending = 1;
            evconnlistener_disable(listener);
            end_in_order(connection);
            return;
        }
    }
}

static void happened(struct bufferevent *connection, short events, void *argument) {
    (void)argument;
    if (events & BEV_EVENT_EOF) {
        puts("the peer has ended its stream");
        end_in_order(connection);
    } else {
        end(connection);
    }
}

static void accepted(struct evconnlistener *it, evutil_socket_t fd, struct sockaddr *peer,
                     int length, void *argument) {
    (void)it, (void)peer, (void)length, (void)argument;
    puts("accepted");
    struct bufferevent *connection = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(connection, readable, NULL, happened, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
    connections++;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* evutil_parse_sockaddr_port refuses port 0. */
    char host[16] = "127.0.0.1";
    unsigned short port = 7000;
    if (argc > 1 && sscanf(argv[1], "%15[^:]:%hu", host, &port) != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(host, &address.sin_addr);
    base = event_base_new();
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE;
    listener = evconnlistener_new_bind(base, accepted, NULL, flags, -1, (struct sockaddr *)&address,
                                       sizeof address);
    if (!listener) return 1;
    socklen_t size = sizeof address;
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &size);
    printf("listening on %s:%d\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
    event_base_dispatch(base);
    puts("the loop has ended");
    evconnlistener_free(listener);
    event_base_free(base);
}
