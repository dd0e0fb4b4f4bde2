/* Tests of the C core through its public header. Usage: test_native PATH_OF_LIBLLVM
 *
 * Every failed check is printed with its line; the exit status is 0 when all passed. Built with
 * DOJO_SANITIZE the program also fails on leaks, on memory errors and on undefined behaviour.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dojo.h"

static unsigned passed, failed;
static dojo_library *library;

static bool check(bool holds, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool check(bool holds, int line, const char *format, ...) {
    __atomic_add_fetch(holds ? &passed : &failed, 1, __ATOMIC_RELAXED);
    if (!holds) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "test_native.c:%d: ", line);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    return holds;
}

#define CHECK(condition) check((condition), __LINE__, "%s", #condition)

/* A step that must succeed for the test to go on. */
static void require(dojo_status status, char *error, int line) {
    if (status == DOJO_OK)
        return;
    fprintf(stderr, "test_native.c:%d: status %d: %s\n", line, status, error ? error : "");
    exit(1);
}

#define REQUIRE(call)                                                                              \
    do {                                                                                           \
        char *error = NULL;                                                                        \
        dojo_status status = (call);                                                               \
        require(status, error, __LINE__);                                                          \
    } while (0)

/* The call fails with this status and a message that contains this text. */
static void check_failure(dojo_status status, dojo_status expected, char *error, const char *text,
                          int line) {
    check(status == expected, line, "status %d instead of %d", status, expected);
    if (check(error != NULL, line, "no message"))
        check(strstr(error, text) != NULL, line, "'%s' is not in the message '%s'", text, error);
    dojo_string_free(error);
}

#define CHECK_FAILURE(call, expected, text)                                                        \
    do {                                                                                           \
        char *error = NULL;                                                                        \
        dojo_status status = (call);                                                               \
        check_failure(status, expected, error, text, __LINE__);                                    \
    } while (0)

static dojo_session *open_bytes(const void *bytes, size_t size) {
    dojo_session *session;
    REQUIRE(dojo_session_open(library, bytes, size, &session, &error));
    return session;
}

static dojo_session *open_text(const char *text) {
    return open_bytes(text, strlen(text));
}

static dojo_session *fork_of(dojo_session *session) {
    dojo_session *fork;
    REQUIRE(dojo_session_fork(session, &fork, &error));
    return fork;
}

static void run(dojo_session *session, const char *pipeline) {
    REQUIRE(dojo_session_run(session, pipeline, &error));
}

static int64_t text_size(dojo_session *session) {
    int64_t bytes;
    REQUIRE(dojo_session_text_size(session, &bytes, &error));
    return bytes;
}

static bool same_hash(const dojo_session *one, const dojo_session *other) {
    return memcmp(dojo_session_state(one)->hash, dojo_session_state(other)->hash,
                  sizeof dojo_session_state(one)->hash) == 0;
}

/* Hash, counts and features, which is all of the state but what the last run was like. */
static bool same_state(const dojo_state *one, const dojo_state *other) {
    return memcmp(one->hash, other->hash, sizeof one->hash) == 0 &&
           memcmp(one->instcount, other->instcount, sizeof one->instcount) == 0 &&
           memcmp(one->autophase, other->autophase, sizeof one->autophase) == 0;
}

static dojo_session *reopen_bitcode(dojo_session *session) {
    const char *data;
    size_t size;
    REQUIRE(dojo_session_bitcode(session, &data, &size, &error));
    return open_bytes(data, size);
}

static dojo_session *reopen_text(dojo_session *session) {
    char *text;
    REQUIRE(dojo_session_ir(session, &text, &error));
    dojo_session *again = open_text(text);
    dojo_string_free(text);
    return again;
}

/* A module with work for most passes: stack slots, a loop, calls, a switch, an array. */
static const char PROGRAM[] =
    "target triple = \"x86_64-pc-linux-gnu\"\n"
    "@table = internal global [8 x i32] zeroinitializer, align 16\n"
    "@unused = internal constant i32 7\n"
    "declare i32 @puts(ptr)\n"
    "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
    "define internal i32 @square(i32 %x) {\n"
    "  %slot = alloca i32\n"
    "  store i32 %x, ptr %slot\n"
    "  %a = load i32, ptr %slot\n"
    "  %b = load i32, ptr %slot\n"
    "  %product = mul nsw i32 %a, %b\n"
    "  ret i32 %product\n"
    "}\n"
    "define i32 @kind(i32 %x) {\n"
    "  switch i32 %x, label %other [ i32 1, label %one  i32 2, label %two ]\n"
    "one:\n"
    "  br label %end\n"
    "two:\n"
    "  br label %end\n"
    "other:\n"
    "  br label %end\n"
    "end:\n"
    "  %kind = phi i32 [ 10, %one ], [ 20, %two ], [ 30, %other ]\n"
    "  ret i32 %kind\n"
    "}\n"
    "define i32 @sum(i32 %n) {\n"
    "  %i = alloca i32\n"
    "  %total = alloca i32\n"
    "  call void @llvm.memset.p0.i64(ptr @table, i8 0, i64 32, i1 false)\n"
    "  store i32 0, ptr %i\n"
    "  store i32 0, ptr %total\n"
    "  br label %head\n"
    "head:\n"
    "  %at = load i32, ptr %i\n"
    "  %more = icmp slt i32 %at, %n\n"
    "  br i1 %more, label %body, label %end\n"
    "body:\n"
    "  %value = load i32, ptr %i\n"
    "  %squared = call i32 @square(i32 %value)\n"
    "  %before = load i32, ptr %total\n"
    "  %after = add nsw i32 %before, %squared\n"
    "  store i32 %after, ptr %total\n"
    "  %next = add nsw i32 %value, 1\n"
    "  store i32 %next, ptr %i\n"
    "  br label %head\n"
    "end:\n"
    "  %result = load i32, ptr %total\n"
    "  %cell = getelementptr inbounds [8 x i32], ptr @table, i64 0, i64 3\n"
    "  store i32 %result, ptr %cell\n"
    "  %ignored = call i32 @kind(i32 %result)\n"
    "  ret i32 %result\n"
    "}\n";

static const char *const PIPELINES[] = {
    "function(sroa)",
    "inferattrs",
    "cgscc(function-attrs)",
    "function(instcombine<no-verify-fixpoint>)",
    "function(loop(indvars))",
    "function(loop-mssa(licm))",
    "cgscc(inline)",
    "function(simplifycfg)",
    "globaldce",
    "default<Oz>",
};
enum { PIPELINE_COUNT = sizeof PIPELINES / sizeof *PIPELINES };

static void test_library(const char *path) {
    unsigned version[3];
    dojo_library_version(library, version);
    CHECK(version[0] >= 19 && version[0] <= 22);
    dojo_library *second = NULL;
    REQUIRE(dojo_library_open(path, &second, &error));
    CHECK(second != library);
    dojo_library_close(second);
    dojo_library_close(NULL);

    dojo_library *none = library;
    CHECK_FAILURE(dojo_library_open("/nowhere/libLLVM.so", &none, &error), DOJO_ERROR_LIBRARY,
                  "/nowhere/libLLVM.so");
    CHECK(none == NULL);
    CHECK_FAILURE(dojo_library_open("libm.so.6", &none, &error), DOJO_ERROR_LIBRARY,
                  "libm.so.6 is not libLLVM of version 19 to 22");
    CHECK(none == NULL);
    CHECK(dojo_library_open("libm.so.6", &none, NULL) == DOJO_ERROR_LIBRARY);
}

static void check_rejected(const void *bytes, size_t size, const char *text, int line) {
    char *error = NULL;
    dojo_session *none = (dojo_session *)&none;
    dojo_status status = dojo_session_open(library, bytes, size, &none, &error);
    check_failure(status, status == DOJO_ERROR_PARSE ? DOJO_ERROR_PARSE : DOJO_ERROR_PROGRAM, error,
                  text, line);
    check(none == NULL, line, "a session is returned beside the error");
}

