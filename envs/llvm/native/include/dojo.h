/* The C core of CompilerDojo: one LLVM module per session, reached through the stable LLVM-C API.
 *
 * libLLVM (19 to 22) is loaded with dlopen when dojo_library_open is called, so neither its headers
 * nor its version matter when this library is built. Functions that can fail return a dojo_status
 * and, when it is not DOJO_OK, store a message in *error that the caller frees with
 * dojo_string_free. Sessions share nothing that is not locked: each may be used by one thread at a
 * time, and any number of sessions may run in parallel.
 */
#ifndef DOJO_H
#define DOJO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DOJO_API __attribute__((visibility("default")))

#define DOJO_INSTCOUNT_SIZE 70
#define DOJO_AUTOPHASE_SIZE 56
#define DOJO_GRAPH_NODE_COLUMNS 7
#define DOJO_GRAPH_EDGE_COLUMNS 2

typedef enum dojo_status {
    DOJO_OK = 0,
    DOJO_ERROR_LIBRARY = 1, /* libLLVM is absent, unusable or of a version outside 19..22 */
    DOJO_ERROR_PROGRAM =
        2, /* the program is empty, defines nothing, does not verify, or has no target here */
    DOJO_ERROR_PASS = 3,  /* LLVM refused the pipeline text */
    DOJO_ERROR_EMIT = 4,  /* no machine code could be emitted */
    DOJO_ERROR_PARSE = 5, /* the program is not IR that this LLVM can read */
    /* of a worker process, which has ended then: */
    DOJO_ERROR_CRASHED = 6, /* by this request */
    DOJO_ERROR_TIMEOUT = 7, /* by the client, because this request took too long */
    DOJO_ERROR_LOST = 8,    /* for another reason */
} dojo_status;

typedef struct dojo_library dojo_library; /* a loaded libLLVM */
typedef struct dojo_session dojo_session; /* a module in a context of its own */

/* What one walk over a module yields. `instcount` is LLVM's InstCount: all instructions, blocks,
 * defined functions, then 67 opcode counts in the order of Instruction.def. `autophase` are the 56
 * features of Autophase (arXiv 2003.00671) in the order of its reference implementation. */
typedef struct dojo_state {
    uint64_t hash[2]; /* structural hash: equal modules have equal hashes; debug info is ignored */
    double pass_seconds; /* time spent inside LLVM by the last dojo_session_run */
    int64_t changed;     /* 1 when the last dojo_session_run changed the module */
    int64_t instcount[DOJO_INSTCOUNT_SIZE];
    int64_t autophase[DOJO_AUTOPHASE_SIZE];
    float autophase_shares[DOJO_AUTOPHASE_SIZE]; /* autophase / all instructions, at most 1 */
} dojo_state;

/* A program graph in ProGraML's schema (arXiv 2003.10536): the header of one block of memory that
 * may be copied as a whole. `bytes` long, it goes on with three int32 arrays without gaps:
 *
 *     nodes     DOJO_GRAPH_NODE_COLUMNS    kind, opcode, type, element, width, length, function
 *     edges     2                          source, target
 *     edges     DOJO_GRAPH_EDGE_COLUMNS    flow, position
 *
 * kind: 0 instruction, 1 variable, 2 constant. opcode: LLVMOpcode of an instruction. type and
 * element: LLVMTypeKind of the value and of what arrays and vectors are made of. width: binary
 * digits of the element's size in bits (i1 1, i8 4, i32 6; 0 when it has none). length: binary
 * digits of the number of elements (1 for scalars) or of a struct's fields. function: index among
 * the functions that the module defines. flow: 0 control, 1 data, 2 call.
 *
 * Node 0, the root, stands for what is outside the module: kind 0, function -1, all else 0. The
 * nodes of a function come together: arguments, instructions, each followed by its variable,
 * constants. Edges come by instruction (operands, variable, control), then the root's calls by
 * function, then the other calls by call site. Equal modules have equal graphs.
 *
 * - Control: to the next instruction; from a terminator to its successors, position the index of
 *   the successor.
 * - Data: to an instruction from its operands, position the index of the operand; from an
 *   instruction to its variable, position 0. An argument or result that is used has one variable.
 *   Each use of a constant, which global variables and aliases are, has a constant of its own.
 *   Functions, blocks, metadata and inline assembly are no data.
 * - Call: from a call (invoke, callbr) to the callee's entry and back from each of its terminators
 *   without successors, position 0; when the module only declares the callee, to the root and back.
 *   The root calls the functions that are neither internal nor private. Calls through pointers,
 *   aliases and of inline assembly have no call edge. */
