/* Hashes of functions that do not depend on the module around them, for finding duplicates. */
#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* Whether it comes from a header of the C++ standard library, going by the Itanium C++ ABI's names:
 * St and S with another letter stand for std and its members. */
static bool is_standard(const llvm_c *llvm, LLVMValueRef function) {
    static const char *const prefixes[] = {
        "_ZSt", "_ZNS", "_ZNKS", "_ZN9__gnu_cxx", "_ZNK9__gnu_cxx",
    };
    size_t size;
    const char *name = llvm->GetValueName2(function, &size);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void walk_alone(walk *w, LLVMValueRef function, dojo_function *out) {
    int64_t before = w->state->instcount[0];
    pointer_map_clear(&w->memory->passing);
    w->function = function;
    w->hash = (hash128){8, 8};
    w->next_metadata = 1;
    mix_hash(&w->hash, type_hash(w, w->llvm->GlobalGetValueType(function)));
    walk_function(w, function);
    *out = (dojo_function){.hash = {w->hash.a, w->hash.b},
                           .instructions = w->state->instcount[0] - before,
                           .standard = is_standard(w->llvm, function)};
}

dojo_status dojo_session_functions(dojo_session *session, dojo_function **functions, size_t *count,
                                   char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    dojo_state counts; /* not the session's: only a whole module has a state */
    memset(&counts, 0, sizeof counts);
    walk w = {.llvm = llvm,
              .context = session->context,
              .memory = &session->memory,
              .state = &counts,
              .first_custom_metadata = session->library->first_custom_metadata};
    LLVMValueRef f;
    size_t defined = 0;
    for (f = llvm->GetFirstFunction(session->module); f; f = llvm->GetNextFunction(f))
        defined += !llvm->IsDeclaration(f);
    dojo_function *out = calloc(defined + 1, sizeof *out);
    if (out == NULL)
        abort();
    *functions = out;
    *count = defined;
    for (f = llvm->GetFirstFunction(session->module); f; f = llvm->GetNextFunction(f))
        if (!llvm->IsDeclaration(f))
            walk_alone(&w, f, out++);
    return DOJO_OK;
}