#define CHECK_REJECTED(literal, text) check_rejected(literal, sizeof literal - 1, text, __LINE__)

static void test_open(void) {
    dojo_session *session = open_text(PROGRAM);
    const dojo_state *state = dojo_session_state(session);
    CHECK(state->instcount[0] == 34); /* instructions of PROGRAM */
    CHECK(state->instcount[1] == 10); /* blocks */
    CHECK(state->instcount[2] == 3);  /* functions defined */
    CHECK(state->autophase[51] == 34 && state->autophase[50] == 10);
    CHECK(state->autophase[53] == 5); /* functions, declarations too */
    CHECK(state->changed == 0);

    const char *bitcode;
    size_t size;
    REQUIRE(dojo_session_bitcode(session, &bitcode, &size, &error));
    CHECK(size > 4 && memcmp(bitcode, "BC\xC0\xDE", 4) == 0);
    dojo_session *again = open_bytes(bitcode, size);
    CHECK(same_state(state, dojo_session_state(again)));
    dojo_session_close(again);
    /* every proper prefix of bitcode is refused */
    for (size_t cut = 4; cut < size; cut += 97)
        check_rejected(bitcode, cut, "", __LINE__);
    dojo_session_close(session);
    dojo_session_close(NULL);

    CHECK_REJECTED("", "the program is empty");
    CHECK_REJECTED("BC\xC0\xDE", "");
    CHECK_REJECTED("\xDE\xC0\x17\x0B wrapper of nothing", "");
    CHECK_REJECTED("int main(void) { return 0; }", "expected top-level entity");
    CHECK_REJECTED("\x7f\x45LF\x02\x01", "expected top-level entity");
    CHECK_REJECTED("; nothing but a comment\n", "the module defines no function");
    CHECK_REJECTED("@g = global i32 0\ndeclare void @f()\n", "the module defines no function");
    CHECK_REJECTED("define i32 @f() { ret i32 %x }", "undefined value");
    CHECK_REJECTED("define i32 @f(i1 %c) {\n"
                   "  br i1 %c, label %a, label %b\n"
                   "a:\n  %x = add i32 1, 2\n  ret i32 %x\n"
                   "b:\n  ret i32 %x\n}\n",
                   "does not verify: Instruction does not dominate all uses");
    CHECK_REJECTED("target triple = \"nonsense\"\ndefine void @f() { ret void }",
                   "no target for 'nonsense'");
    dojo_session *none;
    CHECK(dojo_session_open(library, "", 0, &none, NULL) == DOJO_ERROR_PROGRAM);

    /* the default target is filled in */
    dojo_session *untargeted = open_text("define i32 @f() { ret i32 0 }");
    char *text;
    REQUIRE(dojo_session_ir(untargeted, &text, &error));
    CHECK(strstr(text, "target triple = \"") != NULL);
    CHECK(text_size(untargeted) > 0);
    dojo_string_free(text);
    dojo_session_close(untargeted);
}

static void test_run(void) {
    dojo_session *session = open_text(PROGRAM);
    const dojo_state *state = dojo_session_state(session);
    dojo_state before = *state;
    run(session, "no-op-module");
    CHECK(!state->changed && same_state(state, &before));
    run(session, "function(mem2reg)");
    CHECK(state->changed && state->instcount[0] < before.instcount[0]);
    CHECK(state->instcount[33] == 0); /* allocas */
    CHECK(state->pass_seconds > 0);
    before = *state;
    run(session, "function(mem2reg)");
    CHECK(!state->changed && same_state(state, &before));

    static const char *const refused[] = {"no-such-pass", "",   "function(dce",
                                          "dce,no-such",  "((", "function(globaldce)"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_FAILURE(dojo_session_run(session, refused[i], &error), DOJO_ERROR_PASS, "");
        CHECK(same_state(state, &before));
        REQUIRE(dojo_session_verify(session, &error));
    }
    CHECK_FAILURE(dojo_session_run(session, "no-such-pass", &error), DOJO_ERROR_PASS,
                  "unknown pass name 'no-such-pass'");
    dojo_session *again = reopen_bitcode(session);
    CHECK(same_hash(again, session));
    run(session, "default<Oz>");
    run(again, "default<Oz>");
    CHECK(same_hash(again, session));
    dojo_session_close(again);
    dojo_session_close(session);
}

/* After every pass the module reads back, from bitcode and from text, with the same state. */
static void test_round_trips(void) {
    dojo_session *session = open_text(PROGRAM);
    for (size_t i = 0; i < PIPELINE_COUNT; i++) {
        run(session, PIPELINES[i]);
        dojo_session *from_bitcode = reopen_bitcode(session), *from_text = reopen_text(session);
        const dojo_state *state = dojo_session_state(session);
        check(same_state(state, dojo_session_state(from_bitcode)), __LINE__,
              "bitcode round trip after %s", PIPELINES[i]);
        check(same_state(state, dojo_session_state(from_text)), __LINE__,
              "text round trip after %s", PIPELINES[i]);
        REQUIRE(dojo_session_verify(session, &error));
        dojo_session_close(from_bitcode);
        dojo_session_close(from_text);
    }
    dojo_session_close(session);
}

typedef struct text_pair {
    const char *what, *one, *other;
} text_pair;

#define FUNCTION(parameters, body) "define void @f(" parameters ") {\n  " body "\n  ret void\n}\n"
#define CALL_G "declare void @g(i32)\n" FUNCTION("i32 %x", "call void @g(i32 %x)")

#define TWO_NODES "!0 = distinct !{}\n!1 = distinct !{}\n"
#define LANDING_PAD(clauses)                                                                       \
    "declare i32 @p(...)\n"                                                                        \
    "define void @f() personality ptr @p {\n  invoke void @f() to label %a unwind label %b\n"      \
    "a:\n  ret void\nb:\n  %pad = landingpad { ptr, i32 } " clauses "\n  ret void\n}\n"

