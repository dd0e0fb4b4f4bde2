/* AES-128 and three ways to use it: CBC with PKCS#7 padding, CTR streaming and
 * CMAC authentication.  The S-box is derived at start-up from GF(2^8) arithmetic rather than
 * stored. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define AES_BLOCK 16
#define AES_ROUNDS 10

typedef struct {
    uint8_t round_key[AES_ROUNDS + 1][AES_BLOCK];
} aes128;

typedef struct {
    aes128 cipher;
    uint8_t counter[AES_BLOCK];
    uint8_t keystream[AES_BLOCK];
    unsigned used;
} aes_ctr;

typedef struct {
    aes128 cipher;
    uint8_t state[AES_BLOCK];
    uint8_t pending[AES_BLOCK];
    unsigned fill;
} aes_cmac;

static uint8_t sbox[256], inv_sbox[256];

static uint8_t xtime(uint8_t a) {
    return (uint8_t)(a << 1 ^ ((a & 0x80) ? 0x1b : 0));
}

static uint8_t gf_mul(uint8_t a, uint8_t b) {
    uint8_t r = 0;
    for (; b; b >>= 1, a = xtime(a)) {
        if (b & 1)
            r ^= a;
    }
    return r;
}

static uint8_t rotl8(uint8_t v, int n) {
    return (uint8_t)(v << n | v >> (8 - n));
}

/* Walk p through all powers of the generator 3 while q walks through their inverses. */
static void build_sboxes(void) {
    uint8_t p = 1, q = 1;
    do {
        p = (uint8_t)(p ^ xtime(p));
        q ^= (uint8_t)(q << 1);
        q ^= (uint8_t)(q << 2);
        q ^= (uint8_t)(q << 4);
        if (q & 0x80)
            q ^= 0x09;
        uint8_t s = q ^ rotl8(q, 1) ^ rotl8(q, 2) ^ rotl8(q, 3) ^ rotl8(q, 4) ^ 0x63;
        sbox[p] = s;
        inv_sbox[s] = p;
    } while (p != 1);
    sbox[0] = 0x63;
    inv_sbox[0x63] = 0;
}

void aes128_set_key(aes128 *a, const uint8_t key[16]) {
    uint8_t *w = a->round_key[0];
    uint8_t rcon = 1;
    memcpy(w, key, 16);
    for (int i = 16; i < (AES_ROUNDS + 1) * AES_BLOCK; i += 4) {
        uint8_t t[4];
        memcpy(t, w + i - 4, 4);
        if (i % 16 == 0) {
            uint8_t first = t[0];
            t[0] = sbox[t[1]] ^ rcon;
            t[1] = sbox[t[2]];
            t[2] = sbox[t[3]];
            t[3] = sbox[first];
            rcon = xtime(rcon);
        }
        for (int k = 0; k < 4; k++)
            w[i + k] = w[i + k - 16] ^ t[k];
    }
}

static void xor_block(uint8_t *dst, const uint8_t *src) {
    for (int i = 0; i < AES_BLOCK; i++)
        dst[i] ^= src[i];
}

static void substitute(uint8_t s[16], const uint8_t box[256]) {
    for (int i = 0; i < AES_BLOCK; i++)
        s[i] = box[s[i]];
}

/* Row r moves by r columns; direction is 1 to encrypt and 3 (= -1 mod 4) to decrypt. */
static void shift_rows(uint8_t s[16], int direction) {
    uint8_t t[16];
    memcpy(t, s, 16);
    for (int col = 0; col < 4; col++) {
        for (int row = 1; row < 4; row++)
            s[4 * col + row] = t[4 * ((col + direction * row) & 3) + row];
    }
}

static void mix_columns(uint8_t s[16]) {
    for (uint8_t *c = s; c < s + 16; c += 4) {
        uint8_t all = c[0] ^ c[1] ^ c[2] ^ c[3], first = c[0];
        for (int i = 0; i < 4; i++) {
            uint8_t next = i < 3 ? c[i + 1] : first;
            c[i] ^= all ^ xtime(c[i] ^ next);
        }
    }
}

static void unmix_columns(uint8_t s[16]) {
    for (uint8_t *c = s; c < s + 16; c += 4) {
        uint8_t u = gf_mul(c[0] ^ c[2], 4);
        uint8_t v = gf_mul(c[1] ^ c[3], 4);
        c[0] ^= u;
        c[1] ^= v;
        c[2] ^= u;
        c[3] ^= v;
    }
    mix_columns(s);
}

