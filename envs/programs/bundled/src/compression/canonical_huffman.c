/* Length-limited canonical Huffman coder: heap-built tree, Kraft repair, nibble-packed
 * length header and a two-level (fast table + first-code scan) decoder. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS 256
#define MAX_CODE_LEN 12
#define FAST_BITS 8
#define FAST_SIZE (1 << FAST_BITS)

/* A packed fast-table entry: symbol in the low byte, code length above it; 0 = slow path. */
#define ENTRY(sym, len) ((uint16_t)((len) << 8 | (sym)))
#define ENTRY_SYM(e) ((e) & 0xff)
#define ENTRY_LEN(e) ((e) >> 8)

struct huff_code {
    uint16_t bits;
    uint8_t len;
};

struct heap_item {
    uint32_t weight;
    int16_t node;
};

struct heap {
    struct heap_item items[SYMBOLS];
    int count;
};

struct decoder {
    uint16_t fast[FAST_SIZE];
    uint16_t count[MAX_CODE_LEN + 1];
    uint8_t sorted[SYMBOLS];
};

struct stream {
    uint8_t *bytes;
    size_t cap;
    size_t pos;
    uint32_t window; /* bits are left aligned while reading, right aligned while writing */
    int avail;
    bool error;
};

static bool item_before(const struct heap_item *a, const struct heap_item *b) {
    return a->weight != b->weight ? a->weight < b->weight : a->node < b->node;
}

static void heap_push(struct heap *h, struct heap_item item) {
    int i = h->count++;
    while (i > 0) {
        int parent = (i - 1) / 2;
        if (!item_before(&item, &h->items[parent]))
            break;
        h->items[i] = h->items[parent];
        i = parent;
    }
    h->items[i] = item;
}

