/* A listener that greets three connections and then closes. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <unistd.h>

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                     int length, void *argument) {
    (void)peer, (void)length, (void)argument;
    static int count;
    printf("connection %d\n", ++count);
    dprintf(fd, "hello %d\n", count);
    close(fd);
    if (count == 3) event_base_loopexit(evconnlistener_get_base(listener), NULL);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* evutil_parse_sockaddr_port refuses port 0. */
    char host[16] = "127.0.0.1";
    unsigned short port = 7000;
    if (argc > 1 && sscanf(argv[1], "%15[^:]:%hu", host, &port) != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(host, &address.sin_addr);
    struct event_base *base = event_base_new();
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE;
    struct evconnlistener *listener = evconnlistener_new_bind(
        base, accepted, NULL, flags, -1, (struct sockaddr *)&address, sizeof address);
    if (!listener && errno == EADDRINUSE) {
        puts("the address is in use");
        return 0;
    }
    if (!listener) return 1;
    socklen_t size = sizeof address;
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &size);
    printf("listening on %s:%d\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
    event_base_dispatch(base);
    evconnlistener_free(listener);
    puts("closed");
    event_base_free(base);
}
