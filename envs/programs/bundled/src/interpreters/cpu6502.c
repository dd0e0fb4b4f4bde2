/* Emulator for the documented instruction set of a 6502-class CPU (decimal mode, interrupts and
 * page-crossing cycles included) on a pluggable bus, with a table-driven disassembler. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define OPERATIONS(X)                                                                             \
    X(ADC) X(AND) X(ASL) X(BCC) X(BCS) X(BEQ) X(BIT) X(BMI) X(BNE) X(BPL) X(BRK) X(BVC) X(BVS)    \
    X(CLC) X(CLD) X(CLI) X(CLV) X(CMP) X(CPX) X(CPY) X(DEC) X(DEX) X(DEY) X(EOR) X(INC) X(INX)    \
    X(INY) X(JMP) X(JSR) X(LDA) X(LDX) X(LDY) X(LSR) X(NOP) X(ORA) X(PHA) X(PHP) X(PLA) X(PLP)    \
    X(ROL) X(ROR) X(RTI) X(RTS) X(SBC) X(SEC) X(SED) X(SEI) X(STA) X(STX) X(STY) X(TAX) X(TAY)    \
    X(TSX) X(TXA) X(TXS) X(TYA)
/* clang-format on */

enum operation {
    JAM, /* undocumented encodings stop the processor */
#define X(name) name,
    OPERATIONS(X)
#undef X
};

static const char *const operation_names[] = {"jam",
#define X(name) #name,
                                              OPERATIONS(X)
#undef X
};

enum mode { IMP, ACC, IMM, ZPG, ZPX, ZPY, ABS, ABX, ABY, IND, IZX, IZY, REL };

static const uint8_t operand_bytes[] = {
    [IMP] = 0, [ACC] = 0, [IMM] = 1, [ZPG] = 1, [ZPX] = 1, [ZPY] = 1, [ABS] = 2,
    [ABX] = 2, [ABY] = 2, [IND] = 2, [IZX] = 1, [IZY] = 1, [REL] = 1};

struct opcode {
    uint8_t operation;
    uint8_t mode;
    uint8_t cycles;
    uint8_t page_penalty; /* one more cycle if indexing crosses a page */
};

#define OP(code, name, mode, cycles) [code] = {name, mode, cycles, 0}
#define OPP(code, name, mode, cycles) [code] = {name, mode, cycles, 1}

/* The eight addressing modes shared by the accumulator group, at their regular offsets. */
#define GROUP1(base, name)                                                                         \
    OP((base) + 0x01, name, IZX, 6), OP((base) + 0x05, name, ZPG, 3),                              \
        OP((base) + 0x09, name, IMM, 2), OP((base) + 0x0d, name, ABS, 4),                          \
        OPP((base) + 0x11, name, IZY, 5), OP((base) + 0x15, name, ZPX, 4),                         \
        OPP((base) + 0x19, name, ABY, 4), OPP((base) + 0x1d, name, ABX, 4)

/* Read-modify-write instructions on memory. */
#define GROUP2(base, name)                                                                         \
    OP((base) + 0x06, name, ZPG, 5), OP((base) + 0x0e, name, ABS, 6),                              \
        OP((base) + 0x16, name, ZPX, 6), OP((base) + 0x1e, name, ABX, 7)

