// Regular expressions: recursive descent parser to a syntax tree, compiler to a small program,
// a Pike VM and a memoising backtracker that must agree on every capture.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 128, MAX_PROG = 512, MAX_CLASSES = 16, MAX_GROUPS = 6, REPEAT_LIMIT = 20 };
enum { SLOTS = 2 * MAX_GROUPS };

typedef enum {
    RE_OK,
    RE_UNBALANCED,
    RE_BAD_REPEAT,
    RE_BAD_CLASS,
    RE_BAD_ESCAPE,
    RE_TOO_BIG,
} re_error;

typedef enum {
    N_EMPTY,
    N_CHAR,
    N_ANY,
    N_CLASS,
    N_ASSERT,
    N_GROUP,
    N_CAT,
    N_ALT,
    N_REPEAT,
} node_kind;

typedef struct {
    uint8_t kind;
    uint8_t value; // character, class index, assertion or group number
    uint8_t min, max;
    bool lazy;
    int16_t left, right;
} node;

#define UNBOUNDED 255

typedef enum { OP_CHAR, OP_ANY, OP_CLASS, OP_ASSERT, OP_SAVE, OP_JUMP, OP_SPLIT, OP_MATCH } opcode;

typedef struct {
    uint8_t op;
    uint8_t arg;
    uint16_t x, y; // targets; a split prefers x
} inst;

typedef struct {
    uint32_t bits[8];
} char_class;

typedef struct {
    inst prog[MAX_PROG];
    int len;
    char_class classes[MAX_CLASSES];
    int class_count;
    int groups; // including group 0
} regex;

typedef struct {
    const char *p;
    regex *re;
    node nodes[MAX_NODES];
    int count;
    int depth;
    re_error error;
} parser;

const char *re_strerror(re_error e) {
    static const char *const text[] = {"ok",        "unbalanced group", "bad repeat",
                                       "bad class", "bad escape",       "pattern too big"};
    return text[e];
}

// ---- character classes ------------------------------------------------------------------

static void class_add(char_class *c, uint8_t lo, uint8_t hi) {
    for (unsigned i = lo; i <= hi; i++)
        c->bits[i >> 5] |= 1u << (i & 31);
}

static bool class_has(const char_class *c, uint8_t ch) {
    return c->bits[ch >> 5] >> (ch & 31) & 1;
}

static void class_invert(char_class *c) {
    for (int i = 0; i < 8; i++)
        c->bits[i] = ~c->bits[i];
}

static bool is_word(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Adds \d \w \s or, for the upper case letter, their complement.
static bool class_add_named(char_class *c, char name) {
    char_class named = {{0}};
    switch (name | 0x20) {
    case 'd':
        class_add(&named, '0', '9');
        break;
    case 'w':
        class_add(&named, 'a', 'z');
        class_add(&named, 'A', 'Z');
        class_add(&named, '0', '9');
        class_add(&named, '_', '_');
        break;
    case 's':
        class_add(&named, '\t', '\r');
        class_add(&named, ' ', ' ');
        break;
    default:
        return false;
    }
    if (!(name & 0x20))
        class_invert(&named);
    for (int i = 0; i < 8; i++)
        c->bits[i] |= named.bits[i];
    return true;
}

static char escaped_char(char c) {
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    default:
        return c;
    }
}

// ---- parser -----------------------------------------------------------------------------

static int fail(parser *ps, re_error e) {
    if (ps->error == RE_OK)
        ps->error = e;
    return 0;
}

static int new_node(parser *ps, node_kind kind, unsigned value, int left, int right) {
    if (ps->count == MAX_NODES)
        return fail(ps, RE_TOO_BIG);
    ps->nodes[ps->count] =
        (node){(uint8_t)kind, (uint8_t)value, 0, 0, false, (int16_t)left, (int16_t)right};
    return ps->count++;
}

