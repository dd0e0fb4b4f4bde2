/* ChaCha20-Poly1305 authenticated encryption (RFC 8439) with 26-bit-limb Poly1305, used to
 * seal and open a sequence of records the way a transport layer would. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 32
#define NONCE_LEN 12
#define TAG_LEN 16
#define LIMB_MASK 0x3ffffffu

#define ROTL32(v, n) ((v) << (n) | (v) >> (32 - (n)))

#define QUARTER_ROUND(x, a, b, c, d)                                                               \
    do {                                                                                           \
        x[a] += x[b], x[d] = ROTL32(x[d] ^ x[a], 16);                                              \
        x[c] += x[d], x[b] = ROTL32(x[b] ^ x[c], 12);                                              \
        x[a] += x[b], x[d] = ROTL32(x[d] ^ x[a], 8);                                               \
        x[c] += x[d], x[b] = ROTL32(x[b] ^ x[c], 7);                                               \
    } while (0)

static uint32_t load_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store_le32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static void store_le64(uint8_t *p, uint64_t v) {
    store_le32(p, (uint32_t)v);
    store_le32(p + 4, (uint32_t)(v >> 32));
}

struct chacha20 {
    uint32_t state[16];
    uint8_t block[64];
    unsigned used;
};

static void chacha20_init(struct chacha20 *c, const uint8_t key[KEY_LEN],
                          const uint8_t nonce[NONCE_LEN], uint32_t counter) {
    static const char sigma[] = "expand 32-byte k";
    for (int i = 0; i < 4; i++)
        c->state[i] = load_le32((const uint8_t *)sigma + 4 * i);
    for (int i = 0; i < 8; i++)
        c->state[4 + i] = load_le32(key + 4 * i);
    c->state[12] = counter;
    for (int i = 0; i < 3; i++)
        c->state[13 + i] = load_le32(nonce + 4 * i);
    c->used = sizeof c->block;
}

static void chacha20_next_block(struct chacha20 *c) {
    uint32_t x[16];
    memcpy(x, c->state, sizeof x);
    for (int i = 0; i < 10; i++) {
        QUARTER_ROUND(x, 0, 4, 8, 12);
        QUARTER_ROUND(x, 1, 5, 9, 13);
        QUARTER_ROUND(x, 2, 6, 10, 14);
        QUARTER_ROUND(x, 3, 7, 11, 15);
        QUARTER_ROUND(x, 0, 5, 10, 15);
        QUARTER_ROUND(x, 1, 6, 11, 12);
        QUARTER_ROUND(x, 2, 7, 8, 13);
        QUARTER_ROUND(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        store_le32(c->block + 4 * i, x[i] + c->state[i]);
    c->state[12]++;
    c->used = 0;
}

static void chacha20_xor(struct chacha20 *c, uint8_t *data, size_t len) {
    while (len--) {
        if (c->used == sizeof c->block)
            chacha20_next_block(c);
        *data++ ^= c->block[c->used++];
    }
}

struct poly1305 {
    uint32_t r[5], h[5];
    uint32_t pad[4];
    uint8_t buf[16];
    unsigned fill;
};

static void poly1305_init(struct poly1305 *p, const uint8_t key[32]) {
    memset(p, 0, sizeof *p);
    p->r[0] = load_le32(key) & 0x3ffffff;
    p->r[1] = load_le32(key + 3) >> 2 & 0x3ffff03;
    p->r[2] = load_le32(key + 6) >> 4 & 0x3ffc0ff;
    p->r[3] = load_le32(key + 9) >> 6 & 0x3f03fff;
    p->r[4] = load_le32(key + 12) >> 8 & 0x00fffff;
    for (int i = 0; i < 4; i++)
        p->pad[i] = load_le32(key + 16 + 4 * i);
}

static void poly1305_block(struct poly1305 *p, const uint8_t m[16], uint32_t high_bit) {
    uint64_t d[5];
    uint64_t carry = 0;
    p->h[0] += load_le32(m) & LIMB_MASK;
    p->h[1] += load_le32(m + 3) >> 2 & LIMB_MASK;
    p->h[2] += load_le32(m + 6) >> 4 & LIMB_MASK;
    p->h[3] += load_le32(m + 9) >> 6 & LIMB_MASK;
    p->h[4] += load_le32(m + 12) >> 8 | high_bit;

    for (int i = 0; i < 5; i++) {
        d[i] = 0;
        for (int j = 0; j < 5; j++) {
            /* limbs that wrap past 2^130 come back multiplied by 5 */
            uint64_t r = j <= i ? p->r[i - j] : 5 * (uint64_t)p->r[5 + i - j];
            d[i] += p->h[j] * r;
        }
    }
    for (int i = 0; i < 5; i++) {
        d[i] += carry;
        carry = d[i] >> 26;
        p->h[i] = (uint32_t)d[i] & LIMB_MASK;
    }
    carry = carry * 5 + p->h[0];
    p->h[0] = (uint32_t)carry & LIMB_MASK;
    p->h[1] += (uint32_t)(carry >> 26);
}

