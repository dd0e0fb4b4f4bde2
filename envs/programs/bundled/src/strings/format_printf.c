// A printf-like formatter with its own sinks: flags, width, precision, length modifiers,
// integers in any base, fixed point doubles and a user extensible %{name} directive.
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct sink {
    void (*put)(struct sink *s, const char *text, size_t len);
    size_t written;
} sink;

typedef struct {
    sink base;
    char *buf;
    size_t cap;
} buffer_sink;

typedef struct {
    sink base;
    uint32_t a, b; // Adler-32
} digest_sink;

enum {
    F_LEFT = 1 << 0,
    F_PLUS = 1 << 1,
    F_SPACE = 1 << 2,
    F_ALT = 1 << 3,
    F_ZERO = 1 << 4,
    F_UPPER = 1 << 5,
};

typedef enum { LEN_CHAR, LEN_SHORT, LEN_INT, LEN_LONG, LEN_LLONG, LEN_SIZE } length_mod;

typedef struct {
    unsigned flags;
    int width;
    int precision; // -1 if absent
    length_mod length;
} spec;

typedef void (*directive_fn)(sink *out, const spec *sp, const void *arg);

static struct {
    const char *name;
    directive_fn fn;
} registry[8];

bool fmt_register(const char *name, directive_fn fn) {
    for (size_t i = 0; i < sizeof registry / sizeof *registry; i++) {
        if (!registry[i].name || strcmp(registry[i].name, name) == 0) {
            registry[i].name = name;
            registry[i].fn = fn;
            return true;
        }
    }
    return false;
}

static directive_fn find_directive(const char *name, size_t len) {
    for (size_t i = 0; i < sizeof registry / sizeof *registry && registry[i].name; i++)
        if (strncmp(registry[i].name, name, len) == 0 && registry[i].name[len] == '\0')
            return registry[i].fn;
    return NULL;
}

// ---- sinks ------------------------------------------------------------------------------

static void buffer_put(sink *s, const char *text, size_t len) {
    buffer_sink *b = (buffer_sink *)s;
    for (size_t i = 0; i < len; i++)
        if (s->written + i + 1 < b->cap)
            b->buf[s->written + i] = text[i];
}

static void digest_put(sink *s, const char *text, size_t len) {
    digest_sink *d = (digest_sink *)s;
    while (len--) {
        d->a = (d->a + (uint8_t)*text++) % 65521;
        d->b = (d->b + d->a) % 65521;
    }
}

static void emit(sink *out, const char *text, size_t len) {
    if (len) {
        out->put(out, text, len);
        out->written += len;
    }
}

static void pad(sink *out, char c, int count) {
    for (; count > 0; count--)
        emit(out, &c, 1);
}

// Writes prefix and body padded to the field width, zeros going between the two.
static void emit_field(sink *out, const spec *sp, const char *prefix, const char *body,
                       size_t body_len, int leading_zeros) {
    size_t prefix_len = strlen(prefix);
    int fill = sp->width - (int)(prefix_len + body_len) - leading_zeros;
    bool left = sp->flags & F_LEFT, zero = (sp->flags & F_ZERO) && !left;
    if (!left && !zero)
        pad(out, ' ', fill);
    emit(out, prefix, prefix_len);
    if (zero)
        pad(out, '0', fill);
    pad(out, '0', leading_zeros);
    emit(out, body, body_len);
    if (left)
        pad(out, ' ', fill);
}

// ---- conversions ------------------------------------------------------------------------

static size_t digits_of(uint64_t v, unsigned base, bool upper, char *end) {
    const char *alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t n = 0;
    for (; v; v /= base, n++)
        *--end = alphabet[v % base];
    return n;
}

static const char *sign_prefix(const spec *sp, bool negative) {
    return negative ? "-" : sp->flags & F_PLUS ? "+" : sp->flags & F_SPACE ? " " : "";
}

static void format_integer(sink *out, spec *sp, uint64_t v, unsigned base, const char *prefix) {
    char buf[64];
    size_t n = digits_of(v, base, sp->flags & F_UPPER, buf + sizeof buf);
    int min_digits = sp->precision < 0 ? 1 : sp->precision, zeros;
    if (sp->precision >= 0)
        sp->flags &= ~(unsigned)F_ZERO;
    if (base == 8 && (sp->flags & F_ALT) && min_digits <= (int)n)
        min_digits = (int)n + 1;
    zeros = min_digits - (int)n;
    emit_field(out, sp, prefix, buf + sizeof buf - n, n, zeros > 0 ? zeros : 0);
}