void aes128_encrypt(const aes128 *a, uint8_t s[16]) {
    xor_block(s, a->round_key[0]);
    for (int round = 1; round <= AES_ROUNDS; round++) {
        substitute(s, sbox);
        shift_rows(s, 1);
        if (round < AES_ROUNDS)
            mix_columns(s);
        xor_block(s, a->round_key[round]);
    }
}

void aes128_decrypt(const aes128 *a, uint8_t s[16]) {
    for (int round = AES_ROUNDS; round > 0; round--) {
        xor_block(s, a->round_key[round]);
        if (round < AES_ROUNDS)
            unmix_columns(s);
        shift_rows(s, 3);
        substitute(s, inv_sbox);
    }
    xor_block(s, a->round_key[0]);
}

/* dst needs room for len rounded up to the next whole block; returns the padded size. */
size_t aes_cbc_encrypt(const aes128 *a, const uint8_t iv[16], const uint8_t *src, size_t len,
                       uint8_t *dst) {
    size_t padded = len + AES_BLOCK - len % AES_BLOCK;
    const uint8_t *chain = iv;
    memmove(dst, src, len);
    memset(dst + len, (int)(padded - len), padded - len);
    for (size_t at = 0; at < padded; at += AES_BLOCK) {
        xor_block(dst + at, chain);
        aes128_encrypt(a, dst + at);
        chain = dst + at;
    }
    return padded;
}

/* Returns the plaintext length, or -1 if the size or the padding is wrong. */
long aes_cbc_decrypt(const aes128 *a, const uint8_t iv[16], const uint8_t *src, size_t len,
                     uint8_t *dst) {
    uint8_t chain[AES_BLOCK], cipher[AES_BLOCK];
    if (len == 0 || len % AES_BLOCK != 0)
        return -1;
    memcpy(chain, iv, AES_BLOCK);
    for (size_t at = 0; at < len; at += AES_BLOCK) {
        memcpy(cipher, src + at, AES_BLOCK);
        memcpy(dst + at, cipher, AES_BLOCK);
        aes128_decrypt(a, dst + at);
        xor_block(dst + at, chain);
        memcpy(chain, cipher, AES_BLOCK);
    }
    unsigned pad = dst[len - 1];
    unsigned bad = pad == 0 || pad > AES_BLOCK;
    for (unsigned i = 0; i < AES_BLOCK; i++) {
        if (i < pad)
            bad |= dst[len - 1 - i] ^ pad;
    }
    return bad ? -1 : (long)(len - pad);
}

void aes_ctr_init(aes_ctr *c, const uint8_t key[16], const uint8_t nonce[12]) {
    aes128_set_key(&c->cipher, key);
    memcpy(c->counter, nonce, 12);
    memset(c->counter + 12, 0, 4);
    c->counter[15] = 1;
    c->used = AES_BLOCK;
}

void aes_ctr_crypt(aes_ctr *c, uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (c->used == AES_BLOCK) {
            memcpy(c->keystream, c->counter, AES_BLOCK);
            aes128_encrypt(&c->cipher, c->keystream);
            for (int k = AES_BLOCK - 1; k >= 12 && ++c->counter[k] == 0; k--)
                ;
            c->used = 0;
        }
        data[i] ^= c->keystream[c->used++];
    }
}

static void double_block(uint8_t b[16]) {
    uint8_t carry = b[0] >> 7;
    for (int i = 0; i < AES_BLOCK; i++)
        b[i] = (uint8_t)(b[i] << 1 | (i < 15 ? b[i + 1] >> 7 : 0));
    if (carry)
        b[15] ^= 0x87;
}

void aes_cmac_init(aes_cmac *m, const uint8_t key[16]) {
    memset(m, 0, sizeof *m);
    aes128_set_key(&m->cipher, key);
}

void aes_cmac_update(aes_cmac *m, const uint8_t *p, size_t len) {
    for (; len > 0; len--) {
        if (m->fill == AES_BLOCK) { /* keep the last block back: it is treated specially */
            xor_block(m->state, m->pending);
            aes128_encrypt(&m->cipher, m->state);
            m->fill = 0;
        }
        m->pending[m->fill++] = *p++;
    }
}

