/* The lower bound for datagrams: one edge-triggered descriptor, and a batch of datagrams that is
 * received with one call and sent back with another. Nothing is prepared anew for a batch but the
 * lengths. */
#include "common.h"

#include <poll.h>
#include <sys/epoll.h>

/* As many datagrams as one call receives. */
#define BATCH 64
/* Buffers that lie at multiples of 64 KiB would compete for the same lines of the cache. */
#define STRIDE (DATAGRAM_SIZE + 128)

static char datagrams[BATCH][STRIDE];
static struct iovec places[BATCH];
static struct sockaddr_storage senders[BATCH];
static struct mmsghdr batch[BATCH];

static void wait_for(int epoll) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) die("epoll_wait");
}

/* Sends the batch back. Waits for room if there is none: epoll does not report room, because each
 * datagram that leaves makes some. A datagram that cannot be sent is lost. */
static void send_back(int fd, unsigned count) {
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    for (unsigned sent = 0; sent < count;) {
        int more = sendmmsg(fd, batch + sent, count - sent, MSG_NOSIGNAL);
        if (more > 0) sent += (unsigned)more;
        else if (errno == EAGAIN) poll(&room, 1, -1);
        else if (errno != EINTR) sent++;
    }
}

static void udp(size_t number) {
    (void)number;
    int fd = bind_and_tell(), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EPOLLIN | EPOLLET};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest) < 0) die("epoll");
    for (int place = 0; place < BATCH; place++) {
        places[place].iov_base = datagrams[place];
        batch[place].msg_hdr.msg_iov = &places[place];
        batch[place].msg_hdr.msg_iovlen = 1;
        batch[place].msg_hdr.msg_name = &senders[place];
    }
    for (int count = 0;;) {
        /* A batch that is not full has emptied the socket. */
        if (count < BATCH) wait_for(epoll);
        for (int place = 0; place < BATCH; place++) {
            places[place].iov_len = DATAGRAM_SIZE;
            batch[place].msg_hdr.msg_namelen = sizeof senders[place];
        }
        count = recvmmsg(fd, batch, BATCH, 0, NULL);
        if (count < 0 && errno != EAGAIN && errno != EINTR) die("recvmmsg");
        if (count < 0) continue;
        for (int place = 0; place < count; place++) places[place].iov_len = batch[place].msg_len;
        send_back(fd, (unsigned)count);
    }
}

int main(int argc, char **argv) {
    const struct work works[] = {{"udp", udp}, {0}};
    return run_work(argc, argv, works);
}
