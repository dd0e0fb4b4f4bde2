/* LZSS compressor with hash-chain match finding, lazy matching and a bit-packed token
 * stream.  The self-test round-trips a few generated inputs and damages one stream. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_BITS = 12,
    WINDOW_SIZE = 1 << WINDOW_BITS,
    WINDOW_MASK = WINDOW_SIZE - 1,
    HASH_BITS = 11,
    HASH_SIZE = 1 << HASH_BITS,
    MIN_MATCH = 3,
    MAX_MATCH = 258,
    GOOD_MATCH = 32, /* stop looking for a lazy match beyond this length */
    NIL = -1
};

typedef enum lz_status {
    LZ_OK = 0,
    LZ_ERR_MEMORY,
    LZ_ERR_TRUNCATED,
    LZ_ERR_CORRUPT,
    LZ_ERR_CHECKSUM
} lz_status;

typedef struct byte_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    bool failed;
} byte_buf;

typedef struct bit_writer {
    byte_buf *out;
    uint32_t acc;
    unsigned fill;
} bit_writer;

typedef struct bit_reader {
    const uint8_t *src;
    size_t pos;
    size_t len;
    uint32_t acc;
    unsigned fill;
    bool underflow;
} bit_reader;

typedef struct match {
    int length;
    int distance;
} match;

typedef struct match_finder {
    const uint8_t *src;
    int len;
    int max_chain;
    int32_t head[HASH_SIZE];
    int32_t prev[WINDOW_SIZE];
} match_finder;

static void buf_put(byte_buf *b, uint8_t byte) {
    if (b->len == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        uint8_t *grown = realloc(b->data, cap);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->cap = cap;
    }
    b->data[b->len++] = byte;
}

static void buf_release(byte_buf *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

static void put_bits(bit_writer *w, uint32_t value, unsigned count) {
    w->acc |= value << w->fill;
    w->fill += count;
    while (w->fill >= 8) {
        buf_put(w->out, (uint8_t)w->acc);
        w->acc >>= 8;
        w->fill -= 8;
    }
}

static void flush_bits(bit_writer *w) {
    if (w->fill > 0)
        buf_put(w->out, (uint8_t)w->acc);
    w->acc = 0;
    w->fill = 0;
}

static uint32_t get_bits(bit_reader *r, unsigned count) {
    while (r->fill < count) {
        if (r->pos == r->len) {
            r->underflow = true;
            return 0;
        }
        r->acc |= (uint32_t)r->src[r->pos++] << r->fill;
        r->fill += 8;
    }
    uint32_t value = r->acc & ((1u << count) - 1);
    r->acc >>= count;
    r->fill -= count;
    return value;
}

/* Elias gamma code: floor(log2 v) zero bits, a one, then the low bits of v. */
static void put_gamma(bit_writer *w, uint32_t value) {
    unsigned log = 0;
    while (value >> (log + 1))
        log++;
    put_bits(w, 1u << log, log + 1);
    put_bits(w, value & ((1u << log) - 1), log);
}

static uint32_t get_gamma(bit_reader *r) {
    unsigned log = 0;
    while (!r->underflow && get_bits(r, 1) == 0) {
        if (++log > 16) {
            r->underflow = true;
            return 0;
        }
    }
    return (1u << log) | get_bits(r, log);
}

static unsigned hash3(const uint8_t *p) {
    uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
    return (v * 2654435761u) >> (32 - HASH_BITS);
}

static void finder_init(match_finder *f, const uint8_t *src, int len, int max_chain) {
    f->src = src;
    f->len = len;
    f->max_chain = max_chain;
    for (int i = 0; i < HASH_SIZE; i++)
        f->head[i] = NIL;
    for (int i = 0; i < WINDOW_SIZE; i++)
        f->prev[i] = NIL;
}

static void finder_insert(match_finder *f, int pos) {
    if (pos + MIN_MATCH > f->len)
        return;
    unsigned h = hash3(f->src + pos);
    f->prev[pos & WINDOW_MASK] = f->head[h];
    f->head[h] = pos;
}

static int common_prefix(const uint8_t *a, const uint8_t *b, int limit) {
    int n = 0;
    while (n < limit && a[n] == b[n])
        n++;
    return n;
}

static match finder_longest(const match_finder *f, int pos) {
    match best = {0, 0};
    int limit = f->len - pos;
    if (limit < MIN_MATCH)
        return best;
    if (limit > MAX_MATCH)
        limit = MAX_MATCH;

    const uint8_t *here = f->src + pos;
    int oldest = pos - WINDOW_SIZE + 1;
    int budget = f->max_chain;
    for (int cand = f->head[hash3(here)]; cand != NIL && cand >= oldest && budget-- > 0;
         cand = f->prev[cand & WINDOW_MASK]) {
        const uint8_t *there = f->src + cand;
        if (best.length > 0 && there[best.length] != here[best.length])
            continue;
        int n = common_prefix(there, here, limit);
        if (n > best.length) {
            best.length = n;
            best.distance = pos - cand;
            if (n == limit)
                break;
        }
    }
    if (best.length < MIN_MATCH)
        best.length = 0;
    return best;
}

static uint32_t content_check(const uint8_t *p, size_t n) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + p[i]) % 65521u;
        b = (b + a) % 65521u;
    }
    return b << 16 | a;
}

static void emit_literal(bit_writer *w, uint8_t byte) {
    put_bits(w, 1, 1);
    put_bits(w, byte, 8);
}