typedef struct dojo_graph {
    int64_t bytes;
    int64_t nodes;
    int64_t edges;
    int64_t functions; /* that the module defines */
} dojo_graph;

/* A function that the module defines, as it would be known in any module. The hash covers its type,
 * calling convention, attributes and body, but neither its name, linkage and place nor debug info
 * and other metadata attached to anything. What it refers to counts as follows: external symbols by
 * their names; local constants by type and value; local variables and functions by type; itself as
 * itself. */
typedef struct dojo_function {
    uint64_t hash[2];
    int64_t instructions;
    int64_t standard; /* 1 when it is a member of namespace std */
} dojo_function;

DOJO_API void dojo_string_free(char *string);

/* Load libLLVM from `path`. */
DOJO_API dojo_status dojo_library_open(const char *path, dojo_library **out, char **error);
DOJO_API void dojo_library_version(const dojo_library *library, unsigned version[3]);
/* Every session must be closed before its library. */
DOJO_API void dojo_library_close(dojo_library *library);

/* Open a program given as LLVM bitcode or as textual IR (told apart by the magic number). */
DOJO_API dojo_status dojo_session_open(dojo_library *library, const void *bytes, size_t size,
                                       dojo_session **out, char **error);
DOJO_API void dojo_session_close(dojo_session *session);

/* An independent session at the same state. The module is copied as bitcode and only parsed when
 * the fork is first used for more than its state, so forks that are never run cost one write of the
 * parent. */
DOJO_API dojo_status dojo_session_fork(dojo_session *session, dojo_session **out, char **error);
/* Do the parsing that a fork puts off. */
DOJO_API dojo_status dojo_session_materialize(dojo_session *session, char **error);

/* Run the passes of `pipeline` (the text of `opt -passes=`) and update the session's state. When
 * LLVM refuses the text the module and its state stay as they were. */
DOJO_API dojo_status dojo_session_run(dojo_session *session, const char *pipeline, char **error);
/* Valid until the session is closed; dojo_session_run rewrites it in place. */
DOJO_API const dojo_state *dojo_session_state(const dojo_session *session);

/* The module's program graph in memory owned by the session, valid until it runs a pass or is
 * closed. Takes time and memory linear in the size of the graph. */
DOJO_API dojo_status dojo_session_graph(dojo_session *session, const dojo_graph **out,
                                        char **error);

/* The functions that the module defines, in its order; free *functions, as bytes, with
 * dojo_string_free. */
DOJO_API dojo_status dojo_session_functions(dojo_session *session, dojo_function **functions,
                                            size_t *count, char **error);

DOJO_API dojo_status dojo_session_verify(dojo_session *session, char **error);
/* Textual IR; free with dojo_string_free. */
DOJO_API dojo_status dojo_session_ir(dojo_session *session, char **out, char **error);
/* The module as bitcode in memory owned by the session, valid until it runs a pass or is closed. */
DOJO_API dojo_status dojo_session_bitcode(dojo_session *session, const char **data, size_t *size,
                                          char **error);
/* The relocatable object that LLVM's code generator emits (-O2 code generation, position
 * independent, the target's baseline CPU); free *data with dojo_string_free. */
DOJO_API dojo_status dojo_session_object(dojo_session *session, char **data, size_t *size,
                                         char **error);
/* Bytes of all .text sections of that object. */
DOJO_API dojo_status dojo_session_text_size(dojo_session *session, int64_t *bytes, char **error);