static const struct opcode opcodes[256] = {
    GROUP1(0x00, ORA),     GROUP1(0x20, AND),      GROUP1(0x40, EOR),      GROUP1(0x60, ADC),
    GROUP1(0xa0, LDA),     GROUP1(0xc0, CMP),      GROUP1(0xe0, SBC),      GROUP2(0x00, ASL),
    GROUP2(0x20, ROL),     GROUP2(0x40, LSR),      GROUP2(0x60, ROR),      GROUP2(0xc0, DEC),
    GROUP2(0xe0, INC),

    OP(0x0a, ASL, ACC, 2), OP(0x2a, ROL, ACC, 2),  OP(0x4a, LSR, ACC, 2),  OP(0x6a, ROR, ACC, 2),
    OP(0x81, STA, IZX, 6), OP(0x85, STA, ZPG, 3),  OP(0x8d, STA, ABS, 4),  OP(0x91, STA, IZY, 6),
    OP(0x95, STA, ZPX, 4), OP(0x99, STA, ABY, 5),  OP(0x9d, STA, ABX, 5),  OP(0x86, STX, ZPG, 3),
    OP(0x8e, STX, ABS, 4), OP(0x96, STX, ZPY, 4),  OP(0x84, STY, ZPG, 3),  OP(0x8c, STY, ABS, 4),
    OP(0x94, STY, ZPX, 4), OP(0xa2, LDX, IMM, 2),  OP(0xa6, LDX, ZPG, 3),  OP(0xae, LDX, ABS, 4),
    OP(0xb6, LDX, ZPY, 4), OPP(0xbe, LDX, ABY, 4), OP(0xa0, LDY, IMM, 2),  OP(0xa4, LDY, ZPG, 3),
    OP(0xac, LDY, ABS, 4), OP(0xb4, LDY, ZPX, 4),  OPP(0xbc, LDY, ABX, 4), OP(0xe0, CPX, IMM, 2),
    OP(0xe4, CPX, ZPG, 3), OP(0xec, CPX, ABS, 4),  OP(0xc0, CPY, IMM, 2),  OP(0xc4, CPY, ZPG, 3),
    OP(0xcc, CPY, ABS, 4), OP(0x24, BIT, ZPG, 3),  OP(0x2c, BIT, ABS, 4),  OP(0x10, BPL, REL, 2),
    OP(0x30, BMI, REL, 2), OP(0x50, BVC, REL, 2),  OP(0x70, BVS, REL, 2),  OP(0x90, BCC, REL, 2),
    OP(0xb0, BCS, REL, 2), OP(0xd0, BNE, REL, 2),  OP(0xf0, BEQ, REL, 2),  OP(0x4c, JMP, ABS, 3),
    OP(0x6c, JMP, IND, 5), OP(0x20, JSR, ABS, 6),  OP(0x00, BRK, IMP, 7),  OP(0x40, RTI, IMP, 6),
    OP(0x60, RTS, IMP, 6), OP(0xea, NOP, IMP, 2),  OP(0x08, PHP, IMP, 3),  OP(0x28, PLP, IMP, 4),
    OP(0x48, PHA, IMP, 3), OP(0x68, PLA, IMP, 4),  OP(0x18, CLC, IMP, 2),  OP(0x38, SEC, IMP, 2),
    OP(0x58, CLI, IMP, 2), OP(0x78, SEI, IMP, 2),  OP(0xb8, CLV, IMP, 2),  OP(0xd8, CLD, IMP, 2),
    OP(0xf8, SED, IMP, 2), OP(0x8a, TXA, IMP, 2),  OP(0x98, TYA, IMP, 2),  OP(0x9a, TXS, IMP, 2),
    OP(0xa8, TAY, IMP, 2), OP(0xaa, TAX, IMP, 2),  OP(0xba, TSX, IMP, 2),  OP(0x88, DEY, IMP, 2),
    OP(0xca, DEX, IMP, 2), OP(0xc8, INY, IMP, 2),  OP(0xe8, INX, IMP, 2),
};

enum {
    FLAG_C = 0x01,
    FLAG_Z = 0x02,
    FLAG_I = 0x04,
    FLAG_D = 0x08,
    FLAG_B = 0x10,
    FLAG_U = 0x20, /* always reads as one */
    FLAG_V = 0x40,
    FLAG_N = 0x80
};

enum { VECTOR_NMI = 0xfffa, VECTOR_RESET = 0xfffc, VECTOR_IRQ = 0xfffe };

struct bus {
    uint8_t (*read)(void *device, uint16_t addr);
    void (*write)(void *device, uint16_t addr, uint8_t value);
    void *device;
};

struct cpu {
    struct bus bus;
    uint16_t pc;
    uint8_t a, x, y, s, p;
    bool jammed;
    uint64_t cycles;
};

static uint8_t load(struct cpu *c, uint16_t addr) {
    return c->bus.read(c->bus.device, addr);
}

static void store(struct cpu *c, uint16_t addr, uint8_t value) {
    c->bus.write(c->bus.device, addr, value);
}

static uint16_t load16(struct cpu *c, uint16_t addr) {
    uint8_t lo = load(c, addr);
    return (uint16_t)(lo | load(c, (uint16_t)(addr + 1)) << 8);
}

/* A 16-bit read that does not carry into the high byte of the address. */
static uint16_t load16_same_page(struct cpu *c, uint16_t addr) {
    uint8_t lo = load(c, addr);
    uint16_t next = (uint16_t)((addr & 0xff00) | ((addr + 1) & 0xff));
    return (uint16_t)(lo | load(c, next) << 8);
}

static uint8_t fetch(struct cpu *c) {
    return load(c, c->pc++);
}