static int new_class(parser *ps, char_class **out) {
    if (ps->re->class_count == MAX_CLASSES)
        return fail(ps, RE_TOO_BIG);
    *out = &ps->re->classes[ps->re->class_count];
    memset(*out, 0, sizeof **out);
    return new_node(ps, N_CLASS, (unsigned)ps->re->class_count++, 0, 0);
}

static int parse_alt(parser *ps);

static int parse_class(parser *ps) {
    char_class *c = NULL;
    int n = new_class(ps, &c);
    if (!c)
        return n;
    bool negated = *ps->p == '^';
    const char *start = ps->p += negated;
    while (*ps->p && (*ps->p != ']' || ps->p == start)) {
        char lo = *ps->p++;
        if (lo == '\\') {
            lo = *ps->p ? *ps->p++ : '\0';
            if (class_add_named(c, lo))
                continue;
            lo = escaped_char(lo);
        }
        char hi = lo;
        if (ps->p[0] == '-' && ps->p[1] && ps->p[1] != ']') {
            hi = ps->p[1];
            ps->p += 2;
        }
        if ((uint8_t)hi < (uint8_t)lo)
            return fail(ps, RE_BAD_CLASS);
        class_add(c, (uint8_t)lo, (uint8_t)hi);
    }
    if (*ps->p++ != ']') {
        ps->p--;
        return fail(ps, RE_BAD_CLASS);
    }
    if (negated)
        class_invert(c);
    return n;
}

static int parse_escape(parser *ps) {
    char_class named = {{0}}, *c = NULL;
    char ch = *ps->p;
    if (!ch)
        return fail(ps, RE_BAD_ESCAPE);
    ps->p++;
    if (ch == 'b' || ch == 'B')
        return new_node(ps, N_ASSERT, (unsigned)ch, 0, 0);
    if (class_add_named(&named, ch)) {
        int n = new_class(ps, &c);
        if (c)
            *c = named;
        return n;
    }
    return new_node(ps, N_CHAR, (uint8_t)escaped_char(ch), 0, 0);
}

static int parse_group(parser *ps) {
    bool capture = !(ps->p[0] == '?' && ps->p[1] == ':');
    int group = 0;
    if (!capture)
        ps->p += 2;
    else if (ps->re->groups == MAX_GROUPS)
        return fail(ps, RE_TOO_BIG);
    else
        group = ps->re->groups++;
    int inner = ++ps->depth > 20 ? fail(ps, RE_TOO_BIG) : parse_alt(ps);
    ps->depth--;
    if (*ps->p != ')')
        return fail(ps, RE_UNBALANCED);
    ps->p++;
    return capture ? new_node(ps, N_GROUP, (unsigned)group, inner, 0) : inner;
}

static int parse_atom(parser *ps) {
    char c = *ps->p++;
    switch (c) {
    case '(':
        return parse_group(ps);
    case '[':
        return parse_class(ps);
    case '\\':
        return parse_escape(ps);
    case '.':
        return new_node(ps, N_ANY, 0, 0, 0);
    case '^':
    case '$':
        return new_node(ps, N_ASSERT, (unsigned)c, 0, 0);
    case '*':
    case '+':
    case '?':
        return fail(ps, RE_BAD_REPEAT);
    default:
        return new_node(ps, N_CHAR, (uint8_t)c, 0, 0);
    }
}

static int parse_number(parser *ps) {
    int v = 0;
    if (*ps->p < '0' || *ps->p > '9')
        return -1;
    while (*ps->p >= '0' && *ps->p <= '9' && v <= REPEAT_LIMIT)
        v = v * 10 + (*ps->p++ - '0');
    return v;
}