static void poly1305_update(struct poly1305 *p, const uint8_t *m, size_t len) {
    while (len--) {
        p->buf[p->fill++] = *m++;
        if (p->fill == sizeof p->buf) {
            poly1305_block(p, p->buf, 1u << 24);
            p->fill = 0;
        }
    }
}

static void poly1305_pad16(struct poly1305 *p) {
    static const uint8_t zeros[16];
    if (p->fill)
        poly1305_update(p, zeros, sizeof p->buf - p->fill);
}

static void poly1305_final(struct poly1305 *p, uint8_t tag[TAG_LEN]) {
    uint32_t g[5], carry;
    if (p->fill) {
        p->buf[p->fill] = 1;
        memset(p->buf + p->fill + 1, 0, sizeof p->buf - p->fill - 1);
        poly1305_block(p, p->buf, 0);
    }
    /* Two carry passes leave every limb below 2^26. */
    carry = 0;
    for (int i = 1; i < 11; i++) {
        int k = i % 5;
        if (k == 0)
            carry *= 5;
        p->h[k] += carry;
        carry = p->h[k] >> 26;
        p->h[k] &= LIMB_MASK;
    }
    p->h[1] += carry;

    /* g = h + 5 - 2^130; if that is not negative, the reduced value is g. */
    carry = 5;
    for (int i = 0; i < 5; i++) {
        g[i] = p->h[i] + carry;
        carry = g[i] >> 26;
        g[i] &= LIMB_MASK;
    }
    uint32_t use_g = 0u - carry;
    for (int i = 0; i < 5; i++)
        p->h[i] = (p->h[i] & ~use_g) | (g[i] & use_g);

    uint64_t acc = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t word = p->h[i] >> (6 * i) | p->h[i + 1] << (26 - 6 * i);
        acc += (uint64_t)word + p->pad[i];
        store_le32(tag + 4 * i, (uint32_t)acc);
        acc >>= 32;
    }
}

static void compute_tag(const uint8_t one_time_key[32], const uint8_t *aad, size_t aad_len,
                        const uint8_t *data, size_t len, uint8_t tag[TAG_LEN]) {
    struct poly1305 poly;
    uint8_t lengths[16];
    poly1305_init(&poly, one_time_key);
    poly1305_update(&poly, aad, aad_len);
    poly1305_pad16(&poly);
    poly1305_update(&poly, data, len);
    poly1305_pad16(&poly);
    store_le64(lengths, aad_len);
    store_le64(lengths + 8, len);
    poly1305_update(&poly, lengths, sizeof lengths);
    poly1305_final(&poly, tag);
}

static void start_record(struct chacha20 *c, const uint8_t key[KEY_LEN],
                         const uint8_t nonce[NONCE_LEN], uint8_t one_time_key[32]) {
    chacha20_init(c, key, nonce, 0);
    memset(one_time_key, 0, 32);
    chacha20_xor(c, one_time_key, 32);
    c->used = sizeof c->block; /* the rest of block 0 is discarded */
}

void aead_seal(const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const uint8_t *aad,
               size_t aad_len, uint8_t *data, size_t len, uint8_t tag[TAG_LEN]) {
    struct chacha20 c;
    uint8_t one_time_key[32];
    start_record(&c, key, nonce, one_time_key);
    chacha20_xor(&c, data, len);
    compute_tag(one_time_key, aad, aad_len, data, len, tag);
}

static bool tags_differ(const uint8_t *a, const uint8_t *b) {
    unsigned diff = 0;
    for (int i = 0; i < TAG_LEN; i++)
        diff |= (unsigned)(a[i] ^ b[i]);
    return diff != 0;
}

