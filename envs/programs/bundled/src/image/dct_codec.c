// Lossy image codec in the manner of baseline JPEG: YCbCr with subsampled chroma, integer 8x8 DCT,
// quality-scaled quantisation, zigzag run lengths and canonical Huffman codes built per image.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Published example tables (ITU-T T.81, annex K), in natural order.
static const uint8_t quant_base[2][64] = {
    {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
     14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
     18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
    {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99,
     99, 99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99}};

static const uint8_t zigzag[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

// ---- bit stream -------------------------------------------------------------------------------

typedef struct {
    uint8_t *data;
    size_t size, capacity;
    uint32_t bits;
    int count;
    bool failed;
} BitWriter;

static void put_byte(BitWriter *w, uint8_t b) {
    if (w->size == w->capacity) {
        size_t capacity = w->capacity ? w->capacity * 2 : 512;
        uint8_t *grown = realloc(w->data, capacity);
        if (!grown) {
            w->failed = true;
            return;
        }
        w->data = grown;
        w->capacity = capacity;
    }
    w->data[w->size++] = b;
}

static void put_bits(BitWriter *w, uint32_t value, int n) {
    w->bits = w->bits << n | value;
    w->count += n;
    while (w->count >= 8) {
        w->count -= 8;
        put_byte(w, (uint8_t)(w->bits >> w->count));
    }
}

typedef struct {
    const uint8_t *p, *end;
    uint32_t bits;
    int count;
    bool overrun;
} BitReader;

static uint32_t get_bits(BitReader *r, int n) {
    while (r->count < n) {
        if (r->p == r->end)
            r->overrun = true;
        r->bits = r->bits << 8 | (r->p < r->end ? *r->p++ : 0u);
        r->count += 8;
    }
    r->count -= n;
    return r->bits >> r->count & ((1u << n) - 1);
}

// ---- Huffman codes ----------------------------------------------------------------------------

enum { SYMBOLS = 256, MAX_CODE_BITS = 15 };

typedef struct {
    uint8_t length[SYMBOLS];
    uint16_t code[SYMBOLS];
    uint16_t per_length[MAX_CODE_BITS + 1];
    uint8_t sorted[SYMBOLS];
} HuffmanTable;

static void huffman_assign_codes(HuffmanTable *t) {
    int n = 0;
    uint16_t code = 0;
    memset(t->per_length, 0, sizeof t->per_length);
    for (int bits = 1; bits <= MAX_CODE_BITS; bits++, code = (uint16_t)(code << 1)) {
        for (int s = 0; s < SYMBOLS; s++) {
            if (t->length[s] != bits)
                continue;
            t->sorted[n++] = (uint8_t)s;
            t->code[s] = code++;
            t->per_length[bits]++;
        }
    }
}

// Merges the two rarest trees until one is left; flattens the counts if a code gets too long.
static void huffman_build(HuffmanTable *t, const uint32_t *counts) {
    uint32_t weight[SYMBOLS];
    int16_t tree[SYMBOLS];
    for (int shift = 0;; shift++) {
        int longest = 0;
        for (int s = 0; s < SYMBOLS; s++) {
            weight[s] = counts[s] ? (counts[s] >> shift) + 1 : 0;
            tree[s] = (int16_t)s;
            t->length[s] = 0;
        }
        for (;;) {
            int a = -1, b = -1; // roots with the smallest weights, a <= b
            for (int s = 0; s < SYMBOLS; s++) {
                if (!weight[s])
                    continue;
                if (a < 0 || weight[s] < weight[a]) {
                    b = a;
                    a = s;
                } else if (b < 0 || weight[s] < weight[b]) {
                    b = s;
                }
            }
            if (b < 0) {
                if (a >= 0 && t->length[a] == 0)
                    t->length[a] = 1; // a single symbol still needs a code
                break;
            }
            weight[a] += weight[b];
            weight[b] = 0;
            for (int s = 0; s < SYMBOLS; s++) {
                if (counts[s] && (tree[s] == a || tree[s] == b)) {
                    tree[s] = (int16_t)a;
                    if (++t->length[s] > longest)
                        longest = t->length[s];
                }
            }
        }
        if (longest <= MAX_CODE_BITS)
            break;
    }
    huffman_assign_codes(t);
}

static int huffman_decode(const HuffmanTable *t, BitReader *r) {
    int code = 0, first = 0, index = 0;
    for (int bits = 1; bits <= MAX_CODE_BITS; bits++) {
        code |= (int)get_bits(r, 1);
        int n = t->per_length[bits];
        if (code - first < n)
            return t->sorted[index + code - first];
        index += n;
        first = (first + n) << 1;
        code <<= 1;
    }
    return -1;
}

static void huffman_write(const HuffmanTable *t, BitWriter *w) {
    for (int s = 0; s < SYMBOLS; s++) {
        put_bits(w, t->length[s] != 0, 1);
        if (t->length[s])
            put_bits(w, t->length[s], 4);
    }
}

static void huffman_read(HuffmanTable *t, BitReader *r) {
    for (int s = 0; s < SYMBOLS; s++)
        t->length[s] = get_bits(r, 1) ? (uint8_t)get_bits(r, 4) : 0;
    huffman_assign_codes(t);
}

// ---- transform --------------------------------------------------------------------------------

// 4096 * cos(k * pi / 16), extended to all k by symmetry. Row 0 of the DCT is the k = 4 entry.
static int dct_basis(int u, int x) {
    static const int16_t cosine[9] = {4096, 4017, 3784, 3406, 2896, 2276, 1567, 799, 0};
    int k = u == 0 ? 4 : (2 * x + 1) * u % 32;
    if (k > 16)
        k = 32 - k;
    return k <= 8 ? cosine[k] : -cosine[16 - k];
}

static void dct_pass(const int *in, int *out, bool inverse) {
    for (int row = 0; row < 8; row++) {
        for (int i = 0; i < 8; i++) {
            int sum = 4096;
            for (int j = 0; j < 8; j++)
                sum += in[row * 8 + j] * (inverse ? dct_basis(j, i) : dct_basis(i, j));
            out[i * 8 + row] = sum >> 13; // transposed, so that two passes do both directions
        }
    }
}

static void dct_transform(int *block, bool inverse) {
    int half[64];
    dct_pass(block, half, inverse);
    dct_pass(half, block, inverse);
}

// ---- planes -----------------------------------------------------------------------------------

typedef struct {
    int width, height; // multiples of 8
    uint8_t *px;
} Plane;

typedef struct {
    Plane plane[3]; // Y at full size, Cb and Cr at half size
} Picture;

static bool picture_create(Picture *pic, int width, int height) {
    bool ok = true;
    for (int i = 0; i < 3; i++) {
        Plane *p = &pic->plane[i];
        p->width = i ? width / 2 : width;
        p->height = i ? height / 2 : height;
        p->px = calloc((size_t)p->width, (size_t)p->height);
        ok = ok && p->px;
    }
    return ok;
}

static void picture_free(Picture *pic) {
    for (int i = 0; i < 3; i++)
        free(pic->plane[i].px);
}

static int clamp255(int v) {
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

static void picture_from_rgb(Picture *pic, const uint8_t *rgb) {
    const Plane *luma = &pic->plane[0];
    for (int y = 0; y < luma->height; y += 2) {
        for (int x = 0; x < luma->width; x += 2) {
            int cb = 2, cr = 2; // rounding for the average of four
            for (int i = 0; i < 4; i++) {
                int at = (y + i / 2) * luma->width + x + i % 2;
                int r = rgb[at * 3], g = rgb[at * 3 + 1], b = rgb[at * 3 + 2];
                luma->px[at] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
                cb += clamp255(((-11059 * r - 21709 * g + 32768 * b + 32768) >> 16) + 128);
                cr += clamp255(((32768 * r - 27439 * g - 5329 * b + 32768) >> 16) + 128);
            }
            int at = y / 2 * pic->plane[1].width + x / 2;
            pic->plane[1].px[at] = (uint8_t)(cb / 4);
            pic->plane[2].px[at] = (uint8_t)(cr / 4);
        }
    }
}

static void picture_to_rgb(const Picture *pic, uint8_t *rgb) {
    const Plane *luma = &pic->plane[0];
    for (int i = 0; i < luma->width * luma->height; i++, rgb += 3) {
        int chroma = i / luma->width / 2 * pic->plane[1].width + i % luma->width / 2;
        int y = luma->px[i], cb = pic->plane[1].px[chroma] - 128,
            cr = pic->plane[2].px[chroma] - 128;
        rgb[0] = (uint8_t)clamp255(y + ((91881 * cr + 32768) >> 16));
        rgb[1] = (uint8_t)clamp255(y - ((22554 * cb + 46802 * cr + 32768) >> 16));
        rgb[2] = (uint8_t)clamp255(y + ((116130 * cb + 32768) >> 16));
    }
}

// ---- codec ------------------------------------------------------------------------------------

static int scaled_quant(int table, int i, int quality) {
    int scale = quality < 50 ? 5000 / quality : 200 - quality * 2;
    int q = (quant_base[table][i] * scale + 50) / 100;
    return q < 1 ? 1 : q > 255 ? 255 : q;
}

static void load_block(const Plane *p, int bx, int by, int *block) {
    for (int i = 0; i < 64; i++)
        block[i] = p->px[(by * 8 + i / 8) * p->width + bx * 8 + i % 8] - 128;
}

static void store_block(const Plane *p, int bx, int by, const int *block) {
    for (int i = 0; i < 64; i++)
        p->px[(by * 8 + i / 8) * p->width + bx * 8 + i % 8] = (uint8_t)clamp255(block[i] + 128);
}

static int magnitude_bits(int v) {
    int n = 0;
    for (v = abs(v); v; v >>= 1)
        n++;
    return n;
}

// Where symbols go: counted in the first pass, written in the second.
typedef struct {
    uint32_t counts[2][SYMBOLS];
    HuffmanTable tables[2];
    BitWriter *writer; // NULL while counting
} SymbolSink;

static void emit(SymbolSink *sink, int table, int symbol, int value) {
    int bits = symbol & 15;
    if (!sink->writer) {
        sink->counts[table][symbol]++;
        return;
    }
    put_bits(sink->writer, sink->tables[table].code[symbol], sink->tables[table].length[symbol]);
    // negative values are stored as their ones' complement
    put_bits(sink->writer, (uint32_t)(value < 0 ? value + (1 << bits) - 1 : value), bits);
}

static void encode_block(SymbolSink *sink, int table, const int *coefficients, int *last_dc) {
    int run = 0, diff = coefficients[0] - *last_dc;
    *last_dc = coefficients[0];
    emit(sink, table, magnitude_bits(diff), diff);
    for (int i = 1; i < 64; i++) {
        int v = coefficients[zigzag[i]];
        if (v == 0) {
            run++;
            continue;
        }
        for (; run > 15; run -= 16)
            emit(sink, table, 0xf0, 0);
        emit(sink, table, run << 4 | magnitude_bits(v), v);
        run = 0;
    }
    if (run)
        emit(sink, table, 0xd0, 0); // end of block; no real symbol has size 0 and run 13
}

static int receive(BitReader *r, int bits) {
    int v = (int)get_bits(r, bits);
    return bits && v < 1 << (bits - 1) ? v - (1 << bits) + 1 : v;
}

static bool decode_block(BitReader *r, const HuffmanTable *t, int *coefficients, int *last_dc) {
    int symbol = huffman_decode(t, r);
    memset(coefficients, 0, sizeof *coefficients * 64);
    if (symbol < 0)
        return false;
    coefficients[0] = *last_dc += receive(r, symbol & 15);
    for (int i = 1; i < 64; i++) {
        symbol = huffman_decode(t, r);
        if (symbol < 0)
            return false;
        if (symbol == 0xd0)
            break;
        i += symbol >> 4;
        if (i > 63)
            return false;
        if (symbol != 0xf0)
            coefficients[zigzag[i]] = receive(r, symbol & 15);
    }
    return true;
}

static void encode_planes(const Picture *pic, int quality, SymbolSink *sink) {
    for (int c = 0; c < 3; c++) {
        const Plane *p = &pic->plane[c];
        int block[64], last_dc = 0, table = c > 0;
        for (int b = 0; b < p->width / 8 * (p->height / 8); b++) {
            load_block(p, b % (p->width / 8), b / (p->width / 8), block);
            dct_transform(block, false);
            for (int i = 0; i < 64; i++) {
                int q = scaled_quant(table, i, quality);
                block[i] = (block[i] + (block[i] < 0 ? -q / 2 : q / 2)) / q;
            }
            encode_block(sink, table, block, &last_dc);
        }
    }
}

bool image_encode(const Picture *pic, int quality, BitWriter *out) {
    SymbolSink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return false;
    encode_planes(pic, quality, sink);
    put_bits(out, (uint32_t)pic->plane[0].width, 16);
    put_bits(out, (uint32_t)pic->plane[0].height, 16);
    put_bits(out, (uint32_t)quality, 8);
    for (int t = 0; t < 2; t++) {
        huffman_build(&sink->tables[t], sink->counts[t]);
        huffman_write(&sink->tables[t], out);
    }
    sink->writer = out;
    encode_planes(pic, quality, sink);
    put_bits(out, 0, 7); // flush
    free(sink);
    return !out->failed;
}

bool image_decode(const uint8_t *data, size_t size, Picture *pic) {
    BitReader r = {data, data + size, 0, 0, false};
    HuffmanTable tables[2];
    memset(pic, 0, sizeof *pic);
    int width = (int)get_bits(&r, 16), height = (int)get_bits(&r, 16),
        quality = (int)get_bits(&r, 8);
    if (width % 16 || height % 16 || !width || !height || quality < 1 || quality > 100)
        return false;
    if (!picture_create(pic, width, height))
        return false;
    for (int t = 0; t < 2; t++)
        huffman_read(&tables[t], &r);
    for (int c = 0; c < 3; c++) {
        const Plane *p = &pic->plane[c];
        int block[64], last_dc = 0;
        for (int b = 0; b < p->width / 8 * (p->height / 8); b++) {
            if (!decode_block(&r, &tables[c > 0], block, &last_dc) || r.overrun)
                return false;
            for (int i = 0; i < 64; i++)
                block[i] *= scaled_quant(c > 0, i, quality);
            dct_transform(block, true);
            store_block(p, b % (p->width / 8), b / (p->width / 8), block);
        }
    }
    return true;
}

// A sky with a sun, some hills and a little grain.
static void paint_scene(uint8_t *rgb, int width, int height) {
    uint32_t grain = 1;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, rgb += 3) {
            int dx = x - width / 3, dy = y - height / 4;
            int hill = height * 2 / 3 + abs(x % 48 - 24) / 2 - x / 6;
            grain = grain * 1103515245u + 12345u;
            int noise = (int)(grain >> 29);
            if (dx * dx + dy * dy < 90)
                rgb[0] = 250, rgb[1] = 230, rgb[2] = (uint8_t)(90 + noise);
            else if (y < hill)
                rgb[0] = (uint8_t)(60 + y), rgb[1] = (uint8_t)(120 + y + noise), rgb[2] = 230;
            else
                rgb[0] = (uint8_t)(40 + noise), rgb[1] = (uint8_t)(160 - y), rgb[2] = 50;
        }
    }
}

int main(void) {
    enum { W = 64, H = 48, BYTES = W * H * 3 };
    static const int qualities[] = {15, 90};
    static uint8_t original[BYTES], decoded[BYTES];
    uint32_t checksum = 0;
    long previous_error = 0;

    paint_scene(original, W, H);
    for (int q = 0; q < 2; q++) {
        Picture source, result;
        BitWriter stream = {NULL, 0, 0, 0, 0, false};
        if (!picture_create(&source, W, H))
            return 1;
        picture_from_rgb(&source, original);
        if (!image_encode(&source, qualities[q], &stream) ||
            !image_decode(stream.data, stream.size, &result))
            return 2;
        picture_to_rgb(&result, decoded);

        long error = 0;
        for (int i = 0; i < BYTES; i++) {
            error += (original[i] - decoded[i]) * (original[i] - decoded[i]);
            checksum = checksum * 31u + decoded[i];
        }
        for (size_t i = 0; i < stream.size; i++)
            checksum = (checksum << 7 | checksum >> 25) ^ stream.data[i];
        printf("quality %d: %d -> %zu bytes, mean squared error %ld.%02ld\n", qualities[q], BYTES,
               stream.size, error / BYTES, error % BYTES * 100 / BYTES);
        picture_free(&result);
        bool truncated = !image_decode(stream.data, stream.size / 2, &result);
        picture_free(&result);
        picture_free(&source);
        free(stream.data);
        if (!truncated || (q > 0 && error >= previous_error))
            return 3;
        previous_error = error;
    }
    printf("checksum %08x\n", checksum);
    return 0;
}