// Parses {m}, {m,} or {m,n} after the brace.
static bool parse_bounds(parser *ps, int *min, int *max) {
    *min = *max = parse_number(ps);
    if (*ps->p == ',') {
        ps->p++;
        *max = parse_number(ps);
        if (*max < 0)
            *max = UNBOUNDED;
    }
    bool closed = *ps->p == '}';
    ps->p += closed;
    return closed && *min >= 0 && *min <= REPEAT_LIMIT && *min <= *max &&
           (*max <= REPEAT_LIMIT || *max == UNBOUNDED);
}

static int parse_repeat(parser *ps) {
    int atom = parse_atom(ps);
    while (ps->error == RE_OK) {
        int min = 0, max = UNBOUNDED;
        switch (*ps->p) {
        case '*':
            ps->p++;
            break;
        case '+':
            ps->p++;
            min = 1;
            break;
        case '?':
            ps->p++;
            max = 1;
            break;
        case '{':
            ps->p++;
            if (!parse_bounds(ps, &min, &max))
                return fail(ps, RE_BAD_REPEAT);
            break;
        default:
            return atom;
        }
        atom = new_node(ps, N_REPEAT, 0, atom, 0);
        ps->nodes[atom].min = (uint8_t)min;
        ps->nodes[atom].max = (uint8_t)max;
        ps->nodes[atom].lazy = *ps->p == '?';
        ps->p += *ps->p == '?';
    }
    return atom;
}

static int parse_cat(parser *ps) {
    int left = new_node(ps, N_EMPTY, 0, 0, 0);
    while (ps->error == RE_OK && *ps->p && *ps->p != '|' && *ps->p != ')') {
        int right = parse_repeat(ps);
        left = new_node(ps, N_CAT, 0, left, right);
    }
    return left;
}

static int parse_alt(parser *ps) {
    int left = parse_cat(ps);
    while (ps->error == RE_OK && *ps->p == '|') {
        ps->p++;
        int right = parse_cat(ps);
        left = new_node(ps, N_ALT, 0, left, right);
    }
    return left;
}

// ---- compiler ---------------------------------------------------------------------------

static int emit(parser *ps, opcode op, unsigned arg) {
    regex *re = ps->re;
    if (re->len == MAX_PROG) {
        fail(ps, RE_TOO_BIG);
        re->len = 0;
    }
    re->prog[re->len] = (inst){(uint8_t)op, (uint8_t)arg, 0, 0};
    return re->len++;
}

// Points a split at body and exit in the order that the quantifier's greed asks for.
static void set_split(regex *re, int at, int body, int exit, bool lazy) {
    re->prog[at].x = (uint16_t)(lazy ? exit : body);
    re->prog[at].y = (uint16_t)(lazy ? body : exit);
}

static void compile_node(parser *ps, int id);

static void compile_repeat(parser *ps, const node *n) {
    regex *re = ps->re;
    int splits[REPEAT_LIMIT], optional = 0;
    for (int i = 0; i < n->min; i++)
        compile_node(ps, n->left);
    if (n->max == UNBOUNDED) {
        int loop = emit(ps, OP_SPLIT, 0);
        compile_node(ps, n->left);
        re->prog[emit(ps, OP_JUMP, 0)].x = (uint16_t)loop;
        set_split(re, loop, loop + 1, re->len, n->lazy);
        return;
    }
    for (int i = n->min; i < n->max; i++) {
        splits[optional++] = emit(ps, OP_SPLIT, 0);
        compile_node(ps, n->left);
    }
    while (optional-- > 0)
        set_split(re, splits[optional], splits[optional] + 1, re->len, n->lazy);
}