static uint16_t fetch16(struct cpu *c) {
    uint8_t lo = fetch(c);
    return (uint16_t)(lo | fetch(c) << 8);
}

static void push(struct cpu *c, uint8_t v) {
    store(c, (uint16_t)(0x100 | c->s--), v);
}
static uint8_t pull(struct cpu *c) {
    return load(c, (uint16_t)(0x100 | ++c->s));
}

static void push16(struct cpu *c, uint16_t v) {
    push(c, (uint8_t)(v >> 8));
    push(c, (uint8_t)v);
}

static uint16_t pull16(struct cpu *c) {
    uint8_t lo = pull(c);
    return (uint16_t)(lo | pull(c) << 8);
}

static void set_flag(struct cpu *c, uint8_t flag, bool on) {
    c->p = on ? c->p | flag : c->p & (uint8_t)~flag;
}

static uint8_t set_nz(struct cpu *c, uint8_t v) {
    set_flag(c, FLAG_Z, v == 0);
    set_flag(c, FLAG_N, v & 0x80);
    return v;
}

static uint16_t indexed(struct cpu *c, uint16_t base, uint8_t index, bool penalty) {
    uint16_t addr = (uint16_t)(base + index);
    if (penalty && (addr ^ base) & 0xff00)
        c->cycles++;
    return addr;
}

static uint16_t effective_address(struct cpu *c, const struct opcode *op) {
    switch ((enum mode)op->mode) {
    case IMM:
        return c->pc++;
    case ZPG:
        return fetch(c);
    case ZPX:
        return (uint8_t)(fetch(c) + c->x);
    case ZPY:
        return (uint8_t)(fetch(c) + c->y);
    case ABS:
        return fetch16(c);
    case ABX:
        return indexed(c, fetch16(c), c->x, op->page_penalty);
    case ABY:
        return indexed(c, fetch16(c), c->y, op->page_penalty);
    case IND:
        return load16_same_page(c, fetch16(c));
    case IZX:
        return load16_same_page(c, (uint8_t)(fetch(c) + c->x));
    case IZY:
        return indexed(c, load16_same_page(c, fetch(c)), c->y, op->page_penalty);
    case REL: {
        int8_t offset = (int8_t)fetch(c);
        return (uint16_t)(c->pc + offset);
    }
    case IMP:
    case ACC:
        break;
    }
    return 0;
}

static void add_binary(struct cpu *c, uint8_t v) {
    unsigned sum = c->a + v + (c->p & FLAG_C);
    set_flag(c, FLAG_V, ~(c->a ^ v) & (c->a ^ sum) & 0x80);
    set_flag(c, FLAG_C, sum > 0xff);
    c->a = set_nz(c, (uint8_t)sum);
}

static void add_decimal(struct cpu *c, uint8_t v) {
    unsigned lo = (c->a & 0x0f) + (v & 0x0f) + (c->p & FLAG_C);
    if (lo > 9)
        lo = ((lo + 6) & 0x0f) + 0x10;
    unsigned sum = (c->a & 0xf0u) + (v & 0xf0u) + lo;
    set_nz(c, (uint8_t)sum);
    set_flag(c, FLAG_Z, (uint8_t)(c->a + v + (c->p & FLAG_C)) == 0);
    set_flag(c, FLAG_V, ~(c->a ^ v) & (c->a ^ sum) & 0x80);
    if (sum > 0x9f)
        sum += 0x60;
    set_flag(c, FLAG_C, sum > 0xff);
    c->a = (uint8_t)sum;
}

static void subtract(struct cpu *c, uint8_t v) {
    uint8_t before = c->a;
    int borrow = (c->p & FLAG_C) ? 0 : 1;
    add_binary(c, (uint8_t)~v);
    if (!(c->p & FLAG_D))
        return;
    int lo = (before & 0x0f) - (v & 0x0f) - borrow;
    int hi = (before >> 4) - (v >> 4);
    if (lo < 0) {
        lo += 10;
        hi--;
    }
    if (hi < 0)
        hi += 10;
    c->a = (uint8_t)(hi << 4 | lo);
}

static void compare(struct cpu *c, uint8_t reg, uint8_t v) {
    set_flag(c, FLAG_C, reg >= v);
    set_nz(c, (uint8_t)(reg - v));
}

static uint8_t shift(struct cpu *c, enum operation op, uint8_t v) {
    uint8_t carry_in = c->p & FLAG_C;
    bool left = op == ASL || op == ROL;
    set_flag(c, FLAG_C, v & (left ? 0x80 : 0x01));
    v = (uint8_t)(left ? v << 1 : v >> 1);
    if (op == ROL)
        v |= carry_in;
    else if (op == ROR)
        v |= (uint8_t)(carry_in << 7);
    return set_nz(c, v);
}

