/* The shared parts of the C loops, which match the Rust loops: the listening socket, the chain of
 * socket pairs, the delays of timers, and the output of measurements. */
#ifndef COMMON_H
#define COMMON_H

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* As in net.rs. */
#define READ_SIZE (68 * 1024)
#define BACKLOG 4096
#define DATAGRAM_SIZE 65536
#define DATAGRAM_BUFFER (1024 * 1024)

/* As in scene.rs. */
#define ACTIVE 100
#define WRITES 1000
#define RUNS_MIN 5
#define RUNS_NS 60000000ull
#define PAIR_READ_SIZE 1024

/* As in computation.rs. */
#define COMPUTED_SIZE 64

/* As in timing.rs. */
#define EXPIRE_MAX_MS 20
#define STEPS_MIN 100000

static char read_buffer[READ_SIZE];

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void *must_allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) die("malloc");
    return memory;
}

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Reads the arguments WORK CORE [NUMBER]. Pins the process to its core, and makes it end with its
 * parent. Returns the number. */
static inline size_t start(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s WORK CORE [NUMBER]; compare starts it\n", argv[0]);
        exit(2);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) exit(1);
    int core = atoi(argv[2]);
    if (core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(core, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
    }
    signal(SIGPIPE, SIG_IGN);
    return argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
}

/* A non-blocking listener on a free loopback port, whose connections inherit TCP_NODELAY. */
static inline int listen_and_tell(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) < 0) die("bind");
    if (listen(fd, BACKLOG) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* A non-blocking socket for datagrams on a free loopback port. */
static inline int bind_and_tell(void) {
    int size = DATAGRAM_BUFFER, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0) die("setsockopt");
    if (bind(fd, (struct sockaddr *)&address, length) < 0) die("bind");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static inline int accept_one(int fd) {
    return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* What a server computes for each message: see computation.rs. Without steps, nothing. */
static struct {
    size_t steps, pending;
    volatile uint64_t state;
} computation = {.state = 0x9e3779b97f4a7c15ull};

static inline void compute_for(size_t count) {
    if (computation.steps == 0) return;
    computation.pending += count;
    for (; computation.pending >= COMPUTED_SIZE; computation.pending -= COMPUTED_SIZE) {
        uint64_t state = computation.state;
        for (size_t step = 0; step < computation.steps; step++)
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        computation.state = state;
    }
}

/* Bytes that the socket did not accept. While there are any, nothing is read. */
struct unsent {
    char *bytes;
    size_t from, count;
};

enum fate { ENDED, DRAINED, FULL };

/* Reads once and writes the bytes back. */
static inline enum fate echo_once(int fd, struct unsent *unsent) {
    ssize_t count = read(fd, read_buffer, READ_SIZE);
    if (count == 0) return ENDED;
    if (count < 0) return errno == EAGAIN || errno == EINTR ? DRAINED : ENDED;
    compute_for((size_t)count);
    ssize_t written = send(fd, read_buffer, (size_t)count, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN) return ENDED;
    if (written < 0) written = 0;
    if (written == count) return DRAINED;
    unsent->count = (size_t)(count - written);
    unsent->from = 0;
    unsent->bytes = must_allocate(unsent->count);
    memcpy(unsent->bytes, read_buffer + written, unsent->count);
    return FULL;
}

/* Writes the bytes that the socket did not accept before. */
static inline enum fate flush_unsent(int fd, struct unsent *unsent) {
    size_t left = unsent->count - unsent->from;
    ssize_t written = send(fd, unsent->bytes + unsent->from, left, MSG_NOSIGNAL);
    if (written < 0) return errno == EAGAIN || errno == EINTR ? FULL : ENDED;
    unsent->from += (size_t)written;
    if (unsent->from < unsent->count) return FULL;
    free(unsent->bytes);
    unsent->bytes = NULL;
    return DRAINED;
}

/* The chain of pairs: see scene.rs. */
static struct {
    int (*pairs)[2];
    size_t count, left, fired, received, runs;
    uint64_t until, started;
} chain;

static inline void chain_make(size_t count) {
    chain.pairs = must_allocate(count * sizeof *chain.pairs);
    chain.count = count;
    for (size_t pair = 0; pair < count; pair++)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, chain.pairs[pair]) < 0)
            die("socketpair");
    chain.until = clock_ns(CLOCK_MONOTONIC) + RUNS_NS;
}

static inline int chain_start(void) {
    if (chain.runs >= RUNS_MIN && clock_ns(CLOCK_MONOTONIC) > chain.until) return 0;
    size_t active = chain.count < ACTIVE ? chain.count : ACTIVE, stride = chain.count / active;
    chain.left = WRITES, chain.fired = active, chain.received = 0, chain.runs++;
    for (size_t place = 0; place < active; place++)
        if (send(chain.pairs[place * stride][1], "e", 1, MSG_NOSIGNAL) < 0) die("send");
    chain.started = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    return 1;
}

