/* The worker process: serves the requests of one client on a few threads, so that whatever LLVM
 * does to its process is not done to the client's.
 *
 * Usage: dojo-worker MEMORY_FD LIFELINE_FD PARENT_PID LIBLLVM THREADS MEMORY_LIMIT_BYTES
 *
 * It ends when the other end of the lifeline (a pipe) is closed or when its parent is gone. When a
 * request crashes, the thread's signal handler marks its slot, so that the client knows which. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "channel.h"
#include "internal.h"

enum { ALTERNATE_STACK = 64 << 10, THREAD_STACK = 64 << 20, THREAD_ARENA = 64 << 20 };

static channel *shared;
static int memory_fd;
static dojo_library *library;
static _Thread_local slot *current;

/* Say what ended the process, and end it. Async-signal-safe. */
static _Noreturn void crash(const char *reason) {
    slot *culprit = current;
    if (culprit != NULL) {
        size_t length = strlen(reason);
        if (length >= TEXT_CAPACITY)
            length = TEXT_CAPACITY - 1;
        memcpy(culprit->text, reason, length);
        culprit->text[length] = '\0';
        store(&culprit->state, SLOT_CRASHED);
    }
    store(&shared->dead, 1);
    for (size_t i = 0; i < SLOT_COUNT; i++)
        if (load(&shared->slots[i].sleeping))
            futex_wake(&shared->slots[i].state, 1);
    add(&shared->completed, 1);
    futex_wake(&shared->completed, SLOT_COUNT);
    _exit(1);
}

static void on_signal(int signal) {
    crash(signal == SIGSEGV   ? "segmentation fault"
          : signal == SIGABRT ? "abort (a failed assertion, or memory ran out)"
          : signal == SIGBUS  ? "bus error"
          : signal == SIGFPE  ? "arithmetic exception"
          : signal == SIGILL  ? "illegal instruction (unreachable code was reached)"
                              : "fatal signal");
}

static void on_fatal_error(const char *reason) {
    crash(reason);
}

static void catch_signals(void) {
    static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the client's business */
}

static bool transfer(bool writing, char *bytes, size_t size, off_t offset) {
    while (size > 0) {
        ssize_t done = writing ? pwrite(memory_fd, bytes, size, offset)
                               : pread(memory_fd, bytes, size, offset);
        if (done == 0 || (done < 0 && errno != EINTR))
            return false;
        if (done > 0) {
            bytes += done;
            size -= (size_t)done;
            offset += done;
        }
    }
    return true;
}

static void reply_payload(slot *slot, const char *bytes, size_t size) {
    if ((int64_t)size > PAYLOAD_CAPACITY ||
        !transfer(true, (char *)bytes, size, payload_offset(shared, slot)))
        crash("no shared memory for the result");
    slot->size = size;
}

/* The payload of a request, NUL-terminated; the caller frees it. */
static char *request_payload(const slot *slot) {
    char *bytes = malloc(slot->size + 1);
    if (bytes == NULL || !transfer(false, bytes, slot->size, payload_offset(shared, slot)))
        crash("no memory for the request");
    bytes[slot->size] = '\0';
    return bytes;
}

/* Run pipelines, one per line. */
static dojo_status run(slot *slot, dojo_session *session, char **error) {
    char *copy = slot->has_payload ? request_payload(slot) : slot->text;
    dojo_status status = DOJO_OK;
    double seconds = 0;
    for (char *line = copy, *rest; line != NULL && status == DOJO_OK; line = rest) {
        rest = strchr(line, '\n');
        if (rest != NULL)
            *rest++ = '\0';
        slot->started = monotonic_seconds();
        status = dojo_session_run(session, line, error);
        seconds += dojo_session_state(session)->pass_seconds;
    }
    slot->result = *dojo_session_state(session);
    slot->result.pass_seconds = seconds;
    if (slot->has_payload)
        free(copy);
    return status;
}

static dojo_status export(slot *slot, dojo_session *session, char **error) {
    char *data = NULL;
    size_t size = 0;
    const char *borrowed = NULL;
    dojo_status status;
    switch ((dojo_export)slot->number) {
    case DOJO_EXPORT_IR:
        status = dojo_session_ir(session, &data, error);
        size = data != NULL ? strlen(data) : 0;
        break;
    case DOJO_EXPORT_OBJECT:
        status = dojo_session_object(session, &data, &size, error);
        break;
    case DOJO_EXPORT_GRAPH: {
        const dojo_graph *graph;
        status = dojo_session_graph(session, &graph, error);
        if (status == DOJO_OK) {
            borrowed = (const char *)graph;
            size = (size_t)graph->bytes;
        }
        break;
    }
    case DOJO_EXPORT_FUNCTIONS: {
        dojo_function *functions = NULL;
        status = dojo_session_functions(session, &functions, &size, error);
        data = (char *)functions;
        size *= sizeof *functions;
        break;
    }
    default:
        status = dojo_session_bitcode(session, &borrowed, &size, error);
        break;
    }
    if (status == DOJO_OK)
        reply_payload(slot, borrowed != NULL ? borrowed : data, size);
    dojo_string_free(data);
    return status;
}