static void compile_node(parser *ps, int id) {
    regex *re = ps->re;
    const node *n = &ps->nodes[id];
    int split, jump;
    if (ps->error != RE_OK)
        return;
    switch ((node_kind)n->kind) {
    case N_EMPTY:
        break;
    case N_CHAR:
        emit(ps, OP_CHAR, n->value);
        break;
    case N_ANY:
        emit(ps, OP_ANY, 0);
        break;
    case N_CLASS:
        emit(ps, OP_CLASS, n->value);
        break;
    case N_ASSERT:
        emit(ps, OP_ASSERT, n->value);
        break;
    case N_GROUP:
        emit(ps, OP_SAVE, 2u * n->value);
        compile_node(ps, n->left);
        emit(ps, OP_SAVE, 2u * n->value + 1);
        break;
    case N_CAT:
        compile_node(ps, n->left);
        compile_node(ps, n->right);
        break;
    case N_ALT:
        split = emit(ps, OP_SPLIT, 0);
        compile_node(ps, n->left);
        jump = emit(ps, OP_JUMP, 0);
        set_split(re, split, split + 1, re->len, false);
        compile_node(ps, n->right);
        re->prog[jump].x = (uint16_t)re->len;
        break;
    case N_REPEAT:
        compile_repeat(ps, n);
        break;
    }
}

re_error re_compile(regex *re, const char *pattern) {
    parser ps = {.p = pattern, .re = re};
    memset(re, 0, sizeof *re);
    re->groups = 1;
    int root = parse_alt(&ps);
    if (ps.error == RE_OK && *ps.p == ')')
        fail(&ps, RE_UNBALANCED);
    emit(&ps, OP_SAVE, 0);
    compile_node(&ps, root);
    emit(&ps, OP_SAVE, 1);
    emit(&ps, OP_MATCH, 0);
    return ps.error;
}

// ---- shared by both matchers ------------------------------------------------------------

typedef struct {
    const uint8_t *text;
    int len;
} subject;

static bool assertion_holds(const subject *s, int pos, uint8_t kind) {
    bool before = pos > 0 && is_word(s->text[pos - 1]);
    bool after = pos < s->len && is_word(s->text[pos]);
    switch (kind) {
    case '^':
        return pos == 0 || s->text[pos - 1] == '\n';
    case '$':
        return pos == s->len || s->text[pos] == '\n';
    case 'b':
        return before != after;
    default:
        return before == after;
    }
}

static bool consumes(const regex *re, const inst *in, uint8_t c) {
    switch (in->op) {
    case OP_CHAR:
        return c == in->arg;
    case OP_ANY:
        return c != '\n';
    case OP_CLASS:
        return class_has(&re->classes[in->arg], c);
    default:
        return false;
    }
}

// ---- Pike VM ----------------------------------------------------------------------------

typedef struct {
    uint16_t pc;
    int16_t caps[SLOTS];
} thread;

typedef struct {
    thread items[MAX_PROG];
    int count;
    uint16_t generation;
    uint16_t stamp[MAX_PROG]; // generation in which an instruction was added last
} thread_list;

typedef struct {
    const regex *re;
    const subject *s;
    thread_list lists[2];
} pike;

static void clear_list(thread_list *list) {
    list->count = 0;
    list->generation++;
}

static void add_thread(pike *vm, thread_list *list, int pc, int pos, int16_t *caps) {
    if (list->stamp[pc] == list->generation)
        return;
    list->stamp[pc] = list->generation;
    const inst *in = &vm->re->prog[pc];
    switch (in->op) {
    case OP_JUMP:
        add_thread(vm, list, in->x, pos, caps);
        break;
    case OP_SPLIT:
        add_thread(vm, list, in->x, pos, caps);
        add_thread(vm, list, in->y, pos, caps);
        break;
    case OP_ASSERT:
        if (assertion_holds(vm->s, pos, in->arg))
            add_thread(vm, list, pc + 1, pos, caps);
        break;
    case OP_SAVE: {
        int16_t old = caps[in->arg];
        caps[in->arg] = (int16_t)pos;
        add_thread(vm, list, pc + 1, pos, caps);
        caps[in->arg] = old;
        break;
    }
    default: {
        thread *t = &list->items[list->count++];
        t->pc = (uint16_t)pc;
        memcpy(t->caps, caps, sizeof t->caps);
    }
    }
}

