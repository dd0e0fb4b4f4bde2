/* A small Lisp: reader, printer, lexically scoped evaluator with tail calls and macros, and a
 * mark-and-sweep collector whose roots are tracked on a shadow stack scoped by eval(). */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_CELLS = 512, SYMBOL_BUCKETS = 64, MAX_DEPTH = 300, MAX_TOKEN = 64, MAX_VECTOR = 4096 };

typedef enum {
    TAG_FREE,
    TAG_NIL,
    TAG_BOOL,
    TAG_INT,
    TAG_SYMBOL,
    TAG_STRING,
    TAG_PAIR,
    TAG_VECTOR,
    TAG_PRIMITIVE,
    TAG_CLOSURE,
    TAG_MACRO,
    TAG_ENV
} tag;

typedef enum {
    FORM_NONE,
    FORM_QUOTE,
    FORM_QUASIQUOTE,
    FORM_IF,
    FORM_COND,
    FORM_AND,
    FORM_OR,
    FORM_BEGIN,
    FORM_LAMBDA,
    FORM_DEFINE,
    FORM_DEFMACRO,
    FORM_SET,
    FORM_LET,
    FORM_WHILE
} special_form;

typedef struct lisp lisp;
typedef struct obj obj;

typedef struct {
    const char *name;
    int min_args, max_args; /* max_args < 0: any number */
    obj *(*fn)(lisp *L, obj *args);
} primitive;

struct obj {
    uint8_t tag;
    uint8_t marked;
    uint8_t form; /* symbols only: the special form it names */
    union {
        int64_t integer;
        struct {
            obj *car, *cdr;
        } pair;
        struct {
            char *text;
            size_t len;
        } string;
        struct {
            obj **items;
            size_t len;
        } vector;
        struct {
            char *name;
            obj *value; /* global binding, or NULL */
            obj *next;  /* chain within the symbol table bucket */
        } symbol;
        struct {
            obj *params, *body, *env;
        } closure;
        struct {
            obj *bindings, *parent; /* bindings: list of (symbol . value) */
        } env;
        const primitive *prim;
        obj *next_free;
    } as;
};

typedef struct chunk {
    struct chunk *next;
    obj cells[CHUNK_CELLS];
} chunk;

struct lisp {
    chunk *chunks;
    obj *free_list;
    size_t live_after_gc, cells_total;
    unsigned collections;

    obj **stack; /* shadow stack of everything C code may be holding */
    size_t sp, stack_cap;
    int depth;

    obj *buckets[SYMBOL_BUCKETS];
    obj *nil, *yes, *no;
    obj *sym_quote, *sym_quasiquote, *sym_unquote, *sym_splice, *sym_else;

    const char *input;
    int line;

    char error[128];
    char *out; /* text written by display */
    size_t out_len, out_cap;
};

static obj *eval(lisp *L, obj *expr, obj *env);

static obj *fail(lisp *L, const char *format, ...) {
    va_list ap;
    if (L->error[0] == '\0') {
        va_start(ap, format);
        vsnprintf(L->error, sizeof L->error, format, ap);
        va_end(ap);
    }
    return NULL;
}

static void *must_alloc(void *old, size_t size) {
    void *p = realloc(old, size);
    if (!p) {
        fputs("out of memory\n", stderr);
        exit(3);
    }
    return p;
}