/* The floor of a benchmark: `count` pipelines run one after the other by a bare loop over
 * LLVMRunPasses on a fresh copy of the session's module. pass_seconds[i] and walk_seconds[i] (both
 * of length count) receive the time of pass i alone and of the walk (use-list order, hash, counts,
 * features) after it. */
DOJO_API dojo_status dojo_benchmark_floor(dojo_session *session, const char *const *pipelines,
                                          size_t count, double *pass_seconds, double *walk_seconds,
                                          char **error);

/* The same sessions in a worker process (the program dojo-worker), which serves its client through
 * shared memory. A session is named by a number that is valid as long as the worker lives. Calls
 * that run passes or generate code take a limit in seconds, or 0 for none: the worker is killed
 * when a pass takes longer. Any number of threads may call at once. */
typedef struct dojo_worker dojo_worker;

typedef enum dojo_export {
    DOJO_EXPORT_BITCODE,
    DOJO_EXPORT_IR,
    DOJO_EXPORT_OBJECT,
    DOJO_EXPORT_GRAPH,     /* a dojo_graph */
    DOJO_EXPORT_FUNCTIONS, /* an array of dojo_function */
} dojo_export;

/* Bytes that the memory file must have at least; it is sparse. */
DOJO_API size_t dojo_worker_memory_size(void);
/* Map the memory file, before the process that serves it is started. The file stays the caller's.
 */
DOJO_API dojo_status dojo_worker_prepare(int memory, dojo_worker **out, char **error);
/* Wait until the process, a child of this one, is ready. */
DOJO_API dojo_status dojo_worker_start(dojo_worker *worker, int pid, double seconds, char **error);
DOJO_API bool dojo_worker_is_alive(dojo_worker *worker);
DOJO_API void dojo_worker_version(const dojo_worker *worker, unsigned version[3]);
/* Unmap the memory; no call may be under way. */
DOJO_API void dojo_worker_close(dojo_worker *worker);

DOJO_API dojo_status dojo_remote_open(dojo_worker *worker, const void *bytes, size_t size,
                                      double limit, uint64_t *out, dojo_state *state, char **error);
/* Does not wait for the worker. */
DOJO_API void dojo_remote_close(dojo_worker *worker, uint64_t session);
DOJO_API dojo_status dojo_remote_fork(dojo_worker *worker, uint64_t session, double limit,
                                      uint64_t *out, char **error);
DOJO_API dojo_status dojo_remote_materialize(dojo_worker *worker, uint64_t session, double limit,
                                             char **error);
/* Run pipelines, one per line, each as dojo_session_run would. */
DOJO_API dojo_status dojo_remote_run(dojo_worker *worker, uint64_t session, const char *pipelines,
                                     double limit, dojo_state *state, char **error);
/* The same in two halves, so that several sessions run at once. *out becomes DOJO_NO_RUN, and
 * nothing was begun, when too many runs are begun and not ended; ending a run sets it to that, too.
 * Threads of the worker that sleep are only woken by dojo_worker_wait and dojo_remote_end_run. */
#define DOJO_NO_RUN UINT32_MAX
DOJO_API dojo_status dojo_remote_begin_run(dojo_worker *worker, uint64_t session,
                                           const char *pipelines, uint32_t *out, char **error);
DOJO_API dojo_status dojo_remote_end_run(dojo_worker *worker, uint32_t *run, double limit,
                                         dojo_state *state, char **error);
/* Wait until all of `count` runs have been taken up and at least one can be ended without waiting;
 * done[i] becomes 1 for each that can, else 0. */
DOJO_API void dojo_worker_wait(dojo_worker *worker, const uint32_t *runs, size_t count,
                               double limit, char *done);
DOJO_API dojo_status dojo_remote_verify(dojo_worker *worker, uint64_t session, double limit,
                                        char **error);
DOJO_API dojo_status dojo_remote_text_size(dojo_worker *worker, uint64_t session, double limit,
                                           int64_t *bytes, char **error);
/* Free *data with dojo_string_free; a NUL follows the bytes. */
DOJO_API dojo_status dojo_remote_export(dojo_worker *worker, uint64_t session, dojo_export what,
                                        double limit, char **data, size_t *size, char **error);

