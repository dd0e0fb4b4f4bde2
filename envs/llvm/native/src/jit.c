/* Just-in-time compilation of kernels: textual IR to executable memory through ORC. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Each kernel is alone in a dynamic library of ORC's, so that names do not clash. ORC keeps these
 * until the end, so those of closed kernels are emptied and used again. */
typedef struct jit_library {
    struct jit_library *next;
    LLVMOrcJITDylibRef handle;
} jit_library;

/* A target machine serves one compilation at a time. */
typedef struct jit_machine {
    struct jit_machine *next;
    LLVMTargetMachineRef handle;
} jit_machine;

struct dojo_jit {
    dojo_library *library;
    llvm_c_jit orc;
    LLVMTargetRef target;
    char *triple, *cpu, *features;
    int level;
    LLVMTargetDataRef layout;
    LLVMOrcLLJITRef lljit;
    pthread_mutex_t lock;   /* of all that follows */
    unsigned references;    /* open kernels, and 1 until the compiler is closed */
    unsigned created;       /* libraries ever made */
    jit_library *libraries; /* emptied ones */
    jit_machine *machines;  /* idle ones */
    char *link_diagnostic;  /* what ORC reported apart from its results */
};

typedef struct linked_kernel {
    dojo_kernel kernel; /* must be first: the caller sees only this */
    dojo_jit *jit;
    jit_library *library;
    char object[];
} linked_kernel;

