/* Sessions: a module that is opened, transformed, forked and asked for its bitcode, text and
 * machine code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void snapshot_release(const llvm_c *llvm, snapshot *shared) {
    if (shared != NULL && __atomic_sub_fetch(&shared->references, 1, __ATOMIC_ACQ_REL) == 0) {
        llvm->DisposeMemoryBuffer(shared->buffer);
        free(shared);
    }
}

static snapshot *snapshot_new(LLVMMemoryBufferRef buffer) {
    snapshot *shared = malloc(sizeof *shared);
    if (shared == NULL)
        abort();
    *shared = (snapshot){1, buffer};
    return shared;
}

/* Without a handler LLVM prints errors and may exit the process. */
static void keep_diagnostic(LLVMDiagnosticInfoRef info, void *opaque) {
    dojo_session *session = opaque;
    const llvm_c *llvm = &session->library->llvm;
    if (session->diagnostic != NULL || llvm->GetDiagInfoSeverity(info) != DIAGNOSTIC_ERROR)
        return;
    char *description = llvm->GetDiagInfoDescription(info);
    session->diagnostic = copy_string(description);
    llvm->DisposeMessage(description);
}

static void drop_diagnostic(dojo_session *session) {
    free(session->diagnostic);
    session->diagnostic = NULL;
}

/* Textual IR cannot be read by a context that discards the names of values. */
static LLVMContextRef context_new(dojo_session *session, bool discard_names) {
    const llvm_c *llvm = &session->library->llvm;
    LLVMContextRef context = llvm->ContextCreate();
    llvm->ContextSetDiscardValueNames(context, discard_names);
    llvm->ContextSetDiagnosticHandler(context, keep_diagnostic, session);
    return context;
}

static bool is_bitcode(const unsigned char *bytes, size_t size) {
    static const unsigned char raw[4] = {'B', 'C', 0xC0, 0xDE},
                               wrapped[4] = {0xDE, 0xC0, 0x17, 0x0B};
    return size >= 4 && (memcmp(bytes, raw, 4) == 0 || memcmp(bytes, wrapped, 4) == 0);
}

static bool has_definition(const llvm_c *llvm, LLVMModuleRef module) {
    for (LLVMValueRef f = llvm->GetFirstFunction(module); f != NULL; f = llvm->GetNextFunction(f))
        if (!llvm->IsDeclaration(f))
            return true;
    return false;
}

static void drop_module(dojo_session *session) {
    const llvm_c *llvm = &session->library->llvm;
    if (session->module != NULL)
        llvm->DisposeModule(session->module);
    if (session->intrinsics != NULL)
        llvm->DisposeModule(session->intrinsics);
    if (session->context != NULL)
        llvm->ContextDispose(session->context);
    if (session->machine != NULL)
        library_return_machine(session->library, session->triple, session->machine);
    /* everything remembered was about that context */
    pointer_map_clear(&session->memory.lasting);
    session->module = session->intrinsics = NULL;
    session->context = NULL;
    session->machine = NULL;
}

/* Parse into session->module; takes the buffer only when `text` is set. */
static dojo_status parse(dojo_session *session, LLVMMemoryBufferRef buffer, bool text,
                         char **error) {
    const llvm_c *llvm = &session->library->llvm;
    char *message = NULL;
    drop_diagnostic(session);
    session->context = context_new(session, !text);
    LLVMBool failed =
        text ? llvm->ParseIRInContext(session->context, buffer, &session->module, &message)
             : llvm->ParseBitcodeInContext2(session->context, buffer, &session->module);
    if (!failed)
        return DOJO_OK;
    session->module = NULL;
    dojo_status status = fail(DOJO_ERROR_PARSE, error, "%s",
                              message               ? message
                              : session->diagnostic ? session->diagnostic
                                                    : "LLVM could not read the bitcode");
    llvm->DisposeMessage(message);
    return status;
}