void aes_cmac_final(aes_cmac *m, uint8_t tag[16]) {
    uint8_t subkey[AES_BLOCK] = {0};
    aes128_encrypt(&m->cipher, subkey);
    double_block(subkey);
    if (m->fill < AES_BLOCK) {
        double_block(subkey);
        m->pending[m->fill++] = 0x80;
        memset(m->pending + m->fill, 0, AES_BLOCK - m->fill);
    }
    memcpy(tag, m->state, AES_BLOCK);
    xor_block(tag, m->pending);
    xor_block(tag, subkey);
    aes128_encrypt(&m->cipher, tag);
}

static unsigned from_hex(const char *hex, uint8_t *out) {
    static const char digits[] = "0123456789abcdef";
    unsigned n = 0;
    for (; hex[2 * n]; n++) {
        const char *hi = strchr(digits, hex[2 * n]);
        const char *lo = strchr(digits, hex[2 * n + 1]);
        if (!hi || !lo || !*lo)
            return 0;
        out[n] = (uint8_t)((hi - digits) << 4 | (lo - digits));
    }
    return n;
}

static bool equals_hex(const uint8_t *data, const char *hex) {
    uint8_t want[64];
    unsigned n = from_hex(hex, want);
    return n > 0 && memcmp(data, want, n) == 0;
}

static uint32_t fold(uint32_t h, const uint8_t *p, size_t n) {
    while (n--)
        h = (h << 7 | h >> 25) + *p++;
    return h;
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("failed: %s\n", #cond);                                                         \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

int main(void) {
    static const char letter[] =
        "Meet me where the old tram line crosses the canal; bring both keys and no lantern.";
    uint8_t key[16], iv[16], block[64], buf[112], copy[112];
    uint32_t digest = 1;
    aes128 aes;
    aes_ctr ctr;
    aes_cmac mac;

    build_sboxes();

    /* FIPS-197 appendix C.1 */
    from_hex("000102030405060708090a0b0c0d0e0f", key);
    from_hex("00112233445566778899aabbccddeeff", block);
    aes128_set_key(&aes, key);
    aes128_encrypt(&aes, block);
    CHECK(equals_hex(block, "69c4e0d86a7b0430d8cdb78070b4c55a"));
    aes128_decrypt(&aes, block);
    CHECK(equals_hex(block, "00112233445566778899aabbccddeeff"));

    /* SP 800-38A F.2.1, first block of CBC */
    from_hex("2b7e151628aed2a6abf7158809cf4f3c", key);
    from_hex("6bc1bee22e409f96e93d7e117393172a", block);
    for (uint8_t i = 0; i < 16; i++)
        iv[i] = i;
    aes128_set_key(&aes, key);
    aes_cbc_encrypt(&aes, iv, block, 16, buf);
    CHECK(equals_hex(buf, "7649abac8119b246cee98e9b12e9197d"));

    /* RFC 4493, empty and one-block messages */
    aes_cmac_init(&mac, key);
    aes_cmac_final(&mac, copy);
    CHECK(equals_hex(copy, "bb1d6929e95937287fa37d129b756746"));
    aes_cmac_init(&mac, key);
    aes_cmac_update(&mac, block, 16);
    aes_cmac_final(&mac, copy);
    CHECK(equals_hex(copy, "070a16b46b4d4144f79bdd9dd04a287c"));
    puts("published vectors ok");

    for (size_t len = 0; len <= sizeof letter; len += 9) {
        size_t padded = aes_cbc_encrypt(&aes, iv, (const uint8_t *)letter, len, buf);
        digest = fold(digest, buf, padded);
        CHECK(aes_cbc_decrypt(&aes, iv, buf, padded, copy) == (long)len);
        CHECK(memcmp(copy, letter, len) == 0);
        buf[padded - 1] ^= 1;
        CHECK(aes_cbc_decrypt(&aes, iv, buf, padded - 1, copy) < 0);
        memcpy(iv, buf, AES_BLOCK);
    }

    /* CTR: uneven chunks must give the same stream as one call. */
    memcpy(buf, letter, sizeof letter);
    memcpy(copy, letter, sizeof letter);
    aes_ctr_init(&ctr, key, iv);
    aes_ctr_crypt(&ctr, buf, sizeof letter);
    aes_ctr_init(&ctr, key, iv);
    for (size_t at = 0, step = 1; at < sizeof letter; at += step, step = step * 2 + 1) {
        size_t left = sizeof letter - at;
        aes_ctr_crypt(&ctr, copy + at, step < left ? step : left);
    }
    CHECK(memcmp(buf, copy, sizeof letter) == 0);
    digest = fold(digest, buf, sizeof letter);

    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
