/* The client's side of a worker process: fills slots, waits for them, and notices when the worker
 * crashes, hangs or is killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "channel.h"
#include "internal.h"

/* How often a sleeper looks at the worker's health. */
static const double HEALTH_SECONDS = 0.02;
/* A worker that is stopped (SIGSTOP) for so long is ended. */
static const double STOPPED_SECONDS = 2;
/* More than this between two looks means that this process was stopped itself. */
static const double LONGEST_LOOK_SECONDS = 1;

struct dojo_worker {
    channel *shared;
    int memory;
    pid_t pid;
    uint32_t in_flight;
    patience patience;
    uint32_t begun; /* runs begun and not ended */
    double stopped; /* when it was first seen stopped, or 0 */
};

size_t dojo_worker_memory_size(void) {
    return sizeof(channel);
}

dojo_status dojo_worker_prepare(int memory, dojo_worker **out, char **error) {
    *out = NULL;
    channel *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (shared == MAP_FAILED)
        return fail(DOJO_ERROR_LOST, error, "cannot map the worker's memory: %s", strerror(errno));
    queue_initialize(shared);
    dojo_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        abort();
    *worker = (dojo_worker){.shared = shared, .memory = memory, .patience = {2000, 2000, 0}};
    *out = worker;
    return DOJO_OK;
}

static bool has_ended(dojo_worker *worker) {
    siginfo_t info = {.si_pid = 0};
    if (load(&worker->shared->dead))
        return true;
    /* WNOWAIT leaves the exit status to whoever started the process */
    if (waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0)
        return errno == ECHILD;
    double now = monotonic_seconds(), stopped = 0, since;
    if (info.si_pid == 0 || info.si_code != CLD_STOPPED) {
        __atomic_store(&worker->stopped, &stopped, __ATOMIC_RELAXED);
        return info.si_pid != 0;
    }
    __atomic_load(&worker->stopped, &since, __ATOMIC_RELAXED);
    if (since == 0)
        __atomic_store(&worker->stopped, &now, __ATOMIC_RELAXED);
    else if (now - since > STOPPED_SECONDS)
        kill(worker->pid, SIGKILL);
    return false;
}

dojo_status dojo_worker_start(dojo_worker *worker, int pid, double seconds, char **error) {
    channel *shared = worker->shared;
    double end = monotonic_seconds() + seconds;
    worker->pid = pid;
    while (load(&shared->readiness) == WORKER_STARTING) {
        if (has_ended(worker))
            return fail(DOJO_ERROR_LOST, error, "the worker process ended while it started");
        if (monotonic_seconds() > end)
            return fail(DOJO_ERROR_TIMEOUT, error, "the worker is not ready after %g s", seconds);
        futex_wait(&shared->readiness, WORKER_STARTING, HEALTH_SECONDS);
    }
    if (load(&shared->readiness) == WORKER_FAILED)
        return fail(DOJO_ERROR_LIBRARY, error, "%s", shared->error);
    return DOJO_OK;
}

bool dojo_worker_is_alive(dojo_worker *worker) {
    return !has_ended(worker);
}

void dojo_worker_version(const dojo_worker *worker, unsigned version[3]) {
    memcpy(version, worker->shared->version, sizeof worker->shared->version);
}

void dojo_worker_close(dojo_worker *worker) {
    if (worker == NULL)
        return;
    munmap(worker->shared, sizeof *worker->shared);
    free(worker);
}