/* Decrypts in place; the data is left encrypted when authentication fails. */
bool aead_open(const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const uint8_t *aad,
               size_t aad_len, uint8_t *data, size_t len, const uint8_t tag[TAG_LEN]) {
    struct chacha20 c;
    uint8_t one_time_key[32], expect[TAG_LEN];
    start_record(&c, key, nonce, one_time_key);
    compute_tag(one_time_key, aad, aad_len, data, len, expect);
    if (tags_differ(expect, tag))
        return false;
    chacha20_xor(&c, data, len);
    return true;
}

struct session {
    uint8_t key[KEY_LEN];
    uint8_t salt[NONCE_LEN];
    uint32_t next_seq;
};

struct record {
    uint32_t seq;
    size_t len;
    uint8_t tag[TAG_LEN];
    uint8_t payload[]; /* flexible: sized on creation */
};

static void record_nonce(const struct session *s, uint32_t seq, uint8_t nonce[NONCE_LEN]) {
    memcpy(nonce, s->salt, NONCE_LEN);
    for (int i = 0; i < 4; i++)
        nonce[8 + i] ^= (uint8_t)(seq >> (24 - 8 * i));
}

static struct record *record_seal(struct session *s, const char *text) {
    size_t len = strlen(text);
    struct record *r = malloc(sizeof *r + len);
    uint8_t nonce[NONCE_LEN], aad[4];
    if (!r)
        return NULL;
    r->seq = s->next_seq++;
    r->len = len;
    memcpy(r->payload, text, len);
    record_nonce(s, r->seq, nonce);
    store_le32(aad, r->seq);
    aead_seal(s->key, nonce, aad, sizeof aad, r->payload, len, r->tag);
    return r;
}

static bool record_open(const struct session *s, struct record *r) {
    uint8_t nonce[NONCE_LEN], aad[4];
    record_nonce(s, r->seq, nonce);
    store_le32(aad, r->seq);
    return aead_open(s->key, nonce, aad, sizeof aad, r->payload, r->len, r->tag);
}

static bool rfc8439_vector(void) {
    static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                                "only one tip for the future, sunscreen would be it.";
    static const uint8_t nonce[NONCE_LEN] = {7,    0,    0,    0,    0x40, 0x41,
                                             0x42, 0x43, 0x44, 0x45, 0x46, 0x47};
    static const uint8_t aad[12] = {0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1,
                                    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7};
    static const uint8_t want[TAG_LEN] = {0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a,
                                          0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06, 0x91};
    uint8_t key[KEY_LEN], data[sizeof plain], tag[TAG_LEN];
    for (int i = 0; i < KEY_LEN; i++)
        key[i] = (uint8_t)(0x80 + i);
    memcpy(data, plain, sizeof plain);
    aead_seal(key, nonce, aad, sizeof aad, data, sizeof plain - 1, tag);
    return data[0] == 0xd3 && data[1] == 0x1a && !tags_differ(tag, want);
}

int main(void) {
    static const char *const messages[] = {
        "", "ping", "exactly sixteen!", "set lamp/kitchen level=40 fade=1500ms",
        "a message that is long enough to need more than one sixty-four byte block of keystream"};
    enum { COUNT = sizeof messages / sizeof messages[0] };
    struct session session = {.next_seq = 0xfffffffe};
    uint32_t digest = 0;

    if (!rfc8439_vector()) {
        puts("RFC 8439 vector mismatch");
        return 1;
    }
    puts("RFC 8439 vector ok");

    for (int i = 0; i < KEY_LEN; i++)
        session.key[i] = (uint8_t)(i * 37 + 11);
    for (int i = 0; i < NONCE_LEN; i++)
        session.salt[i] = (uint8_t)(200 - 13 * i);

    unsigned rejected = 0;
    for (int i = 0; i < COUNT; i++) {
        struct record *r = record_seal(&session, messages[i]);
        if (!r)
            return 1;
        for (int k = 0; k < 4; k++)
            digest = ROTL32(digest, 9) ^ load_le32(r->tag + 4 * k);
        for (size_t k = 0; k < r->len; k++)
            digest = digest * 31 + r->payload[k];

        r->seq ^= 1; /* replay under another sequence number */
        rejected += !record_open(&session, r);
        r->seq ^= 1;
        r->tag[i] ^= 0x10;
        rejected += !record_open(&session, r);
        r->tag[i] ^= 0x10;
        bool ok = record_open(&session, r) && memcmp(r->payload, messages[i], r->len) == 0;
        free(r);
        if (!ok) {
            printf("record %d did not open\n", i);
            return 1;
        }
    }
    if (rejected != 2 * COUNT)
        return 1;
    printf("%d records, %u forgeries rejected\n", COUNT, rejected);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
