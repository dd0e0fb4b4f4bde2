// Audio effect chain behind a small vtable: parametric biquad equaliser, rational polyphase
// resampler and look-ahead limiter, processed block by block.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

typedef struct Effect Effect;

typedef struct {
    const char *name;
    // Returns the number of output samples; out holds at least twice as many as in.
    int (*process)(Effect *self, const double *in, int n, double *out);
    void (*reset)(Effect *self);
} EffectOps;

struct Effect {
    const EffectOps *ops;
    Effect *next;
};

// ---- biquad -----------------------------------------------------------------------------------

typedef enum { BAND_LOW_PASS, BAND_HIGH_PASS, BAND_PEAK, BAND_LOW_SHELF, BAND_HIGH_SHELF } BandKind;

typedef struct {
    Effect base;
    double b0, b1, b2, a1, a2;
    double z1, z2;
} Biquad;

static int biquad_process(Effect *self, const double *in, int n, double *out) {
    Biquad *f = (Biquad *)self;
    for (int i = 0; i < n; i++) { // transposed direct form II
        double y = f->b0 * in[i] + f->z1;
        f->z1 = f->b1 * in[i] - f->a1 * y + f->z2;
        f->z2 = f->b2 * in[i] - f->a2 * y;
        out[i] = y;
    }
    return n;
}

static void biquad_reset(Effect *self) {
    Biquad *f = (Biquad *)self;
    f->z1 = f->z2 = 0;
}

static const EffectOps biquad_ops = {"biquad", biquad_process, biquad_reset};

// The well-known "audio EQ cookbook" designs.
Effect *biquad_create(BandKind kind, double rate, double frequency, double q, double gain_db) {
    Biquad *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    double w = 2 * PI * frequency / rate, c = cos(w), alpha = sin(w) / (2 * q);
    double a = pow(10, gain_db / 40), beta = 2 * sqrt(a) * alpha, a0 = 1;
    f->base.ops = &biquad_ops;
    switch (kind) {
    case BAND_LOW_PASS:
    case BAND_HIGH_PASS: {
        double sign = kind == BAND_LOW_PASS ? 1 : -1;
        f->b1 = sign - c;
        f->b0 = f->b2 = sign * f->b1 / 2;
        a0 = 1 + alpha;
        f->a1 = -2 * c;
        f->a2 = 1 - alpha;
        break;
    }
    case BAND_PEAK:
        f->b0 = 1 + alpha * a;
        f->b1 = f->a1 = -2 * c;
        f->b2 = 1 - alpha * a;
        a0 = 1 + alpha / a;
        f->a2 = 1 - alpha / a;
        break;
    case BAND_LOW_SHELF:
    case BAND_HIGH_SHELF: {
        double s = kind == BAND_LOW_SHELF ? 1 : -1;
        f->b0 = a * (a + 1 - s * (a - 1) * c + beta);
        f->b1 = s * 2 * a * (a - 1 - s * (a + 1) * c);
        f->b2 = a * (a + 1 - s * (a - 1) * c - beta);
        a0 = a + 1 + s * (a - 1) * c + beta;
        f->a1 = s * -2 * (a - 1 + s * (a + 1) * c);
        f->a2 = a + 1 + s * (a - 1) * c - beta;
        break;
    }
    }
    f->b0 /= a0;
    f->b1 /= a0;
    f->b2 /= a0;
    f->a1 /= a0;
    f->a2 /= a0;
    return &f->base;
}

// ---- resampler --------------------------------------------------------------------------------

enum { RESAMPLER_TAPS = 12, RESAMPLER_MAX_UP = 4 };

typedef struct {
    Effect base;
    int up, down, phase;
    double kernel[RESAMPLER_MAX_UP][RESAMPLER_TAPS];
    double history[RESAMPLER_TAPS];
} Resampler;

static int resampler_process(Effect *self, const double *in, int n, double *out) {
    Resampler *r = (Resampler *)self;
    int produced = 0;
    for (int i = 0; i < n; i++) {
        memmove(r->history + 1, r->history, sizeof r->history - sizeof r->history[0]);
        r->history[0] = in[i];
        for (; r->phase < r->up; r->phase += r->down) {
            double sum = 0;
            for (int t = 0; t < RESAMPLER_TAPS; t++)
                sum += r->history[t] * r->kernel[r->phase][t];
            out[produced++] = sum;
        }
        r->phase -= r->up;
    }
    return produced;
}

static void resampler_reset(Effect *self) {
    Resampler *r = (Resampler *)self;
    r->phase = 0;
    memset(r->history, 0, sizeof r->history);
}

static const EffectOps resampler_ops = {"resampler", resampler_process, resampler_reset};

// A Hann-windowed sinc, cut off at the lower of the two Nyquist frequencies.
Effect *resampler_create(int up, int down) {
    Resampler *r = up <= RESAMPLER_MAX_UP ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return NULL;
    double cutoff = up < down ? (double)up / down : 1, half = RESAMPLER_TAPS / 2.0;
    r->base.ops = &resampler_ops;
    r->up = up;
    r->down = down;
    for (int p = 0; p < up; p++) {
        double total = 0;
        for (int t = 0; t < RESAMPLER_TAPS; t++) {
            double x = t - half + (double)p / up;
            double sinc = fabs(x) < 1e-9 ? cutoff : sin(PI * x * cutoff) / (PI * x);
            r->kernel[p][t] = sinc * (0.5 + 0.5 * cos(PI * x / half));
            total += r->kernel[p][t];
        }
        for (int t = 0; t < RESAMPLER_TAPS; t++)
            r->kernel[p][t] /= total;
    }
    return &r->base;
}

