/* The memory that a client process and its worker process share: a queue of requests, and a slot
 * for each with its arguments and its result. What does not fit into a slot is written into the
 * memory file behind the slots, in the slot's own stretch of it. */
#ifndef DOJO_CHANNEL_H
#define DOJO_CHANNEL_H

#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "dojo.h"

/* SLOT_COUNT is a power of two. Runs that are begun and not ended leave RESERVED_SLOTS to the calls
 * that free their slots by themselves. */
enum { SLOT_COUNT = 1024, RESERVED_SLOTS = 64, TEXT_CAPACITY = 4096 };

#define PAYLOAD_CAPACITY ((int64_t)1 << 32)
#define KEPT_PAYLOAD ((size_t)1 << 20) /* larger payloads give their pages back */

typedef enum slot_state {
    SLOT_FREE,
    SLOT_TAKEN, /* the client is writing the request or reading the result */
    SLOT_QUEUED,
    SLOT_RUNNING,
    SLOT_DONE,
    SLOT_CRASHED, /* this request ended the worker */
    SLOT_LATE,    /* the client has ended the worker because of this request */
} slot_state;

typedef enum operation {
    OPERATION_OPEN,
    OPERATION_CLOSE, /* nobody waits for it: the worker frees the slot */
    OPERATION_FORK,
    OPERATION_MATERIALIZE,
    OPERATION_RUN,
    OPERATION_VERIFY,
    OPERATION_TEXT_SIZE,
    OPERATION_EXPORT,
} operation;

typedef struct slot {
    _Alignas(64) uint32_t state; /* a slot_state, and a futex */
    uint32_t sleeping;           /* the client sleeps on state */
    uint32_t operation;
    int32_t status;   /* out: a dojo_status */
    uint64_t session; /* the session's address in the worker; out of OPEN and FORK */
    int64_t number;   /* in: what to export; out: a size */
    uint64_t size;    /* bytes of the payload, or of text when has_payload is not set */
    uint32_t has_payload;
    double started; /* CLOCK_MONOTONIC seconds when the current pass began, 0 before */
    struct {
        double started, looked, seconds;
    } watch; /* the client's: the pass it waits for, when it last looked, for how long it waited */
    dojo_state result;
    char text[TEXT_CAPACITY]; /* in: pipelines, one per line; out: an error */
} slot;

/* A bounded queue for several producers and consumers (Vyukov's). Each slot is in it at most once,
 * so that it is never full. */
typedef struct queue_cell {
    uint32_t sequence, slot;
} queue_cell;

typedef enum readiness { WORKER_STARTING, WORKER_READY, WORKER_FAILED } readiness;

typedef struct channel {
    uint32_t readiness; /* a futex */
    uint32_t dead;      /* set by a worker that crashes */
    unsigned version[3];
    char error[TEXT_CAPACITY];
    _Alignas(64) uint32_t posted;    /* requests ever queued; a futex of idle threads */
    _Alignas(64) uint32_t idle;      /* threads asleep on posted */
    uint32_t spinning;               /* threads about to look again */
    _Alignas(64) uint32_t completed; /* requests ever completed; a futex of watchers */
    uint32_t watchers;               /* calls that wait for runs to end */
    uint32_t starving;               /* calls that wait for a free slot */
    _Alignas(64) uint32_t enqueued;
    _Alignas(64) uint32_t dequeued;
    queue_cell cells[SLOT_COUNT];
    slot slots[SLOT_COUNT];
} channel;

static inline off_t payload_offset(const channel *shared, const slot *slot) {
    int64_t index = slot - shared->slots;
    return (off_t)(((int64_t)sizeof(channel) + 4095) / 4096 * 4096 + index * PAYLOAD_CAPACITY);
}

static inline uint32_t load(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void store(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t add(uint32_t *word, int32_t difference) {
    return __atomic_add_fetch(word, (uint32_t)difference, __ATOMIC_SEQ_CST);
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline double monotonic_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* How long it pays to watch a word before sleeping on it. Watching is faster by a wake-up when the
 * other side is at work on another core, and hinders it when there is no other core to spare. */
typedef struct patience {
    uint32_t longest;      /* microseconds */
    uint32_t microseconds; /* 0: sleep at once, but try again now and then */
    uint32_t refusals;
} patience;

enum { REFUSALS_BEFORE_TRIAL = 30, TRIAL_MICROSECONDS = 100 };

static inline double patience_seconds(patience *patience) {
    if (patience->microseconds == 0 && ++patience->refusals >= REFUSALS_BEFORE_TRIAL) {
        patience->refusals = 0;
        return TRIAL_MICROSECONDS * 1e-6;
    }
    return patience->microseconds * 1e-6;
}

static inline void patience_learn(patience *patience, double spent, bool rewarded) {
    if (rewarded)
        patience->microseconds = patience->longest;
    else if (spent > 0)
        patience->microseconds = patience->microseconds / 2 < 8 ? 0 : patience->microseconds / 2;
}

/* Sleep while *word is `value`, at most `seconds` (for ever when it is not positive). */
static inline void futex_wait(uint32_t *word, uint32_t value, double seconds) {
    struct timespec limit = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    syscall(SYS_futex, word, FUTEX_WAIT, value, seconds > 0 ? &limit : NULL, NULL, 0);
}

static inline void futex_wake(uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static inline void queue_initialize(channel *shared) {
    for (uint32_t i = 0; i < SLOT_COUNT; i++)
        shared->cells[i].sequence = i;
}

static inline void queue_push(channel *shared, uint32_t slot) {
    uint32_t position = add(&shared->enqueued, 1) - 1;
    queue_cell *cell = &shared->cells[position % SLOT_COUNT];
    while (load(&cell->sequence) != position) /* a consumer is still reading it */
        relax();
    cell->slot = slot;
    store(&cell->sequence, position + 1);
}

static inline bool queue_pop(channel *shared, uint32_t *slot) {
    uint32_t position = load(&shared->dequeued);
    for (;;) {
        queue_cell *cell = &shared->cells[position % SLOT_COUNT];
        if (load(&cell->sequence) != position + 1) {
            uint32_t now = load(&shared->dequeued);
            if (now == position)
                return false;
            position = now;
        } else if (__atomic_compare_exchange_n(&shared->dequeued, &position, position + 1, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            *slot = cell->slot;
            store(&cell->sequence, position + SLOT_COUNT);
            return true;
        }
    }
}

/* Wake sleeping threads for what is queued and nobody is about to take. */
static inline void wake_threads(channel *shared) {
    uint32_t queued = load(&shared->enqueued) - load(&shared->dequeued);
    uint32_t spinning = load(&shared->spinning);
    if (queued > spinning && queued <= SLOT_COUNT && load(&shared->idle) > 0)
        futex_wake(&shared->posted, (int)(queued - spinning));
}

#endif
