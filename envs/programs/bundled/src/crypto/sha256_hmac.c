/* SHA-256 and HMAC-SHA-256 with a streaming interface, checked against published vectors. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 64, DIGEST = 32 };

struct sha256 {
    uint32_t h[8];
    uint64_t total;
    uint8_t buf[BLOCK];
};

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t rotr(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

/* The four sigma functions differ only in their amounts; the last one shifts if negative. */
static uint32_t sigma(uint32_t x, int a, int b, int c) {
    return rotr(x, a) ^ rotr(x, b) ^ (c < 0 ? x >> -c : rotr(x, c));
}

static void compress(uint32_t h[8], const uint8_t *p) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 64; i++) {
        if (i < 16)
            w[i] = load_be32(p + 4 * i);
        else
            w[i] =
                sigma(w[i - 2], 17, 19, -10) + w[i - 7] + sigma(w[i - 15], 7, 18, -3) + w[i - 16];
    }

    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t choice = v[6] ^ (v[4] & (v[5] ^ v[6]));
        uint32_t majority = (v[0] & v[1]) | (v[2] & (v[0] | v[1]));
        uint32_t t1 = v[7] + sigma(v[4], 6, 11, 25) + choice + K[i] + w[i];
        uint32_t t2 = sigma(v[0], 2, 13, 22) + majority;
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[0] = t1 + t2;
        v[4] += t1;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void sha256_init(struct sha256 *s) {
    static const uint32_t iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, iv, sizeof iv);
    s->total = 0;
}

void sha256_update(struct sha256 *s, const void *data, size_t len) {
    const uint8_t *p = data;
    while (len > 0) {
        size_t used = s->total % BLOCK;
        size_t n = BLOCK - used < len ? BLOCK - used : len;
        memcpy(s->buf + used, p, n);
        s->total += n;
        p += n;
        len -= n;
        if (used + n == BLOCK)
            compress(s->h, s->buf);
    }
}

void sha256_final(struct sha256 *s, uint8_t out[DIGEST]) {
    static const uint8_t pad[BLOCK] = {0x80};
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(s->total * 8 >> (56 - 8 * i));
    sha256_update(s, pad, 1 + (BLOCK + 55 - s->total % BLOCK) % BLOCK);
    sha256_update(s, length, sizeof length);
    for (int i = 0; i < DIGEST; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* One pass of HMAC: digest of (key ^ pad) followed by the message. */
static void hmac_pass(uint8_t block[BLOCK], uint8_t pad, const void *msg, size_t len,
                      uint8_t out[DIGEST]) {
    struct sha256 s;
    for (int i = 0; i < BLOCK; i++)
        block[i] ^= pad;
    sha256_init(&s);
    sha256_update(&s, block, BLOCK);
    sha256_update(&s, msg, len);
    sha256_final(&s, out);
}

void hmac_sha256(const void *key, size_t key_len, const void *msg, size_t len,
                 uint8_t out[DIGEST]) {
    uint8_t block[BLOCK] = {0};
    if (key_len > BLOCK) {
        struct sha256 s;
        sha256_init(&s);
        sha256_update(&s, key, key_len);
        sha256_final(&s, block);
    } else {
        memcpy(block, key, key_len);
    }
    hmac_pass(block, 0x36, msg, len, out);
    hmac_pass(block, 0x36 ^ 0x5c, out, DIGEST, out);
}

int main(void) {
    static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char question[] = "what do ya want for nothing?";
    uint8_t digest[DIGEST];
    struct sha256 s;

    sha256_init(&s);
    for (size_t i = 0; text[i]; i++) /* byte by byte, to exercise the buffering */
        sha256_update(&s, text + i, 1);
    sha256_final(&s, digest);
    if (load_be32(digest) != 0x248d6a61)
        return 1;
    hmac_sha256("Jefe", 4, question, strlen(question), digest);
    if (load_be32(digest) != 0x5bdcc146)
        return 1;
    puts("vectors ok");

    for (size_t len = 0; len < sizeof text; len += 5) /* chain: each tag keys the next one */
        hmac_sha256(digest, DIGEST, text, len, digest);
    printf("checksum %08x\n", (unsigned)load_be32(digest));
    return 0;
}