static void branch(struct cpu *c, uint16_t target, bool taken) {
    if (!taken)
        return;
    c->cycles += (target ^ c->pc) & 0xff00 ? 2 : 1;
    c->pc = target;
}

static void interrupt(struct cpu *c, uint16_t vector, uint8_t break_flag) {
    push16(c, c->pc);
    push(c, (uint8_t)((c->p & ~FLAG_B) | FLAG_U | break_flag));
    c->p |= FLAG_I;
    c->pc = load16(c, vector);
}

void cpu_reset(struct cpu *c, struct bus bus) {
    *c = (struct cpu){.bus = bus, .s = 0xfd, .p = FLAG_I | FLAG_U};
    c->pc = load16(c, VECTOR_RESET);
}

void cpu_irq(struct cpu *c) {
    if (c->p & FLAG_I)
        return;
    interrupt(c, VECTOR_IRQ, 0);
    c->cycles += 7;
}

void cpu_step(struct cpu *c) {
    const struct opcode *op = &opcodes[fetch(c)];
    enum operation what = (enum operation)op->operation;
    uint16_t ea = effective_address(c, op);
    c->cycles += op->cycles;

    switch (what) {
    case LDA:
        c->a = set_nz(c, load(c, ea));
        break;
    case LDX:
        c->x = set_nz(c, load(c, ea));
        break;
    case LDY:
        c->y = set_nz(c, load(c, ea));
        break;
    case STA:
        store(c, ea, c->a);
        break;
    case STX:
        store(c, ea, c->x);
        break;
    case STY:
        store(c, ea, c->y);
        break;
    case TAX:
        c->x = set_nz(c, c->a);
        break;
    case TAY:
        c->y = set_nz(c, c->a);
        break;
    case TXA:
        c->a = set_nz(c, c->x);
        break;
    case TYA:
        c->a = set_nz(c, c->y);
        break;
    case TSX:
        c->x = set_nz(c, c->s);
        break;
    case TXS:
        c->s = c->x;
        break;
    case ADC:
        if (c->p & FLAG_D)
            add_decimal(c, load(c, ea));
        else
            add_binary(c, load(c, ea));
        break;
    case SBC:
        subtract(c, load(c, ea));
        break;
    case AND:
        c->a = set_nz(c, c->a & load(c, ea));
        break;
    case ORA:
        c->a = set_nz(c, c->a | load(c, ea));
        break;
    case EOR:
        c->a = set_nz(c, c->a ^ load(c, ea));
        break;
    case CMP:
        compare(c, c->a, load(c, ea));
        break;
    case CPX:
        compare(c, c->x, load(c, ea));
        break;
    case CPY:
        compare(c, c->y, load(c, ea));
        break;
    case BIT: {
        uint8_t v = load(c, ea);
        set_flag(c, FLAG_Z, (v & c->a) == 0);
        c->p = (uint8_t)((c->p & 0x3f) | (v & 0xc0));
        break;
    }
    case ASL:
    case LSR:
    case ROL:
    case ROR:
        if (op->mode == ACC)
            c->a = shift(c, what, c->a);
        else
            store(c, ea, shift(c, what, load(c, ea)));
        break;
    case INC:
        store(c, ea, set_nz(c, (uint8_t)(load(c, ea) + 1)));
        break;
    case DEC:
        store(c, ea, set_nz(c, (uint8_t)(load(c, ea) - 1)));
        break;
    case INX:
        set_nz(c, ++c->x);
        break;
    case INY:
        set_nz(c, ++c->y);
        break;
    case DEX:
        set_nz(c, --c->x);
        break;
    case DEY:
        set_nz(c, --c->y);
        break;
    case BPL:
        branch(c, ea, !(c->p & FLAG_N));
        break;
    case BMI:
        branch(c, ea, c->p & FLAG_N);
        break;
    case BVC:
        branch(c, ea, !(c->p & FLAG_V));
        break;
    case BVS:
        branch(c, ea, c->p & FLAG_V);
        break;
    case BCC:
        branch(c, ea, !(c->p & FLAG_C));
        break;
    case BCS:
        branch(c, ea, c->p & FLAG_C);
        break;
    case BNE:
        branch(c, ea, !(c->p & FLAG_Z));
        break;
    case BEQ:
        branch(c, ea, c->p & FLAG_Z);
        break;
    case JMP:
        c->pc = ea;
        break;
    case JSR:
        push16(c, (uint16_t)(c->pc - 1));
        c->pc = ea;
        break;
    case RTS:
        c->pc = (uint16_t)(pull16(c) + 1);
        break;
    case BRK:
        c->pc++; /* the byte after BRK is a signature for the handler */
        interrupt(c, VECTOR_IRQ, FLAG_B);
        break;
    case RTI:
        c->p = (uint8_t)((pull(c) & ~FLAG_B) | FLAG_U);
        c->pc = pull16(c);
        break;
    case PHA:
        push(c, c->a);
        break;
    case PHP:
        push(c, c->p | FLAG_B | FLAG_U);
        break;
    case PLA:
        c->a = set_nz(c, pull(c));
        break;
    case PLP:
        c->p = (uint8_t)((pull(c) & ~FLAG_B) | FLAG_U);
        break;
    case CLC:
        c->p &= (uint8_t)~FLAG_C;
        break;
    case CLD:
        c->p &= (uint8_t)~FLAG_D;
        break;
    case CLI:
        c->p &= (uint8_t)~FLAG_I;
        break;
    case CLV:
        c->p &= (uint8_t)~FLAG_V;
        break;
    case SEC:
        c->p |= FLAG_C;
        break;
    case SED:
        c->p |= FLAG_D;
        break;
    case SEI:
        c->p |= FLAG_I;
        break;
    case NOP:
        break;
    case JAM:
        c->jammed = true;
        c->pc--;
        break;
    }
}

