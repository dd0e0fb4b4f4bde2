/* Push parser for comma-separated values with quoting: feed it any pieces of a file, and it hands
   complete fields and line ends to callbacks. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_FIELD 64

enum csv_error { CSV_OK, CSV_TOO_LONG, CSV_STRAY_QUOTE, CSV_OPEN_QUOTE };

typedef struct csv_parser {
    enum { FIELD_START, PLAIN, QUOTED, QUOTE_SEEN } state;
    enum csv_error error;
    size_t length;
    char field[MAX_FIELD + 1];
    void (*on_field)(void *user, const char *text, size_t length);
    void (*on_line)(void *user);
    void *user;
} csv_parser;

static void append(csv_parser *p, char c) {
    if (p->length == MAX_FIELD)
        p->error = CSV_TOO_LONG;
    else
        p->field[p->length++] = c;
}

static void end_field(csv_parser *p) {
    p->field[p->length] = '\0';
    p->on_field(p->user, p->field, p->length);
    p->length = 0;
    p->state = FIELD_START;
}

static void csv_char(csv_parser *p, char c) {
    if (p->state == QUOTED) {
        if (c == '"')
            p->state = QUOTE_SEEN;
        else
            append(p, c);
        return;
    }
    switch (c) {
    case ',':
        end_field(p);
        break;
    case '\n':
        end_field(p);
        p->on_line(p->user);
        break;
    case '\r':
        break;
    case '"':
        if (p->state == PLAIN)
            p->error = CSV_STRAY_QUOTE;
        if (p->state == QUOTE_SEEN)
            append(p, c); /* a doubled quote stands for one */
        p->state = QUOTED;
        break;
    default:
        if (p->state == QUOTE_SEEN)
            p->error = CSV_STRAY_QUOTE;
        p->state = PLAIN;
        append(p, c);
    }
}

enum csv_error csv_feed(csv_parser *p, const char *data, size_t length) {
    while (length-- > 0 && p->error == CSV_OK)
        csv_char(p, *data++);
    return p->error;
}

enum csv_error csv_finish(csv_parser *p) {
    if (p->error == CSV_OK && p->state == QUOTED)
        p->error = CSV_OPEN_QUOTE;
    return p->error;
}

struct totals {
    unsigned fields, lines;
    uint32_t checksum;
};

static void count_field(void *user, const char *text, size_t length) {
    struct totals *t = user;
    t->fields++;
    for (size_t i = 0; i < length; i++)
        t->checksum = t->checksum * 33 ^ (uint8_t)text[i];
    t->checksum = t->checksum * 33 ^ ',';
}

static void count_line(void *user) {
    struct totals *t = user;
    t->lines++;
}

/* Parses a text in pieces of the given size. */
static enum csv_error parse(const char *text, size_t piece, struct totals *t) {
    csv_parser p = {.on_field = count_field, .on_line = count_line, .user = t};
    size_t length = strlen(text);
    for (size_t at = 0; at < length; at += piece)
        csv_feed(&p, text + at, at + piece < length ? piece : length - at);
    return csv_finish(&p);
}

static const char inventory[] = "part,size,remark\r\n"
                                "bolt,M8,\"zinc, hot dipped\"\r\n"
                                "washer,,\"the \"\"wide\"\" kind\"\n"
                                "\"anchor\nplate\",120x80,\n";

int main(void) {
    struct totals whole = {0}, pieces = {0}, bad = {0};
    if (parse(inventory, sizeof inventory, &whole) || parse(inventory, 7, &pieces))
        return 1;
    printf("%u fields on %u lines\n", whole.fields, whole.lines);
    printf("checksum %08x\n", whole.checksum);
    if (memcmp(&whole, &pieces, sizeof whole) != 0)
        return 1;
    return parse("a,b\"c\n", 3, &bad) != CSV_STRAY_QUOTE ||
           parse("a,\"b\n", 3, &bad) != CSV_OPEN_QUOTE;
}