/* Modules that must hash differently. */
static const text_pair DIFFERENT[] = {
    {"integer constant", FUNCTION("i32 %x", "%y = add i32 %x, 1"),
     FUNCTION("i32 %x", "%y = add i32 %x, 2")},
    {"constant width", FUNCTION("", "%y = add i32 1, 1"), FUNCTION("", "%y = add i64 1, 1")},
    {"wide integer constant", FUNCTION("i128 %x", "%y = add i128 %x, 1"),
     FUNCTION("i128 %x", "%y = add i128 %x, 18446744073709551617")},
    {"floating-point constant", FUNCTION("double %x", "%y = fadd double %x, 0.0"),
     FUNCTION("double %x", "%y = fadd double %x, -0.0")},
    {"long double constant", FUNCTION("", "%y = fneg x86_fp80 0xK3FFF8000000000000000"),
     FUNCTION("", "%y = fneg x86_fp80 0xK3FFF8000000000000001")},
    {"NaN payload", FUNCTION("", "%y = fneg double 0x7FF8000000000000"),
     FUNCTION("", "%y = fneg double 0x7FF8000000000001")},
    {"vector constant", FUNCTION("", "%y = add <2 x i32> <i32 1, i32 2>, <i32 1, i32 2>"),
     FUNCTION("", "%y = add <2 x i32> <i32 1, i32 2>, <i32 1, i32 3>")},
    {"undef and poison", FUNCTION("i32 %x", "%y = add i32 %x, undef"),
     FUNCTION("i32 %x", "%y = add i32 %x, poison")},
    {"type of compared constants", FUNCTION("", "%y = icmp eq i32 1, 1"),
     FUNCTION("", "%y = icmp eq i64 1, 1")},
    {"parameter type", "declare void @g(float)\n" FUNCTION("", ""),
     "declare void @g(double)\n" FUNCTION("", "")},
    {"parameter count", "declare void @g(i32)\n" FUNCTION("", ""),
     "declare void @g(i32, i32)\n" FUNCTION("", "")},
    {"return type of a declaration", "declare i32 @g()\n" FUNCTION("", ""),
     "declare i64 @g()\n" FUNCTION("", "")},
    {"address space", "declare void @g(ptr)\n" FUNCTION("", ""),
     "declare void @g(ptr addrspace(1))\n" FUNCTION("", "")},
    {"element of an array", "@g = external global [2 x i32]\n" FUNCTION("", ""),
     "@g = external global [2 x float]\n" FUNCTION("", "")},
    {"length of an array", "@g = external global [2 x i32]\n" FUNCTION("", ""),
     "@g = external global [3 x i32]\n" FUNCTION("", "")},
    {"element of a vector", "@g = external global <2 x i32>\n" FUNCTION("", ""),
     "@g = external global <2 x float>\n" FUNCTION("", "")},
    {"length of a vector", "@g = external global <2 x i32>\n" FUNCTION("", ""),
     "@g = external global <4 x i32>\n" FUNCTION("", "")},
    {"element of a struct", "@g = external global { i32, i32 }\n" FUNCTION("", ""),
     "@g = external global { i32, i64 }\n" FUNCTION("", "")},
    {"size of a struct", "@g = external global { i32 }\n" FUNCTION("", ""),
     "@g = external global { i32, i32 }\n" FUNCTION("", "")},
    {"identified struct", "@g = external global { i32 }\n" FUNCTION("", ""),
     "%s = type { i32 }\n@g = external global %s\n" FUNCTION("", "")},
    {"opaque struct", "%s = type opaque\n@g = external global %s\n" FUNCTION("", ""),
     "%t = type opaque\n@g = external global %t\n" FUNCTION("", "")},
    {"target type", "declare void @g(target(\"t\", 1))\n" FUNCTION("", ""),
     "declare void @g(target(\"t\", 2))\n" FUNCTION("", "")},
    {"constant expression",
     "@a = global i32 1\n@g = global i64 add (i64 ptrtoint (ptr @a to i64), "
     "i64 1)\n" FUNCTION("", ""),
     "@a = global i32 1\n@g = global i64 xor (i64 ptrtoint (ptr @a to i64), i64 1)\n" FUNCTION("",
                                                                                               "")},
    {"type of a constant getelementptr",
     "@a = global i32 1\n@g = global ptr getelementptr (i32, ptr @a, i64 1)\n" FUNCTION("", ""),
     "@a = global i32 1\n@g = global ptr getelementptr (i64, ptr @a, i64 1)\n" FUNCTION("", "")},
    {"inbounds of a constant getelementptr",
     "@a = global i32 1\n@g = global ptr getelementptr (i32, ptr @a, i64 1)\n" FUNCTION("", ""),
     "@a = global i32 1\n"
     "@g = global ptr getelementptr inbounds (i32, ptr @a, i64 1)\n" FUNCTION("", "")},
    {"address in an aggregate",
     "@a = global i32 1\n@b = global i32 1\n@g = global { ptr, i32 } { ptr @a, i32 1 }\n" FUNCTION(
         "", ""),
     "@a = global i32 1\n@b = global i32 1\n@g = global { ptr, i32 } { ptr @b, i32 1 }\n" FUNCTION(
         "", "")},
    {"opcode", FUNCTION("i32 %x", "%y = add i32 %x, %x"),
     FUNCTION("i32 %x", "%y = sub i32 %x, %x")},
    {"operand", FUNCTION("i32 %a, i32 %b", "%y = sub i32 %a, %b"),
     FUNCTION("i32 %a, i32 %b", "%y = sub i32 %b, %a")},
    {"integer predicate", FUNCTION("i32 %x", "%y = icmp slt i32 %x, 1"),
     FUNCTION("i32 %x", "%y = icmp ult i32 %x, 1")},
    {"float predicate", FUNCTION("float %x", "%y = fcmp oeq float %x, 1.0"),
     FUNCTION("float %x", "%y = fcmp ueq float %x, 1.0")},
    {"nuw", FUNCTION("i32 %x", "%y = add i32 %x, 1"), FUNCTION("i32 %x", "%y = add nuw i32 %x, 1")},
    {"nuw or nsw", FUNCTION("i32 %x", "%y = add nsw i32 %x, 1"),
     FUNCTION("i32 %x", "%y = add nuw i32 %x, 1")},
    {"trunc nsw", FUNCTION("i32 %x", "%y = trunc i32 %x to i8"),
     FUNCTION("i32 %x", "%y = trunc nsw i32 %x to i8")},
    {"exact", FUNCTION("i32 %x", "%y = lshr i32 %x, 1"),
     FUNCTION("i32 %x", "%y = lshr exact i32 %x, 1")},
    {"disjoint", FUNCTION("i32 %x", "%y = or i32 %x, 1"),
     FUNCTION("i32 %x", "%y = or disjoint i32 %x, 1")},
    {"nneg", FUNCTION("i32 %x", "%y = zext i32 %x to i64"),
     FUNCTION("i32 %x", "%y = zext nneg i32 %x to i64")},
    {"fast-math flag", FUNCTION("float %x", "%y = fmul float %x, %x"),
     FUNCTION("float %x", "%y = fmul nnan float %x, %x")},
    {"fast-math flags", FUNCTION("float %x", "%y = fmul nnan float %x, %x"),
     FUNCTION("float %x", "%y = fmul ninf float %x, %x")},
    {"cast type", FUNCTION("i32 %x", "%y = zext i32 %x to i48"),
     FUNCTION("i32 %x", "%y = zext i32 %x to i64")},
    {"load alignment", FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4"),
     FUNCTION("ptr %p", "%y = load i32, ptr %p, align 2")},
    {"volatile", FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4"),
     FUNCTION("ptr %p", "%y = load volatile i32, ptr %p, align 4")},
    {"atomic ordering", FUNCTION("ptr %p", "%y = load atomic i32, ptr %p monotonic, align 4"),
     FUNCTION("ptr %p", "%y = load atomic i32, ptr %p seq_cst, align 4")},
    {"fence ordering", FUNCTION("", "fence acquire"), FUNCTION("", "fence seq_cst")},
    {"atomicrmw operation", FUNCTION("ptr %p", "%y = atomicrmw add ptr %p, i32 1 seq_cst"),
     FUNCTION("ptr %p", "%y = atomicrmw sub ptr %p, i32 1 seq_cst")},
    {"weak cmpxchg", FUNCTION("ptr %p", "%y = cmpxchg ptr %p, i32 1, i32 2 seq_cst seq_cst"),
     FUNCTION("ptr %p", "%y = cmpxchg weak ptr %p, i32 1, i32 2 seq_cst seq_cst")},
    {"alloca type", FUNCTION("", "%y = alloca [2 x i32], align 8"),
     FUNCTION("", "%y = alloca [3 x i32], align 8")},
    {"alloca alignment", FUNCTION("", "%y = alloca i32, align 8"),
     FUNCTION("", "%y = alloca i32, align 16")},
    {"getelementptr type", FUNCTION("ptr %p", "%y = getelementptr i32, ptr %p, i64 1"),
     FUNCTION("ptr %p", "%y = getelementptr i64, ptr %p, i64 1")},
    {"inbounds", FUNCTION("ptr %p", "%y = getelementptr i32, ptr %p, i64 1"),
     FUNCTION("ptr %p", "%y = getelementptr inbounds i32, ptr %p, i64 1")},
    {"extractvalue index", FUNCTION("{i32, i32} %s", "%y = extractvalue {i32, i32} %s, 0"),
     FUNCTION("{i32, i32} %s", "%y = extractvalue {i32, i32} %s, 1")},
    {"shuffle mask",
     FUNCTION("<2 x i8> %v", "%y = shufflevector <2 x i8> %v, <2 x i8> %v, <2 x i32> <i32 0, "
                             "i32 3>"),
     FUNCTION("<2 x i8> %v", "%y = shufflevector <2 x i8> %v, <2 x i8> %v, <2 x i32> <i32 0, "
                             "i32 2>")},
    {"switch case", FUNCTION("i32 %x", "switch i32 %x, label %e [ i32 1, label %e ]\ne:"),
     FUNCTION("i32 %x", "switch i32 %x, label %e [ i32 2, label %e ]\ne:")},
    {"switch destination",
     FUNCTION("i32 %x", "switch i32 %x, label %e [ i32 1, label %d ]\nd:\n  br label %e\ne:"),
     FUNCTION("i32 %x", "switch i32 %x, label %d [ i32 1, label %e ]\nd:\n  br label %e\ne:")},
    {"incoming block",
     FUNCTION("i1 %c", "br i1 %c, label %a, label %b\na:\n  br label %e\nb:\n  br label %e\ne:\n"
                       "  %y = phi i32 [ 1, %a ], [ 2, %b ]"),
     FUNCTION("i1 %c", "br i1 %c, label %a, label %b\na:\n  br label %e\nb:\n  br label %e\ne:\n"
                       "  %y = phi i32 [ 1, %b ], [ 2, %a ]")},
    {"block order",
     FUNCTION("i1 %c", "br i1 %c, label %a, label %b\na:\n  fence acquire\n  br label %e\nb:\n"
                       "  br label %e\ne:"),
     FUNCTION("i1 %c", "br i1 %c, label %a, label %b\nb:\n  br label %e\na:\n  fence acquire\n"
                       "  br label %e\ne:")},
    {"block address",
     "define ptr @f() {\n  br label %a\na:\n  br label %b\nb:\n"
     "  ret ptr blockaddress(@f, %a)\n}\n",
     "define ptr @f() {\n  br label %a\na:\n  br label %b\nb:\n"
     "  ret ptr blockaddress(@f, %b)\n}\n"},
    {"tail call", CALL_G, "declare void @g(i32)\n" FUNCTION("i32 %x", "tail call void @g(i32 %x)")},
    {"calling convention", CALL_G,
     "declare void @g(i32)\n" FUNCTION("i32 %x", "call fastcc void @g(i32 %x)")},
    {"call-site attribute", CALL_G,
     "declare void @g(i32)\n" FUNCTION("i32 %x", "call void @g(i32 %x) nounwind")},
    {"argument attribute at the call", CALL_G,
     "declare void @g(i32)\n" FUNCTION("i32 %x", "call void @g(i32 zeroext %x)")},
    {"operand bundle", CALL_G,
     "declare void @g(i32)\n" FUNCTION("i32 %x", "call void @g(i32 %x) [ \"tag\"() ]")},
    {"inline assembly", FUNCTION("", "call void asm \"nop\", \"\"()"),
     FUNCTION("", "call void asm sideeffect \"nop\", \"\"()")},
    {"function attribute", "define void @f() { ret void }", "define void @f() cold { ret void }"},
    {"string attribute", "define void @f() \"key\"=\"1\" { ret void }",
     "define void @f() \"key\"=\"2\" { ret void }"},
    {"memory attribute", "define void @f() memory(none) { ret void }",
     "define void @f() memory(read) { ret void }"},
    {"parameter attribute", "define void @f(ptr %p) { ret void }",
     "define void @f(ptr nocapture %p) { ret void }"},
    {"attribute value", "define void @f(ptr align 4 %p) { ret void }",
     "define void @f(ptr align 8 %p) { ret void }"},
    {"type attribute", "define void @f(ptr byval(i32) %p) { ret void }",
     "define void @f(ptr byval(i64) %p) { ret void }"},
    {"range attribute", "define void @f(i32 range(i32 0, 5) %x) { ret void }",
     "define void @f(i32 range(i32 0, 6) %x) { ret void }"},
    {"range attribute and none", "define void @f(i32 %x) { ret void }",
     "define void @f(i32 range(i32 0, 5) %x) { ret void }"},
    {"return attribute", "define i32 @f() { ret i32 0 }", "define noundef i32 @f() { ret i32 0 }"},
    {"metadata", FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4"),
     FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4, !range !0") "!0 = !{i32 0, i32 5}\n"},
    {"metadata value",
     FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4, !range !0") "!0 = !{i32 0, i32 5}\n",
     FUNCTION("ptr %p", "%y = load i32, ptr %p, align 4, !range !0") "!0 = !{i32 0, i32 6}\n"},
    {"metadata string", FUNCTION("", "fence seq_cst, !note !0") "!0 = !{!\"one\"}\n",
     FUNCTION("", "fence seq_cst, !note !0") "!0 = !{!\"two\"}\n"},
    {"named metadata", FUNCTION("", "") "!name = !{!0}\n!0 = !{i32 1}\n",
     FUNCTION("", "") "!name = !{!0}\n!0 = !{i32 2}\n"},
    {"metadata kind", FUNCTION("", "fence seq_cst, !nosanitize !0") "!0 = !{}\n",
     FUNCTION("", "fence seq_cst, !unpredictable !0") "!0 = !{}\n"},
    {"metadata shared by instructions",
     FUNCTION("", "fence seq_cst, !note !0\n  fence seq_cst, !note !1\n  fence seq_cst, !note !0")
         TWO_NODES,
     FUNCTION("", "fence seq_cst, !note !0\n  fence seq_cst, !note !1\n  fence seq_cst, !note !1")
         TWO_NODES},
    {"metadata of a function", "define void @f() !note !0 { ret void }\n!0 = !{i32 1}\n",
     "define void @f() !note !0 { ret void }\n!0 = !{i32 2}\n"},
    {"metadata of a variable", "@g = global i32 1, !note !0\n" FUNCTION("", "") "!0 = !{i32 1}\n",
     "@g = global i32 1, !note !0\n" FUNCTION("", "") "!0 = !{i32 2}\n"},
    {"trailing zero of a metadata string",
     FUNCTION("", "fence seq_cst, !note !0") "!0 = !{!\"a\"}\n",
     FUNCTION("", "fence seq_cst, !note !0") "!0 = !{!\"a\\00\"}\n"},
    {"name of named metadata", FUNCTION("", "") "!name = !{!0}\n!0 = !{i32 1}\n",
     FUNCTION("", "") "!game = !{!0}\n!0 = !{i32 1}\n"},
    {"scope of atomicrmw", FUNCTION("ptr %p", "%y = atomicrmw add ptr %p, i32 1 seq_cst"),
     FUNCTION("ptr %p", "%y = atomicrmw add ptr %p, i32 1 syncscope(\"singlethread\") seq_cst")},
    {"scope of cmpxchg", FUNCTION("ptr %p", "%y = cmpxchg ptr %p, i32 1, i32 2 seq_cst seq_cst"),
     FUNCTION("ptr %p", "%y = cmpxchg ptr %p, i32 1, i32 2 syncscope(\"singlethread\") seq_cst "
                        "seq_cst")},
    {"cleanup", LANDING_PAD("catch ptr null"), LANDING_PAD("cleanup catch ptr null")},
    {"function type at the call", CALL_G,
     "declare void @g(i32)\n" FUNCTION("i32 %x", "call void (i32, ...) @g(i32 %x)")},
    {"string attribute key", "define void @f() \"one\"=\"1\" { ret void }",
     "define void @f() \"two\"=\"1\" { ret void }"},
    {"attribute kind", "define void @f() hot { ret void }", "define void @f() cold { ret void }"},
    {"calling convention of a function", "define void @f() { ret void }",
     "define fastcc void @f() { ret void }"},
    {"personality", "declare i32 @p(...)\ndefine void @f() { ret void }",
     "declare i32 @p(...)\ndefine void @f() personality ptr @p { ret void }"},
    {"prefix data", "define void @f() prefix i32 1 { ret void }",
     "define void @f() prefix i32 2 { ret void }"},
    {"prologue data", "define void @f() prologue i32 1 { ret void }",
     "define void @f() prologue i32 2 { ret void }"},
    {"aliasee", "@a = global i32 1\n@b = global i32 1\n@h = alias i32, ptr @a\n" FUNCTION("", ""),
     "@a = global i32 1\n@b = global i32 1\n@h = alias i32, ptr @b\n" FUNCTION("", "")},
    {"linkage of an alias", "@a = global i32 1\n@h = alias i32, ptr @a\n" FUNCTION("", ""),
     "@a = global i32 1\n@h = weak alias i32, ptr @a\n" FUNCTION("", "")},
    {"data layout",
     "target triple = \"x86_64-pc-linux-gnu\"\ntarget datalayout = \"e\"\n" FUNCTION("", ""),
     "target triple = \"x86_64-pc-linux-gnu\"\ntarget datalayout = \"e-i64:64\"\n" FUNCTION("",
                                                                                            "")},
    {"linkage", "define void @f() { ret void }", "define weak void @f() { ret void }"},
    {"visibility", "define void @f() { ret void }", "define hidden void @f() { ret void }"},
    {"unnamed_addr", "define void @f() { ret void }", "define void @f() unnamed_addr { ret void }"},
    {"section", "define void @f() { ret void }", "define void @f() section \"s\" { ret void }"},
    {"collector", "define void @f() { ret void }",
     "define void @f() gc \"statepoint-example\" { "
     "ret void }"},
    {"comdat", "define void @f() { ret void }",
     "$f = comdat any\ndefine void @f() comdat { ret void }"},
    {"function name", "define void @f() { ret void }", "define void @g() { ret void }"},
    {"return type", "define i32 @f() { ret i32 0 }", "define i64 @f() { ret i64 0 }"},
    {"variadic", "define void @f(i32 %x) { ret void }", "define void @f(i32 %x, ...) { ret void }"},
    {"initialiser", "@g = global i32 1\n" FUNCTION("", ""), "@g = global i32 2\n" FUNCTION("", "")},
    {"array initialiser", "@g = global [2 x i8] c\"ab\"\n" FUNCTION("", ""),
     "@g = global [2 x i8] c\"ac\"\n" FUNCTION("", "")},
    {"address in an initialiser",
     "@a = global i32 1\n@b = global i32 1\n@g = global ptr @a\n" FUNCTION("", ""),
     "@a = global i32 1\n@b = global i32 1\n@g = global ptr @b\n" FUNCTION("", "")},
    {"constant", "@g = global i32 1\n" FUNCTION("", ""), "@g = constant i32 1\n" FUNCTION("", "")},
    {"thread local", "@g = global i32 1\n" FUNCTION("", ""),
     "@g = thread_local global i32 1\n" FUNCTION("", "")},
    {"global alignment", "@g = global i32 1, align 4\n" FUNCTION("", ""),
     "@g = global i32 1, align 8\n" FUNCTION("", "")},
    {"alias", "@g = global i32 1\n" FUNCTION("", ""),
     "@g = global i32 1\n@h = alias i32, ptr @g\n" FUNCTION("", "")},
    {"struct layout", "%s = type { i32, i8 }\n@g = global %s zeroinitializer\n" FUNCTION("", ""),
     "%s = type <{ i32, i8 }>\n@g = global %s zeroinitializer\n" FUNCTION("", "")},
    {"module assembly", FUNCTION("", ""), "module asm \"nop\"\n" FUNCTION("", "")},
    {"target", "target triple = \"x86_64-pc-linux-gnu\"\n" FUNCTION("", ""),
     "target triple = \"x86_64-pc-linux-musl\"\n" FUNCTION("", "")},
    {"instruction order",
     FUNCTION("ptr %p", "store i8 1, ptr %p, align 1\n  store i8 2, ptr %p, align 1"),
     FUNCTION("ptr %p", "store i8 2, ptr %p, align 1\n  store i8 1, ptr %p, align 1")},
};

#define DEBUG_INFO(line)                                                                           \
    "define void @f() !dbg !3 {\n  fence seq_cst, !dbg !5\n  ret void, !dbg !5\n}\n"               \
    "!llvm.dbg.cu = !{!0}\n!llvm.module.flags = !{!2}\n"                                           \
    "!0 = distinct !DICompileUnit(language: DW_LANG_C11, file: !1, emissionKind: FullDebug)\n"     \
    "!1 = !DIFile(filename: \"f.c\", directory: \"/\")\n"                                          \
    "!2 = !{i32 2, !\"Debug Info Version\", i32 3}\n"                                              \
    "!3 = distinct !DISubprogram(name: \"f\", file: !1, line: " line ", type: !4, unit: !0)\n"     \
    "!4 = !DISubroutineType(types: !{})\n"                                                         \
    "!5 = !DILocation(line: " line ", scope: !3)\n"

/* Modules that differ in what no pass sees. */
static const text_pair EQUAL[] = {
    {"names of locals", "define i32 @f(i32 %x) {\nentry:\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n",
     "define i32 @f(i32 %0) {\n  %2 = add i32 %0, 1\n  ret i32 %2\n}\n"},
    {"names of types", "%a = type { i32 }\n@g = global %a zeroinitializer\n" FUNCTION("", ""),
     "%b = type { i32 }\n@g = global %b zeroinitializer\n" FUNCTION("", "")},
    {"comments", FUNCTION("", ""), "; a comment\n" FUNCTION("", "")},
    {"numbers of attribute groups",
     "define void @f() #0 { ret void }\nattributes #0 = { cold nounwind }\n",
     "define void @f() #7 { ret void }\nattributes #7 = { nounwind cold }\n"},
    {"numbers of metadata", FUNCTION("", "fence seq_cst, !note !0") "!0 = !{i32 1}\n",
     FUNCTION("", "fence seq_cst, !note !9") "!9 = !{i32 1}\n"},
    {"debug info", DEBUG_INFO("1"), DEBUG_INFO("2")},
};

static void check_pair(const text_pair *pair, bool equal, int line) {
    dojo_session *one = open_text(pair->one), *other = open_text(pair->other);
    check(same_hash(one, other) == equal, line, "%s: the hashes %s", pair->what,
          equal ? "differ" : "are equal");
    /* neither half of the hash stands alone for the whole */
    for (int half = 0; half < 2; half++)
        check((dojo_session_state(one)->hash[half] == dojo_session_state(other)->hash[half]) ==
                  equal,
              line, "%s: half %d of the hash", pair->what, half);
    dojo_session *again = reopen_bitcode(one), *from_text = reopen_text(other);
    check(same_hash(one, again), line, "%s: bitcode round trip", pair->what);
    check(same_hash(other, from_text), line, "%s: text round trip", pair->what);
    dojo_session_close(again);
    dojo_session_close(from_text);
    dojo_session_close(one);
    dojo_session_close(other);
}

static void test_hash(void) {
    for (size_t i = 0; i < sizeof DIFFERENT / sizeof *DIFFERENT; i++)
        check_pair(&DIFFERENT[i], false, __LINE__);
    for (size_t i = 0; i < sizeof EQUAL / sizeof *EQUAL; i++)
        check_pair(&EQUAL[i], true, __LINE__);
}

static void test_fork(void) {
    dojo_session *parent = open_text(PROGRAM);
    run(parent, "function(sroa)");
    dojo_state at_fork = *dojo_session_state(parent);
    dojo_session *fork = fork_of(parent);
    CHECK(same_state(dojo_session_state(fork), &at_fork));

    /* a parent that goes on leaves its fork alone, and the other way round */
    run(parent, "default<Oz>");
    CHECK(!same_hash(parent, fork));
    CHECK(same_state(dojo_session_state(fork), &at_fork));
    dojo_session *grandchild = fork_of(fork);
    run(fork, "default<Oz>");
    CHECK(same_state(dojo_session_state(parent), dojo_session_state(fork)));
    CHECK(same_state(dojo_session_state(grandchild), &at_fork));

    /* a fork outlives its parent, and a parent its fork */
    dojo_session_close(parent);
    dojo_session *unused = fork_of(grandchild);
    dojo_session_close(unused);
    run(grandchild, "default<Oz>");
    CHECK(same_hash(grandchild, fork));
    dojo_session_close(fork);
    dojo_session *late = fork_of(grandchild);
    dojo_session_close(grandchild);
    REQUIRE(dojo_session_verify(late, &error));
    char *text;
    REQUIRE(dojo_session_ir(late, &text, &error));
    CHECK(strstr(text, "define i32 @sum(") != NULL);
    dojo_string_free(text);
    dojo_session_close(late);
}

/* At every step a live session, a fork of it and a session opened from bitcode agree. */
static void test_fork_at_every_step(void) {
    dojo_session *live = open_text(PROGRAM);
    for (size_t i = 0; i < PIPELINE_COUNT; i++) {
        dojo_session *fork = fork_of(live), *opened = reopen_bitcode(live);
        run(live, PIPELINES[i]);
        run(fork, PIPELINES[i]);
        run(opened, PIPELINES[i]);
        const dojo_state *state = dojo_session_state(live);
        check(same_state(state, dojo_session_state(fork)), __LINE__, "fork after %s", PIPELINES[i]);
        check(same_state(state, dojo_session_state(opened)), __LINE__, "opened after %s",
              PIPELINES[i]);
        check(state->changed == dojo_session_state(fork)->changed, __LINE__, "changed by %s",
              PIPELINES[i]);
        dojo_session_close(fork);
        dojo_session_close(opened);
    }
    dojo_session_close(live);
}

static void test_materialize(void) {
    dojo_session *session = open_text(PROGRAM);
    REQUIRE(dojo_session_materialize(session, &error));
    dojo_session *fork = fork_of(session);
    REQUIRE(dojo_session_materialize(fork, &error));
    REQUIRE(dojo_session_materialize(fork, &error));
    CHECK(same_hash(fork, session));
    const char *ours, *theirs;
    size_t our_size, their_size;
    REQUIRE(dojo_session_bitcode(session, &ours, &our_size, &error));
    REQUIRE(dojo_session_bitcode(fork, &theirs, &their_size, &error));
    CHECK(our_size == their_size && memcmp(ours, theirs, our_size) == 0);
    run(fork, "no-op-module");
    CHECK(!dojo_session_state(fork)->changed);
    dojo_session_close(session);
    dojo_session_close(fork);
}

static void test_object(void) {
    dojo_session *session = open_text(PROGRAM);
    char *object;
    size_t size;
    REQUIRE(dojo_session_object(session, &object, &size, &error));
    CHECK(size > 64 && memcmp(object, "\x7f\x45LF", 4) == 0);
    dojo_state before = *dojo_session_state(session);
    int64_t unoptimised = text_size(session);
    CHECK(unoptimised > 0 && unoptimised < (int64_t)size);
    CHECK(same_state(dojo_session_state(session), &before));
    dojo_session *again = reopen_bitcode(session);
    CHECK(same_hash(again, session)); /* emission leaves the module as it was */
    dojo_session_close(again);
    dojo_string_free(object);

    dojo_session *fork = fork_of(session);
    CHECK(text_size(fork) == unoptimised);
    run(session, "default<Oz>");
    int64_t optimised = text_size(session);
    CHECK(optimised > 0 && optimised < unoptimised);
    CHECK(text_size(session) == optimised);
    dojo_session_close(fork);
    dojo_session_close(session);

    /* sections called .text.something count, others do not */
    dojo_session *one = open_text("define void @f() { ret void }\n"
                                  "define void @g() section \"elsewhere\" { ret void }\n");
    dojo_session *two = open_text("define void @f() { ret void }\n"
                                  "define void @g() section \".text.hot\" { ret void }\n");
    CHECK(text_size(one) == 1 && text_size(two) == 2);
    dojo_session_close(one);
    dojo_session_close(two);
}

/* A computed goto through a table of the module's own, into another function, and through code. */
static void test_block_addresses(void) {
    dojo_session *session =
        open_text("%pair = type { i32, i32 }\n"
                  "@table = internal constant [2 x ptr] [ptr blockaddress(@f, %a), ptr "
                  "blockaddress(@f, %b)]\n"
                  "define ptr @g() { ret ptr blockaddress(@f, %b) }\n"
                  "define i32 @f(i64 %i, ptr %p) {\n"
                  "  %slot = getelementptr ptr, ptr @table, i64 %i\n  %to = load ptr, ptr %slot\n"
                  "  indirectbr ptr %to, [label %a, label %b]\n"
                  "a:\n  indirectbr ptr blockaddress(@f, %b), [label %a, label %b]\n"
                  "b:\n  %q = getelementptr %pair, ptr %p, i32 0, i32 1\n  %v = load i32, ptr %q\n"
                  "  ret i32 %v\n}\n");
    dojo_state before = *dojo_session_state(session);
    int64_t unoptimised = text_size(session);
    CHECK(unoptimised > 0 && text_size(session) == unoptimised);
    CHECK(same_state(dojo_session_state(session), &before));
    dojo_session *fork = fork_of(session);
    CHECK(text_size(fork) == unoptimised);
    run(session, "default<Oz>");
    CHECK(text_size(session) > 0 && text_size(session) < unoptimised);
    run(fork, "default<Oz>"); /* whatever was emitted in between */
    CHECK(same_hash(fork, session) && text_size(fork) == text_size(session));
    REQUIRE(dojo_session_verify(session, &error));
    char *text;
    REQUIRE(dojo_session_ir(session, &text, &error));
    CHECK(strstr(text, "%pair.") == NULL);
    dojo_string_free(text);
    dojo_session_close(fork);
    dojo_session_close(session);
}

/* LLVM ends the process on assembly that it has no parser for. */
static void test_inline_assembly(void) {
    dojo_session *session =
        open_text("module asm \".globl exported\"\nmodule asm \"exported: ret\"\n"
                  "define i32 @f(i32 %x) {\n"
                  "  %y = call i32 asm \"bswapl $0\", \"=r,0\"(i32 %x)\n  ret i32 %y\n}\n");
    int64_t with_both = text_size(session);
    CHECK(with_both > 3);
    dojo_session_close(session);
}

static void test_emission_error(void) {
    dojo_session *session =
        open_text("define void @f() {\n"
                  "  call void asm sideeffect \"bogus %eax\", \"\"()\n  ret void\n}\n"
                  "define i32 @g(i32 %x) {\n  %y = add i32 %x, 0\n  ret i32 %y\n}\n");
    char *object = NULL;
    size_t size;
    int64_t bytes;
    for (int round = 0; round < 2; round++) {
        CHECK_FAILURE(dojo_session_object(session, &object, &size, &error), DOJO_ERROR_EMIT,
                      "invalid instruction mnemonic 'bogus'");
        CHECK(object == NULL);
        CHECK_FAILURE(dojo_session_text_size(session, &bytes, &error), DOJO_ERROR_EMIT,
                      "invalid instruction mnemonic 'bogus'");
    }
    run(session, "function(instsimplify)"); /* the session lives on */
    CHECK(dojo_session_state(session)->changed);
    REQUIRE(dojo_session_verify(session, &error));
    dojo_session_close(session);
}

enum { THREADS = 8 };

typedef struct worker {
    pthread_t thread;
    dojo_session *fork; /* of a session that all workers share */
    dojo_state states[PIPELINE_COUNT], forked;
    int64_t bytes;
} worker;

static void *work(void *argument) {
    worker *self = argument;
    dojo_session *session = open_text(PROGRAM);
    for (size_t i = 0; i < PIPELINE_COUNT; i++) {
        run(session, PIPELINES[i]);
        self->states[i] = *dojo_session_state(session);
        run(self->fork, PIPELINES[i]);
    }
    self->bytes = text_size(session);
    self->forked = *dojo_session_state(self->fork);
    dojo_session_close(self->fork);
    dojo_session_close(session);
    return NULL;
}

static void test_threads(void) {
    worker *workers = calloc(THREADS, sizeof *workers);
    if (workers == NULL)
        abort();
    dojo_session *shared = open_text(PROGRAM);
    for (int t = 0; t < THREADS; t++)
        workers[t].fork = fork_of(shared);
    dojo_session_close(shared);
    for (int t = 0; t < THREADS; t++)
        if (pthread_create(&workers[t].thread, NULL, work, &workers[t]) != 0)
            abort();
    for (int t = 0; t < THREADS; t++)
        pthread_join(workers[t].thread, NULL);
    for (int t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < PIPELINE_COUNT; i++)
            CHECK(same_state(&workers[t].states[i], &workers[0].states[i]));
        CHECK(same_state(&workers[t].forked, &workers[t].states[PIPELINE_COUNT - 1]));
        CHECK(workers[t].bytes == workers[0].bytes);
    }
    free(workers);
}

