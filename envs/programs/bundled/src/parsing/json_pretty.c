// JSON reader and writer: a strict recursive-descent parser into an arena-backed tree, a pretty and
// a compact printer, and structural comparison for round trips.
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- arena ------------------------------------------------------------------------------------

typedef struct ArenaBlock {
    struct ArenaBlock *next;
    size_t used, size;
    uint64_t data[];
} ArenaBlock;

typedef struct {
    ArenaBlock *head;
} Arena;

static void *arena_alloc(Arena *a, size_t n) {
    n = (n + 7) & ~(size_t)7;
    if (!a->head || a->head->size - a->head->used < n) {
        size_t size = n > 2048 ? n : 2048;
        ArenaBlock *b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        b->next = a->head;
        b->used = 0;
        b->size = size;
        a->head = b;
    }
    void *p = (char *)a->head->data + a->head->used;
    a->head->used += n;
    return p;
}

static void arena_free(Arena *a) {
    while (a->head) {
        ArenaBlock *next = a->head->next;
        free(a->head);
        a->head = next;
    }
}

// ---- tree -------------------------------------------------------------------------------------

typedef enum {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonType;

typedef struct JsonValue {
    JsonType type;
    const char *key; // set for members of an object
    struct JsonValue *next;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *text;
            size_t length;
        } string;
        struct {
            struct JsonValue *first;
            size_t count;
        } list;
    } u;
} JsonValue;

typedef struct {
    Arena *arena;
    const char *start, *p, *end;
    int depth;
    const char *error;
    int line, column;
} JsonParser;

enum { JSON_MAX_DEPTH = 64 };

static JsonValue *parse_value(JsonParser *ps);

static bool fail(JsonParser *ps, const char *message) {
    if (!ps->error) {
        ps->error = message;
        ps->line = ps->column = 1;
        for (const char *c = ps->start; c < ps->p; c++) {
            ps->column++;
            if (*c == '\n') {
                ps->line++;
                ps->column = 1;
            }
        }
    }
    return false;
}

// The next character, or NUL at the end of the text.
static char peek(const JsonParser *ps) {
    return ps->p < ps->end ? *ps->p : '\0';
}

static bool accept_char(JsonParser *ps, char c) {
    if (peek(ps) != c)
        return false;
    ps->p++;
    return true;
}

static void skip_space(JsonParser *ps) {
    while (peek(ps) && strchr(" \n\t\r", *ps->p))
        ps->p++;
}

static bool accept(JsonParser *ps, char c) {
    skip_space(ps);
    return accept_char(ps, c);
}

static bool accept_word(JsonParser *ps, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(ps->end - ps->p) < n || memcmp(ps->p, word, n) != 0)
        return fail(ps, "unknown literal");
    ps->p += n;
    return true;
}

static bool parse_hex4(JsonParser *ps, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = peek(ps);
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            digit = (uint32_t)((c | 32) - 'a') + 10;
        else
            return fail(ps, "bad \\u escape");
        *out = *out << 4 | digit;
        ps->p++;
    }
    return true;
}

static char *put_utf8(char *out, uint32_t cp) {
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    int more = cp < 0x80 ? 0 : cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3; // continuation bytes
    *out++ = (char)(lead[more] | cp >> (6 * more));
    while (more-- > 0)
        *out++ = (char)(0x80 | (cp >> (6 * more) & 0x3f));
    return out;
}

