/* XTEA block cipher (64-bit blocks, 128-bit key, 32 cycles), tried on a published vector and in a
   chained round trip. */
#include <stdint.h>
#include <stdio.h>

enum { CYCLES = 32 };
static const uint32_t DELTA = 0x9e3779b9;

#define MIX(v) ((((v) << 4) ^ ((v) >> 5)) + (v))

void xtea_encrypt(const uint32_t key[4], uint32_t block[2]) {
    uint32_t a = block[0], b = block[1], sum = 0;
    for (int i = 0; i < CYCLES; i++) {
        a += MIX(b) ^ (sum + key[sum & 3]);
        sum += DELTA;
        b += MIX(a) ^ (sum + key[sum >> 11 & 3]);
    }
    block[0] = a;
    block[1] = b;
}

void xtea_decrypt(const uint32_t key[4], uint32_t block[2]) {
    uint32_t a = block[0], b = block[1], sum = DELTA * CYCLES;
    for (int i = 0; i < CYCLES; i++) {
        b -= MIX(a) ^ (sum + key[sum >> 11 & 3]);
        sum -= DELTA;
        a -= MIX(b) ^ (sum + key[sum & 3]);
    }
    block[0] = a;
    block[1] = b;
}

int main(void) {
    static const uint32_t key[4] = {0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f};
    uint32_t block[2] = {0x41424344, 0x45464748};
    xtea_encrypt(key, block);
    printf("vector %08x %08x\n", block[0], block[1]);
    if (block[0] != 0x497df3d0 || block[1] != 0x72612cb5)
        return 1;
    for (int i = 0; i < 20; i++)
        xtea_encrypt(key, block);
    uint32_t checksum = block[0] ^ block[1];
    for (int i = 0; i < 21; i++)
        xtea_decrypt(key, block);
    printf("checksum %08x\n", checksum);
    return block[0] != 0x41424344 || block[1] != 0x45464748;
}
