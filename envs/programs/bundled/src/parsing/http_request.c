// Incremental HTTP/1.1 request parser: a byte-at-a-time state machine with callbacks, which may be
// fed in pieces of any size, and a URL splitter with percent decoding and dot-segment removal.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- request parser ---------------------------------------------------------------------------

#define HTTP_ERRORS(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(METHOD, "unknown method")                                                                    \
    X(TARGET, "bad request target")                                                                \
    X(VERSION, "bad version")                                                                      \
    X(HEADER, "bad header line")                                                                   \
    X(LENGTH, "bad content length")                                                                \
    X(CHUNK, "bad chunk")                                                                          \
    X(TOO_LONG, "line too long")                                                                   \
    X(REFUSED, "refused by callback")

#define HTTP_STATES(X)                                                                             \
    X(METHOD)                                                                                      \
    X(TARGET)                                                                                      \
    X(VERSION)                                                                                     \
    X(REQUEST_LF)                                                                                  \
    X(HEADER_START)                                                                                \
    X(HEADER_NAME)                                                                                 \
    X(HEADER_SPACE)                                                                                \
    X(HEADER_VALUE)                                                                                \
    X(HEADER_LF)                                                                                   \
    X(END_LF)                                                                                      \
    X(BODY)                                                                                        \
    X(CHUNK_SIZE)                                                                                  \
    X(CHUNK_LF)                                                                                    \
    X(CHUNK_DATA)                                                                                  \
    X(CHUNK_END_CR)                                                                                \
    X(CHUNK_END_LF)                                                                                \
    X(LAST_CR)                                                                                     \
    X(LAST_LF)

#define AS_ERROR(name, text) HTTP_E_##name,
#define AS_TEXT(name, text) text,
#define AS_STATE(name) S_##name,

typedef enum { HTTP_ERRORS(AS_ERROR) HTTP_E_COUNT } HttpError;
enum { HTTP_STATES(AS_STATE) S_COUNT };

static const char *const error_texts[] = {HTTP_ERRORS(AS_TEXT)};
static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", NULL};

typedef struct HttpParser HttpParser;

typedef struct {
    bool (*on_request)(HttpParser *p, const char *method, const char *target, int minor);
    bool (*on_header)(HttpParser *p, const char *name, const char *value);
    bool (*on_body)(HttpParser *p, const char *data, size_t length);
    bool (*on_end)(HttpParser *p);
} HttpCallbacks;

struct HttpParser {
    const HttpCallbacks *callbacks;
    void *user;
    int state, error;
    int method;
    int64_t remaining; // bytes left in the body or in the chunk
    bool chunked, has_length;
    size_t name_end, length; // name and value share the line buffer
    char line[256];
};

void http_init(HttpParser *p, const HttpCallbacks *callbacks, void *user) {
    memset(p, 0, sizeof *p);
    p->callbacks = callbacks;
    p->user = user;
}

