// Discrete event simulation of a bank: customers arrive, wait for the shortest line and may
// give up. Events live in a binary heap; all times are integer microseconds.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { TELLERS = 3, MAX_EVENTS = 256, LINE_CAP = 8, CUSTOMERS = 1500 };
enum event_type { ARRIVE, FINISH };

typedef struct {
    uint64_t when;
    enum event_type type;
    int teller;
} event;

typedef struct {
    uint64_t arrived[LINE_CAP]; // ring; the head is being served
    unsigned head, count;
} teller;

typedef struct {
    event heap[MAX_EVENTS];
    int events;
    teller line[TELLERS];
    uint64_t now, waited, longest;
    unsigned served, balked, arrivals;
    uint32_t seed;
} bank;

static bool earlier(const event *a, const event *b) {
    return a->when != b->when ? a->when < b->when : a->type < b->type;
}

static void schedule(bank *b, uint64_t delay, enum event_type type, int who) {
    event e = {b->now + delay, type, who};
    int i = b->events++;
    for (; i > 0 && earlier(&e, &b->heap[(i - 1) / 2]); i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = e;
}

static event next_event(bank *b) {
    event top = b->heap[0], last = b->heap[--b->events];
    int i = 0, child;
    while ((child = 2 * i + 1) < b->events) {
        if (child + 1 < b->events && earlier(&b->heap[child + 1], &b->heap[child]))
            child++;
        if (!earlier(&b->heap[child], &last))
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

// Von Neumann's comparison method: an exponential variate without a logarithm.
static uint64_t exponential(bank *b, uint64_t mean) {
    for (uint64_t whole = 0;; whole++) {
        uint32_t first = 0, prev = UINT32_MAX, u;
        int run = 0;
        for (;; run++, prev = u) {
            b->seed ^= b->seed << 13;
            b->seed ^= b->seed >> 17;
            b->seed ^= b->seed << 5;
            u = b->seed;
            if (run == 0)
                first = u;
            if (u > prev)
                break;
        }
        if (run % 2 == 1)
            return whole * mean + (first * mean >> 32);
    }
}

static void start_service(bank *b, int who) {
    teller *t = &b->line[who];
    uint64_t wait = b->now - t->arrived[t->head];
    b->waited += wait;
    if (wait > b->longest)
        b->longest = wait;
    schedule(b, exponential(b, 2700), FINISH, who);
}

static void arrive(bank *b) {
    int best = 0;
    for (int i = 1; i < TELLERS; i++)
        if (b->line[i].count < b->line[best].count)
            best = i;
    teller *t = &b->line[best];
    if (t->count == LINE_CAP) {
        b->balked++;
    } else {
        t->arrived[(t->head + t->count++) % LINE_CAP] = b->now;
        if (t->count == 1)
            start_service(b, best);
    }
    if (++b->arrivals < CUSTOMERS)
        schedule(b, exponential(b, 1000), ARRIVE, 0);
}

static void finish(bank *b, int who) {
    teller *t = &b->line[who];
    t->head = (t->head + 1) % LINE_CAP;
    t->count--;
    b->served++;
    if (t->count > 0)
        start_service(b, who);
}

int main(void) {
    static bank b = {.seed = 2463534242u};
    uint32_t trace = 0;
    schedule(&b, 0, ARRIVE, 0);
    while (b.events > 0) {
        event e = next_event(&b);
        if (e.when < b.now)
            return 1;
        b.now = e.when;
        trace = trace * 31 + (uint32_t)e.when + e.type;
        if (e.type == ARRIVE)
            arrive(&b);
        else
            finish(&b, e.teller);
    }
    printf("served %u balked %u, mean wait %llu us, longest %llu us\n", b.served, b.balked,
           (unsigned long long)(b.waited / b.served), (unsigned long long)b.longest);
    printf("checksum %08x\n", trace);
    return b.served + b.balked != CUSTOMERS;
}
