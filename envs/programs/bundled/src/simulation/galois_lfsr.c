/* Maximal-length Galois shift registers: measures their periods and the balance of their output. */
#include <stdint.h>
#include <stdio.h>

typedef struct lfsr {
    uint32_t state; /* never zero */
    uint32_t taps;
} lfsr;

unsigned lfsr_next(lfsr *r) {
    unsigned out = r->state & 1;
    r->state >>= 1;
    if (out)
        r->state ^= r->taps;
    return out;
}

/* Steps until the register is back where it started; counts the ones it emitted on the way. */
static uint32_t lfsr_period(lfsr r, uint32_t *ones) {
    const uint32_t start = r.state;
    uint32_t steps = 0;
    *ones = 0;
    do {
        *ones += lfsr_next(&r);
        steps++;
    } while (r.state != start);
    return steps;
}

static const struct {
    unsigned width;
    uint32_t taps;
} registers[] = {{4, 0xc}, {7, 0x60}, {10, 0x240}, {13, 0x1b00}, {16, 0xb400}};

int main(void) {
    uint32_t checksum = 0;
    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++) {
        lfsr r = {1, registers[i].taps};
        uint32_t ones, period = lfsr_period(r, &ones);
        if (period != (1u << registers[i].width) - 1 || 2 * ones != period + 1)
            return 1;
        printf("%2u bits: period %u\n", registers[i].width, period);
        checksum = checksum * 1000003 ^ ones << registers[i].width;
    }
    printf("checksum %08x\n", checksum);
    return 0;
}