static const char *const operand_formats[] = {
    [IMP] = "",        [ACC] = "A",       [IMM] = "#$%02x",    [ZPG] = "$%02x",
    [ZPX] = "$%02x,X", [ZPY] = "$%02x,Y", [ABS] = "$%04x",     [ABX] = "$%04x,X",
    [ABY] = "$%04x,Y", [IND] = "($%04x)", [IZX] = "($%02x,X)", [IZY] = "($%02x),Y",
    [REL] = "$%04x"};

static int append(char *dst, size_t cap, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(dst, cap, format, ap);
    va_end(ap);
    return n < 0 ? 0 : n;
}

/* Writes one line of assembly and returns the size of the instruction. */
int disassemble(const uint8_t *code, uint16_t at, char *line, size_t cap) {
    const struct opcode *op = &opcodes[code[0]];
    int extra = operand_bytes[op->mode];
    unsigned operand = 0;
    if (extra > 0)
        operand = code[1];
    if (extra > 1)
        operand |= (unsigned)code[2] << 8;
    if (op->mode == REL)
        operand = (uint16_t)(at + 2 + (int8_t)code[1]);

    int n = append(line, cap, "%04x  %s", at, operation_names[op->operation]);
    const char *format = operand_formats[op->mode];
    if (*format && (size_t)n + 1 < cap) {
        line[n++] = ' ';
        if (strchr(format, '%'))
            append(line + n, cap - (size_t)n, format, operand);
        else
            append(line + n, cap - (size_t)n, "%s", format);
    }
    return 1 + extra;
}

enum { PORT_OUT = 0xf001, PORT_TIMER = 0xf002, PROGRAM_BASE = 0x8000, STEP_LIMIT = 40000 };

struct board {
    uint8_t ram[65536];
    char text[64];
    size_t text_len;
    unsigned timer; /* instructions until the next interrupt, 0 = off */
};

static uint8_t board_read(void *device, uint16_t addr) {
    struct board *b = device;
    return b->ram[addr];
}

static void board_write(void *device, uint16_t addr, uint8_t value) {
    struct board *b = device;
    switch (addr) {
    case PORT_OUT:
        if (b->text_len + 1 < sizeof b->text)
            b->text[b->text_len++] = (char)value;
        break;
    case PORT_TIMER:
        b->timer = value;
        break;
    default:
        b->ram[addr] = value;
        break;
    }
}

static uint32_t hash_bytes(uint32_t h, const void *data, size_t n) {
    const uint8_t *p = data;
    while (n--)
        h = (h ^ *p++) * 16777619u;
    return h;
}