static inline int chain_is_done(void) {
    return chain.received == chain.fired;
}

/* The reading end of a pair is ready. */
static inline void chain_read(size_t pair) {
    char buffer[PAIR_READ_SIZE];
    ssize_t count = read(chain.pairs[pair][0], buffer, sizeof buffer);
    if (count <= 0) return;
    chain.received += (size_t)count;
    for (; count > 0 && chain.left > 0; count--) {
        chain.left--, chain.fired++;
        size_t next = pair + 1 == chain.count ? 0 : pair + 1;
        if (send(chain.pairs[next][1], "e", 1, MSG_NOSIGNAL) < 0) die("send");
    }
}

static inline void chain_end(void) {
    uint64_t spent = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - chain.started;
    printf("ns_per_event %.2f\n", (double)spent / (double)chain.received);
}

/* Random numbers: see timing.rs. */
static inline uint64_t random_below(uint64_t bound) {
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % bound;
}

static inline uint64_t delay_long(void) {
    return 1 + random_below(60000);
}

static inline uint64_t delay_short(void) {
    return 1 + random_below(EXPIRE_MAX_MS);
}

static inline void sleep_until_due(uint64_t since) {
    uint64_t due = since + (EXPIRE_MAX_MS + 5) * 1000000ull;
    struct timespec at = {(time_t)(due / 1000000000ull), (long)(due % 1000000000ull)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

/* Private memory of this process, in bytes. */
static inline double memory_bytes(void) {
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Anonymous: %lf", &kilobytes) == 1) break;
    fclose(file);
    return kilobytes * 1024;
}

static struct {
    double count, memory;
    uint64_t started;
} phases;

static inline void phases_of(size_t count) {
    phases.count = (double)count;
    phases.started = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void phases_end(const char *name) {
    uint64_t spent = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - phases.started;
    printf("%s %.2f\n", name, (double)spent / phases.count);
}

static inline void phases_weigh(void) {
    printf("bytes %.1f\n", (memory_bytes() - phases.memory) / phases.count);
}

/* The next timer, and its delay in milliseconds; see timing.rs. */
struct step {
    uint32_t place, delay;
};

static inline void script_in_order(struct step *steps, size_t count) {
    for (size_t place = 0; place < count; place++)
        steps[place] = (struct step){(uint32_t)place, (uint32_t)delay_long()};
}

static inline void script_at_random(struct step *steps, size_t count) {
    for (size_t place = count; place-- > 0;) {
        steps[place].delay = (uint32_t)delay_long();
        size_t other = random_below(place + 1);
        struct step kept = steps[place];
        steps[place] = steps[other], steps[other] = kept;
    }
}

/* Measures operations on `count` timers; see timing.rs. Inlined, so that a loop's functions
 * are called as if they were written here. */
__attribute__((always_inline)) static inline void measure_timers(
    size_t count, void (*arm)(size_t place, uint64_t delay),
    void (*rearm)(size_t place, uint64_t delay), void (*cancel)(size_t place)) {
    struct step *steps = must_allocate(count * sizeof *steps);
    size_t half = (count + 1) / 2, done = 0;
    script_in_order(steps, count);
    phases.memory = memory_bytes();
    for (size_t cycle = 0; done < STEPS_MIN; cycle++, done += count) {
        phases_of(count);
        for (size_t at = 0; at < count; at++) arm(steps[at].place, steps[at].delay);
        phases_end("fill_ns");
        if (cycle == 0) phases_weigh();
        script_at_random(steps, count);
        phases_of(count);
        for (size_t at = 0; at < count; at++) rearm(steps[at].place, steps[at].delay);
        phases_end("rearm_ns");
        script_in_order(steps, count);
        phases_of(count);
        for (size_t at = 0; at < count; at++) rearm(steps[at].place, steps[at].delay);
        phases_end("ordered_ns");
        script_at_random(steps, count);
        phases_of(half);
        for (size_t at = 0; at < half; at++) cancel(steps[at].place);
        phases_end("cancel_ns");
        phases_of(half);
        for (size_t at = 0; at < half; at++) arm(steps[at].place, steps[at].delay);
        phases_end("arm_ns");
        script_in_order(steps, count);
        for (size_t at = 0; at < count; at++) cancel(steps[at].place);
    }
    free(steps);
}

/* Runs the work that the arguments name. */
struct work {
    const char *name;
    void (*run)(size_t number);
};

static inline int run_work(int argc, char **argv, const struct work *works) {
    size_t number = start(argc, argv);
    for (; works->name != NULL; works++)
        if (strcmp(works->name, argv[1]) == 0) {
            works->run(number);
            return 0;
        }
    fprintf(stderr, "this loop has no work %s\n", argv[1]);
    return 2;
}

#endif