/* After parsing: target, machine and the canonical order of use lists. */
static dojo_status prepare(dojo_session *session, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    if (session->triple != NULL)
        llvm->SetTarget(session->module, session->triple);
    if (llvm->GetTarget(session->module)[0] == '\0') {
        char *triple = llvm->GetDefaultTargetTriple();
        llvm->SetTarget(session->module, triple);
        llvm->DisposeMessage(triple);
    }
    llvm->SetModuleIdentifier(session->module, "program", 7);
    if (session->triple == NULL)
        session->triple = copy_string(llvm->GetTarget(session->module));
    session->machine = library_borrow_machine(session->library, session->triple, error);
    if (session->machine == NULL)
        return DOJO_ERROR_PROGRAM;
    canonicalize(session);
    return DOJO_OK;
}

static dojo_session *session_new(dojo_library *library) {
    dojo_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        abort();
    session->library = library;
    return session;
}

/* Without a target LLVM leaves the symbol table for linkers out, most of a small module's cost. */
static void take_snapshot(dojo_session *session) {
    const llvm_c *llvm = &session->library->llvm;
    if (session->snapshot != NULL)
        return;
    if (session->triple != NULL)
        llvm->SetTarget(session->module, "");
    session->snapshot = snapshot_new(llvm->WriteBitcodeToMemoryBuffer(session->module));
    if (session->triple != NULL)
        llvm->SetTarget(session->module, session->triple);
}

static dojo_status check(dojo_session *session, char **error) {
    if (!has_definition(&session->library->llvm, session->module))
        return fail(DOJO_ERROR_PROGRAM, error, "the module defines no function");
    return dojo_session_verify(session, error);
}

static dojo_status open_module(dojo_session *session, const void *bytes, size_t size,
                               char **error) {
    const llvm_c *llvm = &session->library->llvm;
    bool text = !is_bitcode(bytes, size);
    LLVMMemoryBufferRef buffer =
        llvm->CreateMemoryBufferWithMemoryRangeCopy(bytes, size, "program");
    if (!text)
        session->snapshot = snapshot_new(buffer);
    dojo_status status = parse(session, buffer, text, error);
    if (status == DOJO_OK)
        status = check(session, error);
    if (status == DOJO_OK && text) {
        take_snapshot(session);
        drop_module(session);
        status = parse(session, session->snapshot->buffer, false, error);
    }
    if (status == DOJO_OK)
        status = prepare(session, error);
    if (status == DOJO_OK)
        walk_module(session);
    return status;
}

dojo_status dojo_session_open(dojo_library *library, const void *bytes, size_t size,
                              dojo_session **out, char **error) {
    *out = NULL;
    if (size == 0)
        return fail(DOJO_ERROR_PROGRAM, error, "the program is empty");
    dojo_session *session = session_new(library);
    dojo_status status = open_module(session, bytes, size, error);
    if (status != DOJO_OK)
        dojo_session_close(session);
    else
        *out = session;
    return status;
}

/* What was written of a module that has changed. */
static void forget_exports(dojo_session *session) {
    graph_drop(session);
    if (session->bitcode != NULL)
        session->library->llvm.DisposeMemoryBuffer(session->bitcode);
    session->bitcode = NULL;
}

void dojo_session_close(dojo_session *session) {
    if (session == NULL)
        return;
    drop_module(session);
    snapshot_release(&session->library->llvm, session->snapshot);
    walk_memory_free(&session->memory);
    forget_exports(session);
    free(session->triple);
    free(session->diagnostic);
    free(session);
}

dojo_status dojo_session_materialize(dojo_session *session, char **error) {
    if (session->module != NULL)
        return DOJO_OK;
    dojo_status status = parse(session, session->snapshot->buffer, false, error);
    return status == DOJO_OK ? prepare(session, error) : status;
}

