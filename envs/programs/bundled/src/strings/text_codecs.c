// Text encodings behind one codec table: hex, base32, base64 and percent escapes, plus a
// strict UTF-8 decoder with UTF-16 conversion and replacement of malformed input.
// UTF-8 decoder with UTF-16 conversion and replacement of malformed input.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BAD SIZE_MAX

// Every function returns the number of bytes produced, or BAD for malformed input or a full
// output buffer.
typedef struct {
    const char *name;
    size_t (*encode)(const uint8_t *in, size_t n, char *out, size_t cap);
    size_t (*decode)(const char *in, size_t n, uint8_t *out, size_t cap);
} codec;

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex_pair(const char *s) {
    int hi = hex_digit(s[0]), lo = hi < 0 ? -1 : hex_digit(s[1]);
    return lo < 0 ? -1 : hi << 4 | lo;
}

static size_t hex_encode(const uint8_t *in, size_t n, char *out, size_t cap) {
    if (2 * n > cap)
        return BAD;
    for (size_t i = 0; i < n; i++) {
        *out++ = hex_lower[in[i] >> 4];
        *out++ = hex_lower[in[i] & 15];
    }
    return 2 * n;
}

static size_t hex_decode(const char *in, size_t n, uint8_t *out, size_t cap) {
    if (n % 2 || n / 2 > cap)
        return BAD;
    for (size_t i = 0; i < n; i += 2) {
        int v = hex_pair(in + i);
        if (v < 0)
            return BAD;
        *out++ = (uint8_t)v;
    }
    return n / 2;
}

// ---- base32 and base64 ------------------------------------------------------------------

typedef struct {
    const char *alphabet;
    unsigned bits;  // per symbol
    unsigned group; // symbols per padded group
} radix;

static const radix radix64 = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 6,
                              4};
static const radix radix32 = {"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5, 8};

static size_t radix_encode(const radix *r, const uint8_t *in, size_t n, char *out, size_t cap) {
    uint32_t acc = 0;
    unsigned have = 0, mask = (1u << r->bits) - 1;
    size_t len = 0, symbols = (n * 8 + r->bits - 1) / r->bits;
    size_t padded = (symbols + r->group - 1) / r->group * r->group;
    if (padded > cap)
        return BAD;
    for (size_t i = 0; i < n; i++) {
        acc = acc << 8 | in[i];
        for (have += 8; have >= r->bits; have -= r->bits)
            out[len++] = r->alphabet[acc >> (have - r->bits) & mask];
    }
    if (have)
        out[len++] = r->alphabet[acc << (r->bits - have) & mask];
    while (len < padded)
        out[len++] = '=';
    return len;
}

static size_t radix_decode(const radix *r, const char *in, size_t n, uint8_t *out, size_t cap) {
    uint32_t acc = 0;
    unsigned have = 0;
    size_t len = 0;
    if (n % r->group)
        return BAD;
    while (n > 0 && in[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        const char *hit = in[i] ? strchr(r->alphabet, in[i]) : NULL;
        if (!hit)
            return BAD;
        acc = acc << r->bits | (uint32_t)(hit - r->alphabet);
        have += r->bits;
        if (have >= 8) {
            have -= 8;
            if (len == cap)
                return BAD;
            out[len++] = (uint8_t)(acc >> have);
        }
    }
    // Leftover bits must be a fraction of one symbol, and zero.
    if (have >= r->bits || (acc & ((1u << have) - 1)))
        return BAD;
    return len;
}

#define DEFINE_RADIX_CODEC(prefix, table)                                                          \
    static size_t prefix##_encode(const uint8_t *in, size_t n, char *out, size_t cap) {            \
        return radix_encode(&table, in, n, out, cap);                                              \
    }                                                                                              \
    static size_t prefix##_decode(const char *in, size_t n, uint8_t *out, size_t cap) {            \
        return radix_decode(&table, in, n, out, cap);                                              \
    }

DEFINE_RADIX_CODEC(base64, radix64)
DEFINE_RADIX_CODEC(base32, radix32)

// ---- percent escapes ------------------------------------------------------------------------

static bool is_unreserved(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-._~", c) != NULL);
}

static size_t percent_encode(const uint8_t *in, size_t n, char *out, size_t cap) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        bool plain = is_unreserved(in[i]);
        if (len + (plain ? 1 : 3) > cap)
            return BAD;
        if (plain) {
            out[len++] = (char)in[i];
        } else {
            out[len++] = '%';
            out[len++] = hex_upper[in[i] >> 4];
            out[len++] = hex_upper[in[i] & 15];
        }
    }
    return len;
}

static size_t percent_decode(const char *in, size_t n, uint8_t *out, size_t cap) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int v = (uint8_t)in[i];
        if (len == cap)
            return BAD;
        if (in[i] == '%') {
            v = i + 2 < n ? hex_pair(in + i + 1) : -1;
            if (v < 0)
                return BAD;
            i += 2;
        }
        out[len++] = (uint8_t)v;
    }
    return len;
}

static const codec codecs[] = {
    {"hex", hex_encode, hex_decode},
    {"base32", base32_encode, base32_decode},
    {"base64", base64_encode, base64_decode},
    {"percent", percent_encode, percent_decode},
};

const codec *codec_find(const char *name) {
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (strcmp(codecs[i].name, name) == 0)
            return &codecs[i];
    return NULL;
}

// ---- UTF-8 and UTF-16 -------------------------------------------------------------------

