/* Inflate (RFC 1951) decoder with zlib and gzip framing, output through a sink callback.
 * Exercised with an embedded zlib stream and with the output of a small deflate writer. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_SIZE 32768u
#define MAX_BITS 15
#define LITLEN_CODES 288
#define DIST_CODES 30
#define CLEN_CODES 19
#define END_OF_BLOCK 256

typedef enum {
    INF_OK,
    INF_EOF,
    INF_BAD_HEADER,
    INF_BAD_BLOCK,
    INF_BAD_STORED,
    INF_BAD_LENGTHS,
    INF_BAD_SYMBOL,
    INF_BAD_DISTANCE,
    INF_BAD_CHECK,
    INF_BAD_SIZE,
    INF_SINK,
    INF_NO_MEMORY
} inf_result;

typedef enum { FRAME_RAW, FRAME_ZLIB, FRAME_GZIP } inf_frame;

/* Receives decoded data in order; returns false to stop. */
typedef bool (*inf_sink)(void *user, const uint8_t *data, size_t len);

typedef struct {
    uint16_t count[MAX_BITS + 1];
    uint16_t symbol[LITLEN_CODES];
} code_table;

typedef struct {
    const uint8_t *in;
    size_t in_len, in_pos;
    uint32_t bits;
    unsigned nbits;
    inf_result error; /* sticky: the first problem wins */

    uint8_t window[WINDOW_SIZE];
    size_t out_pos; /* total bytes produced */
    size_t flushed;
    inf_sink sink;
    void *user;
    uint32_t adler, crc;
} inflater;

static const uint16_t length_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                         15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t dist_base[DIST_CODES] = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t dist_extra[DIST_CODES] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                               6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
static const uint8_t clen_order[CLEN_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                               11, 4,  12, 3, 13, 2, 14, 1, 15};

static uint32_t crc_table[256];

static void crc_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = (c & 1) ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc32_update(uint32_t crc, const uint8_t *p, size_t n) {
    crc = ~crc;
    while (n--)
        crc = crc_table[(crc ^ *p++) & 0xff] ^ crc >> 8;
    return ~crc;
}

static uint32_t adler32_update(uint32_t adler, const uint8_t *p, size_t n) {
    uint32_t a = adler & 0xffff, b = adler >> 16;
    while (n > 0) {
        size_t chunk = n < 5552 ? n : 5552; /* longest run that cannot overflow */
        n -= chunk;
        while (chunk--) {
            a += *p++;
            b += a;
        }
        a %= 65521u;
        b %= 65521u;
    }
    return b << 16 | a;
}

static void fail(inflater *s, inf_result why) {
    if (s->error == INF_OK)
        s->error = why;
}

static void refill(inflater *s, unsigned need) {
    while (s->nbits < need) {
        uint32_t byte = 0;
        if (s->in_pos < s->in_len)
            byte = s->in[s->in_pos++];
        else
            fail(s, INF_EOF);
        s->bits |= byte << s->nbits;
        s->nbits += 8;
    }
}

static unsigned take(inflater *s, unsigned n) {
    if (n == 0)
        return 0;
    refill(s, n);
    unsigned v = s->bits & ((1u << n) - 1);
    s->bits >>= n;
    s->nbits -= n;
    return v;
}

static void to_byte_boundary(inflater *s) {
    s->bits >>= s->nbits & 7;
    s->nbits -= s->nbits & 7;
}

static uint32_t take_le32(inflater *s) {
    uint32_t lo = take(s, 16);
    return lo | (uint32_t)take(s, 16) << 16;
}

static uint32_t take_be32(inflater *s) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | take(s, 8);
    return v;
}

static void flush_window(inflater *s) {
    size_t start = s->flushed % WINDOW_SIZE;
    size_t len = s->out_pos - s->flushed;
    const uint8_t *p = s->window + start;
    s->flushed = s->out_pos;
    if (len == 0)
        return;
    s->crc = crc32_update(s->crc, p, len);
    s->adler = adler32_update(s->adler, p, len);
    if (!s->sink(s->user, p, len))
        fail(s, INF_SINK);
}

