// Decodes touch tones with one fixed-point Goertzel filter per tone; the dialled number is
// synthesised with a recursive oscillator, so that nothing depends on a maths library.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 205 // samples at 8 kHz

// 2 cos(w) and sin(w) of each tone in units of 2^-14, rows of the keypad before its columns
static const struct tone {
    int32_t coefficient, sine;
} tones[8] = {
    {27980, 8528},  {26956, 9315},  {25701, 10163}, {24219, 11036},
    {19073, 13323}, {16325, 14206}, {13085, 15021}, {9315, 15708},
};
static const char keypad[] = "123A456B789C*0#D";

static void add_tone(int32_t *out, const struct tone *t) {
    int32_t before = 0, now = t->sine;
    for (int i = 0; i < BLOCK; i++) {
        int32_t next = (int32_t)((int64_t)t->coefficient * now / 16384) - before;
        out[i] += now;
        before = now;
        now = next;
    }
}

// Energy of the samples at the tone's frequency.
int64_t goertzel_power(const int32_t *samples, const struct tone *t) {
    int64_t s, s1 = 0, s2 = 0;
    for (int i = 0; i < BLOCK; i++, s2 = s1, s1 = s)
        s = t->coefficient * s1 / 16384 - s2 + samples[i];
    return s1 * s1 + s2 * s2 - t->coefficient * s1 / 16384 * s2;
}

static int loudest(const int32_t *samples, const struct tone *group) {
    int64_t powers[4];
    int best = 0;
    for (int i = 0; i < 4; i++) {
        powers[i] = goertzel_power(samples, &group[i]);
        if (powers[i] > powers[best])
            best = i;
    }
    return best;
}

int main(void) {
    static const char number[] = "0123456789*#ABCD";
    char heard[sizeof number] = "";
    uint32_t checksum = 0;
    for (size_t i = 0; number[i]; i++) {
        int32_t samples[BLOCK] = {0};
        long key = strchr(keypad, number[i]) - keypad;
        add_tone(samples, &tones[key / 4]);
        add_tone(samples, &tones[4 + key % 4]);
        heard[i] = keypad[loudest(samples, tones) * 4 + loudest(samples, tones + 4)];
        checksum = checksum * 31 + (uint32_t)samples[BLOCK - 1];
    }
    printf("heard %s\n", heard);
    printf("checksum %08x\n", checksum);
    return strcmp(heard, number) != 0;
}