bool re_search_pike(const regex *re, const subject *s, int from, int16_t *caps) {
    static pike vm;
    int16_t blank[SLOTS];
    bool matched = false;
    memset(&vm, 0, sizeof vm);
    memset(blank, 0xff, sizeof blank);
    vm.re = re;
    vm.s = s;
    thread_list *now = &vm.lists[0], *next = &vm.lists[1];
    clear_list(now);
    for (int pos = from; pos <= s->len; pos++) {
        // A thread started here ranks below all that are already running.
        if (!matched)
            add_thread(&vm, now, 0, pos, blank);
        clear_list(next);
        for (int i = 0; i < now->count; i++) {
            thread *t = &now->items[i];
            const inst *in = &re->prog[t->pc];
            if (in->op == OP_MATCH) {
                memcpy(caps, t->caps, sizeof t->caps);
                matched = true;
                break;
            }
            if (pos < s->len && consumes(re, in, s->text[pos]))
                add_thread(&vm, next, t->pc + 1, pos + 1, t->caps);
        }
        if (next->count == 0 && matched)
            break;
        thread_list *t = now;
        now = next;
        next = t;
    }
    return matched;
}

// ---- backtracker ------------------------------------------------------------------------

typedef struct {
    const regex *re;
    const subject *s;
    uint8_t *visited; // one bit per (instruction, position)
    int16_t *caps;
} backtracker;

static bool run(backtracker *bt, int pc, int pos) {
    for (;;) {
        size_t bit = (size_t)pc * (size_t)(bt->s->len + 1) + (size_t)pos;
        if (bt->visited[bit >> 3] >> (bit & 7) & 1)
            return false;
        bt->visited[bit >> 3] |= (uint8_t)(1u << (bit & 7));
        const inst *in = &bt->re->prog[pc];
        switch (in->op) {
        case OP_MATCH:
            return true;
        case OP_JUMP:
            pc = in->x;
            break;
        case OP_SPLIT:
            if (run(bt, in->x, pos))
                return true;
            pc = in->y;
            break;
        case OP_ASSERT:
            if (!assertion_holds(bt->s, pos, in->arg))
                return false;
            pc++;
            break;
        case OP_SAVE: {
            int16_t old = bt->caps[in->arg];
            bt->caps[in->arg] = (int16_t)pos;
            if (run(bt, pc + 1, pos))
                return true;
            bt->caps[in->arg] = old;
            return false;
        }
        default:
            if (pos == bt->s->len || !consumes(bt->re, in, bt->s->text[pos]))
                return false;
            pc++;
            pos++;
            break;
        }
    }
}

bool re_search_backtrack(const regex *re, const subject *s, int from, int16_t *caps) {
    backtracker bt = {re, s, calloc((size_t)re->len * (size_t)(s->len + 1) / 8 + 1, 1), caps};
    bool found = false;
    memset(caps, 0xff, SLOTS * sizeof *caps);
    // Failures are independent of the starting point, so the visited set carries over.
    for (int pos = from; bt.visited && pos <= s->len && !found; pos++)
        found = run(&bt, 0, pos);
    free(bt.visited);
    return found;
}

// ---- driver -----------------------------------------------------------------------------

typedef struct {
    const char *pattern, *text, *expected; // "start-end" per group, or an error, or "none"
} test_case;