static void emit(inflater *s, uint8_t byte) {
    s->window[s->out_pos++ % WINDOW_SIZE] = byte;
    if (s->out_pos % WINDOW_SIZE == 0)
        flush_window(s);
}

static void emit_copy(inflater *s, unsigned length, unsigned distance) {
    if (distance > s->out_pos || distance > WINDOW_SIZE) {
        fail(s, INF_BAD_DISTANCE);
        return;
    }
    while (length--)
        emit(s, s->window[(s->out_pos - distance) % WINDOW_SIZE]);
}

/* Returns 0 for a complete code, > 0 for an incomplete one, < 0 for an impossible one. */
static int build_table(code_table *t, const uint8_t *lengths, unsigned n) {
    uint16_t offset[MAX_BITS + 1];
    int left = 1;
    memset(t->count, 0, sizeof t->count);
    for (unsigned i = 0; i < n; i++)
        t->count[lengths[i]]++;
    for (int len = 1; len <= MAX_BITS; len++) {
        left = left * 2 - t->count[len];
        if (left < 0)
            return left;
    }
    offset[1] = 0;
    for (int len = 1; len < MAX_BITS; len++)
        offset[len + 1] = (uint16_t)(offset[len] + t->count[len]);
    for (unsigned i = 0; i < n; i++) {
        if (lengths[i])
            t->symbol[offset[lengths[i]]++] = (uint16_t)i;
    }
    return left;
}