// %f for magnitudes below 2^53, rounded half to even at up to nine decimals.
static void format_fixed(sink *out, spec *sp, double v) {
    static const uint32_t pow10[] = {1,      10,      100,      1000,      10000,
                                     100000, 1000000, 10000000, 100000000, 1000000000};
    char buf[40], *end = buf + sizeof buf;
    int decimals = sp->precision < 0 ? 6 : sp->precision > 9 ? 9 : sp->precision;
    bool negative = v < 0;
    if (v != v || fabs(v) >= 9007199254740992.0) {
        sp->flags &= ~(unsigned)F_ZERO;
        emit_field(out, sp, sign_prefix(sp, negative), v != v ? "nan" : "inf", 3, 0);
        return;
    }
    v = fabs(v);
    uint64_t whole = (uint64_t)v;
    double scaled = (v - (double)whole) * pow10[decimals];
    uint64_t frac = (uint64_t)scaled, odd = (decimals ? frac : whole) & 1;
    scaled -= (double)frac;
    frac += scaled > 0.5 || (scaled == 0.5 && odd);
    if (frac >= pow10[decimals]) {
        frac -= pow10[decimals];
        whole++;
    }
    for (int i = 0; i < decimals; i++, frac /= 10)
        *--end = (char)('0' + frac % 10);
    if (decimals || (sp->flags & F_ALT))
        *--end = '.';
    size_t n = digits_of(whole, 10, false, end);
    if (n == 0)
        *(end - ++n) = '0';
    end -= n;
    emit_field(out, sp, sign_prefix(sp, negative), end, (size_t)(buf + sizeof buf - end), 0);
}

static int parse_int(const char **p) {
    int v = 0;
    while (**p >= '0' && **p <= '9' && v < 10000)
        v = v * 10 + (*(*p)++ - '0');
    return v;
}

static unsigned parse_flags(const char **p) {
    static const char names[] = "-+ #0";
    unsigned flags = 0;
    for (const char *hit; **p && (hit = strchr(names, **p)) != NULL; (*p)++)
        flags |= 1u << (hit - names);
    return flags;
}

static length_mod parse_length(const char **p) {
    switch (**p) {
    case 'h':
        if (*++*p == 'h') {
            ++*p;
            return LEN_CHAR;
        }
        return LEN_SHORT;
    case 'l':
        if (*++*p == 'l') {
            ++*p;
            return LEN_LLONG;
        }
        return LEN_LONG;
    case 'z':
        ++*p;
        return LEN_SIZE;
    default:
        return LEN_INT;
    }
}

typedef struct {
    va_list ap;
} arg_list;

static int64_t next_signed(arg_list *args, length_mod len) {
    switch (len) {
    case LEN_CHAR:
        return (signed char)va_arg(args->ap, int);
    case LEN_SHORT:
        return (short)va_arg(args->ap, int);
    case LEN_INT:
        return va_arg(args->ap, int);
    case LEN_LONG:
        return va_arg(args->ap, long);
    case LEN_LLONG:
        return va_arg(args->ap, long long);
    case LEN_SIZE:
        return va_arg(args->ap, ptrdiff_t);
    }
    return 0;
}

static uint64_t next_unsigned(arg_list *args, length_mod len) {
    switch (len) {
    case LEN_CHAR:
        return (unsigned char)va_arg(args->ap, unsigned);
    case LEN_SHORT:
        return (unsigned short)va_arg(args->ap, unsigned);
    case LEN_INT:
        return va_arg(args->ap, unsigned);
    case LEN_LONG:
        return va_arg(args->ap, unsigned long);
    case LEN_LLONG:
        return va_arg(args->ap, unsigned long long);
    case LEN_SIZE:
        return va_arg(args->ap, size_t);
    }
    return 0;
}

static const char *format_one(sink *out, const char *p, arg_list *args) {
    const char *start = p - 1;
    spec sp = {parse_flags(&p), 0, -1, LEN_INT};
    if (*p == '*') {
        sp.width = va_arg(args->ap, int);
        if (sp.width < 0) {
            sp.flags |= F_LEFT;
            sp.width = -sp.width;
        }
        p++;
    } else {
        sp.width = parse_int(&p);
    }
    if (*p == '.') {
        p++;
        if (*p == '*') {
            sp.precision = va_arg(args->ap, int);
            p++;
        } else {
            sp.precision = parse_int(&p);
        }
    }
    sp.length = parse_length(&p);
    switch (*p) {
    case 'd':
    case 'i': {
        int64_t v = next_signed(args, sp.length);
        uint64_t mag = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        format_integer(out, &sp, mag, 10, sign_prefix(&sp, v < 0));
        break;
    }
    case 'u':
        format_integer(out, &sp, next_unsigned(args, sp.length), 10, "");
        break;
    case 'o':
        format_integer(out, &sp, next_unsigned(args, sp.length), 8, "");
        break;
    case 'b':
        format_integer(out, &sp, next_unsigned(args, sp.length), 2, sp.flags & F_ALT ? "0b" : "");
        break;
    case 'X':
        sp.flags |= F_UPPER;
        // fall through
    case 'x': {
        uint64_t v = next_unsigned(args, sp.length);
        const char *prefix = !(sp.flags & F_ALT) || v == 0 ? "" : *p == 'X' ? "0X" : "0x";
        format_integer(out, &sp, v, 16, prefix);
        break;
    }
    case 'c': {
        char c = (char)va_arg(args->ap, int);
        sp.flags &= ~(unsigned)F_ZERO;
        emit_field(out, &sp, "", &c, 1, 0);
        break;
    }
    case 's': {
        const char *s = va_arg(args->ap, const char *);
        size_t len = 0;
        if (!s)
            s = "(null)";
        while ((sp.precision < 0 || len < (size_t)sp.precision) && s[len])
            len++;
        sp.flags &= ~(unsigned)F_ZERO;
        emit_field(out, &sp, "", s, len, 0);
        break;
    }
    case 'f':
        format_fixed(out, &sp, va_arg(args->ap, double));
        break;
    case '{': {
        const char *close = strchr(p, '}');
        directive_fn fn = close ? find_directive(p + 1, (size_t)(close - p - 1)) : NULL;
        if (fn) {
            fn(out, &sp, va_arg(args->ap, const void *));
            return close + 1;
        }
        emit(out, start, (size_t)(p + 1 - start));
        break;
    }
    case '%':
        emit(out, "%", 1);
        break;
    case '\0':
        emit(out, start, (size_t)(p - start));
        return p;
    default:
        emit(out, start, (size_t)(p + 1 - start));
        break;
    }
    return p + 1;
}

