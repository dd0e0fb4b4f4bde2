/* Tests of the client and the worker process: threads that share a worker, crashes, limits, kills.
 *
 * Usage: test_channel PATH_OF_LIBLLVM PATH_OF_DOJO_WORKER; prints how many checks passed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dojo.h"

enum { THREADS = 8, ROUNDS = 40, MANY = 1500 };

static const char PROGRAM[] = "define i32 @f(i32 %x) {\n"
                              "  %slot = alloca i32\n"
                              "  store i32 %x, ptr %slot\n"
                              "  %y = load i32, ptr %slot\n"
                              "  %z = add i32 %y, 0\n"
                              "  ret i32 %z\n"
                              "}\n";

static unsigned passed, failed;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        bool holds = (condition);                                                                  \
        __atomic_add_fetch(holds ? &passed : &failed, 1, __ATOMIC_RELAXED);                        \
        if (!holds)                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
    } while (0)

typedef struct connection {
    dojo_worker *worker;
    int memory, lifeline;
    pid_t pid;
} connection;

static const char *libllvm, *program_path;

static pid_t spawn(int memory, int lifeline) {
    char numbers[3][16];
    snprintf(numbers[0], sizeof numbers[0], "%d", memory);
    snprintf(numbers[1], sizeof numbers[1], "%d", lifeline);
    snprintf(numbers[2], sizeof numbers[2], "%d", getpid());
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    execl(program_path, program_path, numbers[0], numbers[1], numbers[2], libllvm, "4", "0",
          (char *)NULL);
    _exit(127);
}

static connection connect_worker(void) {
    connection made = {.memory = memfd_create("test", 0)};
    int ends[2];
    char *error = NULL;
    if (ftruncate(made.memory, (off_t)dojo_worker_memory_size()) != 0 || pipe(ends) != 0 ||
        dojo_worker_prepare(made.memory, &made.worker, &error) != DOJO_OK)
        abort();
    made.lifeline = ends[1];
    fcntl(made.lifeline, F_SETFD, FD_CLOEXEC);
    made.pid = spawn(made.memory, ends[0]);
    close(ends[0]);
    dojo_status status = dojo_worker_start(made.worker, made.pid, 120, &error);
    if (status != DOJO_OK) {
        fprintf(stderr, "the worker does not start: %s\n", error);
        exit(1);
    }
    return made;
}

/* The worker ends by itself when its lifeline does. */
static void disconnect(connection *made) {
    close(made->lifeline);
    int status;
    CHECK(waitpid(made->pid, &status, 0) == made->pid);
    CHECK(!dojo_worker_is_alive(made->worker));
    dojo_worker_close(made->worker);
    close(made->memory);
}

/* Frees the error. */
static bool is(dojo_status status, dojo_status expected, char **error) {
    if (status != expected)
        fprintf(stderr, "status %d instead of %d: %s\n", status, expected, *error ? *error : "");
    dojo_string_free(*error);
    *error = NULL;
    return status == expected;
}

static uint64_t open_program(dojo_worker *worker, dojo_state *state) {
    char *error = NULL;
    uint64_t session = 0;
    CHECK(is(dojo_remote_open(worker, PROGRAM, strlen(PROGRAM), 60, &session, state, &error),
             DOJO_OK, &error));
    return session;
}

typedef struct hammer {
    dojo_worker *worker;
    uint64_t hash[2];
} hammer;

static void *strike(void *argument) {
    hammer *own = argument;
    dojo_state state;
    for (int round = 0; round < ROUNDS; round++) {
        char *error = NULL, *data = NULL;
        size_t size = 0;
        uint64_t fork = 0, session = open_program(own->worker, &state);
        uint32_t run;
        CHECK(is(dojo_remote_begin_run(own->worker, session, "sroa\ninstcombine", &run, &error),
                 DOJO_OK, &error));
        CHECK(is(dojo_remote_end_run(own->worker, &run, 60, &state, &error), DOJO_OK, &error));
        CHECK(run == DOJO_NO_RUN);
        CHECK(is(dojo_remote_run(own->worker, session, "no-such-pass", 60, &state, &error),
                 DOJO_ERROR_PASS, &error));
        CHECK(is(dojo_remote_fork(own->worker, session, 60, &fork, &error), DOJO_OK, &error));
        dojo_remote_close(own->worker, session);
        CHECK(is(dojo_remote_export(own->worker, fork, DOJO_EXPORT_IR, 60, &data, &size, &error),
                 DOJO_OK, &error));
        CHECK(data != NULL && strlen(data) == size && strstr(data, "ret i32 %0") != NULL);
        dojo_string_free(data);
        dojo_remote_close(own->worker, fork);
        memcpy(own->hash, state.hash, sizeof own->hash);
    }
    return NULL;
}