/* 16-bit product of two bytes by shift and add. */
static const uint8_t multiply_code[] = {
    0xa9, 0xc7, /* lda #199 */
    0x85, 0x02, /* sta $02 */
    0xa9, 0xad, /* lda #173 */
    0x85, 0x03, /* sta $03 */
    0xa9, 0x00, /* lda #0 */
    0xa2, 0x08, /* ldx #8 */
    0x46, 0x03, /* loop: lsr $03 */
    0x90, 0x03, /* bcc skip */
    0x18,       /* clc */
    0x65, 0x02, /* adc $02 */
    0x6a,       /* skip: ror a */
    0x66, 0x10, /* ror $10 */
    0xca,       /* dex */
    0xd0, 0xf3, /* bne loop */
    0x85, 0x11, /* sta $11 */
    0x02,       /* halt */
};

/* Count the primes below 256 with a page of flags. */
static const uint8_t sieve_code[] = {
    0xa9, 0x00,       /* lda #0 */
    0x85, 0x10,       /* sta $10 */
    0xa2, 0x02,       /* ldx #2 */
    0xbd, 0x00, 0x04, /* next: lda flags,x */
    0xd0, 0x16,       /* bne composite */
    0xe6, 0x10,       /* inc $10 */
    0x86, 0x11,       /* stx $11 */
    0x86, 0x02,       /* stx $02 */
    0x8a,             /* txa */
    0x18,             /* strike: clc */
    0x65, 0x02,       /* adc $02 */
    0xb0, 0x0a,       /* bcs composite */
    0xa8,             /* tay */
    0xa9, 0x01,       /* lda #1 */
    0x99, 0x00, 0x04, /* sta flags,y */
    0x98,             /* tya */
    0x4c, 0x12, 0x80, /* jmp strike */
    0xe8,             /* composite: inx */
    0xd0, 0xe2,       /* bne next */
    0x02,             /* halt */
};

/* Bubble sort through an indirect pointer. */
static const uint8_t bubble_code[] = {
    0xa9, 0x00,       /* lda #<list */
    0x85, 0xfb,       /* sta $fb */
    0xa9, 0x03,       /* lda #>list */
    0x85, 0xfc,       /* sta $fc */
    0xa2, 0x0f,       /* ldx #count-1 */
    0xbd, 0x35, 0x80, /* copy: lda data,x */
    0x9d, 0x00, 0x03, /* sta list,x */
    0xca,             /* dex */
    0x10, 0xf7,       /* bpl copy */
    0xa0, 0x00,       /* pass: ldy #0 */
    0x84, 0x02,       /* sty $02 */
    0xb1, 0xfb,       /* inner: lda ($fb),y */
    0xc8,             /* iny */
    0xd1, 0xfb,       /* cmp ($fb),y */
    0x90, 0x0e,       /* bcc ordered */
    0xf0, 0x0c,       /* beq ordered */
    0x48,             /* pha */
    0xb1, 0xfb,       /* lda ($fb),y */
    0x88,             /* dey */
    0x91, 0xfb,       /* sta ($fb),y */
    0xc8,             /* iny */
    0x68,             /* pla */
    0x91, 0xfb,       /* sta ($fb),y */
    0xe6, 0x02,       /* inc $02 */
    0xc0, 0x0f,       /* ordered: cpy #count-1 */
    0x90, 0xe7,       /* bcc inner */
    0xa5, 0x02,       /* lda $02 */
    0xd0, 0xdf,       /* bne pass */
    0x02,             /* halt */
    0x53, 0x07, 0xd3, 0x2d, 0x07, 0xbe, 0xff, 0x0c, 0x40,
    0x1f, 0x63, 0x03, 0x80, 0x4d, 0x96, 0x15, /* data: .byte 83, 7, 211, 45, 7, 190, 255, 12, 64,
                                                 31, 99, 3, 128, 77, 150, 21 */
};

/* Add and subtract packed decimal numbers. */
static const uint8_t decimal_code[] = {
    0xf8,       /* sed */
    0x18,       /* clc */
    0xa9, 0x79, /* lda #$79 */
    0x69, 0x46, /* adc #$46 */
    0x85, 0x20, /* sta $20 */
    0xa9, 0x12, /* lda #$12 */
    0x69, 0x05, /* adc #$05 */
    0x85, 0x21, /* sta $21 */
    0x38,       /* sec */
    0xa5, 0x20, /* lda $20 */
    0xe9, 0x38, /* sbc #$38 */
    0x85, 0x22, /* sta $22 */
    0xa5, 0x21, /* lda $21 */
    0xe9, 0x09, /* sbc #$09 */
    0x85, 0x23, /* sta $23 */
    0xd8,       /* cld */
    0x02,       /* halt */
};