dojo_status dojo_session_fork(dojo_session *session, dojo_session **out, char **error) {
    (void)error;
    take_snapshot(session);
    dojo_session *fork = session_new(session->library);
    __atomic_add_fetch(&session->snapshot->references, 1, __ATOMIC_RELAXED);
    fork->snapshot = session->snapshot;
    fork->triple = copy_string(session->triple);
    fork->state = session->state;
    *out = fork;
    return DOJO_OK;
}

dojo_status dojo_session_run(dojo_session *session, const char *pipeline, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    drop_diagnostic(session);
    double start = now_seconds();
    LLVMErrorRef refused = llvm->RunPasses(session->module, pipeline, session->machine,
                                           session->library->pass_options);
    double seconds = now_seconds() - start;
    if (refused != NULL) {
        char *message = llvm->GetErrorMessage(refused);
        status = fail(DOJO_ERROR_PASS, error, "%s", message);
        llvm->DisposeErrorMessage(message);
        return status;
    }
    uint64_t before[2] = {session->state.hash[0], session->state.hash[1]};
    canonicalize(session);
    walk_module(session);
    session->state.pass_seconds = seconds;
    session->state.changed =
        before[0] != session->state.hash[0] || before[1] != session->state.hash[1];
    if (session->state.changed) {
        snapshot_release(llvm, session->snapshot);
        session->snapshot = NULL;
        forget_exports(session);
    }
    if (has_stale_constants(llvm, session->module)) {
        take_snapshot(session);
        drop_module(session); /* read again when it is next needed */
    }
    return DOJO_OK;
}

const dojo_state *dojo_session_state(const dojo_session *session) {
    return &session->state;
}

dojo_status dojo_session_verify(dojo_session *session, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    char *message = NULL;
    if (llvm->VerifyModule(session->module, VERIFIER_RETURN_STATUS, &message))
        status = fail(DOJO_ERROR_PROGRAM, error, "the module does not verify: %s", message);
    llvm->DisposeMessage(message);
    return status;
}

dojo_status dojo_session_ir(dojo_session *session, char **out, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    char *text = llvm->PrintModuleToString(session->module);
    *out = copy_string(text);
    llvm->DisposeMessage(text);
    return DOJO_OK;
}

dojo_status dojo_session_bitcode(dojo_session *session, const char **data, size_t *size,
                                 char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    if (session->bitcode == NULL)
        session->bitcode = llvm->WriteBitcodeToMemoryBuffer(session->module);
    *data = llvm->GetBufferStart(session->bitcode);
    *size = llvm->GetBufferSize(session->bitcode);
    return DOJO_OK;
}

static bool has_block_addresses(const llvm_c *llvm, LLVMModuleRef module) {
    for (LLVMValueRef f = llvm->GetFirstFunction(module); f; f = llvm->GetNextFunction(f))
        for (LLVMUseRef use = llvm->GetFirstUse(f); use; use = llvm->GetNextUse(use))
            if (llvm->GetValueKind(llvm->GetUser(use)) == VALUE_BLOCK_ADDRESS)
                return true;
    return false;
}

/* A copy of the session's module; *context is NULL or to be disposed of after it. LLVM's clones of
 * modules with computed gotos mix in blocks of the module that was cloned, so these are written and
 * read again, in another context so that the names of the session's types stay free. */
static LLVMModuleRef copy_module(dojo_session *session, LLVMContextRef *context) {
    const llvm_c *llvm = &session->library->llvm;
    *context = NULL;
    if (!has_block_addresses(llvm, session->module))
        return llvm->CloneModule(session->module);
    LLVMModuleRef copy;
    LLVMMemoryBufferRef buffer = llvm->WriteBitcodeToMemoryBuffer(session->module);
    *context = context_new(session, true);
    if (llvm->ParseBitcodeInContext2(*context, buffer, &copy))
        abort(); /* what LLVM has just written */
    llvm->DisposeMemoryBuffer(buffer);
    return copy;
}

