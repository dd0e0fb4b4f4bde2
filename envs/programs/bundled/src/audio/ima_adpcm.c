// IMA ADPCM block codec: 16-bit PCM <-> 4-bit deltas. Every block starts with the predictor state,
// so that a player can seek to any block.
#include <stdint.h>
#include <stdio.h>

#define BLOCK_BYTES 256
#define BLOCK_HEADER 4
#define BLOCK_SAMPLES ((BLOCK_BYTES - BLOCK_HEADER) * 2 + 1)

static const int16_t step_table[89] = {
    7,     8,     9,     10,    11,    12,    13,    14,    16,    17,    19,   21,    23,
    25,    28,    31,    34,    37,    41,    45,    50,    55,    60,    66,   73,    80,
    88,    97,    107,   118,   130,   143,   157,   173,   190,   209,   230,  253,   279,
    307,   337,   371,   408,   449,   494,   544,   598,   658,   724,   796,  876,   963,
    1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,  2272,  2499,  2749, 3024,  3327,
    3660,  4026,  4428,  4871,  5358,  5894,  6484,  7132,  7845,  8630,  9493, 10442, 11487,
    12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767};

static const int8_t index_adjust[8] = {-1, -1, -1, -1, 2, 4, 6, 8};

typedef struct {
    int predictor; // last reconstructed sample
    int index;     // position in step_table
} AdpcmState;

static int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

// Applies one code to the state; shared by both directions so that they cannot drift apart.
static void adpcm_apply(AdpcmState *s, unsigned code) {
    int step = step_table[s->index];
    int delta = step >> 3;
    if (code & 4)
        delta += step;
    if (code & 2)
        delta += step >> 1;
    if (code & 1)
        delta += step >> 2;
    s->predictor = clamp(code & 8 ? s->predictor - delta : s->predictor + delta, -32768, 32767);
    s->index = clamp(s->index + index_adjust[code & 7], 0, 88);
}

static unsigned adpcm_quantise(const AdpcmState *s, int sample) {
    int step = step_table[s->index];
    int diff = sample - s->predictor;
    unsigned code = 0;
    if (diff < 0) {
        code = 8;
        diff = -diff;
    }
    for (unsigned bit = 4; bit; bit >>= 1, step >>= 1) {
        if (diff >= step) {
            code |= bit;
            diff -= step;
        }
    }
    return code;
}

// Encodes exactly BLOCK_SAMPLES samples; the step index carries over from block to block.
void adpcm_encode_block(AdpcmState *s, const int16_t *pcm, uint8_t *out) {
    s->predictor = pcm[0];
    out[0] = (uint8_t)(pcm[0] & 0xff);
    out[1] = (uint8_t)((pcm[0] >> 8) & 0xff);
    out[2] = (uint8_t)s->index;
    out[3] = 0;
    for (int i = 1; i < BLOCK_SAMPLES; i++) {
        unsigned code = adpcm_quantise(s, pcm[i]);
        uint8_t *slot = &out[BLOCK_HEADER + (i - 1) / 2];
        adpcm_apply(s, code);
        if (i & 1)
            *slot = (uint8_t)code;
        else
            *slot |= (uint8_t)(code << 4);
    }
}

// Returns the number of samples written, or -1 if the header is not valid.
int adpcm_decode_block(const uint8_t *in, int16_t *pcm) {
    AdpcmState s;
    s.predictor = (int16_t)(uint16_t)(in[0] | in[1] << 8);
    s.index = in[2];
    if (s.index > 88)
        return -1;
    *pcm++ = (int16_t)s.predictor;
    for (int i = BLOCK_HEADER; i < BLOCK_BYTES; i++) {
        adpcm_apply(&s, in[i] & 15u);
        *pcm++ = (int16_t)s.predictor;
        adpcm_apply(&s, in[i] >> 4);
        *pcm++ = (int16_t)s.predictor;
    }
    return BLOCK_SAMPLES;
}

// A swept triangle with a little noise on top.
static void make_signal(int16_t *pcm, int n) {
    uint32_t phase = 0;
    for (int i = 0; i < n; i++) {
        phase += 0x00800000u + (uint32_t)i * 3000u;
        int ramp = (int)(phase >> 16), noise = (int)(phase * 2654435761u >> 25);
        pcm[i] = (int16_t)((ramp < 32768 ? ramp - 16384 : 49151 - ramp) + noise);
    }
}

int main(void) {
    enum { BLOCKS = 12, TOTAL = BLOCKS * BLOCK_SAMPLES };
    static int16_t pcm[TOTAL], back[TOTAL];
    static uint8_t coded[BLOCKS][BLOCK_BYTES];
    AdpcmState enc = {0, 0};

    make_signal(pcm, TOTAL);
    for (int b = 0; b < BLOCKS; b++)
        adpcm_encode_block(&enc, pcm + b * BLOCK_SAMPLES, coded[b]);
    // Decode back to front: blocks must not depend on one another.
    for (int b = BLOCKS - 1; b >= 0; b--)
        if (adpcm_decode_block(coded[b], back + b * BLOCK_SAMPLES) < 0)
            return 1;

    int64_t signal = 0, error = 1;
    uint32_t hash = 2166136261u;
    for (int i = 0; i < TOTAL; i++) {
        int e = pcm[i] - back[i];
        signal += pcm[i] * pcm[i];
        error += e * e;
        hash = (hash ^ (uint16_t)back[i]) * 16777619u;
    }
    printf("ima-adpcm %d samples, signal/error power ratio %d\n", TOTAL, (int)(signal / error));
    printf("checksum %08x\n", hash);
    return signal / error > 50 ? 0 : 2;
}
