/* Skip list of timers ordered by deadline, with a deterministic coin for node heights. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LEVEL 8

typedef struct timer {
    uint64_t deadline;
    uint32_t id;
    struct timer *next[]; /* one link per level of this node */
} timer;

typedef struct timer_queue {
    timer *head; /* sentinel with MAX_LEVEL links */
    uint32_t coin;
    int pending;
} timer_queue;

static timer *timer_new(int levels, uint64_t deadline, uint32_t id) {
    timer *t = calloc(1, sizeof *t + (size_t)levels * sizeof t->next[0]);
    if (t) {
        t->deadline = deadline;
        t->id = id;
    }
    return t;
}

static int before(const timer *t, uint64_t deadline, uint32_t id) {
    return t->deadline != deadline ? t->deadline < deadline : t->id < id;
}

static int flip_levels(timer_queue *q) {
    int levels = 1;
    q->coin = q->coin * 1664525u + 1013904223u;
    for (uint32_t bits = q->coin >> 16; (bits & 3) == 0 && levels < MAX_LEVEL; bits >>= 2)
        levels++;
    return levels;
}

/* Collects, per level, the last node in front of (deadline, id). */
static timer *find_links(timer_queue *q, uint64_t deadline, uint32_t id, timer *prev[MAX_LEVEL]) {
    timer *t = q->head;
    for (int level = MAX_LEVEL - 1; level >= 0; level--) {
        while (t->next[level] && before(t->next[level], deadline, id))
            t = t->next[level];
        prev[level] = t;
    }
    return t->next[0];
}

int queue_add(timer_queue *q, uint64_t deadline, uint32_t id) {
    timer *prev[MAX_LEVEL];
    int levels = flip_levels(q);
    timer *t = timer_new(levels, deadline, id);
    if (!t)
        return -1;
    find_links(q, deadline, id, prev);
    for (int level = 0; level < levels; level++) {
        t->next[level] = prev[level]->next[level];
        prev[level]->next[level] = t;
    }
    return ++q->pending;
}

int queue_cancel(timer_queue *q, uint64_t deadline, uint32_t id) {
    timer *prev[MAX_LEVEL];
    timer *t = find_links(q, deadline, id, prev);
    if (!t || t->deadline != deadline || t->id != id)
        return 0;
    for (int level = 0; level < MAX_LEVEL && prev[level]->next[level] == t; level++)
        prev[level]->next[level] = t->next[level];
    free(t);
    q->pending--;
    return 1;
}

/* Fires every timer due by now, earliest first. */
static uint32_t queue_expire(timer_queue *q, uint64_t now, uint32_t digest) {
    timer *t;
    while ((t = q->head->next[0]) && t->deadline <= now) {
        digest = (digest << 3 | digest >> 29) ^ t->id ^ (uint32_t)t->deadline;
        queue_cancel(q, t->deadline, t->id);
    }
    return digest;
}

int main(void) {
    timer_queue q = {timer_new(MAX_LEVEL, 0, 0), 17, 0};
    uint32_t digest = 0, x = 3, cancelled = 0;
    if (!q.head)
        return 1;
    for (uint32_t id = 0; id < 300; id++) {
        x = x * 22695477u + 1;
        if (queue_add(&q, 1000 + (x >> 21), id) < 0)
            return 1;
        if (id % 4 == 3)
            cancelled += (uint32_t)queue_cancel(&q, 1000 + (x >> 21), id - (x >> 8 & 1));
    }
    printf("%d pending, %u cancelled\n", q.pending, (unsigned)cancelled);
    for (uint64_t now = 1000; q.pending > 0; now += 128)
        digest = queue_expire(&q, now, digest);
    free(q.head);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
