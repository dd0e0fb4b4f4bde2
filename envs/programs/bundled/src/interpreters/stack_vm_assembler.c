/* Stack machine with a two-pass assembler.  One X-macro list describes every instruction and
 * generates the opcode enum, the assembler's mnemonic table and the operand encodings. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*        opcode  mnemonic  operand   pops pushes */
#define INSTRUCTIONS(X)                                                                            \
    X(HALT, "halt", NONE, 0, 0)                                                                    \
    X(PUSH, "push", VARINT, 0, 1)                                                                  \
    X(DROP, "drop", NONE, 1, 0)                                                                    \
    X(DUP, "dup", NONE, 1, 2)                                                                      \
    X(SWAP, "swap", NONE, 2, 2)                                                                    \
    X(ADD, "add", NONE, 2, 1)                                                                      \
    X(SUB, "sub", NONE, 2, 1)                                                                      \
    X(MUL, "mul", NONE, 2, 1)                                                                      \
    X(DIV, "div", NONE, 2, 1)                                                                      \
    X(MOD, "mod", NONE, 2, 1)                                                                      \
    X(AND, "and", NONE, 2, 1)                                                                      \
    X(XOR, "xor", NONE, 2, 1)                                                                      \
    X(SHL, "shl", NONE, 2, 1)                                                                      \
    X(SHR, "shr", NONE, 2, 1)                                                                      \
    X(LT, "lt", NONE, 2, 1)                                                                        \
    X(EQ, "eq", NONE, 2, 1)                                                                        \
    X(NOT, "not", NONE, 1, 1)                                                                      \
    X(JMP, "jmp", LABEL, 0, 0)                                                                     \
    X(JZ, "jz", LABEL, 1, 0)                                                                       \
    X(CALL, "call", LABEL, 0, 0)                                                                   \
    X(ENTER, "enter", PAIR, 0, 0)                                                                  \
    X(RET, "ret", NONE, 1, 0)                                                                      \
    X(GETL, "getl", BYTE, 0, 1)                                                                    \
    X(SETL, "setl", BYTE, 1, 0)                                                                    \
    X(LOAD, "load", NONE, 1, 1)                                                                    \
    X(STORE, "store", NONE, 2, 0)                                                                  \
    X(PUTN, "putn", NONE, 1, 0)                                                                    \
    X(PUTC, "putc", NONE, 1, 0)

typedef enum { OPERAND_NONE, OPERAND_VARINT, OPERAND_LABEL, OPERAND_BYTE, OPERAND_PAIR } operand;

typedef enum {
#define X(op, name, kind, pops, pushes) OP_##op,
    INSTRUCTIONS(X)
#undef X
        OP_COUNT
} opcode;

static const struct {
    const char *name;
    operand kind;
    int8_t pops, pushes;
} info[OP_COUNT] = {
#define X(op, name, kind, pops, pushes) {name, OPERAND_##kind, pops, pushes},
    INSTRUCTIONS(X)
#undef X
};

enum {
    CODE_MAX = 512,
    SYMBOLS_MAX = 48,
    NAME_MAX_LEN = 15,
    STACK_MAX = 256,
    MEMORY_WORDS = 128,
    OUTPUT_MAX = 128,
    FUEL = 60000
};

typedef struct {
    char name[NAME_MAX_LEN + 1];
    int32_t value;
    bool is_label;
} symbol;

typedef struct {
    uint8_t code[CODE_MAX];
    int size;
    symbol symbols[SYMBOLS_MAX];
    int symbol_count;
    int data_words;
    int line;
    bool final_pass;
    char error[96];
} assembler;

static bool asm_error(assembler *a, const char *format, ...) {
    va_list ap;
    int n = snprintf(a->error, sizeof a->error, "line %d: ", a->line);
    va_start(ap, format);
    vsnprintf(a->error + n, sizeof a->error - (size_t)n, format, ap);
    va_end(ap);
    return false;
}

static symbol *find_symbol(assembler *a, const char *name) {
    for (int i = 0; i < a->symbol_count; i++) {
        if (strcmp(a->symbols[i].name, name) == 0)
            return &a->symbols[i];
    }
    return NULL;
}