/* A just-in-time compiler of kernels for one CPU. Any number of threads may use it at once. */
typedef struct dojo_jit dojo_jit;

/* void kernel(void **operands, void *workspace, int64_t begin, int64_t end) */
typedef void (*dojo_kernel_function)(void **operands, void *workspace, int64_t begin, int64_t end);

/* A kernel in executable memory. */
typedef struct dojo_kernel {
    dojo_kernel_function function;
    const char *object; /* the relocatable object it was linked from */
    size_t object_size;
    double parse_seconds;
    double pass_seconds;
    double code_seconds; /* code generation */
    double link_seconds;
} dojo_kernel;

/* Target triple, CPU name and features ("+avx2,-sse4a,...") of this machine; free each with
 * dojo_string_free. */
DOJO_API dojo_status dojo_jit_host(dojo_library *library, char **triple, char **cpu,
                                   char **features, char **error);

/* A compiler for the target, CPU name and features that LLVM knows by these names; code generation
 * level 0 (none) to 3 (aggressive). Fails with DOJO_ERROR_LIBRARY when this libLLVM lacks ORC. */
DOJO_API dojo_status dojo_jit_open(dojo_library *library, const char *triple, const char *cpu,
                                   const char *features, int level, dojo_jit **out, char **error);
/* The compiler's memory is freed when its last kernel is closed, too. */
DOJO_API void dojo_jit_close(dojo_jit *jit);

/* Compile the function `symbol` that textual IR defines. `pipeline` (the text of `opt -passes=`) is
 * run first; NULL or "" runs nothing. With `verify` LLVM's verifier checks the IR, at a cost;
 * without it IR that is well-formed but invalid (a use that its definition does not dominate) is
 * undefined behaviour. Other functions that the IR calls come from the process. */
DOJO_API dojo_status dojo_jit_compile(dojo_jit *jit, const char *ir, size_t size,
                                      const char *symbol, const char *pipeline, bool verify,
                                      dojo_kernel **out, char **error);
/* The assembly text of what dojo_jit_compile would link; free it with dojo_string_free. */
DOJO_API dojo_status dojo_jit_assembly(dojo_jit *jit, const char *ir, size_t size,
                                       const char *pipeline, char **out, char **error);
/* Free the kernel's code, which nobody may be running. */
DOJO_API void dojo_kernel_close(dojo_kernel *kernel);

/* Threads that run kernels together, of which the caller is one. The others spin for a while after
 * each run, then sleep. Calls take turns. After a fork the child can only close its copy. */
typedef struct dojo_team dojo_team;

/* One run of a kernel: for n threads [begin, end) is divided into n contiguous, nearly equal parts,
 * and part i runs with the workspace at workspace + i * workspace_bytes. Thread i runs part i
 * unless another one is done before it gets a CPU. Empty parts are not run. */
typedef struct dojo_work {
    dojo_kernel_function function;
    void **operands;
    void *workspace;
    size_t workspace_bytes;
    int64_t begin;
    int64_t end;
} dojo_work;

/* How often to run what is timed: `warmup` times before the clock starts, then `repeats` samples,
 * each as many runs as fill `min_seconds`. */
typedef struct dojo_protocol {
    int64_t warmup;
    double min_seconds;
    int64_t repeats;
    int64_t pinned; /* 1: each thread stays on a CPU of its own meanwhile */
} dojo_protocol;

/* At least one thread; NULL when the system starts no more. */
DOJO_API dojo_team *dojo_team_open(int64_t threads);
DOJO_API void dojo_team_close(dojo_team *team);
DOJO_API void dojo_team_run(dojo_team *team, const dojo_work *work);
/* seconds[i], of length `repeats`, receives the time of one run in sample i; *runs how many the
 * samples were in all. False, and nothing was run, when the threads cannot be pinned: the caller
 * may use fewer CPUs than the team has threads. */
DOJO_API bool dojo_team_time(dojo_team *team, const dojo_work *work, const dojo_protocol *protocol,
                             double *seconds, int64_t *runs);

#ifdef __cplusplus
}
#endif

#endif