static void test_benchmark_floor(void) {
    dojo_session *session = open_text(PROGRAM);
    dojo_state before = *dojo_session_state(session);
    double passes[PIPELINE_COUNT], walks[PIPELINE_COUNT];
    REQUIRE(dojo_benchmark_floor(session, PIPELINES, PIPELINE_COUNT, passes, walks, &error));
    for (size_t i = 0; i < PIPELINE_COUNT; i++)
        CHECK(passes[i] > 0 && walks[i] > 0);
    CHECK(same_state(dojo_session_state(session), &before));
    REQUIRE(dojo_benchmark_floor(session, NULL, 0, NULL, NULL, &error));
    static const char *const refused[] = {"globaldce", "no-such-pass"};
    CHECK_FAILURE(dojo_benchmark_floor(session, refused, 2, passes, walks, &error), DOJO_ERROR_PASS,
                  "unknown pass name 'no-such-pass'");
    CHECK(same_state(dojo_session_state(session), &before));
    dojo_session_close(session);
}

static const dojo_graph *graph_of(dojo_session *session) {
    const dojo_graph *graph;
    REQUIRE(dojo_session_graph(session, &graph, &error));
    return graph;
}

static bool same_graph(const dojo_graph *one, const dojo_graph *other) {
    return one->bytes == other->bytes && memcmp(one, other, (size_t)one->bytes) == 0;
}