static char *copy_text(const char *s, size_t len) {
    char *copy = must_alloc(NULL, len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

static void push(lisp *L, obj *o) {
    if (L->sp == L->stack_cap) {
        L->stack_cap = L->stack_cap ? L->stack_cap * 2 : 256;
        L->stack = must_alloc(L->stack, L->stack_cap * sizeof L->stack[0]);
    }
    L->stack[L->sp++] = o;
}

static void mark(obj *o) {
    while (o && !o->marked) {
        o->marked = 1;
        switch ((tag)o->tag) {
        case TAG_PAIR:
            mark(o->as.pair.car);
            o = o->as.pair.cdr;
            break;
        case TAG_CLOSURE:
        case TAG_MACRO:
            mark(o->as.closure.params);
            mark(o->as.closure.body);
            o = o->as.closure.env;
            break;
        case TAG_ENV:
            mark(o->as.env.bindings);
            o = o->as.env.parent;
            break;
        case TAG_SYMBOL:
            o = o->as.symbol.value;
            break;
        case TAG_VECTOR:
            for (size_t i = 0; i < o->as.vector.len; i++)
                mark(o->as.vector.items[i]);
            return;
        default:
            return;
        }
    }
}

static void release_payload(obj *o) {
    if (o->tag == TAG_STRING)
        free(o->as.string.text);
    else if (o->tag == TAG_SYMBOL)
        free(o->as.symbol.name);
    else if (o->tag == TAG_VECTOR)
        free(o->as.vector.items);
}

static void sweep(lisp *L) {
    L->free_list = NULL;
    L->live_after_gc = 0;
    for (chunk *c = L->chunks; c; c = c->next) {
        for (int i = CHUNK_CELLS - 1; i >= 0; i--) {
            obj *o = &c->cells[i];
            if (o->marked) {
                o->marked = 0;
                L->live_after_gc++;
                continue;
            }
            release_payload(o);
            o->tag = TAG_FREE;
            o->as.next_free = L->free_list;
            L->free_list = o;
        }
    }
}

static void add_chunk(lisp *L) {
    chunk *c = must_alloc(NULL, sizeof *c);
    c->next = L->chunks;
    L->chunks = c;
    L->cells_total += CHUNK_CELLS;
    for (int i = CHUNK_CELLS - 1; i >= 0; i--) {
        c->cells[i] = (obj){.tag = TAG_FREE, .as.next_free = L->free_list};
        L->free_list = &c->cells[i];
    }
}

static void collect(lisp *L) {
    L->collections++;
    for (size_t i = 0; i < L->sp; i++)
        mark(L->stack[i]);
    for (int b = 0; b < SYMBOL_BUCKETS; b++) {
        for (obj *s = L->buckets[b]; s; s = s->as.symbol.next)
            mark(s);
    }
    mark(L->nil);
    mark(L->yes);
    mark(L->no);
    sweep(L);
}

/* Every new object is rooted until the eval() that allocated it returns. */
static obj *allocate(lisp *L, tag t) {
    if (!L->free_list) {
        if (L->chunks)
            collect(L);
        if (L->live_after_gc * 4 >= L->cells_total * 3)
            add_chunk(L);
    }
    obj *o = L->free_list;
    L->free_list = o->as.next_free;
    memset(o, 0, sizeof *o);
    o->tag = (uint8_t)t;
    push(L, o);
    return o;
}

static obj *make_int(lisp *L, int64_t v) {
    obj *o = allocate(L, TAG_INT);
    o->as.integer = v;
    return o;
}

static obj *make_string(lisp *L, const char *s, size_t len) {
    obj *o = allocate(L, TAG_STRING);
    o->as.string.text = copy_text(s, len);
    o->as.string.len = len;
    return o;
}

static obj *cons(lisp *L, obj *car, obj *cdr) {
    obj *o = allocate(L, TAG_PAIR);
    o->as.pair.car = car;
    o->as.pair.cdr = cdr;
    return o;
}

static obj *make_vector(lisp *L, size_t len, obj *fill) {
    obj *o = allocate(L, TAG_VECTOR);
    o->as.vector.items = must_alloc(NULL, (len + 1) * sizeof(obj *));
    o->as.vector.len = len;
    for (size_t i = 0; i < len; i++)
        o->as.vector.items[i] = fill;
    return o;
}

static obj *make_closure(lisp *L, tag t, obj *params, obj *body, obj *env) {
    obj *o = allocate(L, t);
    o->as.closure.params = params;
    o->as.closure.body = body;
    o->as.closure.env = env;
    return o;
}

static obj *make_env(lisp *L, obj *parent) {
    obj *o = allocate(L, TAG_ENV);
    o->as.env.bindings = L->nil;
    o->as.env.parent = parent;
    return o;
}

static obj *intern(lisp *L, const char *name, size_t len) {
    unsigned h = 0;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + (unsigned char)name[i];
    obj **bucket = &L->buckets[h % SYMBOL_BUCKETS];
    for (obj *s = *bucket; s; s = s->as.symbol.next) {
        if (strncmp(s->as.symbol.name, name, len) == 0 && s->as.symbol.name[len] == '\0')
            return s;
    }
    obj *s = allocate(L, TAG_SYMBOL);
    s->as.symbol.name = copy_text(name, len);
    s->as.symbol.next = *bucket;
    *bucket = s;
    return s;
}

static obj *symbol(lisp *L, const char *name) {
    return intern(L, name, strlen(name));
}
static obj *boolean(lisp *L, bool b) {
    return b ? L->yes : L->no;
}
static bool is(const obj *o, tag t) {
    return o->tag == t;
}
static bool truthy(const lisp *L, const obj *o) {
    return o != L->no;
}
static obj *car(const obj *o) {
    return o->as.pair.car;
}
static obj *cdr(const obj *o) {
    return o->as.pair.cdr;
}
static obj *second(const obj *o) {
    return car(cdr(o));
}

/* Length of a proper list, or -1. */
static int list_length(const obj *o) {
    int n = 0;
    for (; is(o, TAG_PAIR); o = cdr(o))
        n++;
    return is(o, TAG_NIL) ? n : -1;
}

static obj *append_reversed(lisp *L, obj *reversed, obj *tail) {
    for (; is(reversed, TAG_PAIR); reversed = cdr(reversed))
        tail = cons(L, car(reversed), tail);
    return tail;
}

static void emit_bytes(lisp *L, const char *s, size_t len) {
    if (L->out_len + len + 1 > L->out_cap) {
        L->out_cap = (L->out_len + len + 1) * 2;
        L->out = must_alloc(L->out, L->out_cap);
    }
    memcpy(L->out + L->out_len, s, len);
    L->out_len += len;
    L->out[L->out_len] = '\0';
}

static void emit(lisp *L, const char *format, ...) {
    char text[96];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n > 0)
        emit_bytes(L, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void print_quoted(lisp *L, const obj *s) {
    emit_bytes(L, "\"", 1);
    for (size_t i = 0; i < s->as.string.len; i++) {
        char c = s->as.string.text[i];
        if (c == '\n') {
            emit_bytes(L, "\\n", 2);
            continue;
        }
        if (c == '"' || c == '\\')
            emit_bytes(L, "\\", 1);
        emit_bytes(L, &c, 1);
    }
    emit_bytes(L, "\"", 1);
}

static void print(lisp *L, const obj *o, bool quoted) {
    switch ((tag)o->tag) {
    case TAG_NIL:
        emit(L, "()");
        break;
    case TAG_BOOL:
        emit(L, o == L->yes ? "#t" : "#f");
        break;
    case TAG_INT:
        emit(L, "%lld", (long long)o->as.integer);
        break;
    case TAG_SYMBOL:
        emit(L, "%s", o->as.symbol.name);
        break;
    case TAG_STRING:
        if (quoted)
            print_quoted(L, o);
        else
            emit_bytes(L, o->as.string.text, o->as.string.len);
        break;
    case TAG_PAIR:
        emit(L, "(");
        print(L, car(o), quoted);
        for (o = cdr(o); is(o, TAG_PAIR); o = cdr(o)) {
            emit(L, " ");
            print(L, car(o), quoted);
        }
        if (!is(o, TAG_NIL)) {
            emit(L, " . ");
            print(L, o, quoted);
        }
        emit(L, ")");
        break;
    case TAG_VECTOR:
        emit(L, "#(");
        for (size_t i = 0; i < o->as.vector.len; i++) {
            if (i > 0)
                emit(L, " ");
            print(L, o->as.vector.items[i], quoted);
        }
        emit(L, ")");
        break;
    case TAG_PRIMITIVE:
        emit(L, "#<primitive %s>", o->as.prim->name);
        break;
    case TAG_CLOSURE:
        emit(L, "#<closure>");
        break;
    case TAG_MACRO:
        emit(L, "#<macro>");
        break;
    case TAG_ENV:
    case TAG_FREE:
        emit(L, "#<internal>");
        break;
    }
}

static void skip_blanks(lisp *L) {
    for (;; L->input++) {
        if (*L->input == ';')
            L->input += strcspn(L->input, "\n");
        if (*L->input == '\n')
            L->line++;
        else if (*L->input != ' ' && *L->input != '\t')
            return;
    }
}

static bool at_delimiter(char c) {
    return c == '\0' || strchr(" \t\n()';\"", c) != NULL;
}

static obj *read_expr(lisp *L);

static obj *read_list(lisp *L) {
    obj *items = L->nil, *tail = L->nil;
    int start = L->line;
    for (;;) {
        skip_blanks(L);
        if (*L->input == '\0')
            return fail(L, "line %d: unterminated list", start);
        if (*L->input == ')') {
            L->input++;
            return append_reversed(L, items, tail);
        }
        if (*L->input == '.' && at_delimiter(L->input[1]) && is(items, TAG_PAIR)) {
            L->input++;
            tail = read_expr(L);
            if (!tail)
                return NULL;
            skip_blanks(L);
            if (*L->input != ')')
                return fail(L, "line %d: bad dotted pair", L->line);
            continue;
        }
        obj *item = read_expr(L);
        if (!item)
            return NULL;
        items = cons(L, item, items);
    }
}

static obj *read_string(lisp *L) {
    char text[256];
    size_t n = 0;
    for (; *L->input != '"'; L->input++) {
        char c = *L->input;
        if (c == '\\') {
            c = *++L->input;
            if (c == 'n')
                c = '\n';
        }
        if (c == '\0' || n == sizeof text)
            return fail(L, "line %d: bad string", L->line);
        text[n++] = c;
    }
    L->input++;
    return make_string(L, text, n);
}

static bool parse_int(const char *s, size_t len, int64_t *out) {
    bool negative = s[0] == '-' && len > 1;
    int64_t v = 0;
    for (size_t i = negative; i < len; i++) {
        if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s[i] - '0', &v))
            return false;
    }
    *out = negative ? -v : v;
    return true;
}

static obj *read_atom(lisp *L) {
    const char *start = L->input;
    int64_t value;
    while (!at_delimiter(*L->input))
        L->input++;
    size_t len = (size_t)(L->input - start);
    if (len == 0 || len > MAX_TOKEN)
        return fail(L, "line %d: bad token", L->line);
    if (len == 2 && start[0] == '#' && (start[1] == 't' || start[1] == 'f'))
        return boolean(L, start[1] == 't');
    if (parse_int(start, len, &value))
        return make_int(L, value);
    return intern(L, start, len);
}

static obj *read_prefixed(lisp *L, obj *wrapper) {
    obj *inner = read_expr(L);
    return inner ? cons(L, wrapper, cons(L, inner, L->nil)) : NULL;
}

static obj *read_expr(lisp *L) {
    skip_blanks(L);
    switch (*L->input) {
    case '\0':
        return fail(L, "line %d: unexpected end of input", L->line);
    case '(':
        L->input++;
        return read_list(L);
    case ')':
        return fail(L, "line %d: unexpected )", L->line);
    case '"':
        L->input++;
        return read_string(L);
    case '\'':
        L->input++;
        return read_prefixed(L, L->sym_quote);
    case '`':
        L->input++;
        return read_prefixed(L, L->sym_quasiquote);
    case ',':
        if (*++L->input == '@') {
            L->input++;
            return read_prefixed(L, L->sym_splice);
        }
        return read_prefixed(L, L->sym_unquote);
    default:
        return read_atom(L);
    }
}

static obj *find_binding(const obj *env, const obj *name) {
    for (; env; env = env->as.env.parent) {
        for (obj *b = env->as.env.bindings; is(b, TAG_PAIR); b = cdr(b)) {
            if (car(car(b)) == name)
                return car(b);
        }
    }
    return NULL;
}

static obj *lookup(lisp *L, obj *name, obj *env) {
    obj *binding = find_binding(env, name);
    obj *value = binding ? cdr(binding) : name->as.symbol.value;
    return value ? value : fail(L, "unbound variable %s", name->as.symbol.name);
}

static void bind(lisp *L, obj *env, obj *name, obj *value) {
    obj *binding = cons(L, name, value);
    env->as.env.bindings = cons(L, binding, env->as.env.bindings);
}

static void define(lisp *L, obj *env, obj *name, obj *value) {
    if (env)
        bind(L, env, name, value);
    else
        name->as.symbol.value = value;
}

static obj *bind_arguments(lisp *L, const obj *closure, obj *args) {
    obj *env = make_env(L, closure->as.closure.env);
    obj *p = closure->as.closure.params;
    for (; is(p, TAG_PAIR); p = cdr(p), args = cdr(args)) {
        if (!is(args, TAG_PAIR))
            return fail(L, "too few arguments");
        bind(L, env, car(p), car(args));
    }
    if (is(p, TAG_SYMBOL))
        bind(L, env, p, args); /* rest parameter */
    else if (is(args, TAG_PAIR))
        return fail(L, "too many arguments");
    return env;
}

static obj *eval_each(lisp *L, obj *exprs, obj *env) {
    obj *reversed = L->nil;
    for (; is(exprs, TAG_PAIR); exprs = cdr(exprs)) {
        obj *v = eval(L, car(exprs), env);
        if (!v)
            return NULL;
        reversed = cons(L, v, reversed);
    }
    return append_reversed(L, reversed, L->nil);
}

/* Evaluates all but the last expression of a body and returns that last one unevaluated. */
static obj *eval_until_last(lisp *L, obj *body, obj *env) {
    if (!is(body, TAG_PAIR))
        return fail(L, "empty body");
    for (; is(cdr(body), TAG_PAIR); body = cdr(body)) {
        if (!eval(L, car(body), env))
            return NULL;
    }
    return car(body);
}

static obj *eval_body(lisp *L, obj *body, obj *env) {
    obj *last = eval_until_last(L, body, env);
    return last ? eval(L, last, env) : NULL;
}

static obj *call_primitive(lisp *L, const primitive *p, obj *args) {
    int n = list_length(args);
    if (n < p->min_args || (p->max_args >= 0 && n > p->max_args))
        return fail(L, "%s: wrong number of arguments", p->name);
    return p->fn(L, args);
}

static obj *apply(lisp *L, obj *fn, obj *args) {
    if (is(fn, TAG_PRIMITIVE))
        return call_primitive(L, fn->as.prim, args);
    if (!is(fn, TAG_CLOSURE) && !is(fn, TAG_MACRO))
        return fail(L, "not a procedure");
    obj *env = bind_arguments(L, fn, args);
    return env ? eval_body(L, fn->as.closure.body, env) : NULL;
}

static obj *quasiquote(lisp *L, obj *template, obj *env) {
    if (!is(template, TAG_PAIR))
        return template;
    obj *head = car(template);
    if (head == L->sym_unquote)
        return eval(L, second(template), env);
    if (is(head, TAG_PAIR) && car(head) == L->sym_splice) {
        obj *spliced = eval(L, second(head), env);
        obj *rest = spliced ? quasiquote(L, cdr(template), env) : NULL;
        if (!rest)
            return NULL;
        obj *reversed = append_reversed(L, spliced, L->nil);
        return append_reversed(L, reversed, rest);
    }
    obj *first = quasiquote(L, head, env);
    obj *rest = first ? quasiquote(L, cdr(template), env) : NULL;
    return rest ? cons(L, first, rest) : NULL;
}

static obj *eval_define(lisp *L, special_form form, obj *args, obj *env) {
    obj *target = car(args);
    obj *value;
    if (is(target, TAG_PAIR)) { /* (define (name . params) body...) */
        tag t = form == FORM_DEFMACRO ? TAG_MACRO : TAG_CLOSURE;
        value = make_closure(L, t, cdr(target), cdr(args), env);
        target = car(target);
    } else {
        value = is(cdr(args), TAG_PAIR) ? eval(L, second(args), env) : fail(L, "bad define");
    }
    if (!value)
        return NULL;
    if (!is(target, TAG_SYMBOL))
        return fail(L, "define: not a symbol");
    define(L, env, target, value);
    return target;
}

static obj *eval_set(lisp *L, obj *args, obj *env) {
    obj *name = car(args);
    if (!is(name, TAG_SYMBOL) || !lookup(L, name, env))
        return fail(L, "set!: bad target");
    obj *value = eval(L, second(args), env);
    if (!value)
        return NULL;
    obj *binding = find_binding(env, name);
    if (binding)
        binding->as.pair.cdr = value;
    else
        name->as.symbol.value = value;
    return value;
}

static obj *eval_let_bindings(lisp *L, obj *bindings, obj *env) {
    obj *scope = make_env(L, env);
    for (; is(bindings, TAG_PAIR); bindings = cdr(bindings)) {
        obj *b = car(bindings);
        if (list_length(b) != 2 || !is(car(b), TAG_SYMBOL))
            return fail(L, "let: bad binding");
        obj *value = eval(L, second(b), env);
        if (!value)
            return NULL;
        bind(L, scope, car(b), value);
    }
    return scope;
}

/* Finds the body of the first clause whose test holds; *test gets the value of the test. */
static obj *select_clause(lisp *L, obj *clauses, obj *env, obj **test) {
    for (; is(clauses, TAG_PAIR); clauses = cdr(clauses)) {
        obj *clause = car(clauses);
        if (!is(clause, TAG_PAIR))
            return fail(L, "cond: bad clause");
        *test = car(clause) == L->sym_else ? L->yes : eval(L, car(clause), env);
        if (!*test)
            return NULL;
        if (truthy(L, *test))
            return cdr(clause);
    }
    *test = L->no;
    return L->nil;
}

typedef struct {
    obj *value; /* the final result, unless tail is set; NULL after an error */
    obj *tail;  /* expression to continue with in env */
    obj *env;
} outcome;

static outcome finish(obj *value) {
    return (outcome){.value = value};
}
static outcome continue_with(obj *expr, obj *env) {
    return (outcome){.tail = expr, .env = env};
}

static int form_min_args(special_form form) {
    switch (form) {
    case FORM_IF:
    case FORM_LAMBDA:
    case FORM_DEFMACRO:
    case FORM_SET:
    case FORM_LET:
        return 2;
    case FORM_QUOTE:
    case FORM_QUASIQUOTE:
    case FORM_DEFINE:
    case FORM_BEGIN:
    case FORM_WHILE:
        return 1;
    default:
        return 0;
    }
}

static outcome eval_form(lisp *L, special_form form, obj *args, obj *env) {
    obj *v = NULL;
    if (list_length(args) < form_min_args(form))
        return finish(fail(L, "malformed special form"));
    switch (form) {
    case FORM_QUOTE:
        return finish(car(args));
    case FORM_QUASIQUOTE:
        return finish(quasiquote(L, car(args), env));
    case FORM_IF:
        v = eval(L, car(args), env);
        if (!v)
            return finish(NULL);
        if (truthy(L, v))
            return continue_with(second(args), env);
        args = cdr(cdr(args));
        return is(args, TAG_PAIR) ? continue_with(car(args), env) : finish(L->no);
    case FORM_COND: {
        obj *body = select_clause(L, args, env, &v);
        if (!body || !is(body, TAG_PAIR))
            return finish(body ? v : NULL);
        obj *last = eval_until_last(L, body, env);
        return last ? continue_with(last, env) : finish(NULL);
    }
    case FORM_AND:
    case FORM_OR:
        v = boolean(L, form == FORM_AND);
        for (; is(args, TAG_PAIR); args = cdr(args)) {
            if (is(cdr(args), TAG_NIL))
                return continue_with(car(args), env);
            v = eval(L, car(args), env);
            if (!v || truthy(L, v) == (form == FORM_OR))
                break;
        }
        return finish(v);
    case FORM_BEGIN:
        v = eval_until_last(L, args, env);
        return v ? continue_with(v, env) : finish(NULL);
    case FORM_LAMBDA:
        return finish(make_closure(L, TAG_CLOSURE, car(args), cdr(args), env));
    case FORM_DEFINE:
    case FORM_DEFMACRO:
        return finish(eval_define(L, form, args, env));
    case FORM_SET:
        return finish(eval_set(L, args, env));
    case FORM_LET: {
        obj *scope = eval_let_bindings(L, car(args), env);
        v = scope ? eval_until_last(L, cdr(args), scope) : NULL;
        return v ? continue_with(v, scope) : finish(NULL);
    }
    case FORM_WHILE:
        for (;;) {
            size_t base = L->sp;
            v = eval(L, car(args), env);
            if (!v || !truthy(L, v))
                return finish(v);
            if (is(cdr(args), TAG_PAIR) && !eval_body(L, cdr(args), env))
                return finish(NULL);
            L->sp = base; /* values of this iteration are garbage now */
        }
    case FORM_NONE:
        break;
    }
    return finish(fail(L, "unknown special form"));
}

static obj *eval(lisp *L, obj *expr, obj *env) {
    size_t base = L->sp;
    obj *result = NULL;
    if (++L->depth > MAX_DEPTH) {
        fail(L, "recursion too deep");
        expr = NULL;
    }
    while (expr) {
        L->sp = base;
        push(L, expr);
        push(L, env);
        if (is(expr, TAG_SYMBOL)) {
            result = lookup(L, expr, env);
            break;
        }
        if (!is(expr, TAG_PAIR)) {
            result = expr;
            break;
        }

        obj *head = car(expr), *args = cdr(expr);
        if (is(head, TAG_SYMBOL) && head->form != FORM_NONE) {
            outcome o = eval_form(L, (special_form)head->form, args, env);
            result = o.value;
            expr = o.tail;
            env = o.env;
            continue;
        }

        obj *fn = eval(L, head, env);
        if (!fn)
            break;
        if (is(fn, TAG_MACRO)) {
            expr = apply(L, fn, args);
            continue;
        }
        args = eval_each(L, args, env);
        if (!args)
            break;
        if (!is(fn, TAG_CLOSURE)) {
            result = apply(L, fn, args);
            break;
        }
        env = bind_arguments(L, fn, args);
        expr = env ? eval_until_last(L, fn->as.closure.body, env) : NULL;
    }
    L->depth--;
    L->sp = base;
    if (result)
        push(L, result);
    return result;
}

static bool int_arg(lisp *L, const obj *o, int64_t *out) {
    if (!is(o, TAG_INT)) {
        fail(L, "expected an integer");
        return false;
    }
    *out = o->as.integer;
    return true;
}

typedef enum { OP_ADD, OP_SUB, OP_MUL } arith_op;

static bool arith_step(arith_op op, int64_t a, int64_t b, int64_t *out) {
    switch (op) {
    case OP_ADD:
        return !__builtin_add_overflow(a, b, out);
    case OP_SUB:
        return !__builtin_sub_overflow(a, b, out);
    default:
        return !__builtin_mul_overflow(a, b, out);
    }
}

static obj *arithmetic(lisp *L, obj *args, arith_op op, int64_t identity) {
    int64_t acc = identity, v;
    if (op == OP_SUB && is(cdr(args), TAG_PAIR)) {
        if (!int_arg(L, car(args), &acc))
            return NULL;
        args = cdr(args);
    }
    for (; is(args, TAG_PAIR); args = cdr(args)) {
        if (!int_arg(L, car(args), &v))
            return NULL;
        if (!arith_step(op, acc, v, &acc))
            return fail(L, "integer overflow");
    }
    return make_int(L, acc);
}

static obj *prim_add(lisp *L, obj *args) {
    return arithmetic(L, args, OP_ADD, 0);
}
static obj *prim_sub(lisp *L, obj *args) {
    return arithmetic(L, args, OP_SUB, 0);
}
static obj *prim_mul(lisp *L, obj *args) {
    return arithmetic(L, args, OP_MUL, 1);
}

static obj *divide(lisp *L, obj *args, bool want_remainder) {
    int64_t a, b;
    if (!int_arg(L, car(args), &a) || !int_arg(L, second(args), &b))
        return NULL;
    if (b == 0)
        return fail(L, "division by zero");
    if (a == INT64_MIN && b == -1)
        return fail(L, "integer overflow");
    return make_int(L, want_remainder ? a % b : a / b);
}

static obj *prim_quotient(lisp *L, obj *args) {
    return divide(L, args, false);
}
static obj *prim_remainder(lisp *L, obj *args) {
    return divide(L, args, true);
}

/* Holds if every adjacent pair compares to one of the accepted signs. */
static obj *compare_chain(lisp *L, obj *args, int accept_a, int accept_b) {
    for (; is(cdr(args), TAG_PAIR); args = cdr(args)) {
        int64_t a, b;
        if (!int_arg(L, car(args), &a) || !int_arg(L, second(args), &b))
            return NULL;
        int sign = (a > b) - (a < b);
        if (sign != accept_a && sign != accept_b)
            return L->no;
    }
    return L->yes;
}

static obj *prim_lt(lisp *L, obj *args) {
    return compare_chain(L, args, -1, -1);
}
static obj *prim_gt(lisp *L, obj *args) {
    return compare_chain(L, args, 1, 1);
}
static obj *prim_le(lisp *L, obj *args) {
    return compare_chain(L, args, -1, 0);
}
static obj *prim_ge(lisp *L, obj *args) {
    return compare_chain(L, args, 1, 0);
}
static obj *prim_num_eq(lisp *L, obj *args) {
    return compare_chain(L, args, 0, 0);
}

static bool equal(const obj *a, const obj *b) {
    for (; is(a, TAG_PAIR) && is(b, TAG_PAIR); a = cdr(a), b = cdr(b)) {
        if (!equal(car(a), car(b)))
            return false;
    }
    if (a == b)
        return true;
    if (a->tag != b->tag)
        return false;
    if (is(a, TAG_INT))
        return a->as.integer == b->as.integer;
    return is(a, TAG_STRING) && a->as.string.len == b->as.string.len &&
           memcmp(a->as.string.text, b->as.string.text, a->as.string.len) == 0;
}

static obj *prim_equal(lisp *L, obj *args) {
    return boolean(L, equal(car(args), second(args)));
}

static obj *prim_eq(lisp *L, obj *args) {
    obj *a = car(args), *b = second(args);
    bool same_int = is(a, TAG_INT) && is(b, TAG_INT) && a->as.integer == b->as.integer;
    return boolean(L, a == b || same_int);
}

static obj *prim_cons(lisp *L, obj *args) {
    return cons(L, car(args), second(args));
}

static obj *prim_car(lisp *L, obj *args) {
    return is(car(args), TAG_PAIR) ? car(car(args)) : fail(L, "car: not a pair");
}

static obj *prim_cdr(lisp *L, obj *args) {
    return is(car(args), TAG_PAIR) ? cdr(car(args)) : fail(L, "cdr: not a pair");
}

static obj *prim_list(lisp *L, obj *args) {
    (void)L;
    return args;
}

static obj *prim_length(lisp *L, obj *args) {
    int n = list_length(car(args));
    return n >= 0 ? make_int(L, n) : fail(L, "length: not a list");
}

static obj *prim_reverse(lisp *L, obj *args) {
    return append_reversed(L, car(args), L->nil);
}

static obj *prim_append(lisp *L, obj *args) {
    obj *reversed = L->nil;
    if (is(args, TAG_NIL))
        return L->nil;
    for (; is(cdr(args), TAG_PAIR); args = cdr(args)) {
        for (obj *o = car(args); is(o, TAG_PAIR); o = cdr(o))
            reversed = cons(L, car(o), reversed);
    }
    return append_reversed(L, reversed, car(args));
}

static obj *prim_assq(lisp *L, obj *args) {
    for (obj *o = second(args); is(o, TAG_PAIR); o = cdr(o)) {
        if (is(car(o), TAG_PAIR) && car(car(o)) == car(args))
            return car(o);
    }
    return L->no;
}

static obj *prim_not(lisp *L, obj *args) {
    return boolean(L, !truthy(L, car(args)));
}
static obj *prim_is_null(lisp *L, obj *args) {
    return boolean(L, is(car(args), TAG_NIL));
}
static obj *prim_is_pair(lisp *L, obj *args) {
    return boolean(L, is(car(args), TAG_PAIR));
}
static obj *prim_is_int(lisp *L, obj *args) {
    return boolean(L, is(car(args), TAG_INT));
}
static obj *prim_is_symbol(lisp *L, obj *args) {
    return boolean(L, is(car(args), TAG_SYMBOL));
}
static obj *prim_is_string(lisp *L, obj *args) {
    return boolean(L, is(car(args), TAG_STRING));
}

static obj *prim_apply(lisp *L, obj *args) {
    return apply(L, car(args), second(args));
}

static obj *prim_eval(lisp *L, obj *args) {
    return eval(L, car(args), NULL);
}

static obj *prim_display(lisp *L, obj *args) {
    for (; is(args, TAG_PAIR); args = cdr(args))
        print(L, car(args), false);
    return L->nil;
}

static obj *prim_string_append(lisp *L, obj *args) {
    size_t total = 0;
    for (obj *o = args; is(o, TAG_PAIR); o = cdr(o)) {
        if (!is(car(o), TAG_STRING))
            return fail(L, "string-append: not a string");
        total += car(o)->as.string.len;
    }
    char *text = must_alloc(NULL, total + 1);
    size_t at = 0;
    for (; is(args, TAG_PAIR); args = cdr(args)) {
        memcpy(text + at, car(args)->as.string.text, car(args)->as.string.len);
        at += car(args)->as.string.len;
    }
    obj *result = make_string(L, text, total);
    free(text);
    return result;
}

static obj *prim_string_length(lisp *L, obj *args) {
    obj *s = car(args);
    return is(s, TAG_STRING) ? make_int(L, (int64_t)s->as.string.len)
                             : fail(L, "string-length: not a string");
}

static obj *prim_substring(lisp *L, obj *args) {
    int64_t from, to;
    obj *s = car(args);
    if (!int_arg(L, second(args), &from) || !int_arg(L, second(cdr(args)), &to))
        return NULL;
    if (!is(s, TAG_STRING) || from < 0 || to < from || (size_t)to > s->as.string.len)
        return fail(L, "substring: out of range");
    return make_string(L, s->as.string.text + from, (size_t)(to - from));
}

static obj *prim_number_to_string(lisp *L, obj *args) {
    char text[24];
    int64_t v;
    if (!int_arg(L, car(args), &v))
        return NULL;
    int n = snprintf(text, sizeof text, "%lld", (long long)v);
    return make_string(L, text, (size_t)n);
}

static obj *prim_symbol_to_string(lisp *L, obj *args) {
    if (!is(car(args), TAG_SYMBOL))
        return fail(L, "symbol->string: not a symbol");
    const char *name = car(args)->as.symbol.name;
    return make_string(L, name, strlen(name));
}

static obj *prim_make_vector(lisp *L, obj *args) {
    int64_t len;
    if (!int_arg(L, car(args), &len))
        return NULL;
    if (len < 0 || len > MAX_VECTOR)
        return fail(L, "make-vector: bad length");
    return make_vector(L, (size_t)len, is(cdr(args), TAG_PAIR) ? second(args) : L->nil);
}

static obj **vector_slot(lisp *L, obj *args) {
    obj *v = car(args);
    int64_t i;
    if (!int_arg(L, second(args), &i))
        return NULL;
    if (!is(v, TAG_VECTOR) || i < 0 || (size_t)i >= v->as.vector.len) {
        fail(L, "vector index out of range");
        return NULL;
    }
    return &v->as.vector.items[i];
}

static obj *prim_vector_ref(lisp *L, obj *args) {
    obj **slot = vector_slot(L, args);
    return slot ? *slot : NULL;
}

static obj *prim_vector_set(lisp *L, obj *args) {
    obj **slot = vector_slot(L, args);
    if (!slot)
        return NULL;
    return *slot = second(cdr(args));
}

static obj *prim_vector_length(lisp *L, obj *args) {
    obj *v = car(args);
    return is(v, TAG_VECTOR) ? make_int(L, (int64_t)v->as.vector.len)
                             : fail(L, "vector-length: not a vector");
}

static obj *prim_list_to_vector(lisp *L, obj *args) {
    obj *list = car(args);
    int n = list_length(list);
    if (n < 0)
        return fail(L, "list->vector: not a list");
    obj *v = make_vector(L, (size_t)n, L->nil);
    for (int i = 0; i < n; i++, list = cdr(list))
        v->as.vector.items[i] = car(list);
    return v;
}

static obj *prim_vector_to_list(lisp *L, obj *args) {
    obj *v = car(args), *out = L->nil;
    if (!is(v, TAG_VECTOR))
        return fail(L, "vector->list: not a vector");
    for (size_t i = v->as.vector.len; i-- > 0;)
        out = cons(L, v->as.vector.items[i], out);
    return out;
}

static obj *prim_error(lisp *L, obj *args) {
    obj *s = car(args);
    return fail(L, "%s", is(s, TAG_STRING) ? s->as.string.text : "error");
}

static const primitive primitives[] = {
    {"+", 0, -1, prim_add},
    {"-", 1, -1, prim_sub},
    {"*", 0, -1, prim_mul},
    {"quotient", 2, 2, prim_quotient},
    {"remainder", 2, 2, prim_remainder},
    {"<", 1, -1, prim_lt},
    {">", 1, -1, prim_gt},
    {"<=", 1, -1, prim_le},
    {">=", 1, -1, prim_ge},
    {"=", 1, -1, prim_num_eq},
    {"eq?", 2, 2, prim_eq},
    {"equal?", 2, 2, prim_equal},
    {"not", 1, 1, prim_not},
    {"cons", 2, 2, prim_cons},
    {"car", 1, 1, prim_car},
    {"cdr", 1, 1, prim_cdr},
    {"list", 0, -1, prim_list},
    {"length", 1, 1, prim_length},
    {"reverse", 1, 1, prim_reverse},
    {"append", 0, -1, prim_append},
    {"assq", 2, 2, prim_assq},
    {"null?", 1, 1, prim_is_null},
    {"pair?", 1, 1, prim_is_pair},
    {"integer?", 1, 1, prim_is_int},
    {"symbol?", 1, 1, prim_is_symbol},
    {"string?", 1, 1, prim_is_string},
    {"apply", 2, 2, prim_apply},
    {"eval", 1, 1, prim_eval},
    {"display", 0, -1, prim_display},
    {"string-append", 0, -1, prim_string_append},
    {"string-length", 1, 1, prim_string_length},
    {"substring", 3, 3, prim_substring},
    {"number->string", 1, 1, prim_number_to_string},
    {"symbol->string", 1, 1, prim_symbol_to_string},
    {"make-vector", 1, 2, prim_make_vector},
    {"vector-ref", 2, 2, prim_vector_ref},
    {"vector-set!", 3, 3, prim_vector_set},
    {"vector-length", 1, 1, prim_vector_length},
    {"list->vector", 1, 1, prim_list_to_vector},
    {"vector->list", 1, 1, prim_vector_to_list},
    {"error", 1, 1, prim_error},
};

static const struct {
    const char *name;
    special_form form;
} form_names[] = {
    {"quote", FORM_QUOTE},   {"quasiquote", FORM_QUASIQUOTE},
    {"if", FORM_IF},         {"cond", FORM_COND},
    {"and", FORM_AND},       {"or", FORM_OR},
    {"begin", FORM_BEGIN},   {"lambda", FORM_LAMBDA},
    {"define", FORM_DEFINE}, {"define-macro", FORM_DEFMACRO},
    {"set!", FORM_SET},      {"let", FORM_LET},
    {"while", FORM_WHILE},
};

lisp *lisp_open(void) {
    lisp *L = must_alloc(NULL, sizeof *L);
    memset(L, 0, sizeof *L);
    add_chunk(L);
    L->nil = allocate(L, TAG_NIL);
    L->yes = allocate(L, TAG_BOOL);
    L->no = allocate(L, TAG_BOOL);
    L->sym_quote = symbol(L, "quote");
    L->sym_quasiquote = symbol(L, "quasiquote");
    L->sym_unquote = symbol(L, "unquote");
    L->sym_splice = symbol(L, "unquote-splicing");
    L->sym_else = symbol(L, "else");
    for (size_t i = 0; i < sizeof form_names / sizeof form_names[0]; i++)
        symbol(L, form_names[i].name)->form = (uint8_t)form_names[i].form;
    for (size_t i = 0; i < sizeof primitives / sizeof primitives[0]; i++) {
        obj *p = allocate(L, TAG_PRIMITIVE);
        p->as.prim = &primitives[i];
        symbol(L, primitives[i].name)->as.symbol.value = p;
    }
    L->sp = 0;
    return L;
}

/* Evaluates every form of the source; the printed value of the last one is left in L->out
 * after whatever the program displayed.  Returns false with L->error set on failure. */
bool lisp_run(lisp *L, const char *source) {
    obj *value = L->nil;
    L->input = source;
    L->line = 1;
    L->error[0] = '\0';
    L->out_len = 0;
    for (;;) {
        L->sp = 0;
        L->depth = 0;
        skip_blanks(L);
        if (*L->input == '\0')
            break;
        obj *form = read_expr(L);
        value = form ? eval(L, form, NULL) : NULL;
        if (!value)
            return false;
    }
    print(L, value, true);
    return true;
}

void lisp_close(lisp *L) {
    while (L->chunks) {
        chunk *c = L->chunks;
        L->chunks = c->next;
        for (int i = 0; i < CHUNK_CELLS; i++)
            release_payload(&c->cells[i]);
        free(c);
    }
    free(L->stack);
    free(L->out);
    free(L);
}

static const char prelude[] =
    "(define (map f xs) (if (null? xs) '() (cons (f (car xs)) (map f (cdr xs)))))\n"
    "(define (filter p xs)\n"
    "  (cond ((null? xs) '()) ((p (car xs)) (cons (car xs) (filter p (cdr xs))))\n"
    "        (else (filter p (cdr xs)))))\n"
    "(define (fold f acc xs) (if (null? xs) acc (fold f (f acc (car xs)) (cdr xs))))\n"
    "(define (iota n) (let ((out '())) (while (> n 0) (set! n (- n 1)) (set! out (cons n out))) "
    "out))\n"
    "(define-macro (when test . body) `(if ,test (begin ,@body)))\n"
    "(define-macro (unless test . body) `(if ,test #f (begin ,@body)))\n"
    "(define-macro (let* bindings . body)\n"
    "  (if (null? bindings) `(let () ,@body)\n"
    "      `(let (,(car bindings)) (let* ,(cdr bindings) ,@body))))\n";

static const struct {
    const char *name, *source, *expect;
} programs[] = {
    {"factorial", "(define (fact n) (if (< n 2) 1 (* n (fact (- n 1))))) (map fact '(5 10 20))",
     "(120 3628800 2432902008176640000)"},
    {"tail loop",
     "(define (count i acc) (if (= i 0) acc (count (- i 1) (+ acc i)))) (count 1500 0)", "1125750"},
    {"closures",
     "(define (counter step) (let ((n 0)) (lambda () (set! n (+ n step)) n)))\n"
     "(define a (counter 3)) (define b (counter 10)) (a) (a) (b) (list (a) (b))",
     "(9 20)"},
    {"quicksort",
     "(define (sort xs) (if (null? xs) '()\n"
     "  (let* ((p (car xs)) (rest (cdr xs)))\n"
     "    (append (sort (filter (lambda (x) (< x p)) rest)) (list p)\n"
     "            (sort (filter (lambda (x) (>= x p)) rest))))))\n"
     "(sort '(31 4 15 92 65 35 89 79 32 38 46 26 43))",
     "(4 15 26 31 32 35 38 43 46 65 79 89 92)"},
    {"derivative",
     "(define (diff e x) (cond ((integer? e) 0) ((symbol? e) (if (eq? e x) 1 0))\n"
     "  ((eq? (car e) '+) `(+ ,(diff (car (cdr e)) x) ,(diff (car (cdr (cdr e))) x)))\n"
     "  ((eq? (car e) '*) (let ((a (car (cdr e))) (b (car (cdr (cdr e)))))\n"
     "     `(+ (* ,(diff a x) ,b) (* ,a ,(diff b x)))))\n"
     "  (else (error \"unknown operator\"))))\n"
     "(diff '(+ (* x x) (* 3 x)) 'x)",
     "(+ (+ (* 1 x) (* x 1)) (+ (* 0 x) (* 3 1)))"},
    {"queens",
     "(define (safe? q rows d) (or (null? rows)\n"
     "  (and (not (= q (car rows))) (not (= q (+ (car rows) d))) (not (= q (- (car rows) d)))\n"
     "       (safe? q (cdr rows) (+ d 1)))))\n"
     "(define (place n k rows) (if (= k 0) 1\n"
     "  (fold (lambda (sum q) (if (safe? q rows 1) (+ sum (place n (- k 1) (cons q rows))) sum))\n"
     "        0 (iota n))))\n"
     "(place 5 5 '())",
     "10"},
    {"strings",
     "(define (join sep xs) (fold (lambda (a x) (string-append a sep x)) (car xs) (cdr xs)))\n"
     "(let ((s (join \", \" (map symbol->string '(ash birch cedar)))))\n"
     "  (display s \"; \") (list (string-length s) (substring s 5 10) \"a \\\"b\\\"\"))",
     "ash, birch, cedar; (17 \"birch\" \"a \\\"b\\\"\")"},
    {"macros",
     "(define-macro (swap! a b) `(let ((tmp ,a)) (set! ,a ,b) (set! ,b tmp)))\n"
     "(define p 1) (define q '(2 . 3)) (swap! p q)\n"
     "(unless (eq? p q) (when (pair? p) (display \"swapped \")))\n"
     "(list p q (apply + '(1 2 3)) (eval '(* 6 7)))",
     "swapped ((2 . 3) 1 6 42)"},
    {"association",
     "(define db '((oak . 30) (elm . 12) (yew . 400)))\n"
     "(list (cdr (assq 'yew db)) (assq 'fir db) (equal? (reverse '(1 (2) 3)) '(3 (2) 1)))",
     "(400 #f #t)"},
    {"sieve",
     "(define (sieve n)\n"
     "  (let ((composite (make-vector n #f)) (i 2) (primes '()))\n"
     "    (while (< i n)\n"
     "      (unless (vector-ref composite i)\n"
     "        (set! primes (cons i primes))\n"
     "        (let ((j (* i i)))\n"
     "          (while (< j n) (vector-set! composite j #t) (set! j (+ j i)))))\n"
     "      (set! i (+ i 1)))\n"
     "    (reverse primes)))\n"
     "(let* ((v (list->vector (sieve 60))) (n (vector-length v)))\n"
     "  (vector-set! v 0 'two) (list n (vector-ref v (- n 1)) (list->vector (list (vector-ref v 0) "
     "\"x\" (cdr (vector->list (make-vector 2)))))))",
     "(17 59 #(two \"x\" (())))"},
    {"index error", "(vector-ref (make-vector 3 0) 3)", NULL},
    {"type error", "(+ 1 (car '(x)))", NULL},
    {"unbound", "(map undefined-thing '(1))", NULL},
    {"overflow", "(fact 21)", NULL},
    {"deep", "(define (deep n) (+ 1 (deep n))) (deep 0)", NULL},
    {"syntax", "(list 1 2\n(3", NULL},
    {"arity", "((lambda (a b . c) c) 1)", NULL},
};

static uint32_t hash_text(uint32_t h, const char *s) {
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

int main(void) {
    uint32_t digest = 2166136261u;
    unsigned ok = 0, rejected = 0;
    lisp *L = lisp_open();
    if (!lisp_run(L, prelude)) {
        printf("prelude: %s\n", L->error);
        return 1;
    }
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        bool success = lisp_run(L, programs[i].source);
        const char *got = success ? L->out : L->error;
        bool expected = success ? programs[i].expect && strcmp(got, programs[i].expect) == 0
                                : programs[i].expect == NULL;
        if (!expected) {
            printf("%s: unexpected result: %s\n", programs[i].name, got);
            return 1;
        }
        ok += success;
        rejected += !success;
        digest = hash_text(digest, got);
    }
    printf("%u programs ok, %u rejected\n", ok, rejected);
    printf("last error: %s\n", L->error);
    printf("%u collections, %zu cells\n", L->collections, L->cells_total);
    digest = (digest ^ L->collections) * 16777619u;
    lisp_close(L);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