size_t fmt_vwrite(sink *out, const char *format, va_list ap) {
    arg_list args;
    size_t before = out->written;
    va_copy(args.ap, ap);
    while (*format) {
        size_t plain = strcspn(format, "%");
        emit(out, format, plain);
        format += plain;
        if (*format == '%')
            format = format_one(out, format + 1, &args);
    }
    va_end(args.ap);
    return out->written - before;
}

size_t fmt_write(sink *out, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    size_t n = fmt_vwrite(out, format, ap);
    va_end(ap);
    return n;
}

size_t fmt_string(char *buf, size_t cap, const char *format, ...) {
    buffer_sink b = {{buffer_put, 0}, buf, cap};
    va_list ap;
    va_start(ap, format);
    fmt_vwrite(&b.base, format, ap);
    va_end(ap);
    if (cap)
        buf[b.base.written < cap ? b.base.written : cap - 1] = '\0';
    return b.base.written;
}

// ---- driver -----------------------------------------------------------------------------

typedef struct {
    uint8_t octet[4];
    uint16_t port;
} endpoint;

static void print_endpoint(sink *out, const spec *sp, const void *arg) {
    const endpoint *ep = arg;
    char text[32];
    size_t n = fmt_string(text, sizeof text, "%hhu.%hhu.%hhu.%hhu:%hu", ep->octet[0], ep->octet[1],
                          ep->octet[2], ep->octet[3], ep->port);
    emit_field(out, sp, "", text, n, 0);
}

static int mismatches;
static digest_sink digest = {{digest_put, 0}, 1, 0};

// Formats with both implementations and compares text and length.
#define COMPARE(...)                                                                               \
    do {                                                                                           \
        char mine[128], libc[128];                                                                 \
        size_t n = fmt_string(mine, sizeof mine, __VA_ARGS__);                                     \
        int m = snprintf(libc, sizeof libc, __VA_ARGS__);                                          \
        mismatches += n != (size_t)m || strcmp(mine, libc) != 0;                                   \
        fmt_write(&digest.base, "%s\n", mine);                                                     \
    } while (0)

int main(void) {
    static const int64_t samples[] = {0, 1, -1, 42, -1000, 65535, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        long long v = samples[i];
        COMPARE("%lld|%+12lld|%-8lld|%08lld|% lld", v, v, v, v, v);
        unsigned long long u = (unsigned long long)v;
        COMPARE("%llx|%#llX|%20.10llx|%#llo|%.0llu", u, u, u, u, u);
        COMPARE("%d %hd %hhd", (int)v, (short)v, (signed char)v);
        COMPARE("%.3f|%12.1f|%-12.2f|%+.0f", (double)(v % 977) / 64, (double)(v % 31),
                (double)(v % 8191) / 4, (double)(v % 100));
    }
    COMPARE("%s|%10s|%-10s|%.3s|%c%%", "plain", "right", "left", "precise", 'x');
    COMPARE("%*d|%-*d|%.*f", 7, 13, 5, 21, 2, 3.25);
    COMPARE("%zu of %zu at %010.4f", sizeof(char), sizeof(uint64_t), -2.03125);

    endpoint ep = {{192, 168, 0, 17}, 8080};
    char line[64];
    mismatches += !fmt_register("ep", print_endpoint);
    size_t need = fmt_string(line, sizeof line, "[%24{ep}] %#b %q", (void *)&ep, 0xa5u);
    printf("%s\n", line);
    mismatches += need != strlen(line);
    need = fmt_string(line, 8, "truncated %d", 12345);
    mismatches += need != 15 || strcmp(line, "truncat") != 0;
    printf("wrote %zu bytes, %d mismatches\n", digest.base.written, mismatches);
    printf("checksum %04x%04x\n", digest.b, digest.a);
    return mismatches != 0;
}
