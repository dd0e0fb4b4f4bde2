/* Running and timing kernels on a team of threads. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "channel.h"
#include "internal.h"

/* About what waking a sleeping thread takes. A thread that waits longer leaves its core to others.
 */
static const double SPIN_SECONDS = 50e-6;
enum { LOOKS_PER_CLOCK = 64 };

typedef struct member {
    _Alignas(64) dojo_team *team;
    int64_t index;
    pthread_t thread; /* unless it is the caller */
    uint32_t claimed; /* last round in which somebody took this member's part */
} member;

struct dojo_team {
    pthread_mutex_t busy; /* held by the call that runs or times something */
    int64_t threads;
    pid_t process; /* that the threads belong to; none of them survives a fork */
    /* the work at hand */
    dojo_kernel_function function;
    void **operands;
    char *workspace;
    size_t workspace_bytes;
    int64_t begin, end;
    bool closing;
    _Alignas(64) uint32_t round; /* of work; a futex of sleeping members */
    uint32_t sleeping;
    _Alignas(64) uint32_t pending; /* parts that are not done; a futex of the caller */
    uint32_t caller_sleeps;
    _Alignas(64) member members[]; /* as many as threads; the caller is the first */
};

/* Whether *word changed from `value` while it paid to watch it. */
static bool spin_while(const uint32_t *word, uint32_t value) {
    double limit = now_seconds() + SPIN_SECONDS;
    do
        for (int look = 0; look < LOOKS_PER_CLOCK; look++) {
            if (load(word) != value)
                return true;
            relax();
        }
    while (now_seconds() < limit);
    return false;
}

/* Part `index` of [begin, end), whose lengths differ by one at most. */
static void run_part(const dojo_team *team, int64_t index) {
    int64_t length = team->end - team->begin;
    int64_t each = length / team->threads, longer = length % team->threads;
    int64_t begin = team->begin + index * each + (index < longer ? index : longer);
    int64_t end = begin + each + (index < longer);
    if (begin < end)
        team->function(team->operands, team->workspace + (size_t)index * team->workspace_bytes,
                       begin, end);
}

/* Run the member's own part, then those whose members have not come to them: a thread may wait long
 * for a CPU. Whoever claims a part of a round finds its work in place, as the round ends only when
 * all its parts are done. */