/* Every row lies inside the block and refers to nodes and functions that exist. */
static void check_graph(const dojo_graph *graph) {
    const int32_t *nodes = (const int32_t *)(graph + 1);
    const int32_t *links = nodes + graph->nodes * DOJO_GRAPH_NODE_COLUMNS;
    const int32_t *features = links + graph->edges * 2;
    const int32_t *end = features + graph->edges * DOJO_GRAPH_EDGE_COLUMNS;
    CHECK((const char *)end == (const char *)graph + graph->bytes);
    CHECK(graph->nodes > 1 && graph->edges > 0 && graph->functions > 0);
    bool sound = nodes[DOJO_GRAPH_NODE_COLUMNS - 1] == -1;
    for (const int32_t *row = nodes + DOJO_GRAPH_NODE_COLUMNS; row < links;
         row += DOJO_GRAPH_NODE_COLUMNS)
        sound &= row[0] >= 0 && row[0] <= 2 && row[6] >= 0 && row[6] < graph->functions;
    for (const int32_t *index = links; index < features; index++)
        sound &= *index >= 0 && *index < graph->nodes;
    for (const int32_t *row = features; row < end; row += DOJO_GRAPH_EDGE_COLUMNS)
        sound &= row[0] >= 0 && row[0] <= 2 && row[1] >= 0;
    CHECK(sound);
}