static void test_threads(void) {
    connection made = connect_worker();
    hammer hammers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        hammers[i] = (hammer){.worker = made.worker};
        pthread_create(&threads[i], NULL, strike, &hammers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < THREADS; i++)
        CHECK(memcmp(hammers[i].hash, hammers[0].hash, sizeof hammers[0].hash) == 0);
    disconnect(&made);
}

static void test_more_runs_than_slots(void) {
    connection made = connect_worker();
    static uint64_t sessions[MANY];
    static uint32_t runs[MANY];
    size_t begun = 0;
    dojo_state state;
    char *error = NULL;
    for (size_t i = 0; i < MANY; i++) {
        sessions[i] = open_program(made.worker, &state);
        CHECK(dojo_remote_begin_run(made.worker, sessions[i], "sroa", &runs[i], &error) == DOJO_OK);
        begun += runs[i] != DOJO_NO_RUN;
    }
    CHECK(begun > 0 && begun < MANY);
    for (size_t i = MANY; i-- > 0;) {
        if (runs[i] != DOJO_NO_RUN)
            CHECK(dojo_remote_end_run(made.worker, &runs[i], 60, &state, &error) == DOJO_OK);
        dojo_remote_close(made.worker, sessions[i]);
    }
    disconnect(&made);
}

static void test_crash(void) {
    connection made = connect_worker();
    dojo_state state;
    char *error = NULL;
    uint64_t session = open_program(made.worker, &state);
    dojo_status status =
        dojo_remote_run(made.worker, session, "trigger-crash-module", 60, &state, &error);
    CHECK(error != NULL && strncmp(error, "abort", 5) == 0);
    CHECK(is(status, DOJO_ERROR_CRASHED, &error));
    int ended;
    CHECK(waitpid(made.pid, &ended, 0) == made.pid);
    for (int i = 0; i < MANY; i++)
        dojo_remote_close(made.worker, session);
    CHECK(is(dojo_remote_run(made.worker, session, "sroa", 60, &state, &error), DOJO_ERROR_LOST,
             &error));
    close(made.lifeline);
    dojo_worker_close(made.worker);
    close(made.memory);
}

/* A pass list that takes minutes. */
static char *endless(void) {
    static const char once[] = "default<O3>,";
    size_t count = 100000, length = sizeof once - 1;
    char *text = malloc(count * length);
    if (text == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * length, once, length);
    text[count * length - 1] = '\0';
    return text;
}

static void test_limit(bool in_halves) {
    connection made = connect_worker();
    dojo_state state;
    char *error = NULL, *text = endless();
    uint64_t slow = open_program(made.worker, &state), quick = open_program(made.worker, &state);
    uint32_t runs[2];
    char done[2];
    CHECK(dojo_remote_begin_run(made.worker, slow, text, &runs[0], &error) == DOJO_OK);
    CHECK(dojo_remote_begin_run(made.worker, quick, "sroa", &runs[1], &error) == DOJO_OK);
    dojo_worker_wait(made.worker, runs, 2, 60, done);
    CHECK(!done[0] && done[1]);
    if (in_halves) {
        dojo_worker_wait(made.worker, runs, 1, 0.2, done);
        CHECK(done[0]);
    }
    CHECK(is(dojo_remote_end_run(made.worker, &runs[0], 0.2, &state, &error), DOJO_ERROR_TIMEOUT,
             &error));
    CHECK(is(dojo_remote_end_run(made.worker, &runs[1], 60, &state, &error), DOJO_OK, &error));
    free(text);
    disconnect(&made);
}

static void *be_killed(void *argument) {
    dojo_worker *worker = argument;
    dojo_state state;
    for (;;) {
        char *error = NULL;
        uint64_t session = 0;
        dojo_status status =
            dojo_remote_open(worker, PROGRAM, strlen(PROGRAM), 60, &session, &state, &error);
        if (status == DOJO_OK)
            status = dojo_remote_run(worker, session, "sroa", 60, &state, &error);
        if (status == DOJO_OK)
            dojo_remote_close(worker, session);
        else {
            CHECK(is(status, DOJO_ERROR_LOST, &error));
            return NULL;
        }
    }
}

static void test_kill(void) {
    for (unsigned delay = 0; delay < 5; delay++) {
        connection made = connect_worker();
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, be_killed, made.worker);
        usleep(delay * 3000);
        kill(made.pid, SIGKILL);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        disconnect(&made);
    }
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: %s PATH_OF_LIBLLVM PATH_OF_DOJO_WORKER\n", arguments[0]);
        return 2;
    }
    libllvm = arguments[1];
    program_path = arguments[2];
    test_threads();
    test_more_runs_than_slots();
    test_crash();
    test_limit(false);
    test_limit(true);
    test_kill();
    printf("%u checks passed\n", passed);
    if (failed > 0)
        fprintf(stderr, "%u checks failed\n", failed);
    return failed > 0;
}
