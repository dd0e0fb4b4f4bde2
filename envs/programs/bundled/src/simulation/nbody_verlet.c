// Planar n-body gravity with the velocity Verlet scheme and a check on the energy.
#include <math.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    double x, y;
} vec2;

typedef struct {
    vec2 pos, vel, acc;
    double mass;
} body;

enum { STEPS = 500 };

static const double softening = 1e-3;

static vec2 add_scaled(vec2 a, double k, vec2 b) {
    return (vec2){a.x + k * b.x, a.y + k * b.y};
}

void accelerate(body *b, int n) {
    for (int i = 0; i < n; i++)
        b[i].acc = (vec2){0, 0};
    for (int i = 0; i < n; i++) {
        for (int j = i + 1; j < n; j++) {
            vec2 d = add_scaled(b[j].pos, -1, b[i].pos);
            double r2 = d.x * d.x + d.y * d.y + softening;
            double k = 1.0 / (r2 * sqrt(r2));
            b[i].acc = add_scaled(b[i].acc, k * b[j].mass, d);
            b[j].acc = add_scaled(b[j].acc, -k * b[i].mass, d);
        }
    }
}

void verlet_step(body *b, int n, double dt) {
    for (int i = 0; i < n; i++) {
        b[i].vel = add_scaled(b[i].vel, dt / 2, b[i].acc);
        b[i].pos = add_scaled(b[i].pos, dt, b[i].vel);
    }
    accelerate(b, n);
    for (int i = 0; i < n; i++)
        b[i].vel = add_scaled(b[i].vel, dt / 2, b[i].acc);
}

double total_energy(const body *b, int n) {
    double e = 0;
    for (int i = 0; i < n; i++) {
        e += b[i].mass * (b[i].vel.x * b[i].vel.x + b[i].vel.y * b[i].vel.y) / 2;
        for (int j = i + 1; j < n; j++) {
            vec2 d = add_scaled(b[j].pos, -1, b[i].pos);
            e -= b[i].mass * b[j].mass / sqrt(d.x * d.x + d.y * d.y + softening);
        }
    }
    return e;
}

static body solar[] = {
    {{0, 0}, {0, 0}, {0, 0}, 1.0},
    {{0.6, 0}, {0, 1.29}, {0, 0}, 2e-4},
    {{0, -1.1}, {0.95, 0}, {0, 0}, 6e-4},
    {{-1.9, 0.2}, {-0.1, -0.72}, {0, 0}, 1e-3},
    {{-2.4, 2.4}, {0.05, -0.2}, {0, 0}, 1e-6}, // comet
};

int main(void) {
    const int n = sizeof solar / sizeof *solar;
    uint32_t hash = 0;
    accelerate(solar, n);
    double before = total_energy(solar, n);
    for (int s = 0; s < STEPS; s++)
        verlet_step(solar, n, 0.01);
    double drift = fabs(total_energy(solar, n) / before - 1);
    for (int i = 0; i < n; i++)
        hash = hash * 31 + (uint32_t)(int32_t)floor(solar[i].pos.x * 1e5 + 0.5);
    printf("energy %.7f, drift %s\n", before, drift < 1e-4 ? "ok" : "bad");
    printf("checksum %08x\n", hash);
    return drift < 1e-4 ? 0 : 1;
}