static void test_graph(void) {
    dojo_session *session = open_text(PROGRAM);
    const dojo_graph *graph = graph_of(session);
    check_graph(graph);
    CHECK(graph_of(session) == graph);
    unsigned different = 0;
    for (size_t i = 0; i < PIPELINE_COUNT; i++) {
        dojo_session *before = fork_of(session);
        run(session, PIPELINES[i]);
        check_graph(graph_of(session));
        bool same = same_graph(graph_of(session), graph_of(before));
        CHECK(same || !same_hash(session, before));
        different += !same;
        dojo_session *copies[] = {fork_of(session), reopen_bitcode(session), reopen_text(session)};
        for (size_t c = 0; c < sizeof copies / sizeof *copies; c++) {
            CHECK(same_graph(graph_of(copies[c]), graph_of(session)));
            dojo_session_close(copies[c]);
        }
        dojo_session_close(before);
    }
    CHECK(different > 0);
    dojo_session_close(session);
}

static void test_functions(void) {
    dojo_session *session = open_text(PROGRAM);
    for (size_t i = 0; i < PIPELINE_COUNT; i++) {
        run(session, PIPELINES[i]);
        dojo_state before = *dojo_session_state(session);
        dojo_session *copies[] = {session, fork_of(session), reopen_bitcode(session),
                                  reopen_text(session)};
        dojo_function *first = NULL, *functions;
        size_t defined = 0, count;
        for (size_t c = 0; c < sizeof copies / sizeof *copies; c++) {
            int64_t instructions = 0;
            REQUIRE(dojo_session_functions(copies[c], &functions, &count, &error));
            for (size_t f = 0; f < count; f++)
                instructions += functions[f].instructions;
            CHECK(instructions == before.instcount[0] && (int64_t)count == before.instcount[2]);
            CHECK(same_state(dojo_session_state(copies[c]), &before));
            if (c == 0) {
                first = functions;
                defined = count;
                continue;
            }
            CHECK(count == defined && memcmp(first, functions, count * sizeof *first) == 0);
            dojo_string_free((char *)functions);
            dojo_session_close(copies[c]);
        }
        dojo_string_free((char *)first);
    }
    dojo_session_close(session);
}