/* Code generation changes the module it works on, so it gets a copy. */
static dojo_status emit(dojo_session *session, LLVMMemoryBufferRef *object, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    dojo_status status = dojo_session_materialize(session, error);
    if (status != DOJO_OK)
        return status;
    drop_diagnostic(session);
    LLVMContextRef context;
    LLVMModuleRef copy = copy_module(session, &context);
    char *message = NULL;
    LLVMBool failed = llvm->TargetMachineEmitToMemoryBuffer(session->machine, copy, OBJECT_FILE,
                                                            &message, object);
    llvm->DisposeModule(copy);
    if (context != NULL)
        llvm->ContextDispose(context);
    if (!failed && session->diagnostic != NULL) {
        llvm->DisposeMemoryBuffer(*object);
        failed = 1;
    }
    if (failed)
        status = fail(DOJO_ERROR_EMIT, error, "%s",
                      message               ? message
                      : session->diagnostic ? session->diagnostic
                                            : "LLVM could not emit an object");
    llvm->DisposeMessage(message);
    return status;
}

dojo_status dojo_session_object(dojo_session *session, char **data, size_t *size, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    LLVMMemoryBufferRef object;
    dojo_status status = emit(session, &object, error);
    if (status != DOJO_OK)
        return status;
    *size = llvm->GetBufferSize(object);
    *data = malloc(*size);
    if (*data == NULL)
        abort();
    memcpy(*data, llvm->GetBufferStart(object), *size);
    llvm->DisposeMemoryBuffer(object);
    return DOJO_OK;
}

dojo_status dojo_session_text_size(dojo_session *session, int64_t *bytes, char **error) {
    const llvm_c *llvm = &session->library->llvm;
    LLVMMemoryBufferRef object;
    dojo_status status = emit(session, &object, error);
    if (status != DOJO_OK)
        return status;
    char *message = NULL;
    LLVMBinaryRef binary = llvm->CreateBinary(object, NULL, &message);
    if (binary == NULL) {
        status = fail(DOJO_ERROR_EMIT, error, "%s", message ? message : "unreadable object");
        llvm->DisposeMessage(message);
        llvm->DisposeMemoryBuffer(object);
        return status;
    }
    *bytes = 0;
    LLVMSectionIteratorRef section = llvm->ObjectFileCopySectionIterator(binary);
    for (; !llvm->ObjectFileIsSectionIteratorAtEnd(binary, section);
         llvm->MoveToNextSection(section)) {
        const char *name = llvm->GetSectionName(section);
        if (name != NULL && strncmp(name, ".text", 5) == 0)
            *bytes += (int64_t)llvm->GetSectionSize(section);
    }
    llvm->DisposeSectionIterator(section);
    llvm->DisposeBinary(binary);
    llvm->DisposeMemoryBuffer(object);
    return DOJO_OK;
}

dojo_status dojo_benchmark_floor(dojo_session *session, const char *const *pipelines, size_t count,
                                 double *pass_seconds, double *walk_seconds, char **error) {
    dojo_session *copy;
    dojo_status status = dojo_session_fork(session, &copy, error);
    if (status == DOJO_OK)
        status = dojo_session_materialize(copy, error);
    const llvm_c *llvm = &session->library->llvm;
    for (size_t i = 0; i < count && status == DOJO_OK; i++) {
        double start = now_seconds();
        LLVMErrorRef refused = llvm->RunPasses(copy->module, pipelines[i], copy->machine,
                                               session->library->pass_options);
        double passed = now_seconds();
        if (refused != NULL) {
            char *message = llvm->GetErrorMessage(refused);
            status = fail(DOJO_ERROR_PASS, error, "%s", message);
            llvm->DisposeErrorMessage(message);
            break;
        }
        canonicalize(copy);
        walk_module(copy);
        pass_seconds[i] = passed - start;
        walk_seconds[i] = now_seconds() - passed;
    }
    dojo_session_close(copy);
    return status;
}
