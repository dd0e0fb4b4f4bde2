// In-place radix-2 FFT on split real and imaginary arrays, used to multiply integer polynomials;
// the product is checked by evaluating all three polynomials modulo a prime.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// n is a power of two. Passing the arrays in swapped order runs the unscaled inverse.
void fft(double *re, double *im, size_t n) {
    const double pi = 3.14159265358979323846;
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double r = re[i], s = im[i];
            re[i] = re[j], im[i] = im[j];
            re[j] = r, im[j] = s;
        }
    }
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t k = 0; k < half; k++) {
            double angle = pi * (double)k / (double)half;
            double c = cos(angle), s = sin(angle);
            for (size_t i = k; i < n; i += 2 * half) {
                size_t j = i + half;
                double x = re[j] * c - im[j] * s, y = re[j] * s + im[j] * c;
                re[j] = re[i] - x;
                im[j] = im[i] - y;
                re[i] += x;
                im[i] += y;
            }
        }
    }
}

// Writes na + nb - 1 coefficients. With a in the real and b in the imaginary part, the imaginary
// part of the square is 2ab, so a single forward transform is enough.
int poly_mul(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t *out) {
    size_t n = 1, terms = na + nb - 1;
    while (n < terms)
        n *= 2;
    double *re = calloc(2 * n, sizeof *re), *im = re + n;
    if (!re)
        return -1;
    for (size_t i = 0; i < na; i++)
        re[i] = (double)a[i];
    for (size_t i = 0; i < nb; i++)
        im[i] = (double)b[i];
    fft(re, im, n);
    for (size_t i = 0; i < n; i++) {
        double x = re[i], y = im[i];
        re[i] = x * x - y * y;
        im[i] = 2 * x * y;
    }
    fft(im, re, n);
    for (size_t k = 0; k < terms; k++)
        out[k] = (int64_t)floor(im[k] / (2 * (double)n) + 0.5);
    free(re);
    return 0;
}

// Horner's rule modulo the Mersenne prime 2^31 - 1.
static int64_t eval_mod(const int64_t *c, size_t n, int64_t x) {
    const int64_t p = INT32_MAX;
    int64_t v = 0;
    while (n-- > 0)
        v = (v * x + c[n] % p) % p;
    return v < 0 ? v + p : v;
}

int main(void) {
    enum { NA = 150, NB = 90, NC = NA + NB - 1 };
    int64_t a[NA], b[NB], c[NC];
    uint32_t seed = 12345, hash = 0;

    for (int i = 0; i < NA; i++) {
        seed = seed * 1103515245u + 12345u;
        a[i] = (int64_t)(seed >> 16 & 2047) - 1024;
        if (i < NB)
            b[i] = (int64_t)(seed >> 21) - 1024;
    }
    if (poly_mul(a, NA, b, NB, c) != 0)
        return 2;
    for (int k = 0; k < NC; k++)
        hash = hash * 31 + (uint32_t)c[k];
    printf("c[100]=%lld\nchecksum %08x\n", (long long)c[100], hash);
    return eval_mod(a, NA, 31337) * eval_mod(b, NB, 31337) % INT32_MAX != eval_mod(c, NC, 31337);
}
