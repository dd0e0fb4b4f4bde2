/* Run-length coding of zero bytes only, for sparse data such as deltas: a zero is followed by the
   number of further zeros, and everything else passes through unchanged. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* dst needs room for 2 * len bytes. Returns the packed size. */
size_t zero_run_pack(const uint8_t *src, size_t len, uint8_t *dst) {
    const uint8_t *end = src + len;
    uint8_t *out = dst;
    while (src < end) {
        if ((*out++ = *src++) != 0)
            continue;
        for (*out = 0; src < end && *src == 0 && *out < UINT8_MAX; src++)
            ++*out;
        out++;
    }
    return (size_t)(out - dst);
}

/* Returns the unpacked size, or 0 if the data is cut off or does not fit. */
size_t zero_run_unpack(const uint8_t *src, size_t len, uint8_t *dst, size_t room) {
    const uint8_t *end = src + len;
    size_t out = 0, run;
    for (; src < end; out += run) {
        uint8_t byte = *src++;
        run = 1;
        if (byte == 0) {
            if (src == end)
                return 0;
            run += *src++;
        }
        if (run > room - out)
            return 0;
        memset(dst + out, byte, run);
    }
    return out;
}

int main(void) {
    static uint8_t deltas[1500], packed[2 * sizeof deltas], unpacked[sizeof deltas];
    uint32_t checksum = 0;
    for (size_t i = 0; i < sizeof deltas; i++)
        deltas[i] = (uint8_t)(i % 400 < 300 ? 0 : i * i >> 8 & 3);
    size_t size = zero_run_pack(deltas, sizeof deltas, packed);
    for (size_t i = 0; i < size; i++)
        checksum = checksum * 31 + packed[i];
    printf("%zu -> %zu bytes\n", sizeof deltas, size);
    printf("checksum %08x\n", checksum);
    if (zero_run_unpack(packed, size, unpacked, sizeof unpacked) != sizeof deltas)
        return 1;
    return memcmp(deltas, unpacked, sizeof deltas) != 0;
}