static const test_case tests[] = {
    {"abc", "xxabcxx", "2-5"},
    {"a|ab|abc", "abc", "0-1"},
    {"(a+)(b*)", "caabb", "1-5 1-3 3-5"},
    {"(a+?)(a*)", "aaa", "0-3 0-1 1-3"},
    {"^(\\w+)\\s*=\\s*(\\d+)$", "# cfg\nwidth = 640\nend", "6-17 6-11 14-17"},
    {"(?:(\\d{1,3})\\.){3}(\\d{1,3})", "at 192.168.0.17:80", "3-15 11-12 13-15"},
    {"[^aeiou\\s]{3,}?", "a queue of strengths", "11-14"},
    {"(x)|(y)|(z)", "..y", "2-3 ? 2-3"},
    {"(a*)*b", "aaaaaaaaaaaaaaaaaaaac", "none"},
    {"((a|b)*?c|d)+", "abcdac!", "0-6 4-6 4-5"},
    {"\\bfoo\\B", "foo food", "4-7"},
    {"\"([^\"\\\\]|\\\\.)*\"", "say \"a \\\"b\\\" c\" ok", "4-15 13-14"},
    {"[]a-c-]+", "x]b-cd", "1-5"},
    {"(a|b*)*c", "abbac", "0-5 3-4"},
    {"a{2}{2}", "aaaaa", "0-4"},
    {"", "abc", "0-0"},
    {"(ab", "", "unbalanced group"},
    {"ab)", "", "unbalanced group"},
    {"*a", "", "bad repeat"},
    {"a{3,2}", "", "bad repeat"},
    {"[z-a]", "", "bad class"},
    {"[abc", "", "bad class"},
    {"((a{20}){20}){20}", "", "pattern too big"},
    {"abc\\", "", "bad escape"},
};

static void describe(const regex *re, const int16_t *caps, char *out, size_t cap) {
    size_t len = 0;
    int last = re->groups - 1;
    while (last > 0 && caps[2 * last] < 0)
        last--;
    out[0] = '\0';
    for (int g = 0; g <= last; g++) {
        if (caps[2 * g] < 0)
            len += (size_t)snprintf(out + len, cap - len, "%s?", g ? " " : "");
        else
            len += (size_t)snprintf(out + len, cap - len, "%s%d-%d", g ? " " : "", caps[2 * g],
                                    caps[2 * g + 1]);
    }
}

static int check(const test_case *tc, uint32_t *hash) {
    static regex re;
    char got[2][80] = {"none", "none"};
    subject s = {(const uint8_t *)tc->text, (int)strlen(tc->text)};
    int16_t caps[SLOTS];
    re_error e = re_compile(&re, tc->pattern);
    if (e != RE_OK)
        return strcmp(re_strerror(e), tc->expected) != 0;
    if (re_search_pike(&re, &s, 0, caps))
        describe(&re, caps, got[0], sizeof got[0]);
    if (re_search_backtrack(&re, &s, 0, caps))
        describe(&re, caps, got[1], sizeof got[1]);
    for (const char *p = got[0]; *p; p++)
        *hash = *hash * 31 + (uint8_t)*p;
    *hash = *hash * 31 + (uint32_t)re.len;
    if (strcmp(got[0], tc->expected) == 0 && strcmp(got[1], tc->expected) == 0)
        return 0;
    printf("/%s/ gave %s and %s\n", tc->pattern, got[0], got[1]);
    return 1;
}

// Walks all matches, as a search-and-replace loop would.
static int count_words(const char *text, uint32_t *hash) {
    static regex re;
    subject s = {(const uint8_t *)text, (int)strlen(text)};
    int16_t caps[SLOTS];
    int count = 0;
    if (re_compile(&re, "\\b([A-Z])?[a-z]+(?:'[a-z]+)?\\b") != RE_OK)
        return -1;
    for (int at = 0; re_search_pike(&re, &s, at, caps); count++) {
        *hash = *hash * 31 + (uint32_t)(caps[1] - caps[0]) + (caps[2] >= 0 ? 100u : 0u);
        at = caps[1] > at ? caps[1] : at + 1;
    }
    return count;
}

int main(void) {
    uint32_t hash = 7;
    int bad = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        bad += check(&tests[i], &hash);
    int words = count_words("It isn't Done till It's done, said 3 engineers in X11.", &hash);
    printf("%d words, %d failures\nchecksum %08x\n", words, bad, hash);
    return bad != 0;
}