static struct heap_item heap_pop(struct heap *h) {
    struct heap_item top = h->items[0];
    struct heap_item last = h->items[--h->count];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && item_before(&h->items[child + 1], &h->items[child]))
            child++;
        if (!item_before(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

/* Shorten over-long codes to MAX_CODE_LEN, then lengthen others until Kraft's sum fits. */
static void limit_lengths(uint8_t len[SYMBOLS]) {
    uint32_t kraft = 0;
    for (int s = 0; s < SYMBOLS; s++) {
        if (len[s] > MAX_CODE_LEN)
            len[s] = MAX_CODE_LEN;
        if (len[s])
            kraft += 1u << (MAX_CODE_LEN - len[s]);
    }
    const uint32_t full = 1u << MAX_CODE_LEN;
    for (int target = MAX_CODE_LEN - 1; kraft > full && target > 0; target--) {
        for (int s = 0; s < SYMBOLS && kraft > full; s++) {
            if (len[s] == target) {
                kraft -= 1u << (MAX_CODE_LEN - target - 1);
                len[s]++;
            }
        }
    }
}

void huff_build_lengths(const uint32_t freq[SYMBOLS], uint8_t len[SYMBOLS]) {
    struct heap heap = {.count = 0};
    int16_t parent[2 * SYMBOLS];
    int next_node = SYMBOLS;

    memset(len, 0, SYMBOLS);
    for (int s = 0; s < SYMBOLS; s++) {
        if (freq[s])
            heap_push(&heap, (struct heap_item){freq[s], (int16_t)s});
    }
    if (heap.count == 0)
        return;
    if (heap.count == 1) {
        len[heap.items[0].node] = 1;
        return;
    }
    while (heap.count > 1) {
        struct heap_item a = heap_pop(&heap);
        struct heap_item b = heap_pop(&heap);
        parent[a.node] = parent[b.node] = (int16_t)next_node;
        heap_push(&heap, (struct heap_item){a.weight + b.weight, (int16_t)next_node});
        next_node++;
    }
    int root = next_node - 1;
    for (int s = 0; s < SYMBOLS; s++) {
        if (!freq[s])
            continue;
        int depth = 0;
        for (int n = s; n != root; n = parent[n])
            depth++;
        len[s] = (uint8_t)depth;
    }
    limit_lengths(len);
}

bool huff_assign_codes(const uint8_t len[SYMBOLS], struct huff_code codes[SYMBOLS]) {
    unsigned count[MAX_CODE_LEN + 2] = {0};
    unsigned next[MAX_CODE_LEN + 2] = {0};
    for (int s = 0; s < SYMBOLS; s++)
        count[len[s]]++;
    count[0] = 0;
    for (int l = 1; l <= MAX_CODE_LEN; l++) {
        next[l + 1] = (next[l] + count[l]) << 1;
        if (next[l] + count[l] > 1u << l)
            return false;
    }
    for (int s = 0; s < SYMBOLS; s++) {
        codes[s].len = len[s];
        codes[s].bits = len[s] ? (uint16_t)next[len[s]]++ : 0;
    }
    return true;
}

static void decoder_init(struct decoder *d, const struct huff_code codes[SYMBOLS]) {
    uint16_t offset[MAX_CODE_LEN + 2] = {0};
    memset(d, 0, sizeof *d);
    for (int s = 0; s < SYMBOLS; s++)
        d->count[codes[s].len]++;
    d->count[0] = 0;
    for (int l = 1; l <= MAX_CODE_LEN; l++)
        offset[l + 1] = (uint16_t)(offset[l] + d->count[l]);

    for (int s = 0; s < SYMBOLS; s++) {
        int l = codes[s].len;
        if (l == 0)
            continue;
        d->sorted[offset[l]++] = (uint8_t)s;
        if (l <= FAST_BITS) {
            int first = codes[s].bits << (FAST_BITS - l);
            int span = 1 << (FAST_BITS - l);
            for (int i = 0; i < span; i++)
                d->fast[first + i] = ENTRY(s, l);
        }
    }
}

static void write_bits(struct stream *s, uint32_t bits, int n) {
    s->window = s->window << n | bits;
    s->avail += n;
    while (s->avail >= 8) {
        if (s->pos == s->cap) {
            s->error = true;
            return;
        }
        s->avail -= 8;
        s->bytes[s->pos++] = (uint8_t)(s->window >> s->avail);
    }
}

static void align_output(struct stream *s) {
    if (s->avail & 7)
        write_bits(s, 0, 8 - (s->avail & 7));
}

static uint32_t peek_bits(struct stream *s, int n) {
    while (s->avail < n) {
        uint32_t byte = s->pos < s->cap ? s->bytes[s->pos] : 0;
        s->pos++; /* running past the end reads zeros and is reported by the caller */
        s->window |= byte << (24 - s->avail);
        s->avail += 8;
    }
    return s->window >> (32 - n);
}

static void skip_bits(struct stream *s, int n) {
    s->window <<= n;
    s->avail -= n;
}

static uint32_t read_bits(struct stream *s, int n) {
    uint32_t v = peek_bits(s, n);
    skip_bits(s, n);
    return v;
}

static bool overran(const struct stream *s) {
    return s->pos > s->cap + 3;
}

static void write_lengths(struct stream *out, const uint8_t len[SYMBOLS]) {
    for (int s = 0; s < SYMBOLS;) {
        int run = 0;
        while (s + run < SYMBOLS && len[s + run] == 0 && run < 66)
            run++;
        if (run >= 3) {
            write_bits(out, 0xf, 4);
            write_bits(out, (uint32_t)(run - 3), 6);
            s += run;
        } else {
            write_bits(out, len[s++], 4);
        }
    }
}

static bool read_lengths(struct stream *in, uint8_t len[SYMBOLS]) {
    memset(len, 0, SYMBOLS);
    for (int s = 0; s < SYMBOLS;) {
        uint32_t v = read_bits(in, 4);
        if (v == 0xf)
            s += (int)read_bits(in, 6) + 3;
        else if (v <= MAX_CODE_LEN)
            len[s++] = (uint8_t)v;
        else
            return false;
        if (s > SYMBOLS || overran(in))
            return false;
    }
    return true;
}

/* Returns the packed size, or 0 if it does not fit in dst. */
size_t huff_encode(const uint8_t *src, size_t n, uint8_t *dst, size_t cap) {
    uint32_t freq[SYMBOLS] = {0};
    uint8_t len[SYMBOLS];
    struct huff_code codes[SYMBOLS];
    struct stream out = {.bytes = dst, .cap = cap};

    for (size_t i = 0; i < n; i++)
        freq[src[i]]++;
    huff_build_lengths(freq, len);
    if (!huff_assign_codes(len, codes))
        return 0;
    write_bits(&out, (uint32_t)n, 16);
    write_lengths(&out, len);
    for (size_t i = 0; i < n && !out.error; i++)
        write_bits(&out, codes[src[i]].bits, codes[src[i]].len);
    align_output(&out);
    return out.error ? 0 : out.pos;
}

static int decode_slow(const struct decoder *d, struct stream *in) {
    uint32_t bits = peek_bits(in, MAX_CODE_LEN);
    uint32_t first = 0;
    int index = 0;
    for (int l = 1; l <= MAX_CODE_LEN; l++) {
        uint32_t code = bits >> (MAX_CODE_LEN - l);
        if (code < first + d->count[l]) {
            skip_bits(in, l);
            return d->sorted[index + (int)(code - first)];
        }
        index += d->count[l];
        first = (first + d->count[l]) << 1;
    }
    return -1;
}

/* Returns the number of bytes decoded, or -1 on malformed input. */
long huff_decode(uint8_t *src, size_t n, uint8_t *dst, size_t cap) {
    struct stream in = {.bytes = src, .cap = n};
    uint8_t len[SYMBOLS];
    struct huff_code codes[SYMBOLS];
    struct decoder dec;
    size_t total = read_bits(&in, 16);

    if (total > cap || !read_lengths(&in, len) || !huff_assign_codes(len, codes))
        return -1;
    decoder_init(&dec, codes);
    for (size_t i = 0; i < total; i++) {
        uint16_t e = dec.fast[peek_bits(&in, FAST_BITS)];
        int sym = ENTRY_SYM(e);
        if (e)
            skip_bits(&in, ENTRY_LEN(e));
        else
            sym = decode_slow(&dec, &in);
        if (sym < 0 || overran(&in))
            return -1;
        dst[i] = (uint8_t)sym;
    }
    return (long)total;
}

static const char prose[] =
    "The harbour master kept two ledgers: one for the ships that came in with the tide, "
    "and a thinner one, bound in green cloth, for those that were still expected.";

static size_t make_input(int kind, uint8_t *dst, size_t cap) {
    uint32_t lcg = 12345u + (uint32_t)kind, a = 1, b = 1;
    size_t n = 0;
    switch (kind) {
    case 0: /* plain text */
        n = sizeof prose - 1;
        memcpy(dst, prose, n);
        break;
    case 1: /* Fibonacci frequencies, the worst case for code lengths */
        for (int s = 0; s < 17; s++) {
            for (uint32_t i = 0; i < a && n < cap; i++)
                dst[n++] = (uint8_t)(s * 7);
            uint32_t sum = a + b;
            a = b;
            b = sum;
        }
        break;
    case 2: /* one distinct symbol */
        memset(dst, 'z', n = 100);
        break;
    default: /* geometric residuals, as an audio predictor would leave */
        for (n = 0; n < 3000; n++) {
            int v = 0;
            do {
                lcg = lcg * 1103515245u + 12345u;
                v++;
            } while ((lcg >> 16 & 7) > 1 && v < 60);
            dst[n] = (uint8_t)((lcg >> 24 & 1) ? -v : v);
        }
        break;
    }
    return n;
}

static uint32_t mix(uint32_t h, const uint8_t *p, size_t n) {
    while (n--)
        h = (h ^ *p++) * 0x01000193u;
    return h;
}

int main(void) {
    static uint8_t input[4608], packed[6144], output[4608];
    uint32_t digest = 0x811c9dc5u;
    for (int kind = 0; kind < 4; kind++) {
        size_t n = make_input(kind, input, sizeof input);
        size_t size = huff_encode(input, n, packed, sizeof packed);
        if (size == 0 || huff_decode(packed, size, output, sizeof output) != (long)n ||
            memcmp(input, output, n) != 0) {
            printf("case %d failed\n", kind);
            return 1;
        }
        printf("case %d: %zu bytes -> %zu\n", kind, n, size);
        digest = mix(digest, packed, size);
        packed[2] ^= 0x5a; /* damage the header: any result but a crash is acceptable */
        long damaged = huff_decode(packed, size, output, sizeof output);
        digest = mix(digest, (const uint8_t *)(damaged < 0 ? "-" : "+"), 1);
    }
    if (huff_encode(input, 3000, packed, 64) != 0)
        return 1;
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
