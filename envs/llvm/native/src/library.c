/* Loading libLLVM and sharing target machines between sessions. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum { OLDEST_LLVM = 19, NEWEST_LLVM = 22 };

/* Creating a target machine takes about 20 us, and its subtargets are computed at first use, so
 * idle ones are kept. */
typedef struct pooled_machine {
    struct pooled_machine *next;
    LLVMTargetMachineRef machine;
    char triple[];
} pooled_machine;

char *copy_string(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy == NULL)
        abort();
    return memcpy(copy, text, size);
}

void dojo_string_free(char *string) {
    free(string);
}

dojo_status fail(dojo_status status, char **error, const char *format, ...) {
    if (error == NULL)
        return status;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    *error = malloc((size_t)length + 1);
    if (*error == NULL)
        abort();
    vsnprintf(*error, (size_t)length + 1, format, again);
    va_end(again);
    return status;
}

double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static dojo_status load_functions(dojo_library *library, const char *path, char **error) {
#define X(result, name, parameters)                                                                \
    *(void **)&library->llvm.name = dlsym(library->handle, "LLVM" #name);                          \
    if (library->llvm.name == NULL)                                                                \
        return fail(DOJO_ERROR_LIBRARY, error, "%s does not export LLVM" #name, path);
    LLVM_C_FUNCTIONS(X)
#undef X
#define X(result, name, parameters)                                                                \
    *(void **)&library->llvm.name = dlsym(library->handle, "LLVM" #name);
    LLVM_C_OPTIONAL(X)
#undef X
    return DOJO_OK;
}

/* Register the targets this libLLVM was built with, of those the project is used on. */
static void initialize_targets(const dojo_library *library) {
    static const char *const targets[] = {"X86", "AArch64"};
    static const char *const parts[] = {"TargetInfo", "Target", "TargetMC", "AsmPrinter",
                                        "AsmParser"};
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            char name[64];
            void (*initialize)(void);
            snprintf(name, sizeof name, "LLVMInitialize%s%s", targets[t], parts[p]);
            *(void **)&initialize = dlsym(library->handle, name);
            if (initialize != NULL)
                initialize();
        }
}

dojo_status dojo_library_open(const char *path, dojo_library **out, char **error) {
    *out = NULL;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return fail(DOJO_ERROR_LIBRARY, error, "%s", dlerror());
    dojo_library *library = calloc(1, sizeof *library);
    if (library == NULL)
        abort();
    library->handle = handle;
    pthread_mutex_init(&library->lock, NULL);

    dojo_status status = DOJO_OK;
    void (*get_version)(unsigned *, unsigned *, unsigned *);
    *(void **)&get_version = dlsym(handle, "LLVMGetVersion");
    if (get_version == NULL)
        status = fail(DOJO_ERROR_LIBRARY, error,
                      "%s is not libLLVM of version %d to %d (it exports no LLVMGetVersion)", path,
                      OLDEST_LLVM, NEWEST_LLVM);
    if (status == DOJO_OK) {
        get_version(&library->version[0], &library->version[1], &library->version[2]);
        if (library->version[0] < OLDEST_LLVM || library->version[0] > NEWEST_LLVM)
            status = fail(DOJO_ERROR_LIBRARY, error,
                          "%s is LLVM %u.%u.%u; versions %d to %d are supported", path,
                          library->version[0], library->version[1], library->version[2],
                          OLDEST_LLVM, NEWEST_LLVM);
    }
    if (status == DOJO_OK)
        status = load_functions(library, path, error);
    if (status != DOJO_OK) {
        dojo_library_close(library);
        return status;
    }
    /* LLVM's list of targets is not guarded */
    static pthread_mutex_t targets = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&targets);
    initialize_targets(library);
    pthread_mutex_unlock(&targets);
    LLVMContextRef context = library->llvm.ContextCreate();
    library->first_custom_metadata = library->llvm.GetMDKindIDInContext(context, "dojo", 4);
    library->llvm.ContextDispose(context);
    library->pass_options = library->llvm.CreatePassBuilderOptions();
    *out = library;
    return DOJO_OK;
}

void dojo_library_version(const dojo_library *library, unsigned version[3]) {
    memcpy(version, library->version, sizeof library->version);
}

void dojo_library_close(dojo_library *library) {
    if (library == NULL)
        return;
    while (library->machines != NULL) {
        pooled_machine *pooled = library->machines;
        library->machines = pooled->next;
        library->llvm.DisposeTargetMachine(pooled->machine);
        free(pooled);
    }
    if (library->pass_options != NULL)
        library->llvm.DisposePassBuilderOptions(library->pass_options);
    pthread_mutex_destroy(&library->lock);
    /* The library stays mapped: LLVM's own static objects do not survive dlclose. */
    free(library);
}

LLVMTargetMachineRef library_borrow_machine(dojo_library *library, const char *triple,
                                            char **error) {
    LLVMTargetMachineRef machine = NULL;
    pthread_mutex_lock(&library->lock);
    for (pooled_machine **link = &library->machines; *link != NULL; link = &(*link)->next) {
        pooled_machine *pooled = *link;
        if (strcmp(pooled->triple, triple) == 0) {
            machine = pooled->machine;
            *link = pooled->next;
            free(pooled);
            break;
        }
    }
    pthread_mutex_unlock(&library->lock);
    if (machine != NULL)
        return machine;

    const llvm_c *llvm = &library->llvm;
    LLVMTargetRef target;
    char *message = NULL;
    if (llvm->GetTargetFromTriple(triple, &target, &message)) {
        fail(DOJO_ERROR_PROGRAM, error, "this libLLVM has no target for '%s': %s", triple,
             message ? message : "");
        llvm->DisposeMessage(message);
        return NULL;
    }
    const char *cpu = strncmp(triple, "x86_64", 6) == 0 ? "x86-64" : "generic";
    return llvm->CreateTargetMachine(target, triple, cpu, "", CODEGEN_LEVEL_DEFAULT, RELOC_PIC,
                                     CODE_MODEL_DEFAULT);
}

void library_return_machine(dojo_library *library, const char *triple,
                            LLVMTargetMachineRef machine) {
    size_t size = strlen(triple) + 1;
    pooled_machine *pooled = malloc(sizeof *pooled + size);
    if (pooled == NULL)
        abort();
    pooled->machine = machine;
    memcpy(pooled->triple, triple, size);
    pthread_mutex_lock(&library->lock);
    pooled->next = library->machines;
    library->machines = pooled;
    pthread_mutex_unlock(&library->lock);
}