/* Print through a subroutine and a jump table. */
static const uint8_t hello_code[] = {
    0xa9, 0x53,                               /* lda #<message */
    0x85, 0x30,                               /* sta $30 */
    0xa9, 0x80,                               /* lda #>message */
    0x85, 0x31,                               /* sta $31 */
    0x20, 0x2a, 0x80,                         /* jsr puts */
    0xa9, 0x00,                               /* lda #0 */
    0x85, 0x32,                               /* sta $32 */
    0x0a,                                     /* again: asl a */
    0xaa,                                     /* tax */
    0xbd, 0x4d, 0x80,                         /* lda table,x */
    0x85, 0x40,                               /* sta $40 */
    0xbd, 0x4e, 0x80,                         /* lda table+1,x */
    0x85, 0x41,                               /* sta $41 */
    0x20, 0x27, 0x80,                         /* jsr dispatch */
    0xe6, 0x32,                               /* inc $32 */
    0xa5, 0x32,                               /* lda $32 */
    0xc9, 0x03,                               /* cmp #3 */
    0xd0, 0xe9,                               /* bne again */
    0x02,                                     /* halt */
    0x6c, 0x40, 0x00,                         /* dispatch: jmp ($0040) */
    0xa0, 0x00,                               /* puts: ldy #0 */
    0xb1, 0x30,                               /* each: lda ($30),y */
    0xf0, 0x06,                               /* beq done */
    0x8d, 0x01, 0xf0,                         /* sta port */
    0xc8,                                     /* iny */
    0xd0, 0xf6,                               /* bne each */
    0x84, 0x33,                               /* done: sty $33 */
    0x60,                                     /* rts */
    0xa5, 0x32,                               /* digit: lda $32 */
    0x09, 0x30,                               /* ora #$30 */
    0x8d, 0x01, 0xf0,                         /* sta port */
    0x60,                                     /* rts */
    0xa9, 0x2c,                               /* comma: lda #$2c */
    0x8d, 0x01, 0xf0,                         /* sta port */
    0x60,                                     /* rts */
    0xa9, 0x21,                               /* bang: lda #$21 */
    0x8d, 0x01, 0xf0,                         /* sta port */
    0x60,                                     /* rts */
    0x39, 0x80, 0x41, 0x80, 0x47, 0x80,       /* table: .word digit, comma, bang */
    0x72, 0x65, 0x61, 0x64, 0x79, 0x20, 0x00, /* message: .byte "ready ", 0 */
};

/* Wait for five timer interrupts and one software break. */
static const uint8_t timer_code[] = {
    0xa2, 0xff,       /* ldx #$ff */
    0x9a,             /* txs */
    0xa9, 0x05,       /* lda #5 */
    0x85, 0x50,       /* sta $50 */
    0xa9, 0x14,       /* lda #20 */
    0x8d, 0x02, 0xf0, /* sta timer */
    0x58,             /* cli */
    0xe6, 0x51,       /* wait: inc $51 */
    0xa5, 0x50,       /* lda $50 */
    0xd0, 0xfa,       /* bne wait */
    0x00,             /* brk */
    0xea,             /* nop */
    0xa5, 0x52,       /* lda $52 */
    0x02,             /* halt */
    0x48,             /* handler: pha */
    0x8a,             /* txa */
    0x48,             /* pha */
    0xba,             /* tsx */
    0xbd, 0x03, 0x01, /* lda $0103,x */
    0x29, 0x10,       /* and #$10 */
    0xd0, 0x0b,       /* bne software */
    0xc6, 0x50,       /* dec $50 */
    0xf0, 0x0e,       /* beq leave */
    0xa9, 0x14,       /* lda #20 */
    0x8d, 0x02, 0xf0, /* sta timer */
    0xd0, 0x07,       /* bne leave */
    0xe6, 0x52,       /* software: inc $52 */
    0xbd, 0x03, 0x01, /* lda $0103,x */
    0x85, 0x53,       /* sta $53 */
    0x68,             /* leave: pla */
    0xaa,             /* tax */
    0x68,             /* pla */
    0x40,             /* rti */
};