static int decode_symbol(inflater *s, const code_table *t) {
    int code = 0, first = 0, index = 0;
    for (int len = 1; len <= MAX_BITS; len++) {
        code |= (int)take(s, 1);
        int count = t->count[len];
        if (code - count < first)
            return t->symbol[index + (code - first)];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    fail(s, INF_BAD_SYMBOL);
    return -1;
}

static void fixed_lengths(uint8_t litlen[LITLEN_CODES], uint8_t dist[DIST_CODES]) {
    memset(litlen, 8, 144);
    memset(litlen + 144, 9, 112);
    memset(litlen + 256, 7, 24);
    memset(litlen + 280, 8, 8);
    memset(dist, 5, DIST_CODES);
}

static void stored_block(inflater *s) {
    to_byte_boundary(s);
    unsigned len = take(s, 16);
    unsigned complement = take(s, 16);
    if (len != (~complement & 0xffff)) {
        fail(s, INF_BAD_STORED);
        return;
    }
    while (len-- && s->error == INF_OK)
        emit(s, (uint8_t)take(s, 8));
}

static void compressed_block(inflater *s, const code_table *litlen, const code_table *dist) {
    while (s->error == INF_OK) {
        int sym = decode_symbol(s, litlen);
        if (s->error != INF_OK || sym == END_OF_BLOCK)
            return;
        if (sym < END_OF_BLOCK) {
            emit(s, (uint8_t)sym);
            continue;
        }
        sym -= END_OF_BLOCK + 1;
        if (sym >= 29) {
            fail(s, INF_BAD_SYMBOL);
            return;
        }
        unsigned length = length_base[sym] + take(s, length_extra[sym]);
        int dsym = decode_symbol(s, dist);
        if (dsym < 0)
            return;
        unsigned distance = dist_base[dsym] + take(s, dist_extra[dsym]);
        if (s->error == INF_OK)
            emit_copy(s, length, distance);
    }
}

static bool read_dynamic_tables(inflater *s, code_table *litlen, code_table *dist) {
    uint8_t lengths[LITLEN_CODES + 32] = {0};
    uint8_t clen[CLEN_CODES] = {0};
    unsigned nlit = take(s, 5) + 257;
    unsigned ndist = take(s, 5) + 1;
    unsigned nclen = take(s, 4) + 4;
    if (nlit > 286 || ndist > DIST_CODES)
        return false;
    for (unsigned i = 0; i < nclen; i++)
        clen[clen_order[i]] = (uint8_t)take(s, 3);
    if (build_table(litlen, clen, CLEN_CODES) != 0)
        return false;

    for (unsigned i = 0; i < nlit + ndist;) {
        int sym = decode_symbol(s, litlen);
        uint8_t value = 0;
        unsigned repeat = 1;
        if (s->error != INF_OK)
            return false;
        switch (sym) {
        case 16:
            if (i == 0)
                return false;
            value = lengths[i - 1];
            repeat = 3 + take(s, 2);
            break;
        case 17:
            repeat = 3 + take(s, 3);
            break;
        case 18:
            repeat = 11 + take(s, 7);
            break;
        default:
            value = (uint8_t)sym;
            break;
        }
        if (i + repeat > nlit + ndist)
            return false;
        memset(lengths + i, value, repeat);
        i += repeat;
    }
    if (lengths[END_OF_BLOCK] == 0)
        return false;
    /* Only a single-code alphabet may be incomplete. */
    int left = build_table(litlen, lengths, nlit);
    if (left < 0 || (left > 0 && nlit - litlen->count[0] != 1))
        return false;
    left = build_table(dist, lengths + nlit, ndist);
    return left == 0 || (left > 0 && ndist - dist->count[0] <= 1);
}

static void inflate_blocks(inflater *s) {
    code_table litlen, dist;
    bool last = false;
    while (!last && s->error == INF_OK) {
        last = take(s, 1);
        switch (take(s, 2)) {
        case 0:
            stored_block(s);
            break;
        case 1: {
            uint8_t ll[LITLEN_CODES], dl[DIST_CODES];
            fixed_lengths(ll, dl);
            build_table(&litlen, ll, LITLEN_CODES);
            build_table(&dist, dl, DIST_CODES);
            compressed_block(s, &litlen, &dist);
            break;
        }
        case 2:
            if (read_dynamic_tables(s, &litlen, &dist))
                compressed_block(s, &litlen, &dist);
            else
                fail(s, INF_BAD_LENGTHS);
            break;
        default:
            fail(s, INF_BAD_BLOCK);
            break;
        }
    }
    flush_window(s);
}

static void zlib_header(inflater *s) {
    unsigned cmf = take(s, 8);
    unsigned flg = take(s, 8);
    bool preset_dictionary = flg & 0x20;
    if ((cmf & 15) != 8 || cmf >> 4 > 7 || (cmf << 8 | flg) % 31 != 0 || preset_dictionary)
        fail(s, INF_BAD_HEADER);
}

static void gzip_header(inflater *s) {
    enum { FHCRC = 2, FEXTRA = 4, FNAME = 8, FCOMMENT = 16 };
    unsigned magic = take(s, 16);
    unsigned method = take(s, 8);
    unsigned flags = take(s, 8);
    if (magic != 0x8b1f || method != 8 || (flags & 0xe0)) {
        fail(s, INF_BAD_HEADER);
        return;
    }
    for (int i = 0; i < 6; i++) /* mtime, xfl, os */
        take(s, 8);
    if (flags & FEXTRA) {
        for (unsigned n = take(s, 16); n > 0 && s->error == INF_OK; n--)
            take(s, 8);
    }
    for (unsigned field = FNAME; field <= FCOMMENT; field <<= 1) {
        if (!(flags & field))
            continue;
        while (take(s, 8) != 0 && s->error == INF_OK)
            ;
    }
    if (flags & FHCRC)
        take(s, 16);
}

inf_result inflate_frame(inf_frame frame, const uint8_t *in, size_t len, inf_sink sink,
                         void *user) {
    inflater *s = calloc(1, sizeof *s);
    if (!s)
        return INF_NO_MEMORY;
    s->in = in;
    s->in_len = len;
    s->sink = sink;
    s->user = user;
    s->adler = 1;

    if (frame == FRAME_ZLIB)
        zlib_header(s);
    else if (frame == FRAME_GZIP)
        gzip_header(s);
    if (s->error == INF_OK)
        inflate_blocks(s);
    if (s->error == INF_OK && frame != FRAME_RAW) {
        to_byte_boundary(s);
        if (frame == FRAME_ZLIB) {
            if (take_be32(s) != s->adler)
                fail(s, INF_BAD_CHECK);
        } else {
            if (take_le32(s) != s->crc)
                fail(s, INF_BAD_CHECK);
            if (take_le32(s) != (uint32_t)s->out_pos)
                fail(s, INF_BAD_SIZE);
        }
    }
    inf_result result = s->error;
    free(s);
    return result;
}

typedef struct {
    uint8_t *out;
    size_t cap, len;
    uint32_t acc;
    unsigned fill;
} deflater;

static void put(deflater *d, uint32_t value, unsigned n) {
    d->acc |= value << d->fill;
    d->fill += n;
    while (d->fill >= 8) {
        if (d->len < d->cap)
            d->out[d->len++] = (uint8_t)d->acc;
        d->acc >>= 8;
        d->fill -= 8;
    }
}

static void put_align(deflater *d) {
    if (d->fill)
        put(d, 0, 8 - d->fill);
}

static void put_reversed(deflater *d, unsigned code, unsigned n) {
    unsigned r = 0;
    for (unsigned i = 0; i < n; i++)
        r |= (code >> i & 1) << (n - 1 - i);
    put(d, r, n);
}

static void put_fixed_litlen(deflater *d, unsigned sym) {
    if (sym < 144)
        put_reversed(d, 0x30 + sym, 8);
    else if (sym < 256)
        put_reversed(d, 0x190 + sym - 144, 9);
    else if (sym < 280)
        put_reversed(d, sym - 256, 7);
    else
        put_reversed(d, 0xc0 + sym - 280, 8);
}

static int bucket_of(const uint16_t *base, int n, unsigned value) {
    int i = n - 1;
    while (base[i] > value)
        i--;
    return i;
}

static void put_match(deflater *d, unsigned length, unsigned distance) {
    int l = bucket_of(length_base, 29, length);
    int k = bucket_of(dist_base, DIST_CODES, distance);
    put_fixed_litlen(d, 257u + (unsigned)l);
    put(d, length - length_base[l], length_extra[l]);
    put_reversed(d, (unsigned)k, 5);
    put(d, distance - dist_base[k], dist_extra[k]);
}

static void put_fixed_block(deflater *d, const uint8_t *p, size_t n, bool last) {
    int32_t head[512];
    memset(head, -1, sizeof head);
    put(d, last, 1);
    put(d, 1, 2);
    for (size_t i = 0; i < n;) {
        size_t run = 0, cand = 0;
        if (i + 3 <= n) {
            unsigned h = (p[i] * 33u ^ p[i + 1] * 7u ^ p[i + 2]) & 511;
            if (head[h] >= 0) {
                cand = (size_t)head[h];
                while (run < 258 && i + run < n && p[cand + run] == p[i + run])
                    run++;
            }
            head[h] = (int32_t)i;
        }
        if (run >= 3) {
            put_match(d, (unsigned)run, (unsigned)(i - cand));
            i += run;
        } else {
            put_fixed_litlen(d, p[i++]);
        }
    }
    put_fixed_litlen(d, END_OF_BLOCK);
}

static void put_stored_block(deflater *d, const uint8_t *p, size_t n, bool last) {
    put(d, last, 3);
    put_align(d);
    put(d, (uint32_t)n, 16);
    put(d, ~(uint32_t)n & 0xffff, 16);
    while (n--)
        put(d, *p++, 8);
}

typedef struct {
    uint8_t data[2048];
    size_t len;
} memory_file;

static bool append(void *user, const uint8_t *data, size_t len) {
    memory_file *f = user;
    if (len > sizeof f->data - f->len)
        return false;
    memcpy(f->data + f->len, data, len);
    f->len += len;
    return true;
}

/* A zlib stream holding the text that make_journal() generates, as one dynamic block. */
static const uint8_t journal_zlib[] = {
    0x78, 0xda, 0x55, 0x52, 0x5b, 0x6e, 0xc3, 0x30, 0x0c, 0xfb, 0xef, 0x29, 0x74, 0x02, 0xc3, 0x96,
    0xfc, 0x50, 0x8e, 0x13, 0x2c, 0xc1, 0x5a, 0xac, 0x48, 0x87, 0x25, 0xe9, 0xae, 0x3f, 0x9b, 0xb2,
    0xb7, 0x0e, 0xc8, 0x03, 0x61, 0x28, 0x8a, 0x64, 0xe2, 0x7d, 0xa0, 0xe3, 0xb6, 0xac, 0x74, 0x6e,
    0xf7, 0x75, 0xdf, 0x29, 0x4d, 0x6e, 0xba, 0x78, 0xcf, 0x34, 0x1f, 0xf4, 0x75, 0x6e, 0x3b, 0xa9,
    0x01, 0x42, 0x6f, 0xf7, 0xc7, 0xbe, 0xee, 0xb4, 0x9c, 0xfb, 0x07, 0x09, 0x3b, 0xae, 0x60, 0x6c,
    0xac, 0x7a, 0xc4, 0xe4, 0x52, 0x7d, 0x4c, 0x43, 0x04, 0x83, 0x25, 0xb8, 0x50, 0xc1, 0x4c, 0x8f,
    0xcf, 0x75, 0xeb, 0x73, 0x6a, 0x73, 0xc5, 0x18, 0xd7, 0xdb, 0xfb, 0x95, 0x54, 0x9d, 0x56, 0x48,
    0xe9, 0xb8, 0xae, 0x9d, 0x1a, 0x8d, 0x35, 0x01, 0x5a, 0xe6, 0xef, 0x8d, 0x34, 0xba, 0x78, 0xf1,
    0xc1, 0xd3, 0x73, 0xbe, 0x3f, 0x57, 0x33, 0x5c, 0x5c, 0xa9, 0x50, 0x00, 0xa9, 0xef, 0x0d, 0x46,
    0xe3, 0xae, 0x63, 0x64, 0xcd, 0x2e, 0x57, 0x50, 0x06, 0xa9, 0xfa, 0x0d, 0xb0, 0x16, 0x60, 0xdf,
    0xa8, 0x62, 0x6a, 0xa9, 0x21, 0x3d, 0x28, 0x1b, 0x29, 0x8f, 0xb9, 0xb6, 0x47, 0x50, 0x46, 0x28,
    0xe6, 0x00, 0xd6, 0x8a, 0x38, 0xa9, 0x90, 0x5a, 0x24, 0x53, 0xf3, 0xce, 0x57, 0x68, 0xb2, 0xcc,
    0x43, 0x0e, 0xa1, 0xf8, 0x5f, 0x04, 0xc5, 0x2c, 0x87, 0x17, 0x6b, 0x82, 0xad, 0xcc, 0x36, 0x8b,
    0x0b, 0xa3, 0x21, 0x16, 0xeb, 0xab, 0x72, 0x18, 0x2e, 0x38, 0x9a, 0x01, 0x5b, 0x59, 0x90, 0x92,
    0x53, 0x7f, 0x6c, 0x66, 0xfb, 0xc6, 0x6c, 0x2a, 0x58, 0x98, 0xe0, 0x8c, 0x0b, 0xcd, 0xdb, 0x62,
    0xb0, 0x49, 0xe9, 0x70, 0xd5, 0x32, 0xe2, 0x63, 0xf2, 0xf4, 0x52, 0x0e, 0x10, 0xf1, 0xbf, 0x06,
    0x92, 0x01, 0xa1, 0x4f, 0x55, 0x44, 0xd1, 0x9f, 0xf0, 0x48, 0xdb, 0x84, 0x22, 0xbe, 0x86, 0xc8,
    0xdf, 0x32, 0x46, 0x5e, 0x89, 0x78, 0xdd, 0xce, 0x04, 0xd7, 0x92, 0xba, 0x50, 0xaf, 0xa1, 0xef,
    0xcb, 0x46, 0x6b, 0xbe, 0xb3, 0x49, 0x15, 0x4b, 0x8c, 0xa6, 0x93, 0x41, 0x6a, 0x10, 0x58, 0x8c,
    0x74, 0x32, 0x0d, 0x9d, 0x7e, 0x53, 0x54, 0x1a, 0x3d, 0x7c, 0x8c, 0xbf, 0xf5, 0x07, 0x2b, 0x66,
    0xd0, 0x0f};

static void make_journal(memory_file *f) {
    static const char *const words[] = {"the", "valve", "opens",  "at",  "dawn", "and",  "closes",
                                        "at",  "dusk",  "unless", "the", "tide", "runs", "high"};
    const unsigned n = sizeof words / sizeof words[0];
    uint32_t x = 7;
    f->len = 0;
    for (int i = 1; i <= 40; i++) {
        x = (x * 75 + 74) % 65537;
        char *at = (char *)f->data + f->len;
        int w = snprintf(at, sizeof f->data - f->len, "%03d %s %s %u.%u\n", i, words[x % n],
                         words[(x >> 4) % n], (unsigned)(x % 90), (unsigned)(x % 10));
        f->len += (size_t)w;
    }
}

static bool same(const memory_file *a, const memory_file *b) {
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static size_t write_gzip(const memory_file *text, uint8_t *out, size_t cap) {
    static const uint8_t header[] = {0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255, 'j', '.', 't', 0};
    deflater d = {.out = out, .cap = cap};
    size_t half = text->len / 2;
    uint32_t crc = crc32_update(0, text->data, text->len);
    for (size_t i = 0; i < sizeof header; i++)
        put(&d, header[i], 8);
    put_fixed_block(&d, text->data, half, false);
    put_stored_block(&d, text->data + half, 50, false);
    put_fixed_block(&d, text->data + half + 50, text->len - half - 50, true);
    put_align(&d);
    put(&d, crc & 0xffff, 16);
    put(&d, crc >> 16, 16);
    put(&d, (uint32_t)text->len & 0xffff, 16);
    put(&d, 0, 16);
    return d.len;
}

int main(void) {
    static memory_file text, copy;
    static uint8_t stream[2048];
    unsigned histogram[INF_NO_MEMORY + 1] = {0};

    crc_init();
    make_journal(&text);
    inf_result r = inflate_frame(FRAME_ZLIB, journal_zlib, sizeof journal_zlib, append, &copy);
    if (r != INF_OK || !same(&text, &copy)) {
        printf("zlib: error %d\n", (int)r);
        return 1;
    }
    printf("zlib %zu -> %zu\n", sizeof journal_zlib, copy.len);

    size_t len = write_gzip(&text, stream, sizeof stream);
    copy.len = 0;
    r = inflate_frame(FRAME_GZIP, stream, len, append, &copy);
    if (r != INF_OK || !same(&text, &copy)) {
        printf("gzip: error %d\n", (int)r);
        return 1;
    }
    printf("gzip %zu -> %zu\n", len, copy.len);

    /* Flip one bit at a time: every damaged stream must be noticed. */
    memcpy(stream, journal_zlib, sizeof journal_zlib);
    for (size_t i = 0; i < sizeof journal_zlib; i += 9) {
        uint8_t mask = (uint8_t)(1u << (i & 7));
        stream[i] ^= mask;
        copy.len = 0;
        r = inflate_frame(FRAME_ZLIB, stream, sizeof journal_zlib, append, &copy);
        stream[i] ^= mask;
        if (r == INF_OK)
            return 2;
        histogram[r]++;
    }
    uint32_t digest = crc32_update(0, stream, sizeof journal_zlib);
    for (int e = 0; e <= INF_NO_MEMORY; e++) {
        uint8_t b = (uint8_t)histogram[e];
        digest = crc32_update(digest, &b, 1);
    }
    printf("damage: eof %u, symbol %u, distance %u, check %u\n", histogram[INF_EOF],
           histogram[INF_BAD_SYMBOL], histogram[INF_BAD_DISTANCE], histogram[INF_BAD_CHECK]);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