// ---- limiter ----------------------------------------------------------------------------------

enum { LIMITER_LOOKAHEAD = 16 };

typedef struct {
    Effect base;
    double ceiling, release, gain;
    double delay[LIMITER_LOOKAHEAD];
    int at;
} Limiter;

static int limiter_process(Effect *self, const double *in, int n, double *out) {
    Limiter *l = (Limiter *)self;
    for (int i = 0; i < n; i++) {
        double peak = fabs(in[i]);
        for (int k = 0; k < LIMITER_LOOKAHEAD; k++)
            peak = fmax(peak, fabs(l->delay[k]));
        double target = peak > l->ceiling ? l->ceiling / peak : 1;
        l->gain = target < l->gain ? target : l->gain + (target - l->gain) * l->release;
        out[i] = l->delay[l->at] * l->gain;
        l->delay[l->at] = in[i];
        l->at = (l->at + 1) % LIMITER_LOOKAHEAD;
    }
    return n;
}

static void limiter_reset(Effect *self) {
    Limiter *l = (Limiter *)self;
    l->gain = 1;
    l->at = 0;
    memset(l->delay, 0, sizeof l->delay);
}

static const EffectOps limiter_ops = {"limiter", limiter_process, limiter_reset};

Effect *limiter_create(double ceiling, double release) {
    Limiter *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->base.ops = &limiter_ops;
    l->ceiling = ceiling;
    l->release = release;
    limiter_reset(&l->base);
    return &l->base;
}

// ---- chain ------------------------------------------------------------------------------------

enum { BLOCK = 64 };

static bool chain_append(Effect **chain, Effect *e) {
    while (*chain)
        chain = &(*chain)->next;
    *chain = e;
    return e != NULL;
}

static void chain_free(Effect *chain) {
    while (chain) {
        Effect *next = chain->next;
        free(chain);
        chain = next;
    }
}

int chain_process(Effect *chain, const double *in, int n, double *out) {
    double buffers[2][4 * BLOCK];
    int side = 0;
    memcpy(buffers[0], in, sizeof *in * (size_t)n);
    for (Effect *e = chain; e; e = e->next, side ^= 1)
        n = e->ops->process(e, buffers[side], n, buffers[side ^ 1]);
    memcpy(out, buffers[side], sizeof *out * (size_t)n);
    return n;
}

// ---- demonstration ----------------------------------------------------------------------------

static const struct {
    BandKind kind;
    double frequency, q, gain_db;
} preset[] = {
    {BAND_HIGH_PASS, 60, 0.707, 0},    {BAND_LOW_SHELF, 200, 0.707, 4},  {BAND_PEAK, 1000, 1.5, -9},
    {BAND_HIGH_SHELF, 6000, 0.707, 5}, {BAND_LOW_PASS, 14000, 0.707, 0},
};

static Effect *build_chain(double rate) {
    Effect *chain = NULL;
    bool ok = true;
    for (size_t i = 0; i < sizeof preset / sizeof preset[0]; i++)
        ok = ok && chain_append(&chain, biquad_create(preset[i].kind, rate, preset[i].frequency,
                                                      preset[i].q, preset[i].gain_db));
    ok = ok && chain_append(&chain, resampler_create(2, 3)); // 48 kHz to 32 kHz
    ok = ok && chain_append(&chain, limiter_create(0.8, 0.002));
    if (!ok) {
        chain_free(chain);
        return NULL;
    }
    return chain;
}

int main(void) {
    static const double tones[] = {30, 120, 1000, 3000, 9000};
    const double rate = 48000;
    Effect *chain = build_chain(rate);
    uint32_t checksum = 2166136261u;
    double loudest = 0, level[5];
    if (!chain)
        return 1;
    for (int t = 0; t < 5; t++) {
        double in[BLOCK], out[2 * BLOCK], energy = 0;
        int produced = 0;
        for (Effect *e = chain; e; e = e->next)
            e->ops->reset(e);
        for (int block = 0; block < 24; block++) {
            for (int i = 0; i < BLOCK; i++)
                in[i] = 0.6 * sin(2 * PI * tones[t] / rate * (block * BLOCK + i));
            int n = chain_process(chain, in, BLOCK, out);
            for (int i = 0; i < n; i++) {
                loudest = fmax(loudest, fabs(out[i]));
                if (block >= 8) {
                    energy += out[i] * out[i];
                    produced++;
                }
            }
            // quantised coarsely: the last bits of sin() and pow() are not portable
            checksum = (checksum ^ (uint32_t)(int32_t)floor(out[n / 2] * 5000 + 0.5)) * 16777619u;
        }
        level[t] = 10 * log10(energy / produced / 0.18);
    }
    printf("response dB: %.1f %.1f %.1f %.1f %.1f\n", level[0], level[1], level[2], level[3],
           level[4]);
    printf("peak %.3f\n", loudest);
    printf("checksum %08x\n", checksum);
    chain_free(chain);
    bool shaped = level[2] < -6 && level[0] < level[1] && loudest < 0.8001;
    return shaped ? 0 : 2;
}
