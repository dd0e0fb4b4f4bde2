// Greyscale filter pipeline: luma conversion, 3x3 convolutions with clamped borders, a median
// filter and Sobel edge magnitudes, chained from a table of named stages.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int width, height;
    uint8_t *px;
} Gray;

typedef struct {
    int8_t weight[9];
    int8_t divisor, bias;
} Kernel;

static const Kernel blur = {{1, 2, 1, 2, 4, 2, 1, 2, 1}, 16, 0};
static const Kernel sharpen = {{0, -1, 0, -1, 5, -1, 0, -1, 0}, 1, 0};
static const Kernel emboss = {{-2, -1, 0, -1, 1, 1, 0, 1, 2}, 1, 64};

typedef uint8_t (*PixelOp)(const uint8_t window[9], const Kernel *k);

static int clamp(int v, int max) {
    return v < 0 ? 0 : v > max ? max : v;
}

static uint8_t op_convolve(const uint8_t window[9], const Kernel *k) {
    int sum = 0;
    for (int i = 0; i < 9; i++)
        sum += window[i] * k->weight[i];
    return (uint8_t)clamp(sum / k->divisor + k->bias, 255);
}

static uint8_t op_median(const uint8_t window[9], const Kernel *k) {
    uint8_t sorted[9];
    (void)k;
    for (int i = 0; i < 9; i++) {
        int j = i;
        for (; j > 0 && sorted[j - 1] > window[i]; j--)
            sorted[j] = sorted[j - 1];
        sorted[j] = window[i];
    }
    return sorted[4];
}

static uint8_t op_sobel(const uint8_t p[9], const Kernel *k) {
    (void)k;
    int gx = (p[2] + 2 * p[5] + p[8]) - (p[0] + 2 * p[3] + p[6]);
    int gy = (p[6] + 2 * p[7] + p[8]) - (p[0] + 2 * p[1] + p[2]);
    return (uint8_t)clamp((abs(gx) + abs(gy)) / 2, 255);
}

// Runs op over every 3x3 window of src; pixels outside repeat the border.
void gray_filter(const Gray *src, Gray *dst, PixelOp op, const Kernel *k) {
    uint8_t window[9];
    for (int y = 0; y < src->height; y++) {
        for (int x = 0; x < src->width; x++) {
            for (int i = 0; i < 9; i++) {
                int sx = clamp(x + i % 3 - 1, src->width - 1);
                int sy = clamp(y + i / 3 - 1, src->height - 1);
                window[i] = src->px[sy * src->width + sx];
            }
            dst->px[y * dst->width + x] = op(window, k);
        }
    }
}

// Rec. 601 luma in 8.8 fixed point.
void rgb_to_gray(const uint8_t *rgb, Gray *out) {
    for (int i = 0; i < out->width * out->height; i++, rgb += 3)
        out->px[i] = (uint8_t)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2] + 128) >> 8);
}

static uint32_t adler(const Gray *g) {
    uint32_t a = 1, b = 0;
    for (int i = 0; i < g->width * g->height; i++) {
        a = (a + g->px[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

// Concentric rings on a colour ramp, with a few white specks.
static void paint_test_card(uint8_t *rgb, int w, int h) {
    uint32_t noise = 1;
    for (int i = 0; i < w * h; i++, rgb += 3) {
        int dx = i % w - w / 2, dy = i / w - h / 2;
        int ring = (dx * dx + dy * dy) / 40 % 2 ? 200 : 40;
        noise = noise * 1664525u + 1013904223u;
        rgb[0] = (uint8_t)ring;
        rgb[1] = (uint8_t)(ring / 2 + i % w);
        rgb[2] = (uint8_t)(ring / 4 + i / w);
        if (noise >> 27 == 0)
            memset(rgb, 255, 3);
    }
}

int main(void) {
    static const struct {
        PixelOp op;
        const Kernel *kernel;
    } stages[] = {{op_median, NULL},      {op_convolve, &sharpen}, {op_convolve, &blur},
                  {op_convolve, &emboss}, {op_median, NULL},       {op_sobel, NULL}};
    enum { W = 56, H = 40 };
    static uint8_t rgb[W * H * 3], first[W * H], second[W * H];
    Gray planes[2] = {{W, H, first}, {W, H, second}};
    uint32_t checksum = 0;

    paint_test_card(rgb, W, H);
    rgb_to_gray(rgb, &planes[0]);
    for (unsigned s = 0; s < sizeof stages / sizeof stages[0]; s++) {
        gray_filter(&planes[s & 1], &planes[~s & 1], stages[s].op, stages[s].kernel);
        checksum = checksum * 31 + adler(&planes[~s & 1]);
    }
    printf("edges adler %08x\n", adler(&planes[0]));
    printf("checksum %08x\n", checksum);
    return 0;
}