static bool parse_escape(JsonParser *ps, char **out) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = ps->p < ps->end ? *ps->p++ : '\0';
    const char *simple = c ? strchr(letters, c) : NULL;
    uint32_t cp, low;
    if (simple) {
        *(*out)++ = meanings[simple - letters];
        return true;
    }
    if (c != 'u')
        return fail(ps, "bad escape");
    if (!parse_hex4(ps, &cp))
        return false;
    if (cp >= 0xd800 && cp < 0xdc00) {
        if (!accept_char(ps, '\\') || !accept_char(ps, 'u'))
            return fail(ps, "lone surrogate");
        if (!parse_hex4(ps, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(ps, "lone surrogate");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    } else if (cp >= 0xdc00 && cp < 0xe000) {
        return fail(ps, "lone surrogate");
    }
    *out = put_utf8(*out, cp);
    return true;
}

// The opening quote has been read. An escape is never shorter than what it stands for.
static const char *parse_string(JsonParser *ps, size_t *length) {
    const char *close = ps->p;
    while (close < ps->end && *close != '"')
        close += *close == '\\' && close + 1 < ps->end ? 2 : 1;
    if (close >= ps->end) {
        fail(ps, "unterminated string");
        return NULL;
    }
    char *text = arena_alloc(ps->arena, (size_t)(close - ps->p) + 1), *out = text;
    if (!text) {
        fail(ps, "out of memory");
        return NULL;
    }
    while (ps->p < close) {
        if ((unsigned char)*ps->p < 0x20) {
            fail(ps, "control character in string");
            return NULL;
        }
        if (*ps->p != '\\') {
            *out++ = *ps->p++;
        } else {
            ps->p++;
            if (!parse_escape(ps, &out))
                return NULL;
        }
    }
    ps->p = close + 1;
    *out = '\0';
    *length = (size_t)(out - text);
    return text;
}

static int skip_digits(JsonParser *ps) {
    int n = 0;
    for (; peek(ps) >= '0' && peek(ps) <= '9'; ps->p++)
        n++;
    return n;
}

static bool parse_number(JsonParser *ps, JsonValue *v) {
    const char *from = ps->p;
    bool integral = true;
    accept_char(ps, '-');
    const char *digits = ps->p;
    int n = skip_digits(ps);
    if (n == 0 || (n > 1 && *digits == '0'))
        return fail(ps, "bad number");
    if (accept_char(ps, '.')) {
        integral = false;
        if (skip_digits(ps) == 0)
            return fail(ps, "digit expected after '.'");
    }
    if (accept_char(ps, 'e') || accept_char(ps, 'E')) {
        integral = false;
        if (!accept_char(ps, '+'))
            accept_char(ps, '-');
        if (skip_digits(ps) == 0)
            return fail(ps, "digit expected in exponent");
    }
    char lexeme[64];
    if ((size_t)(ps->p - from) >= sizeof lexeme)
        return fail(ps, "number too long");
    memcpy(lexeme, from, (size_t)(ps->p - from));
    lexeme[ps->p - from] = '\0';
    if (integral && n <= 18) {
        v->type = JSON_INT;
        v->u.integer = strtoll(lexeme, NULL, 10);
    } else {
        v->type = JSON_REAL;
        v->u.real = strtod(lexeme, NULL);
        if (!isfinite(v->u.real))
            return fail(ps, "number out of range");
    }
    return true;
}

static bool parse_list(JsonParser *ps, JsonValue *list, char close) {
    JsonValue **tail = &list->u.list.first;
    if (++ps->depth > JSON_MAX_DEPTH)
        return fail(ps, "nested too deeply");
    if (!accept(ps, close)) {
        do {
            const char *key = NULL;
            size_t length;
            if (list->type == JSON_OBJECT) {
                if (!accept(ps, '"'))
                    return fail(ps, "member name expected");
                if (!(key = parse_string(ps, &length)))
                    return false;
                if (!accept(ps, ':'))
                    return fail(ps, "':' expected");
            }
            JsonValue *item = parse_value(ps);
            if (!item)
                return false;
            item->key = key;
            *tail = item;
            tail = &item->next;
            list->u.list.count++;
        } while (accept(ps, ','));
        if (!accept(ps, close))
            return fail(ps, "',' or closing bracket expected");
    }
    ps->depth--;
    return true;
}

static JsonValue *parse_value(JsonParser *ps) {
    JsonValue *v = arena_alloc(ps->arena, sizeof *v);
    bool ok;
    if (!v) {
        fail(ps, "out of memory");
        return NULL;
    }
    memset(v, 0, sizeof *v);
    skip_space(ps);
    switch (peek(ps)) {
    case 'n':
        ok = accept_word(ps, "null");
        break;
    case 't':
    case 'f':
        v->type = JSON_BOOL;
        v->u.boolean = *ps->p == 't';
        ok = accept_word(ps, v->u.boolean ? "true" : "false");
        break;
    case '"':
        ps->p++;
        v->type = JSON_STRING;
        v->u.string.text = parse_string(ps, &v->u.string.length);
        ok = v->u.string.text != NULL;
        break;
    case '[':
    case '{':
        v->type = *ps->p == '[' ? JSON_ARRAY : JSON_OBJECT;
        ok = parse_list(ps, v, *ps->p++ == '[' ? ']' : '}');
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        ok = parse_number(ps, v);
        break;
    default:
        ok = fail(ps, "value expected");
    }
    return ok ? v : NULL;
}

JsonValue *json_parse(Arena *arena, const char *text, size_t length, JsonParser *ps) {
    *ps = (JsonParser){arena, text, text, text + length, 0, NULL, 0, 0};
    JsonValue *root = parse_value(ps);
    skip_space(ps);
    if (root && ps->p != ps->end) {
        fail(ps, "trailing characters");
        return NULL;
    }
    return root;
}

bool json_equal(const JsonValue *a, const JsonValue *b) {
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->u.boolean == b->u.boolean;
    case JSON_INT:
        return a->u.integer == b->u.integer;
    case JSON_REAL:
        return a->u.real == b->u.real;
    case JSON_STRING:
        return a->u.string.length == b->u.string.length &&
               memcmp(a->u.string.text, b->u.string.text, a->u.string.length) == 0;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    const JsonValue *x = a->u.list.first, *y = b->u.list.first;
    for (; x && y; x = x->next, y = y->next)
        if ((x->key && strcmp(x->key, y->key) != 0) || !json_equal(x, y))
            return false;
    return !x && !y;
}

// ---- writer -----------------------------------------------------------------------------------

typedef struct {
    char *data;
    size_t length, capacity;
    int indent; // spaces per level, 0 for the compact form
} JsonWriter;

static void write_bytes(JsonWriter *w, const char *s, size_t n) {
    if (w->length + n + 1 > w->capacity) {
        w->capacity = (w->length + n + 1) * 2;
        w->data = realloc(w->data, w->capacity);
        if (!w->data)
            abort();
    }
    memcpy(w->data + w->length, s, n);
    w->length += n;
    w->data[w->length] = '\0';
}

// For short pieces only.
static void write_format(JsonWriter *w, const char *format, ...) {
    char buffer[64];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(buffer, sizeof buffer, format, args);
    va_end(args);
    write_bytes(w, buffer, (size_t)n);
}

static void write_newline(JsonWriter *w, int depth) {
    if (!w->indent)
        return;
    write_bytes(w, "\n", 1);
    for (int i = 0; i < depth * w->indent; i++)
        write_bytes(w, " ", 1);
}

static void write_string(JsonWriter *w, const char *s, size_t n) {
    static const char short_escapes[] = "\b\t\n\f\r\"\\";
    write_bytes(w, "\"", 1);
    for (; n; s++, n--) {
        const char *hit = *s ? strchr(short_escapes, *s) : NULL;
        if (hit)
            write_format(w, "\\%c", "btnfr\"\\"[hit - short_escapes]);
        else if ((unsigned char)*s < 0x20)
            write_format(w, "\\u%04x", (unsigned)*s);
        else
            write_bytes(w, s, 1);
    }
    write_bytes(w, "\"", 1);
}

// Keeps a fraction or an exponent in the text, so that reals are read back as reals.
static void write_real(JsonWriter *w, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    write_format(w, strpbrk(text, ".e") ? "%s" : "%s.0", text);
}

void json_write(JsonWriter *w, const JsonValue *v, int depth) {
    switch (v->type) {
    case JSON_NULL:
        write_bytes(w, "null", 4);
        break;
    case JSON_BOOL:
        write_format(w, "%s", v->u.boolean ? "true" : "false");
        break;
    case JSON_INT:
        write_format(w, "%lld", (long long)v->u.integer);
        break;
    case JSON_REAL:
        write_real(w, v->u.real);
        break;
    case JSON_STRING:
        write_string(w, v->u.string.text, v->u.string.length);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_bytes(w, v->type == JSON_ARRAY ? "[" : "{", 1);
        for (const JsonValue *item = v->u.list.first; item; item = item->next) {
            write_newline(w, depth + 1);
            if (item->key) {
                write_string(w, item->key, strlen(item->key));
                write_bytes(w, ": ", w->indent ? 2 : 1);
            }
            json_write(w, item, depth + 1);
            if (item->next)
                write_bytes(w, ",", 1);
        }
        if (v->u.list.count)
            write_newline(w, depth);
        write_bytes(w, v->type == JSON_ARRAY ? "]" : "}", 1);
        break;
    }
}

// ---- demonstration ----------------------------------------------------------------------------

static const char document[] =
    "{\"name\": \"probe-7\", \"active\": true, \"parent\": null, \"serial\": 90071992547409,\n"
    " \"position\": {\"lat\": -33.4489, \"lon\": -70.6693, \"alt\": 5.7e2},\n"
    " \"tags\": [\"caf\\u00e9\", \"tab\\there\", \"\\ud83d\\ude80\", \"a\\/b\", \"\\u0001\"],\n"
    " \"readings\": [[1, 2.5, -3], [], [0, 1E-3, 123456789012345678901234567890]],\n"
    " \"empty\": {}, \"quote\\\"d\": \"back\\\\slash\"}\n";

static const char *const broken[] = {
    "{\"a\": 1,}",
    "[1 2]",
    "[01]",
    "\"\\ud800 x\"",
    "[1.]",
    "nul",
    "{\"a\" 1}",
    "\"open",
    "[1e+]",
    "\"\\q\"",
    "[] []",
    "{1: 2}",
    "[\n  true,\n  fals\n]",
    "\"tab\tin string\"",
    "-",
    "1e999",
};

static uint32_t fnv1a(uint32_t h, const char *s, size_t n) {
    while (n--)
        h = (h ^ (unsigned char)*s++) * 16777619u;
    return h;
}

int main(void) {
    Arena arena = {NULL};
    JsonParser ps;
    JsonWriter pretty = {NULL, 0, 0, 2}, compact = {NULL, 0, 0, 0};
    uint32_t checksum = 2166136261u;
    int rejected = 0;

    JsonValue *root = json_parse(&arena, document, strlen(document), &ps);
    if (!root) {
        fprintf(stderr, "%d:%d: %s\n", ps.line, ps.column, ps.error);
        return 1;
    }
    json_write(&pretty, root, 0);
    json_write(&compact, root, 0);
    JsonValue *again = json_parse(&arena, pretty.data, pretty.length, &ps);
    bool same = again && json_equal(root, again);
    checksum = fnv1a(checksum, pretty.data, pretty.length);
    checksum = fnv1a(checksum, compact.data, compact.length);

    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        if (json_parse(&arena, broken[i], strlen(broken[i]), &ps))
            continue;
        rejected++;
        checksum = fnv1a(checksum, ps.error, strlen(ps.error));
        checksum = (checksum ^ (uint32_t)(ps.line * 100 + ps.column)) * 16777619u;
    }
    printf("pretty %zu bytes, compact %zu bytes, round trip %s\n", pretty.length, compact.length,
           same ? "ok" : "FAILED");
    printf("%d of %zu malformed documents rejected\n", rejected, sizeof broken / sizeof broken[0]);
    printf("checksum %08x\n", checksum);
    free(pretty.data);
    free(compact.data);
    arena_free(&arena);
    return same && rejected == (int)(sizeof broken / sizeof broken[0]) ? 0 : 2;
}
