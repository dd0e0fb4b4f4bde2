/* What the translation units of the core share. */
#ifndef DOJO_INTERNAL_H
#define DOJO_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "dojo.h"
#include "llvm_c.h"
#include "pointer_map.h"

struct dojo_library {
    void *handle;
    llvm_c llvm;
    unsigned version[3];
    LLVMPassBuilderOptionsRef pass_options;
    unsigned first_custom_metadata; /* kinds from here on are numbered as a context meets them */
    pthread_mutex_t lock;
    struct pooled_machine *machines; /* idle target machines, guarded by lock */
};

/* A module as immutable bitcode, shared between a session and its forks. */
typedef struct snapshot {
    unsigned references; /* changed with __atomic built-ins */
    LLVMMemoryBufferRef buffer;
} snapshot;

/* Scratch space of the walk. Types, attributes and constant data live as long as their context, so
 * what is known of them is kept from walk to walk; everything else is looked up afresh each time.
 */
typedef struct walk_memory {
    pointer_map lasting;
    pointer_map passing;
    unsigned *predecessors;
    size_t predecessors_capacity;
} walk_memory;

struct dojo_session {
    dojo_library *library;
    snapshot *snapshot;     /* the module as of now, perhaps without its target, or NULL */
    LLVMContextRef context; /* NULL until the module is needed */
    LLVMModuleRef module;
    LLVMModuleRef intrinsics; /* declarations of intrinsics as LLVM makes them */
    char *triple;
    LLVMTargetMachineRef machine; /* borrowed from the library's pool */
    char *diagnostic;             /* first error LLVM reported through its diagnostic handler */
    walk_memory memory;
    dojo_graph *graph;           /* of the module as of now, or NULL */
    LLVMMemoryBufferRef bitcode; /* of the module as of now, or NULL */
    dojo_state state;
};

char *copy_string(const char *text);
/* Store a printf-formatted message in *error (when error is not NULL) and return status. */
dojo_status fail(dojo_status status, char **error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
double now_seconds(void);

LLVMTargetMachineRef library_borrow_machine(dojo_library *library, const char *triple,
                                            char **error);
void library_return_machine(dojo_library *library, const char *triple,
                            LLVMTargetMachineRef machine);

/* Make what passes do depend on the module's text alone. */
void canonicalize(dojo_session *session);
/* Whether the module holds constants that its text does not show; reading it anew gets rid of them.
 */
bool has_stale_constants(const llvm_c *llvm, LLVMModuleRef module);
/* Fill hash, instcount and autophase of the session's state. */
void walk_module(dojo_session *session);
void walk_memory_free(walk_memory *memory);
/* Forget the graph of a module that has changed. */
void graph_drop(dojo_session *session);

#endif