static void emit_match(bit_writer *w, match m) {
    put_bits(w, 0, 1);
    put_gamma(w, (uint32_t)(m.length - MIN_MATCH + 1));
    put_bits(w, (uint32_t)(m.distance - 1), WINDOW_BITS);
}

lz_status lz_compress(const uint8_t *src, size_t len, int effort, byte_buf *out) {
    match_finder *finder = malloc(sizeof *finder);
    if (!finder)
        return LZ_ERR_MEMORY;
    finder_init(finder, src, (int)len, 4 << effort);

    bit_writer w = {out, 0, 0};
    uint32_t check = content_check(src, len);
    put_gamma(&w, (uint32_t)len + 1);
    put_bits(&w, check & 0xffff, 16);
    put_bits(&w, check >> 16, 16);

    int pos = 0;
    match cur = finder_longest(finder, 0);
    while (pos < (int)len) {
        match next = {0, 0};
        finder_insert(finder, pos);
        if (cur.length > 0 && cur.length < GOOD_MATCH)
            next = finder_longest(finder, pos + 1);

        if (cur.length == 0 || next.length > cur.length) {
            emit_literal(&w, src[pos++]);
            cur = next.length ? next : finder_longest(finder, pos);
            continue;
        }
        emit_match(&w, cur);
        for (int i = 1; i < cur.length; i++)
            finder_insert(finder, pos + i);
        pos += cur.length;
        cur = finder_longest(finder, pos);
    }
    flush_bits(&w);
    free(finder);
    return out->failed ? LZ_ERR_MEMORY : LZ_OK;
}

lz_status lz_decompress(const uint8_t *src, size_t len, byte_buf *out) {
    bit_reader r = {.src = src, .len = len};
    size_t expected = get_gamma(&r);
    uint32_t check = get_bits(&r, 16);
    check |= get_bits(&r, 16) << 16;
    if (r.underflow)
        return LZ_ERR_TRUNCATED;
    expected--;

    while (out->len < expected && !out->failed) {
        if (get_bits(&r, 1)) {
            buf_put(out, (uint8_t)get_bits(&r, 8));
        } else {
            size_t count = get_gamma(&r) + MIN_MATCH - 1;
            size_t distance = get_bits(&r, WINDOW_BITS) + 1;
            if (!r.underflow && (distance > out->len || count > expected - out->len))
                return LZ_ERR_CORRUPT;
            while (count-- > 0 && !r.underflow)
                buf_put(out, out->data[out->len - distance]);
        }
        if (r.underflow)
            return LZ_ERR_TRUNCATED;
    }
    if (out->failed)
        return LZ_ERR_MEMORY;
    return content_check(out->data, out->len) == check ? LZ_OK : LZ_ERR_CHECKSUM;
}

const char *lz_strerror(lz_status status) {
    switch (status) {
    case LZ_OK:
        return "ok";
    case LZ_ERR_MEMORY:
        return "out of memory";
    case LZ_ERR_TRUNCATED:
        return "truncated stream";
    case LZ_ERR_CORRUPT:
        return "corrupt stream";
    case LZ_ERR_CHECKSUM:
        return "checksum mismatch";
    }
    return "unknown";
}

static uint32_t rng_state = 0x2545f491u;

static uint32_t rng_next(void) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 17;
    rng_state ^= rng_state << 5;
    return rng_state;
}

static void fill_log(uint8_t *dst, size_t len) {
    static const char *const lines[] = {"GET /index.html 200\n", "GET /static/app.js 304\n",
                                        "POST /api/v1/login 401\n", "GET /favicon.ico 404\n",
                                        "PUT /api/v1/items/7 204\n"};
    size_t pos = 0;
    while (pos < len) {
        const char *line = lines[rng_next() % 5];
        for (; *line && pos < len; line++)
            dst[pos++] = (uint8_t)*line;
    }
}

static void fill_noise(uint8_t *dst, size_t len) {
    for (size_t i = 0; i < len; i++)
        dst[i] = (uint8_t)(rng_next() >> 9);
}

static void fill_runs(uint8_t *dst, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t run = 1 + rng_next() % 400;
        uint8_t value = (uint8_t)(rng_next() & 3);
        while (run-- > 0 && i < len)
            dst[i++] = value;
    }
}

int main(void) {
    static const struct {
        const char *name;
        void (*fill)(uint8_t *, size_t);
        size_t len;
    } cases[] = {{"log", fill_log, 6000}, {"noise", fill_noise, 700}, {"runs", fill_runs, 5000}};
    static uint8_t input[6000];
    uint32_t digest = 2166136261u;

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        byte_buf packed = {0}, restored = {0};
        cases[c].fill(input, cases[c].len);
        lz_status st = lz_compress(input, cases[c].len, 3, &packed);
        if (st == LZ_OK)
            st = lz_decompress(packed.data, packed.len, &restored);
        if (st != LZ_OK || restored.len != cases[c].len ||
            memcmp(restored.data, input, restored.len) != 0) {
            fprintf(stderr, "%s: %s\n", cases[c].name, lz_strerror(st));
            return 1;
        }
        printf("%-5s %zu -> %zu\n", cases[c].name, cases[c].len, packed.len);
        digest = (digest ^ content_check(packed.data, packed.len)) * 16777619u;

        /* A shortened stream must be rejected, never accepted. */
        buf_release(&restored);
        st = lz_decompress(packed.data, packed.len / 2, &restored);
        if (st == LZ_OK)
            return 2;
        digest = (digest ^ (uint32_t)st) * 16777619u;
        buf_release(&restored);
        buf_release(&packed);
    }
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