static dojo_status load_jit(const dojo_library *library, llvm_c_jit *orc, char **error) {
#define X(result, name, parameters)                                                                \
    *(void **)&orc->name = dlsym(library->handle, "LLVM" #name);                                   \
    if (orc->name == NULL)                                                                         \
        return fail(DOJO_ERROR_LIBRARY, error,                                                     \
                    "this libLLVM (%u.%u.%u) cannot compile kernels: it lacks LLVM" #name,         \
                    library->version[0], library->version[1], library->version[2]);
    LLVM_C_JIT(X)
#undef X
    return DOJO_OK;
}

/* Take LLVM's error, if there is one. */
static dojo_status check(const dojo_library *library, LLVMErrorRef refused, dojo_status status,
                         char **error) {
    if (refused == NULL)
        return DOJO_OK;
    char *message = library->llvm.GetErrorMessage(refused);
    fail(status, error, "%s", message);
    library->llvm.DisposeErrorMessage(message);
    return status;
}

static void keep_diagnostic(char **kept, char *description) {
    if (*kept == NULL)
        *kept = copy_string(description);
}

/* ORC prints what is reported here if nobody takes it. */
static void report_link_error(void *opaque, LLVMErrorRef refused) {
    dojo_jit *jit = opaque;
    char *message = jit->library->llvm.GetErrorMessage(refused);
    keep_diagnostic(&jit->link_diagnostic, message);
    jit->library->llvm.DisposeErrorMessage(message);
}

dojo_status dojo_jit_host(dojo_library *library, char **triple, char **cpu, char **features,
                          char **error) {
    llvm_c_jit orc;
    dojo_status status = load_jit(library, &orc, error);
    if (status != DOJO_OK)
        return status;
    char *(*const queries[])(void) = {library->llvm.GetDefaultTargetTriple, orc.GetHostCPUName,
                                      orc.GetHostCPUFeatures};
    char **const results[] = {triple, cpu, features};
    for (size_t i = 0; i < 3; i++) {
        char *text = queries[i]();
        *results[i] = copy_string(text);
        library->llvm.DisposeMessage(text);
    }
    return DOJO_OK;
}

static void jit_free(dojo_jit *jit) {
    if (jit->lljit != NULL)
        check(jit->library, jit->orc.OrcDisposeLLJIT(jit->lljit), DOJO_ERROR_EMIT, NULL);
    while (jit->libraries != NULL) {
        jit_library *library = jit->libraries;
        jit->libraries = library->next;
        free(library);
    }
    if (jit->layout != NULL)
        jit->orc.DisposeTargetData(jit->layout);
    while (jit->machines != NULL) {
        jit_machine *machine = jit->machines;
        jit->machines = machine->next;
        jit->library->llvm.DisposeTargetMachine(machine->handle);
        free(machine);
    }
    pthread_mutex_destroy(&jit->lock);
    free(jit->link_diagnostic);
    free(jit->features);
    free(jit->cpu);
    free(jit->triple);
    free(jit);
}

/* NULL when LLVM generates no code for the target. */
static jit_machine *machine_take(dojo_jit *jit) {
    pthread_mutex_lock(&jit->lock);
    jit_machine *machine = jit->machines;
    if (machine != NULL)
        jit->machines = machine->next;
    pthread_mutex_unlock(&jit->lock);
    if (machine != NULL)
        return machine;
    LLVMTargetMachineRef handle =
        jit->library->llvm.CreateTargetMachine(jit->target, jit->triple, jit->cpu, jit->features,
                                               jit->level, RELOC_PIC, CODE_MODEL_DEFAULT);
    if (handle == NULL)
        return NULL;
    machine = malloc(sizeof *machine);
    if (machine == NULL)
        abort();
    machine->handle = handle;
    return machine;
}

static void machine_return(dojo_jit *jit, jit_machine *machine) {
    pthread_mutex_lock(&jit->lock);
    machine->next = jit->machines;
    jit->machines = machine;
    pthread_mutex_unlock(&jit->lock);
}

static dojo_status open_jit(dojo_jit *jit, char **error) {
    const llvm_c *llvm = &jit->library->llvm;
    dojo_status status = load_jit(jit->library, &jit->orc, error);
    if (status != DOJO_OK)
        return status;
    char *message = NULL;
    if (llvm->GetTargetFromTriple(jit->triple, &jit->target, &message)) {
        status = fail(DOJO_ERROR_PROGRAM, error, "this libLLVM has no target for '%s': %s",
                      jit->triple, message ? message : "");
        llvm->DisposeMessage(message);
        return status;
    }
    jit_machine *machine = machine_take(jit);
    if (machine == NULL)
        return fail(DOJO_ERROR_PROGRAM, error, "this libLLVM generates no code for '%s'",
                    jit->triple);
    jit->layout = jit->orc.CreateTargetDataLayout(machine->handle);
    machine_return(jit, machine);
    status =
        check(jit->library, jit->orc.OrcCreateLLJIT(&jit->lljit, jit->orc.OrcCreateLLJITBuilder()),
              DOJO_ERROR_LIBRARY, error);
    if (status == DOJO_OK)
        jit->orc.OrcExecutionSessionSetErrorReporter(
            jit->orc.OrcLLJITGetExecutionSession(jit->lljit), report_link_error, jit);
    return status;
}

dojo_status dojo_jit_open(dojo_library *library, const char *triple, const char *cpu,
                          const char *features, int level, dojo_jit **out, char **error) {
    *out = NULL;
    dojo_jit *jit = calloc(1, sizeof *jit);
    if (jit == NULL)
        abort();
    jit->library = library;
    jit->triple = copy_string(triple);
    jit->cpu = copy_string(cpu);
    jit->features = copy_string(features);
    jit->level = level;
    jit->references = 1;
    pthread_mutex_init(&jit->lock, NULL);
    dojo_status status = open_jit(jit, error);
    if (status != DOJO_OK)
        jit_free(jit);
    else
        *out = jit;
    return status;
}

static void jit_release(dojo_jit *jit) {
    pthread_mutex_lock(&jit->lock);
    bool last = --jit->references == 0;
    pthread_mutex_unlock(&jit->lock);
    if (last)
        jit_free(jit);
}

void dojo_jit_close(dojo_jit *jit) {
    if (jit != NULL)
        jit_release(jit);
}

/* A module on its way from text to machine code. */
typedef struct compilation {
    dojo_jit *jit;
    jit_machine *machine;
    LLVMContextRef context;
    LLVMModuleRef module;
    char *diagnostic; /* first error LLVM reported through its diagnostic handler */
} compilation;

/* Without a handler LLVM prints errors and may exit the process. */
static void take_diagnostic(LLVMDiagnosticInfoRef info, void *opaque) {
    compilation *work = opaque;
    const llvm_c *llvm = &work->jit->library->llvm;
    if (llvm->GetDiagInfoSeverity(info) != DIAGNOSTIC_ERROR)
        return;
    char *description = llvm->GetDiagInfoDescription(info);
    keep_diagnostic(&work->diagnostic, description);
    llvm->DisposeMessage(description);
}

static dojo_status compilation_begin(compilation *work, char **error) {
    work->machine = machine_take(work->jit);
    return work->machine != NULL
               ? DOJO_OK
               : fail(DOJO_ERROR_EMIT, error, "LLVM made no further target machine");
}

static void compilation_end(compilation *work) {
    const llvm_c *llvm = &work->jit->library->llvm;
    if (work->machine != NULL)
        machine_return(work->jit, work->machine);
    if (work->module != NULL)
        llvm->DisposeModule(work->module);
    if (work->context != NULL)
        llvm->ContextDispose(work->context);
    free(work->diagnostic);
}

static dojo_status parse(compilation *work, const char *ir, size_t size, char **error) {
    const llvm_c *llvm = &work->jit->library->llvm;
    work->context = llvm->ContextCreate();
    llvm->ContextSetDiagnosticHandler(work->context, take_diagnostic, work);
    LLVMMemoryBufferRef buffer = llvm->CreateMemoryBufferWithMemoryRangeCopy(ir, size, "kernel");
    char *message = NULL;
    if (llvm->ParseIRInContext(work->context, buffer, &work->module, &message)) {
        work->module = NULL;
        dojo_status status = fail(DOJO_ERROR_PARSE, error, "%s", message ? message : "unreadable");
        llvm->DisposeMessage(message);
        return status;
    }
    llvm->SetTarget(work->module, work->jit->triple);
    work->jit->orc.SetModuleDataLayout(work->module, work->jit->layout);
    return DOJO_OK;
}

static dojo_status verify_module(compilation *work, char **error) {
    const llvm_c *llvm = &work->jit->library->llvm;
    char *message = NULL;
    dojo_status status = DOJO_OK;
    if (llvm->VerifyModule(work->module, VERIFIER_RETURN_STATUS, &message))
        status = fail(DOJO_ERROR_PROGRAM, error, "the module does not verify: %s", message);
    llvm->DisposeMessage(message);
    return status;
}

static dojo_status run_passes(compilation *work, const char *pipeline, char **error) {
    if (pipeline == NULL || pipeline[0] == '\0')
        return DOJO_OK;
    dojo_library *library = work->jit->library;
    return check(library,
                 library->llvm.RunPasses(work->module, pipeline, work->machine->handle,
                                         library->pass_options),
                 DOJO_ERROR_PASS, error);
}

static dojo_status emit(compilation *work, int kind, LLVMMemoryBufferRef *out, char **error) {
    const llvm_c *llvm = &work->jit->library->llvm;
    char *message = NULL;
    dojo_status status = DOJO_OK;
    bool failed = llvm->TargetMachineEmitToMemoryBuffer(work->machine->handle, work->module, kind,
                                                        &message, out);
    if (!failed && work->diagnostic != NULL) {
        llvm->DisposeMemoryBuffer(*out);
        failed = true;
    }
    if (failed)
        status = fail(DOJO_ERROR_EMIT, error, "%s",
                      message            ? message
                      : work->diagnostic ? work->diagnostic
                                         : "LLVM could not generate code");
    llvm->DisposeMessage(message);
    return status;
}

static dojo_status library_take(dojo_jit *jit, jit_library **out, char **error) {
    if (jit->libraries != NULL) {
        *out = jit->libraries;
        jit->libraries = (*out)->next;
        return DOJO_OK;
    }
    LLVMOrcDefinitionGeneratorRef process;
    dojo_status status =
        check(jit->library,
              jit->orc.OrcCreateDynamicLibrarySearchGeneratorForProcess(
                  &process, jit->orc.OrcLLJITGetGlobalPrefix(jit->lljit), NULL, NULL),
              DOJO_ERROR_LIBRARY, error);
    if (status != DOJO_OK)
        return status;
    char name[32];
    snprintf(name, sizeof name, "kernel%u", jit->created++);
    jit_library *library = malloc(sizeof *library);
    if (library == NULL)
        abort();
    library->handle = jit->orc.OrcExecutionSessionCreateBareJITDylib(
        jit->orc.OrcLLJITGetExecutionSession(jit->lljit), name);
    jit->orc.OrcJITDylibAddGenerator(library->handle, process);
    *out = library;
    return DOJO_OK;
}

static void library_return(dojo_jit *jit, jit_library *library) {
    check(jit->library, jit->orc.OrcJITDylibClear(library->handle), DOJO_ERROR_EMIT, NULL);
    library->next = jit->libraries;
    jit->libraries = library;
}

/* Where a look-up, which may end on another thread, leaves its result. */
typedef struct lookup_result {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    bool done;
    LLVMErrorRef refused;
    uint64_t address;
} lookup_result;

static void take_lookup(LLVMErrorRef refused, LLVMOrcCSymbolMapPair *symbols, size_t count,
                        void *opaque) {
    lookup_result *result = opaque;
    pthread_mutex_lock(&result->lock);
    result->refused = refused;
    if (refused == NULL && count == 1)
        result->address = symbols[0].symbol.address;
    result->done = true;
    pthread_cond_signal(&result->arrived);
    pthread_mutex_unlock(&result->lock);
}

static dojo_status look_up(dojo_jit *jit, jit_library *library, const char *symbol,
                           dojo_kernel_function *out, char **error) {
    lookup_result result = {.lock = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER};
    LLVMOrcCJITDylibSearchOrderElement place = {library->handle, ORC_MATCH_ALL_SYMBOLS};
    LLVMOrcCLookupSetElement wanted = {jit->orc.OrcLLJITMangleAndIntern(jit->lljit, symbol),
                                       ORC_REQUIRED_SYMBOL};
    jit->orc.OrcExecutionSessionLookup(jit->orc.OrcLLJITGetExecutionSession(jit->lljit),
                                       ORC_LOOKUP_STATIC, &place, 1, &wanted, 1, take_lookup,
                                       &result);
    pthread_mutex_lock(&result.lock);
    while (!result.done)
        pthread_cond_wait(&result.arrived, &result.lock);
    pthread_mutex_unlock(&result.lock);
    *(void **)out = (void *)(uintptr_t)result.address;
    return check(jit->library, result.refused, DOJO_ERROR_EMIT, error);
}

/* ORC's own result only names the symbol that is missing; what was reported before says why. */
static dojo_status link_locked(linked_kernel *linked, LLVMMemoryBufferRef object,
                               const char *symbol, char **error) {
    dojo_jit *jit = linked->jit;
    char *message = NULL;
    dojo_status status = library_take(jit, &linked->library, error);
    if (status != DOJO_OK) {
        jit->library->llvm.DisposeMemoryBuffer(object);
        return status;
    }
    status = check(jit->library,
                   jit->orc.OrcLLJITAddObjectFile(jit->lljit, linked->library->handle, object),
                   DOJO_ERROR_EMIT, &message);
    if (status == DOJO_OK)
        status = look_up(jit, linked->library, symbol, &linked->kernel.function, &message);
    if (status != DOJO_OK) {
        fail(status, error, "%s%s%s", message, jit->link_diagnostic ? ": " : "",
             jit->link_diagnostic ? jit->link_diagnostic : "");
        library_return(jit, linked->library);
    } else
        jit->references++;
    free(message);
    free(jit->link_diagnostic);
    jit->link_diagnostic = NULL;
    return status;
}

/* Takes the object. */
static dojo_status link_object(linked_kernel *linked, LLVMMemoryBufferRef object,
                               const char *symbol, char **error) {
    pthread_mutex_lock(&linked->jit->lock);
    dojo_status status = link_locked(linked, object, symbol, error);
    pthread_mutex_unlock(&linked->jit->lock);
    return status;
}

static bool defines(const compilation *work, const char *symbol) {
    const llvm_c *llvm = &work->jit->library->llvm;
    LLVMValueRef function = llvm->GetNamedFunction(work->module, symbol);
    return function != NULL && !llvm->IsDeclaration(function);
}

static dojo_status compile(compilation *work, const char *ir, size_t size, const char *symbol,
                           const char *pipeline, bool verify, dojo_kernel **out, char **error) {
    const llvm_c *llvm = &work->jit->library->llvm;
    double start = now_seconds();
    dojo_status status = parse(work, ir, size, error);
    if (status == DOJO_OK && !defines(work, symbol))
        status = fail(DOJO_ERROR_PROGRAM, error, "the module defines no function '%s'", symbol);
    if (status == DOJO_OK && verify)
        status = verify_module(work, error);
    double parsed = now_seconds();
    if (status == DOJO_OK)
        status = run_passes(work, pipeline, error);
    double passed = now_seconds();
    LLVMMemoryBufferRef object;
    if (status == DOJO_OK)
        status = emit(work, OBJECT_FILE, &object, error);
    if (status != DOJO_OK)
        return status;
    double emitted = now_seconds();
    size_t object_size = llvm->GetBufferSize(object);
    linked_kernel *linked = malloc(sizeof *linked + object_size);
    if (linked == NULL)
        abort();
    memcpy(linked->object, llvm->GetBufferStart(object), object_size);
    linked->jit = work->jit;
    status = link_object(linked, object, symbol, error);
    if (status != DOJO_OK) {
        free(linked);
        return status;
    }
    linked->kernel.object = linked->object;
    linked->kernel.object_size = object_size;
    linked->kernel.parse_seconds = parsed - start;
    linked->kernel.pass_seconds = passed - parsed;
    linked->kernel.code_seconds = emitted - passed;
    linked->kernel.link_seconds = now_seconds() - emitted;
    *out = &linked->kernel;
    return DOJO_OK;
}

dojo_status dojo_jit_compile(dojo_jit *jit, const char *ir, size_t size, const char *symbol,
                             const char *pipeline, bool verify, dojo_kernel **out, char **error) {
    *out = NULL;
    compilation work = {.jit = jit};
    dojo_status status = compilation_begin(&work, error);
    if (status == DOJO_OK)
        status = compile(&work, ir, size, symbol, pipeline, verify, out, error);
    compilation_end(&work);
    return status;
}

dojo_status dojo_jit_assembly(dojo_jit *jit, const char *ir, size_t size, const char *pipeline,
                              char **out, char **error) {
    const llvm_c *llvm = &jit->library->llvm;
    compilation work = {.jit = jit};
    LLVMMemoryBufferRef text;
    dojo_status status = compilation_begin(&work, error);
    if (status == DOJO_OK)
        status = parse(&work, ir, size, error);
    if (status == DOJO_OK)
        status = run_passes(&work, pipeline, error);
    if (status == DOJO_OK)
        status = emit(&work, ASSEMBLY_FILE, &text, error);
    if (status == DOJO_OK) {
        size_t length = llvm->GetBufferSize(text);
        *out = malloc(length + 1);
        if (*out == NULL)
            abort();
        memcpy(*out, llvm->GetBufferStart(text), length);
        (*out)[length] = '\0';
        llvm->DisposeMemoryBuffer(text);
    }
    compilation_end(&work);
    return status;
}

void dojo_kernel_close(dojo_kernel *kernel) {
    if (kernel == NULL)
        return;
    linked_kernel *linked = (linked_kernel *)kernel;
    dojo_jit *jit = linked->jit;
    pthread_mutex_lock(&jit->lock);
    library_return(jit, linked->library);
    pthread_mutex_unlock(&jit->lock);
    free(linked);
    jit_release(jit);
}