static bool define_symbol(assembler *a, const char *name, int32_t value, bool is_label) {
    symbol *s = find_symbol(a, name);
    if (a->final_pass)
        return s->value == value || asm_error(a, "label %s moved", name);
    if (s)
        return asm_error(a, "%s defined twice", name);
    if (a->symbol_count == SYMBOLS_MAX)
        return asm_error(a, "too many symbols");
    s = &a->symbols[a->symbol_count++];
    strcpy(s->name, name);
    s->value = value;
    s->is_label = is_label;
    return true;
}

static bool emit_byte(assembler *a, uint32_t byte) {
    if (a->size == CODE_MAX)
        return asm_error(a, "program too large");
    a->code[a->size++] = (uint8_t)byte;
    return true;
}

/* Zigzag, then seven bits per byte, least significant group first. */
static bool emit_varint(assembler *a, int32_t value) {
    uint32_t v = (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
    for (; v >= 0x80; v >>= 7) {
        if (!emit_byte(a, (v & 0x7f) | 0x80))
            return false;
    }
    return emit_byte(a, v);
}

/* Copies the next word of a line; returns false at the end of the line or at a comment. */
static bool next_word(assembler *a, const char **at, char word[NAME_MAX_LEN + 1]) {
    const char *p = *at + strspn(*at, " \t");
    size_t len = strcspn(p, " \t\n;");
    *at = p + len;
    if (len > NAME_MAX_LEN) {
        asm_error(a, "word too long");
        return false;
    }
    memcpy(word, p, len);
    word[len] = '\0';
    return len > 0;
}

static bool parse_value(assembler *a, const char *word, bool allow_label, int32_t *out) {
    char *end;
    symbol *s = find_symbol(a, word);
    if (s && (allow_label || !s->is_label)) {
        *out = s->value;
        return true;
    }
    if (word[0] == '\'' && word[1] && word[2] == '\'') {
        *out = word[1];
        return true;
    }
    long v = strtol(word, &end, 0);
    if (end == word || *end) {
        *out = 0; /* a forward reference during the first pass */
        return (allow_label && !a->final_pass) || asm_error(a, "undefined value %s", word);
    }
    *out = (int32_t)v;
    return true;
}

static bool assemble_operands(assembler *a, operand kind, const char **at) {
    char word[NAME_MAX_LEN + 1];
    int32_t value;
    int count = kind == OPERAND_NONE ? 0 : kind == OPERAND_PAIR ? 2 : 1;
    for (int i = 0; i < count; i++) {
        if (!next_word(a, at, word))
            return asm_error(a, "missing operand");
        if (!parse_value(a, word, kind == OPERAND_LABEL, &value))
            return false;
        switch (kind) {
        case OPERAND_VARINT:
            if (!emit_varint(a, value))
                return false;
            break;
        case OPERAND_LABEL:
            if (!emit_byte(a, (uint32_t)value & 0xff) || !emit_byte(a, (uint32_t)value >> 8))
                return false;
            break;
        default:
            if (value < 0 || value > 255)
                return asm_error(a, "operand out of range");
            if (!emit_byte(a, (uint32_t)value))
                return false;
            break;
        }
    }
    return true;
}

static bool assemble_directive(assembler *a, const char *name, const char **at) {
    char symbol_name[NAME_MAX_LEN + 1], word[NAME_MAX_LEN + 1];
    int32_t value;
    if (!next_word(a, at, symbol_name) || !next_word(a, at, word) ||
        !parse_value(a, word, false, &value))
        return asm_error(a, "bad directive %s", name);
    if (strcmp(name, ".const") == 0)
        return define_symbol(a, symbol_name, value, false);
    if (strcmp(name, ".data") == 0) {
        int32_t base = a->data_words;
        a->data_words += value;
        if (value < 0 || a->data_words > MEMORY_WORDS)
            return asm_error(a, "out of data memory");
        return define_symbol(a, symbol_name, base, false);
    }
    return asm_error(a, "unknown directive %s", name);
}

static bool assemble_line(assembler *a, const char *at) {
    char word[NAME_MAX_LEN + 1];
    a->error[0] = '\0';
    while (next_word(a, &at, word)) {
        size_t len = strlen(word);
        if (word[len - 1] == ':') {
            word[len - 1] = '\0';
            if (!define_symbol(a, word, a->size, true))
                return false;
            continue;
        }
        if (word[0] == '.') {
            if (!assemble_directive(a, word, &at))
                return false;
            continue;
        }
        int op = 0;
        while (op < OP_COUNT && strcmp(info[op].name, word) != 0)
            op++;
        if (op == OP_COUNT)
            return asm_error(a, "unknown instruction %s", word);
        if (!emit_byte(a, (uint32_t)op) || !assemble_operands(a, info[op].kind, &at))
            return false;
    }
    return a->error[0] == '\0';
}

bool assemble(assembler *a, const char *source) {
    memset(a, 0, sizeof *a);
    for (int pass = 0; pass < 2; pass++) {
        a->final_pass = pass == 1;
        a->size = 0;
        a->data_words = 0;
        a->line = 1;
        for (const char *p = source; *p; a->line++) {
            if (!assemble_line(a, p))
                return false;
            p += strcspn(p, "\n");
            p += *p == '\n';
        }
    }
    return true;
}

typedef enum {
    VM_OK,
    VM_BAD_OPCODE,
    VM_STACK,
    VM_MEMORY,
    VM_DIVIDE,
    VM_OUT_OF_FUEL,
    VM_BAD_PC
} vm_status;

static const char *const status_names[] = {"ok",     "bad opcode",  "stack error", "memory error",
                                           "divide", "out of fuel", "bad pc"};

typedef struct {
    const uint8_t *code;
    int size, pc;
    int32_t stack[STACK_MAX];
    int sp;    /* next free slot */
    int frame; /* first argument of the running function */
    int floor; /* operands may not be popped below this */
    int32_t memory[MEMORY_WORDS];
    char output[OUTPUT_MAX];
    size_t output_len;
    unsigned long executed;
} vm;

static uint8_t fetch(vm *m) {
    return m->pc < m->size ? m->code[m->pc++] : (uint8_t)OP_HALT;
}

static int32_t fetch_varint(vm *m) {
    uint32_t v = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        uint8_t byte = fetch(m);
        v |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return (int32_t)(v >> 1 ^ (0u - (v & 1)));
}

static int fetch16(vm *m) {
    int lo = fetch(m);
    return lo | fetch(m) << 8;
}

static void vm_print(vm *m, const char *format, ...) {
    va_list ap;
    size_t room = sizeof m->output - m->output_len;
    va_start(ap, format);
    int n = vsnprintf(m->output + m->output_len, room, format, ap);
    va_end(ap);
    m->output_len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Two's complement arithmetic that wraps. */
static int32_t binary(opcode op, int32_t left, int32_t right) {
    uint32_t a = (uint32_t)left, b = (uint32_t)right;
    switch (op) {
    case OP_ADD:
        return (int32_t)(a + b);
    case OP_SUB:
        return (int32_t)(a - b);
    case OP_MUL:
        return (int32_t)(a * b);
    case OP_DIV:
        return left / right;
    case OP_MOD:
        return left % right;
    case OP_AND:
        return (int32_t)(a & b);
    case OP_XOR:
        return (int32_t)(a ^ b);
    case OP_SHL:
        return (int32_t)(a << (b & 31));
    case OP_SHR:
        return (int32_t)(a >> (b & 31));
    case OP_LT:
        return left < right;
    default:
        return left == right;
    }
}

/* A call pushes the return address, the caller's frame and its floor.  The arguments below
 * them become the first locals of the callee, further locals follow above. */
enum { LINKAGE = 3 };

static bool enter_function(vm *m, int args, int locals) {
    int base = m->sp - LINKAGE - args;
    if (base < m->floor || m->sp + locals > STACK_MAX)
        return false;
    int32_t link[LINKAGE];
    memcpy(link, m->stack + m->sp - LINKAGE, sizeof link);
    int link_at = base + args + locals;
    memset(m->stack + base + args, 0, (size_t)locals * sizeof m->stack[0]);
    memcpy(m->stack + link_at, link, sizeof link);
    m->frame = base;
    m->sp = m->floor = link_at + LINKAGE;
    return true;
}

static bool leave_function(vm *m) {
    if (m->floor < LINKAGE)
        return false;
    int32_t result = m->stack[m->sp - 1];
    const int32_t *link = m->stack + m->floor - LINKAGE;
    int base = m->frame;
    m->pc = link[0];
    m->frame = link[1];
    m->floor = link[2];
    m->sp = base;
    m->stack[m->sp++] = result;
    return true;
}

static bool check_stack(const vm *m, opcode op) {
    int after = m->sp - info[op].pops;
    return after >= m->floor && after + info[op].pushes <= STACK_MAX;
}

vm_status vm_run(vm *m) {
    for (; m->executed < FUEL; m->executed++) {
        uint8_t byte = fetch(m);
        if (byte >= OP_COUNT)
            return VM_BAD_OPCODE;
        opcode op = (opcode)byte;
        if (!check_stack(m, op))
            return VM_STACK;
        int32_t *top = m->stack + m->sp - 1; /* only used by instructions that pop */

        switch (op) {
        case OP_HALT:
            return VM_OK;
        case OP_PUSH:
            m->stack[m->sp++] = fetch_varint(m);
            break;
        case OP_DROP:
            m->sp--;
            break;
        case OP_DUP:
            m->stack[m->sp++] = *top;
            break;
        case OP_SWAP: {
            int32_t t = top[0];
            top[0] = top[-1];
            top[-1] = t;
            break;
        }
        case OP_DIV:
        case OP_MOD:
            if (top[0] == 0 || (top[0] == -1 && top[-1] == INT32_MIN))
                return VM_DIVIDE;
            /* fall through */
        case OP_ADD:
        case OP_SUB:
        case OP_MUL:
        case OP_AND:
        case OP_XOR:
        case OP_SHL:
        case OP_SHR:
        case OP_LT:
        case OP_EQ:
            top[-1] = binary(op, top[-1], top[0]);
            m->sp--;
            break;
        case OP_NOT:
            *top = !*top;
            break;
        case OP_JMP:
            m->pc = fetch16(m);
            break;
        case OP_JZ: {
            int target = fetch16(m);
            m->sp--;
            if (*top == 0)
                m->pc = target;
            break;
        }
        case OP_CALL: {
            int target = fetch16(m);
            if (m->sp + LINKAGE > STACK_MAX)
                return VM_STACK;
            m->stack[m->sp++] = m->pc;
            m->stack[m->sp++] = m->frame;
            m->stack[m->sp++] = m->floor;
            m->pc = target;
            break;
        }
        case OP_ENTER: {
            int args = fetch(m);
            int locals = fetch(m);
            if (!enter_function(m, args, locals))
                return VM_STACK;
            break;
        }
        case OP_RET:
            if (!leave_function(m))
                return VM_STACK;
            break;
        case OP_GETL:
        case OP_SETL: {
            int slot = m->frame + fetch(m);
            if (slot >= m->floor - LINKAGE)
                return VM_MEMORY;
            if (op == OP_GETL)
                m->stack[m->sp++] = m->stack[slot];
            else
                m->stack[slot] = m->stack[--m->sp];
            break;
        }
        case OP_LOAD:
        case OP_STORE:
            if (*top < 0 || *top >= MEMORY_WORDS)
                return VM_MEMORY;
            if (op == OP_LOAD) {
                *top = m->memory[*top];
            } else {
                m->memory[*top] = top[-1];
                m->sp -= 2;
            }
            break;
        case OP_PUTN:
            vm_print(m, "%ld ", (long)*top);
            m->sp--;
            break;
        case OP_PUTC:
            vm_print(m, "%c", (char)(*top & 0x7f));
            m->sp--;
            break;
        case OP_COUNT:
            return VM_BAD_OPCODE;
        }
        if (m->pc > m->size)
            return VM_BAD_PC;
    }
    return VM_OUT_OF_FUEL;
}

static const char fibonacci[] = "        push 15  call fib  putn  halt\n"
                                "fib:    enter 1 0            ; fib(n)\n"
                                "        getl 0  push 2  lt  jz recurse\n"
                                "        getl 0  ret\n"
                                "recurse: getl 0  push 1  sub  call fib\n"
                                "        getl 0  push 2  sub  call fib\n"
                                "        add  ret\n";

static const char sieve[] = ".const limit 60\n"
                            ".data flags limit\n"
                            ".data i 1\n"
                            "        push 2  push i  store\n"
                            "outer:  push i  load  push limit  lt  jz done\n"
                            "        push i  load  push flags  add  load  not  jz next\n"
                            "        push i  load  putn\n"
                            "        push i  load  call strike  drop\n"
                            "next:   push i  load  push 1  add  push i  store  jmp outer\n"
                            "done:   halt\n"
                            "strike: enter 1 1            ; strike(step), local 1 is the index\n"
                            "        getl 0  dup  mul  setl 1\n"
                            "again:  getl 1  push limit  lt  jz out\n"
                            "        push 1  push flags  getl 1  add  store\n"
                            "        getl 1  getl 0  add  setl 1  jmp again\n"
                            "out:    push 0  ret\n";

static const char gcd[] = "        push 3528  push 3780  call gcd  putn\n"
                          "        push 'o'  putc  push 'k'  putc  halt\n"
                          "gcd:    enter 2 0\n"
                          "        getl 1  jz base\n"
                          "        getl 1  getl 0  getl 1  mod  call gcd  ret\n"
                          "base:   getl 0  ret\n";

static const char xorshift[] = ".const rounds 200\n"
                               "        push 1  call spin  putn  halt\n"
                               "spin:   enter 1 1            ; xorshift32 applied 'rounds' times\n"
                               "loop:   getl 1  push rounds  lt  jz end\n"
                               "        getl 0  dup  push 13  shl  xor\n"
                               "        dup  push 17  shr  xor\n"
                               "        dup  push 5  shl  xor  setl 0\n"
                               "        getl 1  push 1  add  setl 1  jmp loop\n"
                               "end:    getl 0  ret\n";

static const struct {
    const char *name, *source;
    vm_status expect;
} programs[] = {
    {"fibonacci", fibonacci, VM_OK},
    {"sieve", sieve, VM_OK},
    {"gcd", gcd, VM_OK},
    {"xorshift", xorshift, VM_OK},
    {"underflow", "push 1 add halt", VM_STACK},
    {"runaway", "f: enter 0 4 call f ret", VM_STACK},
    {"zero", "push 7 push 0 div putn halt", VM_DIVIDE},
    {"wild", "push -5 load halt", VM_MEMORY},
    {"spin", "here: jmp here", VM_OUT_OF_FUEL},
};

static const char *const rejects[] = {
    "push 1\nfrobnicate\n", "jmp nowhere\n",   "a: halt\na: halt\n",
    "getl 300\n",           ".data big 999\n", "push\n",
};

static uint32_t hash(uint32_t h, const void *data, size_t n) {
    const uint8_t *p = data;
    while (n--)
        h = (h ^ *p++) * 16777619u;
    return h;
}

int main(void) {
    static assembler a;
    static vm machine;
    uint32_t digest = 2166136261u;

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        if (!assemble(&a, programs[i].source)) {
            printf("%s: %s\n", programs[i].name, a.error);
            return 1;
        }
        memset(&machine, 0, sizeof machine);
        machine.code = a.code;
        machine.size = a.size;
        vm_status status = vm_run(&machine);
        if (status != programs[i].expect) {
            printf("%s: %s\n", programs[i].name, status_names[status]);
            return 1;
        }
        if (status == VM_OK)
            printf("%s (%lu steps): %s\n", programs[i].name, machine.executed, machine.output);
        digest = hash(digest, a.code, (size_t)a.size);
        digest = hash(digest, machine.output, machine.output_len);
    }
    for (size_t i = 0; i < sizeof rejects / sizeof rejects[0]; i++) {
        if (assemble(&a, rejects[i]))
            return 1;
        digest = hash(digest, a.error, strlen(a.error));
    }
    printf("last rejection: %s\n", a.error);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
