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

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DOJO_API __attribute__((visibility("default")))

#define DOJO_INSTCOUNT_SIZE 70
#define DOJO_AUTOPHASE_SIZE 56

typedef enum dojo_status {
    DOJO_OK = 0,
    DOJO_ERROR_LIBRARY = 1, /* libLLVM is absent, unusable or of a version outside 19..22 */
    DOJO_ERROR_PROGRAM =
        2, /* the program is empty, defines nothing, does not verify, or has no target here */
    DOJO_ERROR_PASS = 3,  /* LLVM refused the pipeline text */
    DOJO_ERROR_EMIT = 4,  /* no machine code could be emitted */
    DOJO_ERROR_PARSE = 5, /* the program is not IR that this LLVM can read */
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

#ifdef __cplusplus
}
#endif

#endif