/* The function @f is the first of each module. */
static void check_functions(const text_pair *pair, bool equal, int line) {
    dojo_session *one = open_text(pair->one), *other = open_text(pair->other);
    dojo_function *functions[2];
    size_t count;
    REQUIRE(dojo_session_functions(one, &functions[0], &count, &error));
    REQUIRE(dojo_session_functions(other, &functions[1], &count, &error));
    for (int half = 0; half < 2; half++)
        check((functions[0]->hash[half] == functions[1]->hash[half]) == equal, line,
              "%s: half %d of the hash of a function", pair->what, half);
    for (int i = 0; i < 2; i++)
        dojo_string_free((char *)functions[i]);
    dojo_session_close(one);
    dojo_session_close(other);
}

static void test_function_hash(void) {
    static const text_pair equal[] = {
        {"names", FUNCTION("", ""), "define void @g() { ret void }\n"},
        {"a neighbour", FUNCTION("", ""), FUNCTION("", "") "define void @g() { ret void }\n"},
        {"a constant that refers to itself",
         "@a = internal constant ptr @a\ndefine ptr @f() { ret ptr @a }\n",
         "@x = global i8 1\n@b = internal constant ptr @b\ndefine ptr @f() { ret ptr @b }\n"},
        {"constants in a circle",
         "@a = internal constant ptr @b\n@b = internal constant ptr @a\n"
         "define ptr @f() { ret ptr @a }\n",
         "@d = internal constant ptr @c\n@c = internal constant ptr @d\n"
         "define ptr @f() { ret ptr @c }\n"},
        {"itself", "define ptr @f() { ret ptr @f }\n", "define internal ptr @g() { ret ptr @g }\n"},
        {"attached metadata", FUNCTION("", "fence seq_cst, !note !0") "!0 = !{i32 1}\n",
         FUNCTION("", "fence seq_cst")},
        {"debug info", DEBUG_INFO("1"), DEBUG_INFO("2")},
    };
    static const text_pair different[] = {
        {"type", "define void @f(i32) { ret void }\n", "define void @f(i64) { ret void }\n"},
        {"attribute", "define void @f() { ret void }\n", "define void @f() cold { ret void }\n"},
        {"external symbol", "@a = external global i8\ndefine ptr @f() { ret ptr @a }\n",
         "@b = external global i8\ndefine ptr @f() { ret ptr @b }\n"},
        {"value of a local constant",
         "@a = internal constant i8 1\ndefine ptr @f() { ret ptr @a }\n",
         "@a = internal constant i8 2\ndefine ptr @f() { ret ptr @a }\n"},
        {"type of a local variable", "@a = internal global i8 1\ndefine ptr @f() { ret ptr @a }\n",
         "@a = internal global i16 1\ndefine ptr @f() { ret ptr @a }\n"},
        {"another than itself", "define ptr @f() { ret ptr @f }\n",
         "define ptr @f() { ret ptr @g }\ndefine internal ptr @g() { ret ptr null }\n"},
        {"block of its own",
         "define ptr @f() {\n  br label %a\na:\n  br label %b\nb:\n"
         "  ret ptr blockaddress(@f, %a)\n}\n",
         "define ptr @f() {\n  br label %a\na:\n  br label %b\nb:\n"
         "  ret ptr blockaddress(@f, %b)\n}\n"},
    };
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++)
        check_functions(&equal[i], true, __LINE__);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++)
        check_functions(&different[i], false, __LINE__);
}

