// INI-style configuration reader: sections, quoted values, continuation lines and ${section.key}
// references, bound to a C struct through a typed schema table.
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CFG_NAME_MAX = 32, CFG_VALUE_MAX = 128, CFG_ENTRIES_MAX = 64 };

typedef struct {
    char section[CFG_NAME_MAX];
    char key[CFG_NAME_MAX];
    char value[CFG_VALUE_MAX];
    int line;
    bool used;
} CfgEntry;

typedef void (*CfgReport)(void *context, int line, const char *message);

typedef struct {
    CfgEntry entries[CFG_ENTRIES_MAX];
    int count;
    int problems;
    CfgReport report;
    void *context;
} CfgDocument;

typedef enum { CFG_TEXT, CFG_FLAG, CFG_NUMBER, CFG_BYTES, CFG_MILLISECONDS, CFG_CHOICE } CfgType;

typedef struct {
    const char *section, *key;
    CfgType type;
    size_t offset;
    int64_t min, max;
    const char *fallback; // NULL if the key is required
    const char *choices;  // words separated by '|', for CFG_CHOICE
} CfgRule;

static void problem(CfgDocument *doc, int line, const char *format, ...) {
    char message[160];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    doc->problems++;
    if (doc->report)
        doc->report(doc->context, line, message);
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static const char *skip_blank(const char *p) {
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

// Copies a name and returns what follows it, or NULL if there is none or it is too long.
static const char *take_name(const char *p, char *out) {
    int n = 0;
    for (; is_name_char(*p); p++) {
        if (n == CFG_NAME_MAX - 1)
            return NULL;
        out[n++] = *p;
    }
    out[n] = '\0';
    return n ? p : NULL;
}

static CfgEntry *find_entry(CfgDocument *doc, const char *section, const char *key) {
    for (int i = doc->count - 1; i >= 0; i--) // the last assignment wins
        if (strcmp(doc->entries[i].section, section) == 0 && strcmp(doc->entries[i].key, key) == 0)
            return &doc->entries[i];
    return NULL;
}

static bool append(char *out, size_t *n, const char *s, size_t len) {
    if (*n + len >= CFG_VALUE_MAX)
        return false;
    memcpy(out + *n, s, len);
    *n += len;
    out[*n] = '\0';
    return true;
}

// Expands "${section.key}" at p; references look backwards only, so they cannot loop.
static const char *expand_reference(CfgDocument *doc, const char *p, char *out, size_t *n,
                                    int line) {
    char section[CFG_NAME_MAX], key[CFG_NAME_MAX];
    const char *q = take_name(p + 2, section);
    if (q && *q == '.')
        q = take_name(q + 1, key);
    else
        q = NULL;
    if (!q || *q != '}') {
        problem(doc, line, "malformed reference");
        return NULL;
    }
    CfgEntry *target = find_entry(doc, section, key);
    if (!target) {
        problem(doc, line, "reference to unknown %s.%s", section, key);
        return NULL;
    }
    target->used = true;
    if (!append(out, n, target->value, strlen(target->value))) {
        problem(doc, line, "value too long");
        return NULL;
    }
    return q + 1;
}

static bool take_value(CfgDocument *doc, const char *p, char *out, int line) {
    size_t n = 0, keep = 0; // keep: length without trailing blanks
    bool quoted = *p == '"';
    p += quoted;
    out[0] = '\0';
    while (*p && (quoted ? *p != '"' : *p != '#' && *p != ';')) {
        bool blank = !quoted && (*p == ' ' || *p == '\t');
        if (p[0] == '$' && p[1] == '{') {
            if (!(p = expand_reference(doc, p, out, &n, line)))
                return false;
        } else {
            char c = *p++;
            if (c == '\\' && quoted && *p)
                c = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p, p++;
            if (!append(out, &n, &c, 1)) {
                problem(doc, line, "value too long");
                return false;
            }
        }
        if (!blank)
            keep = n;
    }
    out[keep] = '\0';
    if (quoted) {
        const char *rest = *p == '"' ? skip_blank(p + 1) : NULL;
        if (!rest || (*rest && *rest != '#' && *rest != ';')) {
            problem(doc, line, rest ? "text after closing quote" : "missing closing quote");
            return false;
        }
    }
    return true;
}

static void parse_line(CfgDocument *doc, const char *p, char *section, int line) {
    p = skip_blank(p);
    if (*p == '\0' || *p == '#' || *p == ';')
        return;
    if (*p == '[') {
        const char *q = take_name(p + 1, section);
        if (!q || *q != ']')
            problem(doc, line, "malformed section header");
        return;
    }
    if (doc->count == CFG_ENTRIES_MAX) {
        problem(doc, line, "too many entries");
        return;
    }
    CfgEntry *e = &doc->entries[doc->count];
    const char *q = take_name(p, e->key);
    if (q)
        q = skip_blank(q);
    if (!q || *q != '=') {
        problem(doc, line, "expected 'key = value'");
        return;
    }
    if (!take_value(doc, skip_blank(q + 1), e->value, line))
        return;
    memcpy(e->section, section, CFG_NAME_MAX);
    e->line = line;
    e->used = false;
    doc->count++;
}

void cfg_parse(CfgDocument *doc, const char *text) {
    char section[CFG_NAME_MAX] = "", logical[256];
    size_t n = 0;
    int line = 1, first = 1;
    for (;; text++) {
        if (*text == '\\' && text[1] == '\n') { // continuation
            text++;
            line++;
        } else if (*text == '\n' || *text == '\0') {
            logical[n] = '\0';
            parse_line(doc, logical, section, first);
            if (*text == '\0')
                return;
            n = 0;
            first = ++line;
        } else if (n < sizeof logical - 1) {
            logical[n++] = *text;
        }
    }
}

// Reads "<integer><unit>"; units is "name:factor,..." with "" for a bare number.
static bool parse_scaled(const char *s, const char *units, int64_t *out) {
    bool negative = *s == '-', digits = false;
    int64_t value = 0;
    for (s += negative; (*s >= '0' && *s <= '9') || (*s == '_' && digits); s++) {
        if (*s == '_')
            continue;
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (*s - '0');
        digits = true;
    }
    for (const char *u = units; digits; u++) {
        size_t len = strcspn(u, ":");
        int64_t factor = strtoll(u + len + 1, NULL, 10);
        if (strlen(s) == len && memcmp(s, u, len) == 0) {
            if (value > INT64_MAX / factor)
                return false;
            *out = negative ? -value * factor : value * factor;
            return true;
        }
        u = strchr(u, ',');
        if (!u)
            break;
    }
    return false;
}

static int word_index(const char *word, const char *choices) {
    for (int i = 0;; i++) {
        size_t len = strcspn(choices, "|");
        if (strlen(word) == len && memcmp(word, choices, len) == 0)
            return i;
        if (choices[len] == '\0')
            return -1;
        choices += len + 1;
    }
}

static bool convert(const CfgRule *rule, const char *value, void *field) {
    int64_t number = 0;
    int choice;
    switch (rule->type) {
    case CFG_TEXT:
        if ((int64_t)strlen(value) < rule->min)
            return false;
        memcpy(field, value, strlen(value) + 1);
        return true;
    case CFG_FLAG:
        choice = word_index(value, "false|true|no|yes|off|on|0|1");
        *(bool *)field = choice & 1;
        return choice >= 0;
    case CFG_CHOICE:
        choice = word_index(value, rule->choices);
        *(int *)field = choice;
        return choice >= 0;
    case CFG_NUMBER:
        if (!parse_scaled(value, ":1", &number))
            return false;
        break;
    case CFG_BYTES:
        if (!parse_scaled(value, ":1,B:1,KiB:1024,MiB:1048576,GiB:1073741824", &number))
            return false;
        break;
    case CFG_MILLISECONDS:
        if (!parse_scaled(value, "ms:1,s:1000,min:60000,h:3600000", &number))
            return false;
        break;
    }
    *(int64_t *)field = number;
    return number >= rule->min && number <= rule->max;
}

// Fills the struct at target; returns true if there was no problem with the document so far.
bool cfg_bind(CfgDocument *doc, const CfgRule *rules, size_t rule_count, void *target) {
    for (size_t i = 0; i < rule_count; i++) {
        const CfgRule *r = &rules[i];
        CfgEntry *e = find_entry(doc, r->section, r->key);
        const char *value = e ? e->value : r->fallback;
        if (e)
            e->used = true;
        if (!value)
            problem(doc, 0, "missing %s.%s", r->section, r->key);
        else if (!convert(r, value, (char *)target + r->offset))
            problem(doc, e ? e->line : 0, "bad value '%s' for %s.%s", value, r->section, r->key);
    }
    for (int i = 0; i < doc->count; i++)
        if (!doc->entries[i].used &&
            &doc->entries[i] == find_entry(doc, doc->entries[i].section, doc->entries[i].key))
            problem(doc, doc->entries[i].line, "unknown key %s.%s", doc->entries[i].section,
                    doc->entries[i].key);
    return doc->problems == 0;
}

// ---- an application's settings ----------------------------------------------------------------

typedef struct {
    char host[CFG_VALUE_MAX];
    char log_path[CFG_VALUE_MAX];
    char banner[CFG_VALUE_MAX];
    int64_t port, workers, cache_bytes, timeout_ms, drift;
    bool tls, compress;
    int level;
} Settings;

#define FIELD(member) offsetof(Settings, member)

static const CfgRule server_rules[] = {
    {"server", "host", CFG_TEXT, FIELD(host), 1, 0, NULL, NULL},
    {"server", "port", CFG_NUMBER, FIELD(port), 1, 65535, "8080", NULL},
    {"server", "workers", CFG_NUMBER, FIELD(workers), 1, 256, "4", NULL},
    {"server", "tls", CFG_FLAG, FIELD(tls), 0, 0, "no", NULL},
    {"server", "banner", CFG_TEXT, FIELD(banner), 0, 0, "", NULL},
    {"server", "timeout", CFG_MILLISECONDS, FIELD(timeout_ms), 10, 86400000, "30s", NULL},
    {"cache", "size", CFG_BYTES, FIELD(cache_bytes), 4096, INT64_MAX, NULL, NULL},
    {"cache", "compress", CFG_FLAG, FIELD(compress), 0, 0, "on", NULL},
    {"cache", "drift", CFG_NUMBER, FIELD(drift), -1000, 1000, "0", NULL},
    {"log", "file", CFG_TEXT, FIELD(log_path), 1, 0, "-", NULL},
    {"log", "level", CFG_CHOICE, FIELD(level), 0, 0, "info", "error|warning|info|debug"},
};
enum { SERVER_RULES = sizeof server_rules / sizeof server_rules[0] };

static const char good_text[] = "# deployment\n"
                                "[paths]\n"
                                "root = /srv/app   ; no trailing slash\n"
                                "[server]\n"
                                "host = \"node-1.example\"  # quoted\n"
                                "port = 8_443\n"
                                "tls = yes\n"
                                "banner = \"hello\\t\\\"world\\\"\"\n"
                                "timeout = 2min\n"
                                "workers = 2\n"
                                "workers = 12\n"
                                "[cache]\n"
                                "size = 64MiB\n"
                                "drift = -250\n"
                                "[log]\n"
                                "file = ${paths.root}/log/\\\n"
                                "${server.host}.txt\n"
                                "level = debug\n";

static const char bad_text[] = "[server\n"
                               "[server]\n"
                               "port = 70000\n"
                               "host = \"unclosed\n"
                               "tls = maybe\n"
                               "timeout = 5parsecs\n"
                               "just words\n"
                               "banner = ${nobody.home}\n"
                               "[cache]\n"
                               "size = 12XB\n"
                               "colour = blue\n"
                               "[log]\n"
                               "level = \"loud\" and clear\n"
                               "file = ${oops\n";

static uint32_t hash_bytes(uint32_t h, const void *data, size_t n) {
    for (const unsigned char *p = data; n--; p++)
        h = (h << 5 | h >> 27) ^ (*p * 0x9e3779b1u);
    return h;
}

static void collect(void *context, int line, const char *message) {
    uint32_t *hash = context;
    *hash = hash_bytes(*hash, message, strlen(message)) + (uint32_t)line;
}

int main(void) {
    CfgDocument *doc = calloc(1, sizeof *doc);
    Settings s;
    uint32_t checksum = 1;
    if (!doc)
        return 1;
    memset(&s, 0, sizeof s);
    doc->report = collect;
    doc->context = &checksum;
    cfg_parse(doc, good_text);
    if (!cfg_bind(doc, server_rules, SERVER_RULES, &s)) {
        free(doc);
        return 2;
    }
    printf("%s:%lld tls=%d log=%s\n", s.host, (long long)s.port, s.tls, s.log_path);
    printf("cache %lld bytes, timeout %lld ms, level %d, %lld workers\n", (long long)s.cache_bytes,
           (long long)s.timeout_ms, s.level, (long long)s.workers);
    checksum = hash_bytes(checksum, s.banner, strlen(s.banner));
    checksum = hash_bytes(checksum, s.log_path, strlen(s.log_path)) + (uint32_t)s.drift;

    doc->count = doc->problems = 0;
    cfg_parse(doc, bad_text);
    bool accepted = cfg_bind(doc, server_rules, SERVER_RULES, &s);
    printf("broken file: %d problems\n", doc->problems);
    printf("checksum %08x\n", checksum);
    free(doc);
    return accepted ? 3 : 0;
}