static dojo_status perform(slot *slot, char **error) {
    dojo_session *session = (dojo_session *)(uintptr_t)slot->session;
    dojo_session *created = NULL;
    dojo_status status = DOJO_OK;
    switch ((operation)slot->operation) {
    case OPERATION_OPEN: {
        char *program = request_payload(slot);
        status = dojo_session_open(library, program, slot->size, &created, error);
        free(program);
        break;
    }
    case OPERATION_FORK:
        status = dojo_session_fork(session, &created, error);
        break;
    case OPERATION_CLOSE:
        dojo_session_close(session);
        break;
    case OPERATION_MATERIALIZE:
        status = dojo_session_materialize(session, error);
        break;
    case OPERATION_RUN:
        status = run(slot, session, error);
        break;
    case OPERATION_VERIFY:
        status = dojo_session_verify(session, error);
        break;
    case OPERATION_TEXT_SIZE:
        status = dojo_session_text_size(session, &slot->number, error);
        break;
    case OPERATION_EXPORT:
        status = export(slot, session, error);
        break;
    }
    if (created != NULL) {
        slot->session = (uint64_t)(uintptr_t)created;
        slot->result = *dojo_session_state(created);
    }
    return status;
}

static void serve(slot *slot) {
    char *error = NULL;
    slot->started = monotonic_seconds();
    store(&slot->state, SLOT_RUNNING);
    current = slot;
    slot->status = (int32_t)perform(slot, &error);
    current = NULL;
    if (error != NULL) {
        snprintf(slot->text, sizeof slot->text, "%s", error);
        dojo_string_free(error);
    }
    store(&slot->state, slot->operation == OPERATION_CLOSE ? SLOT_FREE : SLOT_DONE);
    if (load(&slot->sleeping))
        futex_wake(&slot->state, 1);
    add(&shared->completed, 1);
    /* while requests are queued the cores have better work than the client's */
    bool idle = load(&shared->enqueued) == load(&shared->dequeued);
    if (load(&shared->starving) > 0 || (idle && load(&shared->watchers) > 0))
        futex_wake(&shared->completed, SLOT_COUNT);
}

/* The next request: one thread looks for it for a while before it sleeps, because waking a thread
 * takes longer than most clients need for their next request. */
static slot *next_request(void) {
    static _Thread_local patience patience = {1000, 1000, 0};
    uint32_t index;
    for (;;) {
        uint32_t seen = load(&shared->posted);
        bool found = queue_pop(shared, &index);
        double spin = found ? 0 : patience_seconds(&patience);
        if (spin > 0 && load(&shared->spinning) == 0) {
            add(&shared->spinning, 1);
            double end = monotonic_seconds() + spin;
            while (!(found = queue_pop(shared, &index)) && monotonic_seconds() < end)
                for (int i = 0; i < 16; i++)
                    relax();
            add(&shared->spinning, -1);
            patience_learn(&patience, spin, found);
        }
        if (found) {
            wake_threads(shared);
            return &shared->slots[index];
        }
        add(&shared->idle, 1);
        futex_wait(&shared->posted, seen, 0);
        add(&shared->idle, -1);
    }
}

static void *serve_forever(void *unused) {
    (void)unused;
    /* a handler that runs on the thread's own stack cannot report that this stack overflowed */
    stack_t stack = {.ss_sp = malloc(ALTERNATE_STACK), .ss_size = ALTERNATE_STACK};
    sigaltstack(&stack, NULL);
    for (;;)
        serve(next_request());
    return NULL;
}

static _Noreturn void fail_to_start(const char *reason) {
    snprintf(shared->error, sizeof shared->error, "%s", reason);
    store(&shared->readiness, WORKER_FAILED);
    futex_wake(&shared->readiness, 1);
    exit(1);
}

static void install_fatal_error_handler(void) {
    void (*install)(void (*)(const char *));
    *(void **)&install = dlsym(library->handle, "LLVMInstallFatalErrorHandler");
    if (install != NULL)
        install(on_fatal_error);
}

int main(int count, char **arguments) {
    if (count != 7)
        return 2;
    memory_fd = atoi(arguments[1]);
    struct pollfd lifeline = {.fd = atoi(arguments[2]), .events = POLLIN};
    pid_t parent = atoi(arguments[3]);
    int threads = atoi(arguments[5]);
    rlim_t memory_limit = strtoull(arguments[6], NULL, 10);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (shared == MAP_FAILED)
        return 2;

    char *error = NULL;
    if (dojo_library_open(arguments[4], &library, &error) != DOJO_OK)
        fail_to_start(error);
    dojo_library_version(library, shared->version);
    install_fatal_error_handler();
    catch_signals();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, serve_forever, NULL) != 0)
            fail_to_start("cannot create a thread");
    }
    if (memory_limit > 0) {
        /* beside the address space that threads reserve and mostly do not use */
        memory_limit += (rlim_t)threads * (THREAD_STACK + THREAD_ARENA);
        setrlimit(RLIMIT_AS, &(struct rlimit){memory_limit, memory_limit});
    }
    store(&shared->readiness, WORKER_READY);
    futex_wake(&shared->readiness, 1);

    /* forks of the client that never exec keep the lifeline open, hence the look at the parent */
    while (getppid() == parent)
        if (poll(&lifeline, 1, 500) > 0)
            break;
    _exit(0);
}