static void run_parts(dojo_team *team, int64_t first, uint32_t round) {
    for (int64_t i = 0; i < team->threads; i++) {
        int64_t index = (first + i) % team->threads;
        uint32_t before = round - 1;
        if (!__atomic_compare_exchange_n(&team->members[index].claimed, &before, round, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        run_part(team, index);
        if (add(&team->pending, -1) == 0 && load(&team->caller_sleeps))
            futex_wake(&team->pending, 1);
    }
}

static void *serve(void *opaque) {
    member *self = opaque;
    dojo_team *team = self->team;
    uint32_t seen = 0;
    for (;;) {
        if (!spin_while(&team->round, seen)) {
            add(&team->sleeping, 1);
            while (load(&team->round) == seen)
                futex_wait(&team->round, seen, 0);
            add(&team->sleeping, -1);
        }
        seen = load(&team->round);
        if (__atomic_load_n(&team->closing, __ATOMIC_SEQ_CST))
            return NULL;
        run_parts(team, self->index, seen);
    }
}

static uint32_t start_round(dojo_team *team) {
    uint32_t round = add(&team->round, 1);
    if (load(&team->sleeping) > 0)
        futex_wake(&team->round, (int)team->threads);
    return round;
}

static void await_parts(dojo_team *team) {
    uint32_t left;
    while ((left = load(&team->pending)) != 0) {
        if (spin_while(&team->pending, left))
            continue;
        store(&team->caller_sleeps, 1);
        while ((left = load(&team->pending)) != 0)
            futex_wait(&team->pending, left, 0);
        store(&team->caller_sleeps, 0);
    }
}

static void run_once(dojo_team *team) {
    if (team->threads == 1) {
        if (team->begin < team->end)
            team->function(team->operands, team->workspace, team->begin, team->end);
        return;
    }
    store(&team->pending, (uint32_t)team->threads);
    run_parts(team, 0, start_round(team));
    await_parts(team);
}

/* Sets team->threads to how many there are. */
static void start_members(dojo_team *team, int64_t threads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the caller's business */
    int64_t started = 1;
    for (; started < threads; started++) {
        member *member = &team->members[started];
        member->team = team;
        member->index = started;
        if (pthread_create(&member->thread, NULL, serve, member) != 0)
            break;
    }
    team->threads = started;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

dojo_team *dojo_team_open(int64_t threads) {
    size_t size = sizeof(dojo_team) + (size_t)threads * sizeof(member);
    dojo_team *team = aligned_alloc(64, (size + 63) / 64 * 64);
    if (team == NULL)
        abort();
    memset(team, 0, size);
    pthread_mutex_init(&team->busy, NULL);
    team->process = getpid();
    start_members(team, threads);
    if (team->threads == threads)
        return team;
    dojo_team_close(team);
    return NULL;
}

void dojo_team_close(dojo_team *team) {
    if (team == NULL)
        return;
    if (team->process == getpid()) {
        __atomic_store_n(&team->closing, true, __ATOMIC_SEQ_CST);
        start_round(team);
        for (int64_t i = 1; i < team->threads; i++)
            pthread_join(team->members[i].thread, NULL);
    }
    pthread_mutex_destroy(&team->busy);
    free(team);
}

static void set_work(dojo_team *team, const dojo_work *work) {
    team->function = work->function;
    team->operands = work->operands;
    team->workspace = work->workspace;
    team->workspace_bytes = work->workspace_bytes;
    team->begin = work->begin;
    team->end = work->end;
}

void dojo_team_run(dojo_team *team, const dojo_work *work) {
    pthread_mutex_lock(&team->busy);
    set_work(team, work);
    run_once(team);
    pthread_mutex_unlock(&team->busy);
}

static pthread_t member_thread(const dojo_team *team, int64_t index) {
    return index == 0 ? pthread_self() : team->members[index].thread;
}

/* Give each thread a CPU of its own, the caller the one it is on; `before` receives what they were
 * allowed until now. */
static bool pin(dojo_team *team, cpu_set_t *before) {
    cpu_set_t allowed;
    if (pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0 ||
        CPU_COUNT(&allowed) < team->threads)
        return false;
    int cpu = sched_getcpu();
    for (int64_t i = 0; i < team->threads; i++, cpu++) {
        while (!CPU_ISSET(cpu % CPU_SETSIZE, &allowed))
            cpu++;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu % CPU_SETSIZE, &one);
        pthread_getaffinity_np(member_thread(team, i), sizeof *before, &before[i]);
        pthread_setaffinity_np(member_thread(team, i), sizeof one, &one);
    }
    return true;
}

static void unpin(dojo_team *team, const cpu_set_t *before) {
    for (int64_t i = 0; i < team->threads; i++)
        pthread_setaffinity_np(member_thread(team, i), sizeof *before, &before[i]);
}

/* Run in batches until `min_seconds` are over; returns the seconds of a run. *batch becomes a
 * number of runs that takes about that long. */
static double take_sample(dojo_team *team, double min_seconds, int64_t *batch, int64_t *runs) {
    int64_t done = 0;
    double start = now_seconds(), elapsed;
    do {
        for (int64_t i = 0; i < *batch; i++)
            run_once(team);
        done += *batch;
        elapsed = now_seconds() - start;
        double missing = (min_seconds - elapsed) / (elapsed > 1e-9 ? elapsed : 1e-9);
        /* at most ten times as many as have been timed: a first run says little */
        int64_t next = (int64_t)((double)done * (missing < 10 ? missing : 10)) + 1;
        *batch = missing > 0 ? next : *batch;
    } while (elapsed < min_seconds);
    *runs = done;
    return elapsed / (double)done;
}

static void time_work(dojo_team *team, const dojo_protocol *protocol, double *seconds,
                      int64_t *runs) {
    for (int64_t i = 0; i < protocol->warmup; i++)
        run_once(team);
    int64_t batch = 1, total = 0;
    for (int64_t i = 0; i < protocol->repeats; i++) {
        int64_t sample_runs;
        seconds[i] = take_sample(team, protocol->min_seconds, &batch, &sample_runs);
        batch = sample_runs;
        total += sample_runs;
    }
    *runs = total;
}

bool dojo_team_time(dojo_team *team, const dojo_work *work, const dojo_protocol *protocol,
                    double *seconds, int64_t *runs) {
    cpu_set_t *before = NULL;
    pthread_mutex_lock(&team->busy);
    if (protocol->pinned) {
        before = calloc((size_t)team->threads, sizeof *before);
        if (before == NULL)
            abort();
    }
    bool ready = !protocol->pinned || pin(team, before);
    if (ready) {
        set_work(team, work);
        time_work(team, protocol, seconds, runs);
        if (protocol->pinned)
            unpin(team, before);
    }
    pthread_mutex_unlock(&team->busy);
    free(before);
    return ready;
}