/* A free slot, or NULL when the worker has ended. */
static slot *take_slot(dojo_worker *worker) {
    channel *shared = worker->shared;
    for (;;) {
        uint32_t seen = load(&shared->completed);
        for (uint32_t i = 0; i < SLOT_COUNT; i++) {
            uint32_t expected = SLOT_FREE;
            slot *slot = &shared->slots[i];
            if (load(&slot->state) == SLOT_FREE &&
                __atomic_compare_exchange_n(&slot->state, &expected, SLOT_TAKEN, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
                slot->session = slot->size = 0;
                slot->number = 0;
                slot->has_payload = slot->sleeping = 0;
                slot->started = slot->watch.started = slot->watch.looked = 0;
                return slot;
            }
        }
        if (has_ended(worker))
            return NULL;
        add(&shared->starving, 1);
        wake_threads(shared);
        futex_wait(&shared->completed, seen, HEALTH_SECONDS);
        add(&shared->starving, -1);
    }
}

static void post(dojo_worker *worker, slot *slot, operation operation, uint64_t session) {
    channel *shared = worker->shared;
    slot->operation = operation;
    slot->session = session;
    store(&slot->state, SLOT_QUEUED);
    queue_push(shared, (uint32_t)(slot - shared->slots));
    add(&shared->posted, 1);
}

static bool put_payload(dojo_worker *worker, slot *slot, const char *bytes, size_t size) {
    if ((int64_t)size > PAYLOAD_CAPACITY)
        return false;
    off_t offset = payload_offset(worker->shared, slot);
    for (size_t done = 0; done < size;) {
        ssize_t written = pwrite(worker->memory, bytes + done, size - done, offset + (off_t)done);
        if (written > 0)
            done += (size_t)written;
        else if (written == 0 || errno != EINTR)
            return false;
    }
    slot->size = size;
    slot->has_payload = 1;
    return true;
}

static bool get_payload(dojo_worker *worker, const slot *slot, char *bytes) {
    off_t offset = payload_offset(worker->shared, slot);
    for (size_t done = 0; done < slot->size;) {
        ssize_t got = pread(worker->memory, bytes + done, slot->size - done, offset + (off_t)done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static void give_back(dojo_worker *worker, slot *slot) {
    if (slot->size > KEPT_PAYLOAD)
        fallocate(worker->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  payload_offset(worker->shared, slot), (off_t)slot->size);
    store(&slot->state, SLOT_FREE);
    if (load(&worker->shared->starving) > 0) {
        add(&worker->shared->completed, 1);
        futex_wake(&worker->shared->completed, SLOT_COUNT);
    }
}

static bool is_over(uint32_t state) {
    return state == SLOT_DONE || state == SLOT_CRASHED || state == SLOT_LATE;
}

/* Kill the worker when the request's current pass has run for too long. The time counts that this
 * process spent waiting, so that a pause of both processes (Ctrl-Z) is no pass's fault. */
static bool is_late(const dojo_worker *worker, slot *slot, double limit) {
    double started = *(const volatile double *)&slot->started, now = monotonic_seconds();
    if (slot->watch.started != started || slot->watch.looked == 0) {
        slot->watch.started = started;
        slot->watch.seconds = 0;
    } else {
        double look = now - slot->watch.looked;
        slot->watch.seconds += look < LONGEST_LOOK_SECONDS ? look : LONGEST_LOOK_SECONDS;
    }
    slot->watch.looked = now;
    uint32_t expected = SLOT_RUNNING;
    if (limit <= 0 || started == 0 || slot->watch.seconds < limit ||
        !__atomic_compare_exchange_n(&slot->state, &expected, SLOT_LATE, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return false;
    kill(worker->pid, SIGKILL);
    return true;
}

/* Wait until the request is over. The slot is the caller's again when DOJO_OK or an error of the
 * request is returned; after DOJO_ERROR_CRASHED, _TIMEOUT and _LOST the worker is useless. */
static dojo_status await(dojo_worker *worker, slot *slot, double limit, char **error) {
    uint32_t state;
    wake_threads(worker->shared);
    if (load(&worker->in_flight) <= 1) {
        double spin = patience_seconds(&worker->patience), end = monotonic_seconds() + spin;
        while (!is_over(load(&slot->state)) && monotonic_seconds() < end)
            for (int i = 0; i < 16; i++)
                relax();
        patience_learn(&worker->patience, spin, is_over(load(&slot->state)));
    }
    while (!is_over(state = load(&slot->state))) {
        if (has_ended(worker)) {
            if (is_over(load(&slot->state)))
                continue;
            return fail(DOJO_ERROR_LOST, error, "the compiler process ended");
        }
        if (is_late(worker, slot, limit))
            continue;
        store(&slot->sleeping, 1);
        if (load(&slot->state) == state)
            futex_wait(&slot->state, state, HEALTH_SECONDS);
        store(&slot->sleeping, 0);
    }
    if (state == SLOT_LATE)
        return fail(DOJO_ERROR_TIMEOUT, error, "not done after %g s", limit);
    if (state == SLOT_CRASHED)
        return fail(DOJO_ERROR_CRASHED, error, "%s", slot->text);
    if (slot->status != DOJO_OK)
        return fail((dojo_status)slot->status, error, "%s", slot->text);
    return DOJO_OK;
}

static dojo_status lost(char **error) {
    return fail(DOJO_ERROR_LOST, error, "the compiler process has ended");
}

/* One request from beginning to end; *session and *number are updated from the reply. */
static dojo_status call(dojo_worker *worker, slot *slot, operation operation, uint64_t session,
                        double limit, char **error) {
    add(&worker->in_flight, 1);
    post(worker, slot, operation, session);
    dojo_status status = await(worker, slot, limit, error);
    add(&worker->in_flight, -1);
    return status;
}

dojo_status dojo_remote_open(dojo_worker *worker, const void *bytes, size_t size, double limit,
                             uint64_t *out, dojo_state *state, char **error) {
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return lost(error);
    if (!put_payload(worker, slot, bytes, size)) {
        give_back(worker, slot);
        return fail(DOJO_ERROR_PROGRAM, error, "no shared memory for %zu bytes", size);
    }
    dojo_status status = call(worker, slot, OPERATION_OPEN, 0, limit, error);
    if (status == DOJO_OK) {
        *out = slot->session;
        *state = slot->result;
    }
    give_back(worker, slot);
    return status;
}

void dojo_remote_close(dojo_worker *worker, uint64_t session) {
    if (load(&worker->shared->dead))
        return;
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return;
    post(worker, slot, OPERATION_CLOSE, session);
    wake_threads(worker->shared);
}

dojo_status dojo_remote_fork(dojo_worker *worker, uint64_t session, double limit, uint64_t *out,
                             char **error) {
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return lost(error);
    dojo_status status = call(worker, slot, OPERATION_FORK, session, limit, error);
    *out = slot->session;
    give_back(worker, slot);
    return status;
}

static dojo_status begin_run(dojo_worker *worker, uint64_t session, const char *pipelines,
                             uint32_t *out, char **error) {
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return lost(error);
    size_t size = strlen(pipelines) + 1;
    if (size <= TEXT_CAPACITY)
        memcpy(slot->text, pipelines, size);
    else if (!put_payload(worker, slot, pipelines, size)) {
        give_back(worker, slot);
        return fail(DOJO_ERROR_PASS, error, "no shared memory for the pipeline's text");
    }
    add(&worker->in_flight, 1);
    post(worker, slot, OPERATION_RUN, session);
    *out = (uint32_t)(slot - worker->shared->slots);
    return DOJO_OK;
}

static dojo_status end_run(dojo_worker *worker, uint32_t run, double limit, dojo_state *state,
                           char **error) {
    slot *slot = &worker->shared->slots[run];
    dojo_status status = await(worker, slot, limit, error);
    add(&worker->in_flight, -1);
    if (status == DOJO_OK || status == DOJO_ERROR_PASS)
        *state = slot->result;
    give_back(worker, slot);
    return status;
}

dojo_status dojo_remote_begin_run(dojo_worker *worker, uint64_t session, const char *pipelines,
                                  uint32_t *out, char **error) {
    *out = DOJO_NO_RUN;
    dojo_status status = DOJO_OK;
    if (add(&worker->begun, 1) <= SLOT_COUNT - RESERVED_SLOTS)
        status = begin_run(worker, session, pipelines, out, error);
    if (*out == DOJO_NO_RUN)
        add(&worker->begun, -1);
    return status;
}

dojo_status dojo_remote_end_run(dojo_worker *worker, uint32_t *run, double limit, dojo_state *state,
                                char **error) {
    dojo_status status = end_run(worker, *run, limit, state, error);
    *run = DOJO_NO_RUN;
    add(&worker->begun, -1);
    return status;
}

dojo_status dojo_remote_run(dojo_worker *worker, uint64_t session, const char *pipelines,
                            double limit, dojo_state *state, char **error) {
    uint32_t run;
    dojo_status status = begin_run(worker, session, pipelines, &run, error);
    return status == DOJO_OK ? end_run(worker, run, limit, state, error) : status;
}

/* Whether requests wait for a thread. */
static bool is_busy(const channel *shared) {
    return load(&shared->enqueued) != load(&shared->dequeued);
}

void dojo_worker_wait(dojo_worker *worker, const uint32_t *runs, size_t count, double limit,
                      char *done) {
    channel *shared = worker->shared;
    wake_threads(shared);
    for (;;) {
        uint32_t seen = load(&shared->completed);
        bool ended = has_ended(worker);
        bool any = ended;
        for (size_t i = 0; i < count; i++) {
            slot *slot = &shared->slots[runs[i]];
            done[i] = ended || is_over(load(&slot->state)) || is_late(worker, slot, limit);
            any |= done[i];
        }
        if (any && (ended || !is_busy(shared)))
            return;
        add(&shared->watchers, 1);
        futex_wait(&shared->completed, seen, HEALTH_SECONDS);
        add(&shared->watchers, -1);
    }
}

static dojo_status simple_call(dojo_worker *worker, operation operation, uint64_t session,
                               double limit, int64_t *number, char **error) {
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return lost(error);
    dojo_status status = call(worker, slot, operation, session, limit, error);
    if (number != NULL)
        *number = slot->number;
    give_back(worker, slot);
    return status;
}

dojo_status dojo_remote_materialize(dojo_worker *worker, uint64_t session, double limit,
                                    char **error) {
    return simple_call(worker, OPERATION_MATERIALIZE, session, limit, NULL, error);
}

dojo_status dojo_remote_verify(dojo_worker *worker, uint64_t session, double limit, char **error) {
    return simple_call(worker, OPERATION_VERIFY, session, limit, NULL, error);
}

dojo_status dojo_remote_text_size(dojo_worker *worker, uint64_t session, double limit,
                                  int64_t *bytes, char **error) {
    return simple_call(worker, OPERATION_TEXT_SIZE, session, limit, bytes, error);
}

dojo_status dojo_remote_export(dojo_worker *worker, uint64_t session, dojo_export what,
                               double limit, char **data, size_t *size, char **error) {
    slot *slot = take_slot(worker);
    if (slot == NULL)
        return lost(error);
    slot->number = what;
    dojo_status status = call(worker, slot, OPERATION_EXPORT, session, limit, error);
    if (status == DOJO_OK) {
        *size = slot->size;
        *data = malloc(slot->size + 1);
        if (*data == NULL)
            abort();
        (*data)[slot->size] = '\0';
        if (!get_payload(worker, slot, *data)) {
            free(*data);
            status = fail(DOJO_ERROR_LOST, error, "the result cannot be read");
        }
    }
    give_back(worker, slot);
    return status;
}