const char *http_error_text(int error) {
    return error >= 0 && error < HTTP_E_COUNT ? error_texts[error] : "?";
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool equals_ignoring_case(const char *a, const char *b) {
    for (; *a && lower(*a) == lower(*b); a++, b++)
        ;
    return *a == *b;
}

// RFC 9110 token characters
static bool is_token(char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static HttpError save(HttpParser *p, char c) {
    if (p->length + 1 >= sizeof p->line)
        return HTTP_E_TOO_LONG;
    p->line[p->length++] = c;
    p->line[p->length] = '\0';
    return HTTP_E_OK;
}

static HttpError finish_header(HttpParser *p) {
    const char *name = p->line, *value = p->line + p->name_end;
    while (p->length > p->name_end && strchr(" \t", p->line[p->length - 1]))
        p->line[--p->length] = '\0';
    if (equals_ignoring_case(name, "content-length")) {
        p->remaining = 0;
        if (!*value || p->has_length)
            return HTTP_E_LENGTH;
        for (const char *d = value; *d; d++) {
            if (*d < '0' || *d > '9' || p->remaining > INT32_MAX)
                return HTTP_E_LENGTH;
            p->remaining = p->remaining * 10 + (*d - '0');
        }
        p->has_length = true;
    } else if (equals_ignoring_case(name, "transfer-encoding")) {
        if (!equals_ignoring_case(value, "chunked"))
            return HTTP_E_HEADER;
        p->chunked = true;
    }
    return p->callbacks->on_header(p, name, value) ? HTTP_E_OK : HTTP_E_REFUSED;
}

static HttpError finish_request_line(HttpParser *p) {
    const char *version = p->line + p->name_end;
    if (strncmp(version, "HTTP/1.", 7) != 0 || (version[7] != '0' && version[7] != '1') ||
        version[8])
        return HTTP_E_VERSION;
    return p->callbacks->on_request(p, method_names[p->method], p->line, version[7] - '0')
               ? HTTP_E_OK
               : HTTP_E_REFUSED;
}

static HttpError finish_message(HttpParser *p) {
    p->state = S_METHOD;
    p->length = p->name_end = 0;
    p->remaining = 0;
    p->chunked = p->has_length = false;
    return p->callbacks->on_end(p) ? HTTP_E_OK : HTTP_E_REFUSED;
}

#define EXPECT(c, next, err)                                                                       \
    do {                                                                                           \
        if (ch != (c))                                                                             \
            return (err);                                                                          \
        p->state = (next);                                                                         \
    } while (0)

static HttpError step(HttpParser *p, char ch) {
    HttpError e;
    switch (p->state) {
    case S_METHOD:
        if (p->length == 0 && (ch == '\r' || ch == '\n'))
            break; // tolerate empty lines between requests
        if (ch != ' ')
            return ch >= 'A' && ch <= 'Z' && p->length < 8 ? save(p, ch) : HTTP_E_METHOD;
        p->method = 0;
        while (method_names[p->method] && strcmp(method_names[p->method], p->line) != 0)
            p->method++;
        if (p->length == 0 || !method_names[p->method])
            return HTTP_E_METHOD;
        p->length = 0;
        p->state = S_TARGET;
        break;
    case S_TARGET:
        if (ch == ' ') {
            if (p->length == 0)
                return HTTP_E_TARGET;
            if ((e = save(p, '\0')) != HTTP_E_OK)
                return e;
            p->name_end = p->length;
            p->state = S_VERSION;
            break;
        }
        return ch > ' ' && ch < 127 ? save(p, ch) : HTTP_E_TARGET;
    case S_VERSION:
        if (ch != '\r')
            return p->length - p->name_end < 8 ? save(p, ch) : HTTP_E_VERSION;
        if ((e = finish_request_line(p)) != HTTP_E_OK)
            return e;
        p->state = S_REQUEST_LF;
        break;
    case S_REQUEST_LF:
    case S_HEADER_LF:
        EXPECT('\n', S_HEADER_START, HTTP_E_HEADER);
        p->length = 0;
        break;
    case S_HEADER_START:
        if (ch == '\r') {
            p->state = S_END_LF;
            break;
        }
        p->state = S_HEADER_NAME;
        // fall through
    case S_HEADER_NAME:
        if (ch != ':')
            return is_token(ch) ? save(p, ch) : HTTP_E_HEADER;
        if (p->length == 0)
            return HTTP_E_HEADER;
        if ((e = save(p, '\0')) != HTTP_E_OK)
            return e;
        p->name_end = p->length;
        p->state = S_HEADER_SPACE;
        break;
    case S_HEADER_SPACE:
        if (ch == ' ' || ch == '\t')
            break;
        p->state = S_HEADER_VALUE;
        // fall through
    case S_HEADER_VALUE:
        if (ch == '\r') {
            if ((e = finish_header(p)) != HTTP_E_OK)
                return e;
            p->state = S_HEADER_LF;
            break;
        }
        return (unsigned char)ch >= ' ' || ch == '\t' ? save(p, ch) : HTTP_E_HEADER;
    case S_END_LF:
        EXPECT('\n', p->chunked ? S_CHUNK_SIZE : S_BODY, HTTP_E_HEADER);
        p->length = 0;
        if (p->chunked && p->has_length)
            return HTTP_E_LENGTH; // a classic request smuggling vector
        if (p->chunked)
            p->remaining = 0;
        else if (p->remaining == 0)
            return finish_message(p);
        break;
    case S_CHUNK_SIZE: {
        int digit = hex_digit(ch);
        if (digit < 0) {
            if (p->length == 0)
                return HTTP_E_CHUNK;
            EXPECT('\r', S_CHUNK_LF, HTTP_E_CHUNK);
            break;
        }
        if (p->length++ >= 7)
            return HTTP_E_CHUNK;
        p->remaining = p->remaining * 16 + digit;
        break;
    }
    case S_CHUNK_LF:
        EXPECT('\n', p->remaining ? S_CHUNK_DATA : S_LAST_CR, HTTP_E_CHUNK);
        break;
    case S_CHUNK_END_CR:
        EXPECT('\r', S_CHUNK_END_LF, HTTP_E_CHUNK);
        break;
    case S_CHUNK_END_LF:
        EXPECT('\n', S_CHUNK_SIZE, HTTP_E_CHUNK);
        p->length = 0;
        break;
    case S_LAST_CR:
        EXPECT('\r', S_LAST_LF, HTTP_E_CHUNK);
        break;
    case S_LAST_LF:
        EXPECT('\n', S_METHOD, HTTP_E_CHUNK);
        return finish_message(p);
    }
    return HTTP_E_OK;
}

// Consumes all of data unless there is an error, which sticks.
int http_feed(HttpParser *p, const char *data, size_t length) {
    const char *end = data + length;
    while (data < end && p->error == HTTP_E_OK) {
        if (p->state != S_BODY && p->state != S_CHUNK_DATA) {
            p->error = step(p, *data++);
            continue;
        }
        size_t n = (size_t)(end - data);
        if ((int64_t)n > p->remaining)
            n = (size_t)p->remaining;
        if (!p->callbacks->on_body(p, data, n))
            p->error = HTTP_E_REFUSED;
        data += n;
        p->remaining -= (int64_t)n;
        if (p->remaining == 0 && p->error == HTTP_E_OK) {
            if (p->state == S_CHUNK_DATA)
                p->state = S_CHUNK_END_CR;
            else
                p->error = finish_message(p);
        }
    }
    return p->error;
}

// ---- URLs -------------------------------------------------------------------------------------

typedef struct {
    char scheme[12], host[64], path[128], query[128], fragment[32];
    int port; // 0 if there is none
} Url;

// Copies until one of the characters in stop; NULL if it does not fit.
static const char *copy_until(char *out, size_t size, const char *s, const char *stop) {
    size_t n = strcspn(s, stop);
    if (n >= size)
        return NULL;
    memcpy(out, s, n);
    out[n] = '\0';
    return s + n;
}

bool percent_decode(char *s) {
    char *out = s;
    for (; *s; s++) {
        int high, low;
        if (*s == '+') {
            *out++ = ' ';
        } else if (*s != '%') {
            *out++ = *s;
        } else {
            if ((high = hex_digit(s[1])) < 0 || (low = hex_digit(s[2])) < 0 || high + low == 0)
                return false;
            *out++ = (char)(high * 16 + low);
            s += 2;
        }
    }
    *out = '\0';
    return true;
}

// Removes "." and ".." segments and doubled slashes in place.
static void normalise_path(char *path) {
    char *out = path;
    const char *in = path;
    while (*in) {
        size_t n;
        while (*in == '/')
            in++;
        n = strcspn(in, "/");
        if (n == 2 && in[0] == '.' && in[1] == '.') {
            while (out > path && *--out != '/')
                ;
        } else if (n > 0 && !(n == 1 && in[0] == '.')) {
            *out++ = '/';
            memmove(out, in, n);
            out += n;
        } else if (n == 0 && out > path) {
            *out++ = '/'; // keep a trailing slash
        }
        in += n;
    }
    if (out == path)
        *out++ = '/';
    *out = '\0';
}

bool url_parse(Url *u, const char *s) {
    memset(u, 0, sizeof *u);
    const char *colon = strstr(s, "://");
    if (colon) {
        if (!copy_until(u->scheme, sizeof u->scheme, s, ":"))
            return false;
        if (!(s = copy_until(u->host, sizeof u->host, colon + 3, ":/?#")) || !u->host[0])
            return false;
        if (*s == ':') {
            for (s++; *s >= '0' && *s <= '9'; s++)
                if ((u->port = u->port * 10 + (*s - '0')) > 65535)
                    return false;
        }
    }
    if (*s != '/' && *s != '?' && *s != '#' && *s)
        return false;
    if (!(s = copy_until(u->path, sizeof u->path - 1, s, "?#")))
        return false;
    if (*s == '?' && !(s = copy_until(u->query, sizeof u->query, s + 1, "#")))
        return false;
    if (*s == '#' && !copy_until(u->fragment, sizeof u->fragment, s + 1, ""))
        return false;
    if (!percent_decode(u->path))
        return false;
    normalise_path(u->path);
    return true;
}

// ---- demonstration ----------------------------------------------------------------------------

typedef struct {
    uint32_t hash;
    int requests, headers, bad_targets;
    size_t body_bytes;
} Trace;

static void trace_bytes(Trace *t, const char *s, size_t n) {
    while (n--)
        t->hash = (t->hash ^ (unsigned char)*s++) * 16777619u;
}

static void trace_text(Trace *t, const char *s) {
    trace_bytes(t, s, strlen(s) + 1);
}

static bool trace_request(HttpParser *p, const char *method, const char *target, int minor) {
    Trace *t = p->user;
    Url url;
    trace_text(t, method);
    t->hash += (uint32_t)minor;
    if (url_parse(&url, target)) {
        trace_text(t, url.host);
        trace_text(t, url.path);
        for (char *pair = url.query; *pair;) {
            char item[sizeof url.query];
            const char *rest = copy_until(item, sizeof item, pair, "&");
            trace_text(t, percent_decode(item) ? item : "?");
            pair += (size_t)(rest - pair) + (*rest == '&');
        }
        t->hash += (uint32_t)url.port;
    } else {
        t->bad_targets++;
    }
    return true;
}

static bool trace_header(HttpParser *p, const char *name, const char *value) {
    Trace *t = p->user;
    t->headers++;
    trace_text(t, name);
    trace_text(t, value);
    return !equals_ignoring_case(name, "x-forbidden");
}

static bool trace_body(HttpParser *p, const char *data, size_t n) {
    Trace *t = p->user;
    t->body_bytes += n;
    trace_bytes(t, data, n);
    return true;
}

static bool trace_end(HttpParser *p) {
    ((Trace *)p->user)->requests++;
    return true;
}

static const HttpCallbacks tracing = {trace_request, trace_header, trace_body, trace_end};

static const char stream[] =
    "GET /a/./b/../c%20d//e?x=1&y=two+words&z=%zz#top HTTP/1.1\r\nHost: example.org\r\n"
    "Accept:   text/html  \r\nX-Empty:\r\n\r\n\r\n"
    "POST http://api.example.org:8080/upload/ HTTP/1.0\r\ncontent-length: 11\r\n\r\nhello world"
    "PUT /../../etc/./ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    "5\r\nabcde\r\n1A\r\n0123456789abcdefghijklmnop\r\n0\r\n\r\n"
    "OPTIONS * HTTP/1.1\r\n\r\n";

static const char *const malformed[] = {
    "BREW /pot HTTP/1.1\r\n",
    "GET  HTTP/1.1\r\n",
    "GET / HTTP/2.0\r\n",
    "GET / HTTP/1.1\r\nbad header: 1\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 1x\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
    "GET / HTTP/1.1\r\nX-Forbidden: yes\r\n",
    "GET / HTTP/1.1\nHost: x\n",
    "get / HTTP/1.1\r\n",
};

int main(void) {
    Trace reference = {0, 0, 0, 0, 0};
    for (size_t piece = 1; piece <= sizeof stream; piece += 3) {
        Trace t = {2166136261u, 0, 0, 0, 0};
        HttpParser p;
        http_init(&p, &tracing, &t);
        for (size_t at = 0; at < sizeof stream - 1; at += piece) {
            size_t left = sizeof stream - 1 - at;
            if (http_feed(&p, stream + at, left < piece ? left : piece) != HTTP_E_OK) {
                fprintf(stderr, "unexpected: %s\n", http_error_text(p.error));
                return 1;
            }
        }
        if (piece == 1)
            reference = t;
        else if (memcmp(&t, &reference, sizeof t) != 0)
            return 2; // the result must not depend on how the stream was cut
    }

    uint32_t checksum = reference.hash;
    int seen[HTTP_E_COUNT] = {0}, kinds = 0;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        Trace t = {0, 0, 0, 0, 0};
        HttpParser p;
        http_init(&p, &tracing, &t);
        int error = http_feed(&p, malformed[i], strlen(malformed[i]));
        if (error == HTTP_E_OK)
            return 3;
        if (!seen[error]++)
            kinds++;
        checksum = checksum * 33 + (uint32_t)error;
    }
    printf("%d requests, %d headers, %zu body bytes, %d odd targets\n", reference.requests,
           reference.headers, reference.body_bytes, reference.bad_targets);
    printf("%d kinds of error reported\n", kinds);
    printf("checksum %08x\n", checksum);
    return 0;
}