#define REPLACEMENT 0xfffdu

// Decodes one scalar value; *used is always at least one. Returns REPLACEMENT and sets *error
// for truncated, overlong, surrogate or out of range sequences.
uint32_t utf8_next(const uint8_t *s, size_t n, size_t *used, bool *error) {
    uint8_t lead = s[0];
    *used = 1;
    *error = false;
    if (lead < 0x80)
        return lead;
    size_t need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint8_t low = 0x80, high = 0xbf;
    switch (lead) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    *error = true;
    if (lead < 0xc2 || lead > 0xf4)
        return REPLACEMENT;
    uint32_t cp = lead & (0x3fu >> need);
    for (size_t i = 1; i <= need; i++) {
        if (i >= n || s[i] < low || s[i] > high)
            return REPLACEMENT;
        cp = cp << 6 | (s[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
        *used = i + 1;
    }
    *error = false;
    return cp;
}

size_t utf8_put(uint32_t cp, uint8_t *out) {
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    size_t extra = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    for (size_t i = extra; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (uint8_t)(lead[extra] | cp);
    return extra + 1;
}

size_t utf8_to_utf16(const uint8_t *s, size_t n, uint16_t *out, size_t cap, size_t *errors) {
    size_t len = 0, used;
    for (size_t i = 0; i < n; i += used) {
        bool error;
        uint32_t cp = utf8_next(s + i, n - i, &used, &error);
        *errors += error;
        if (len + 1 + (cp > 0xffff) > cap)
            return BAD;
        if (cp > 0xffff) {
            cp -= 0x10000;
            out[len++] = (uint16_t)(0xd800 | cp >> 10);
            cp = 0xdc00 | (cp & 0x3ff);
        }
        out[len++] = (uint16_t)cp;
    }
    return len;
}

size_t utf16_to_utf8(const uint16_t *s, size_t n, uint8_t *out, size_t cap) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t cp = s[i];
        if (cp >= 0xd800 && cp < 0xdc00 && i + 1 < n && (s[i + 1] & 0xfc00) == 0xdc00)
            cp = 0x10000 + ((cp & 0x3ff) << 10 | (s[++i] & 0x3ff));
        else if (cp >= 0xd800 && cp < 0xe000)
            cp = REPLACEMENT;
        if (len + 4 > cap)
            return BAD;
        len += utf8_put(cp, out + len);
    }
    return len;
}

// ---- driver -----------------------------------------------------------------------------

static uint32_t fold(uint32_t h, const void *data, size_t n) {
    const uint8_t *p = data;
    while (n--)
        h = (h >> 1 | h << 31) + *p++ * 0x9e3779b1u;
    return h;
}

static int check_codec(const codec *c, uint32_t *hash) {
    uint8_t raw[300], back[300];
    char text[1000];
    uint32_t seed = 2024;
    int bad = 0;
    for (size_t n = 0; n <= sizeof raw; n += n < 12 ? 1 : 32) {
        for (size_t i = 0; i < n; i++) {
            seed = seed * 69069u + 1;
            raw[i] = (uint8_t)(i % 3 == 0 ? seed >> 24 : ' ' + (seed >> 24) % 95);
        }
        size_t len = c->encode(raw, n, text, sizeof text);
        *hash = len == BAD ? 0 : fold(*hash, text, len);
        bad +=
            len == BAD || c->decode(text, len, back, sizeof back) != n || memcmp(raw, back, n) != 0;
        bad += n > 0 && c->encode(raw, n, text, n - 1) != BAD;
    }
    return bad;
}

static bool rejects(const char *name, const char *text) {
    uint8_t out[64];
    const codec *c = codec_find(name);
    return c && c->decode(text, strlen(text), out, sizeof out) == BAD;
}

static int check_unicode(uint32_t *hash) {
    static const uint32_t edge[] = {0,      0x7f,   0x80,   0x7ff,   0x800,   0xd7ff,
                                    0xe000, 0xffff, 0x20ac, 0x10000, 0x1f600, 0x10ffff};
    static const uint8_t broken[] = "ok\xc3(\xed\xa0\x80|\xf0\x80\x80\x80|\xe2\x82|\xff\xf4\x90!";
    uint8_t bytes[128], again[128];
    uint16_t units[128];
    size_t len = 0, errors = 0, n;
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
        len += utf8_put(edge[i], bytes + len);
    n = utf8_to_utf16(bytes, len, units, 128, &errors);
    int bad = errors != 0 || n != sizeof edge / sizeof *edge + 3;
    bad += utf16_to_utf8(units, n, again, sizeof again) != len || memcmp(bytes, again, len) != 0;
    n = utf8_to_utf16(broken, sizeof broken - 1, units, 128, &errors);
    for (size_t i = 0; i < n; i++)
        *hash = *hash * 31 + units[i];
    printf("broken text: %zu units, %zu errors\n", n, errors);
    return bad;
}

int main(void) {
    uint32_t hash = 1;
    int bad = 0;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        bad += check_codec(&codecs[i], &hash);
    bad += !rejects("hex", "0g") || !rejects("hex", "abc") || !rejects("base64", "QQ=A");
    bad +=
        !rejects("base64", "QR==") || !rejects("base32", "ME=====1") || !rejects("percent", "%4");
    bad += check_unicode(&hash);
    printf("%d failures\nchecksum %08x\n", bad, hash);
    return bad != 0;
}