/* Period of an 11-bit Galois shift register. */
static const uint8_t lfsr_code[] = {
    0xa9, 0x01, /* lda #1 */
    0x85, 0x62, /* sta $62 */
    0xa9, 0x00, /* lda #0 */
    0x85, 0x63, /* sta $63 */
    0x46, 0x63, /* step: lsr $63 */
    0x66, 0x62, /* ror $62 */
    0x90, 0x06, /* bcc even */
    0xa5, 0x63, /* lda $63 */
    0x49, 0x05, /* eor #$05 */
    0x85, 0x63, /* sta $63 */
    0xe6, 0x60, /* even: inc $60 */
    0xd0, 0x02, /* bne check */
    0xe6, 0x61, /* inc $61 */
    0xa5, 0x62, /* check: lda $62 */
    0xc9, 0x01, /* cmp #1 */
    0xd0, 0xe8, /* bne step */
    0x24, 0x63, /* bit $63 */
    0xa5, 0x63, /* lda $63 */
    0xd0, 0xe2, /* bne step */
    0x02,       /* halt */
};

struct program {
    const char *name;
    const uint8_t *code;
    size_t size;
    uint16_t irq;    /* interrupt handler, or 0 */
    uint16_t result; /* where the answer is left */
    uint8_t expect[4];
};

#define CODE(array) array, sizeof array

static const struct program programs[] = {
    {"multiply", CODE(multiply_code), 0, 0x0010, {0x7b, 0x86, 0x00, 0x00}},
    {"sieve", CODE(sieve_code), 0, 0x0010, {0x36, 0xfb, 0x00, 0x00}},
    {"bubble", CODE(bubble_code), 0, 0x0300, {0x03, 0x07, 0x07, 0x0c}},
    {"decimal", CODE(decimal_code), 0, 0x0020, {0x25, 0x18, 0x87, 0x08}},
    {"hello", CODE(hello_code), 0, 0x0030, {0x53, 0x80, 0x03, 0x06}},
    {"timer", CODE(timer_code), 0x8018, 0x0052, {0x01, 0x32, 0x00, 0x00}},
    {"lfsr", CODE(lfsr_code), 0, 0x0060, {0xff, 0x07, 0x01, 0x00}},
};

static bool run_program(struct board *b, const struct program *p, uint32_t *digest) {
    struct cpu cpu;
    unsigned steps = 0;
    memset(b, 0, sizeof *b);
    memcpy(b->ram + PROGRAM_BASE, p->code, p->size);
    b->ram[VECTOR_RESET] = PROGRAM_BASE & 0xff;
    b->ram[VECTOR_RESET + 1] = PROGRAM_BASE >> 8;
    b->ram[VECTOR_IRQ] = (uint8_t)p->irq;
    b->ram[VECTOR_IRQ + 1] = (uint8_t)(p->irq >> 8);

    cpu_reset(&cpu, (struct bus){board_read, board_write, b});
    while (!cpu.jammed && steps++ < STEP_LIMIT) {
        cpu_step(&cpu);
        if (b->timer && --b->timer == 0)
            cpu_irq(&cpu);
    }
    uint8_t registers[] = {
        cpu.a, cpu.x, cpu.y, cpu.s, cpu.p, (uint8_t)cpu.cycles, (uint8_t)(cpu.cycles >> 8)};
    *digest = hash_bytes(*digest, registers, sizeof registers);
    *digest = hash_bytes(*digest, b->ram, 0x800);
    return cpu.jammed && memcmp(b->ram + p->result, p->expect, sizeof p->expect) == 0;
}

static uint32_t hash_listing(uint32_t h, const struct program *p) {
    /* Operands may be read past the end of the code, so disassemble a padded copy. */
    uint8_t copy[256] = {0};
    char line[32];
    memcpy(copy, p->code, p->size);
    for (size_t at = 0; at < p->size;) {
        at += (size_t)disassemble(copy + at, (uint16_t)(PROGRAM_BASE + at), line, sizeof line);
        h = hash_bytes(h, line, strlen(line));
    }
    return h;
}

int main(void) {
    uint32_t digest = 2166136261u;
    size_t count = sizeof programs / sizeof programs[0];
    char line[32];
    struct board *board = malloc(sizeof *board);
    if (!board)
        return 1;
    for (size_t i = 0; i < count; i++) {
        if (!run_program(board, &programs[i], &digest)) {
            const uint8_t *r = board->ram + programs[i].result;
            printf("%s: wrong result %02x %02x %02x %02x\n", programs[i].name, r[0], r[1], r[2],
                   r[3]);
            free(board);
            return 1;
        }
        digest = hash_listing(digest, &programs[i]);
        if (board->text_len > 0)
            printf("%s: %.*s\n", programs[i].name, (int)board->text_len, board->text);
    }
    free(board);
    disassemble(programs[0].code, PROGRAM_BASE, line, sizeof line);
    printf("%zu programs ok, first instruction: %s\n", count, line);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