#define SUM_KERNEL(name, operation)                                                                \
    "define void @" name "(ptr %operands, ptr %workspace, i64 %begin, i64 %end) nounwind {\n"      \
    "entry:\n"                                                                                     \
    "  %out = load ptr, ptr %operands\n"                                                           \
    "  br label %loop\n"                                                                           \
    "loop:\n"                                                                                      \
    "  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]\n"                                        \
    "  %p = getelementptr i64, ptr %out, i64 %i\n"                                                 \
    "  %x = load i64, ptr %p\n"                                                                    \
    "  %y = " operation " i64 %x, 2\n"                                                             \
    "  store i64 %y, ptr %p\n"                                                                     \
    "  store i64 %begin, ptr %workspace\n"                                                         \
    "  %next = add i64 %i, 1\n"                                                                    \
    "  %more = icmp slt i64 %next, %end\n"                                                         \
    "  br i1 %more, label %loop, label %done\n"                                                    \
    "done:\n"                                                                                      \
    "  ret void\n"                                                                                 \
    "}\n"

static dojo_jit *open_host_jit(void) {
    char *triple, *cpu, *features;
    dojo_jit *jit;
    REQUIRE(dojo_jit_host(library, &triple, &cpu, &features, &error));
    REQUIRE(dojo_jit_open(library, triple, cpu, features, 2, &jit, &error));
    dojo_string_free(triple);
    dojo_string_free(cpu);
    dojo_string_free(features);
    return jit;
}

static dojo_kernel *compile_kernel(dojo_jit *jit, const char *ir) {
    dojo_kernel *kernel;
    REQUIRE(dojo_jit_compile(jit, ir, strlen(ir), "kernel", NULL, true, &kernel, &error));
    return kernel;
}

static void test_jit(void) {
    static const char add[] = SUM_KERNEL("kernel", "add"), times[] = SUM_KERNEL("kernel", "mul");
    dojo_jit *jit = open_host_jit();
    dojo_kernel *first = compile_kernel(jit, add), *second = compile_kernel(jit, times);
    int64_t numbers[] = {1, 1, 1, 1}, scratch;
    void *operands[] = {numbers};
    first->function(operands, &scratch, 1, 3);
    second->function(operands, &scratch, 2, 4);
    CHECK(numbers[0] == 1 && numbers[1] == 3 && numbers[2] == 6 && numbers[3] == 2);
    CHECK(first->object_size > 0 && first->code_seconds > 0);
    dojo_kernel_close(first);
    second->function(operands, &scratch, 0, 1);
    CHECK(numbers[0] == 2);

    dojo_kernel *none;
    CHECK_FAILURE(dojo_jit_compile(jit, "define", 6, "kernel", NULL, false, &none, &error),
                  DOJO_ERROR_PARSE, "error");
    CHECK_FAILURE(dojo_jit_compile(jit, add, sizeof add - 1, "other", "", false, &none, &error),
                  DOJO_ERROR_PROGRAM, "defines no function 'other'");
    CHECK_FAILURE(dojo_jit_compile(jit, add, sizeof add - 1, "kernel", "x", false, &none, &error),
                  DOJO_ERROR_PASS, "unknown");
    static const char unlinked[] =
        "declare void @nowhere()\ndefine void @kernel() {\n  call void @nowhere()\n  ret void\n}\n";
    CHECK_FAILURE(
        dojo_jit_compile(jit, unlinked, sizeof unlinked - 1, "kernel", NULL, false, &none, &error),
        DOJO_ERROR_EMIT, "nowhere");
    CHECK(none == NULL);

    char *assembly;
    REQUIRE(dojo_jit_assembly(jit, add, sizeof add - 1, NULL, &assembly, &error));
    CHECK(strstr(assembly, "kernel:") != NULL);
    dojo_string_free(assembly);
    dojo_jit_close(jit);
    second->function(operands, &scratch, 0, 1);
    CHECK(numbers[0] == 4);
    dojo_kernel_close(second);
}

static void *compile_often(void *opaque) {
    static const char add[] = SUM_KERNEL("kernel", "add");
    for (int i = 0; i < 20; i++)
        dojo_kernel_close(compile_kernel(opaque, add));
    return NULL;
}

static void test_jit_threads(void) {
    dojo_jit *jit = open_host_jit();
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, compile_often, jit);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    dojo_jit_close(jit);
}

static void test_team(int64_t threads) {
    static const char add[] = SUM_KERNEL("kernel", "add");
    dojo_jit *jit = open_host_jit();
    dojo_kernel *kernel = compile_kernel(jit, add);
    dojo_team *team = dojo_team_open(threads);
    int64_t numbers[101] = {0}, scratch[8][8] = {{0}};
    void *operands[] = {numbers};
    const dojo_work work = {kernel->function, operands, scratch, sizeof *scratch, 1, 100};
    for (int i = 0; i < 200; i++)
        dojo_team_run(team, &work);
    CHECK(numbers[0] == 0 && numbers[1] == 400 && numbers[99] == 400 && numbers[100] == 0);
    CHECK(scratch[0][0] == 1 && scratch[threads - 1][0] == 100 - 99 / threads);

    const dojo_protocol protocol = {.warmup = 2, .min_seconds = 1e-4, .repeats = 3};
    double seconds[3] = {0};
    int64_t runs;
    CHECK(dojo_team_time(team, &work, &protocol, seconds, &runs));
    CHECK(seconds[0] > 0 && seconds[1] > 0 && seconds[2] > 0 && runs >= 3);
    CHECK(numbers[1] == 400 + 2 * (runs + 2));
    dojo_team_close(team);
    dojo_kernel_close(kernel);
    dojo_jit_close(jit);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s PATH_OF_LIBLLVM\n", arguments[0]);
        return 2;
    }
    REQUIRE(dojo_library_open(arguments[1], &library, &error));
    test_library(arguments[1]);
    test_open();
    test_run();
    test_round_trips();
    test_hash();
    test_fork();
    test_fork_at_every_step();
    test_materialize();
    test_object();
    test_block_addresses();
    test_inline_assembly();
    test_emission_error();
    test_threads();
    test_benchmark_floor();
    test_graph();
    test_functions();
    test_function_hash();
    test_jit();
    test_jit_threads();
    test_team(1);
    test_team(3);
    dojo_library_close(library);
    library = NULL;
    printf("%u checks passed\n", passed);
    if (failed > 0)
        fprintf(stderr, "%u checks failed\n", failed);
    return failed > 0;
}
