// PNG writer and reader for 8-bit truecolour and palette images: adaptive scanline filters, a
// median-cut colour quantiser, CRC-32, Adler-32 and a zlib stream of fixed-Huffman deflate blocks.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    PNG_OK,
    PNG_NO_MEMORY,
    PNG_BAD_SIGNATURE,
    PNG_BAD_CHUNK,
    PNG_BAD_CRC,
    PNG_UNSUPPORTED,
    PNG_BAD_DATA,
    PNG_BAD_ADLER,
    PNG_BAD_FILTER,
} PngStatus;

typedef struct {
    uint32_t width, height;
    int channels; // 3 for RGB, 1 for palette indices
    uint8_t palette[256][3];
    int palette_size;
    uint8_t *px;
} PngImage;

// ---- bytes and checks -------------------------------------------------------------------------

typedef struct {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
} Bytes;

static void bytes_put(Bytes *b, const void *src, size_t n) {
    if (b->size + n > b->capacity) {
        size_t capacity = (b->size + n) * 2;
        uint8_t *grown = realloc(b->data, capacity);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->capacity = capacity;
    }
    if (n)
        memcpy(b->data + b->size, src, n);
    b->size += n;
}

static void bytes_put8(Bytes *b, unsigned v) {
    uint8_t byte = (uint8_t)v;
    bytes_put(b, &byte, 1);
}

static void bytes_put32(Bytes *b, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes_put8(b, v >> shift & 255);
}

static uint32_t load32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc32_of(const uint8_t *p, size_t n) {
    static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = ~0u;
    while (n--) {
        crc ^= *p++;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

static uint32_t adler32_of(const uint8_t *p, size_t n) {
    uint32_t a = 1, b = 0;
    while (n--) {
        a = (a + *p++) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

// ---- deflate ----------------------------------------------------------------------------------

static const uint16_t length_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                         15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

typedef struct {
    Bytes *out;
    uint32_t bits;
    int count;
} Deflater;

static void deflate_bits(Deflater *d, uint32_t value, int n) {
    d->bits |= value << d->count;
    for (d->count += n; d->count >= 8; d->count -= 8) {
        bytes_put8(d->out, d->bits & 255);
        d->bits >>= 8;
    }
}

static void deflate_code(Deflater *d, uint32_t code, int n) { // most significant bit first
    while (n-- > 0)
        deflate_bits(d, code >> n & 1, 1);
}

static void deflate_symbol(Deflater *d, uint32_t s) {
    if (s < 144)
        deflate_code(d, 0x30 + s, 8);
    else if (s < 256)
        deflate_code(d, 0x190 + s - 144, 9);
    else if (s < 280)
        deflate_code(d, s - 256, 7);
    else
        deflate_code(d, 0xc0 + s - 280, 8);
}

static void deflate_match(Deflater *d, unsigned length, unsigned distance) {
    int i = 28;
    while (length_base[i] > length)
        i--;
    deflate_symbol(d, 257u + (unsigned)i);
    deflate_bits(d, length - length_base[i], length_extra[i]);
    i = 29;
    while (distance_base[i] > distance)
        i--;
    deflate_code(d, (uint32_t)i, 5);
    deflate_bits(d, distance - distance_base[i], i < 2 ? 0 : i / 2 - 1);
}

static void zlib_compress(Bytes *out, const uint8_t *src, size_t n) {
    enum { HASH_BITS = 10, WINDOW = 32768, MAX_MATCH = 258 };
    uint32_t last[1 << HASH_BITS] = {0}; // position + 1 of the last occurrence
    Deflater d = {out, 0, 0};
    bytes_put8(out, 0x78);
    bytes_put8(out, 0x01);
    deflate_bits(&d, 1 | 1 << 1, 3); // final block, fixed codes
    for (size_t i = 0; i < n;) {
        size_t length = 0, at = 0;
        if (n - i >= 3) {
            uint32_t key = (uint32_t)src[i] << 16 | (uint32_t)src[i + 1] << 8 | src[i + 2];
            uint32_t *slot = &last[key * 2654435761u >> (32 - HASH_BITS)];
            at = *slot;
            *slot = (uint32_t)i + 1;
            if (at-- && i - at <= WINDOW)
                while (length < MAX_MATCH && i + length < n && src[at + length] == src[i + length])
                    length++;
        }
        if (length >= 3) {
            deflate_match(&d, (unsigned)length, (unsigned)(i - at));
            i += length;
        } else {
            deflate_symbol(&d, src[i++]);
        }
    }
    deflate_symbol(&d, 256);
    deflate_bits(&d, 0, 7);
    bytes_put32(out, adler32_of(src, n));
}

typedef struct {
    const uint8_t *p, *end;
    uint32_t bits;
    int count;
} Inflater;

static uint32_t inflate_bits(Inflater *in, int n) {
    for (; in->count < n; in->count += 8)
        in->bits |= (in->p < in->end ? *in->p++ : 0u) << in->count;
    uint32_t v = in->bits & ((1u << n) - 1);
    in->bits >>= n;
    in->count -= n;
    return v;
}

static uint32_t inflate_code(Inflater *in, int n, uint32_t code) {
    while (n-- > 0)
        code = code << 1 | inflate_bits(in, 1);
    return code;
}

static uint32_t inflate_symbol(Inflater *in) {
    uint32_t code = inflate_code(in, 7, 0);
    if (code < 24)
        return code + 256;
    code = inflate_code(in, 1, code);
    if (code < 0xc0)
        return code - 0x30;
    if (code < 0xc8)
        return code - 0xc0 + 280;
    return inflate_code(in, 1, code) - 0x190 + 144;
}

// Handles stored and fixed blocks, which is all that the writer above produces.
static PngStatus zlib_expand(const uint8_t *src, size_t n, uint8_t *out, size_t size) {
    if (n < 6 || (src[0] << 8 | src[1]) % 31 != 0 || (src[0] & 15) != 8)
        return PNG_BAD_DATA;
    Inflater in = {src + 2, src + n, 0, 0};
    size_t at = 0;
    bool final = false;
    while (!final) {
        final = inflate_bits(&in, 1);
        uint32_t type = inflate_bits(&in, 2), symbol;
        if (type == 0) {
            inflate_bits(&in, in.count & 7);
            uint32_t length = inflate_bits(&in, 16), check = inflate_bits(&in, 16);
            if ((length ^ check) != 0xffff || length > size - at)
                return PNG_BAD_DATA;
            while (length--)
                out[at++] = (uint8_t)inflate_bits(&in, 8);
            continue;
        }
        if (type != 1)
            return PNG_UNSUPPORTED;
        while ((symbol = inflate_symbol(&in)) != 256) {
            if (symbol < 256) {
                if (at == size || in.p == in.end)
                    return PNG_BAD_DATA;
                out[at++] = (uint8_t)symbol;
                continue;
            }
            if ((symbol -= 257) > 28)
                return PNG_BAD_DATA;
            size_t length = length_base[symbol] + inflate_bits(&in, length_extra[symbol]);
            uint32_t d = inflate_code(&in, 5, 0);
            if (d > 29)
                return PNG_BAD_DATA;
            size_t distance = distance_base[d] + inflate_bits(&in, d < 2 ? 0 : (int)d / 2 - 1);
            if (distance > at || length > size - at)
                return PNG_BAD_DATA;
            for (; length--; at++)
                out[at] = out[at - distance];
        }
    }
    if (at != size)
        return PNG_BAD_DATA;
    return load32(src + n - 4) == adler32_of(out, size) ? PNG_OK : PNG_BAD_ADLER;
}

// ---- scanline filters -------------------------------------------------------------------------

static uint8_t paeth(int left, int up, int corner) {
    int p = left + up - corner;
    int pl = abs(p - left), pu = abs(p - up), pc = abs(p - corner);
    if (pl <= pu && pl <= pc)
        return (uint8_t)left;
    return (uint8_t)(pu <= pc ? up : corner);
}

static uint8_t predict(int filter, const uint8_t *row, const uint8_t *above, size_t i, size_t bpp) {
    uint8_t left = i >= bpp ? row[i - bpp] : 0, up = above ? above[i] : 0;
    uint8_t corner = above && i >= bpp ? above[i - bpp] : 0;
    switch (filter) {
    case 1:
        return left;
    case 2:
        return up;
    case 3:
        return (uint8_t)((left + up) / 2);
    case 4:
        return paeth(left, up, corner);
    default:
        return 0;
    }
}

// Picks the filter with the least sum of absolute residuals; writes the tag and the row.
static void filter_row(const uint8_t *row, const uint8_t *above, size_t n, size_t bpp,
                       bool adaptive, uint8_t *out) {
    unsigned best_cost = UINT32_MAX;
    out[0] = 0;
    for (int f = 0; adaptive && f <= 4; f++) {
        unsigned cost = 0;
        for (size_t i = 0; i < n; i++)
            cost += (unsigned)abs((int8_t)(uint8_t)(row[i] - predict(f, row, above, i, bpp)));
        if (cost < best_cost) {
            best_cost = cost;
            out[0] = (uint8_t)f;
        }
    }
    for (size_t i = 0; i < n; i++)
        out[i + 1] = (uint8_t)(row[i] - predict(out[0], row, above, i, bpp));
}

// ---- container --------------------------------------------------------------------------------

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

#define TAG(a, b, c, d)                                                                            \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static void put_chunk(Bytes *out, uint32_t tag, const uint8_t *data, size_t n) {
    bytes_put32(out, (uint32_t)n);
    size_t start = out->size;
    bytes_put32(out, tag);
    bytes_put(out, data, n);
    if (!out->failed)
        bytes_put32(out, crc32_of(out->data + start, n + 4));
}

PngStatus png_write(const PngImage *img, Bytes *out) {
    size_t stride = (size_t)img->width * (size_t)img->channels;
    Bytes scratch = {NULL, 0, 0, false};
    uint8_t *raw = malloc((stride + 1) * img->height);
    if (!raw)
        return PNG_NO_MEMORY;
    bytes_put(out, signature, sizeof signature);
    bytes_put32(&scratch, img->width);
    bytes_put32(&scratch, img->height);
    bytes_put(&scratch, img->channels == 3 ? "\x08\x02\0\0\0" : "\x08\x03\0\0\0", 5);
    put_chunk(out, TAG('I', 'H', 'D', 'R'), scratch.data, scratch.size);
    if (img->channels == 1)
        put_chunk(out, TAG('P', 'L', 'T', 'E'), img->palette[0], (size_t)img->palette_size * 3);
    for (uint32_t y = 0; y < img->height; y++) {
        const uint8_t *row = img->px + y * stride;
        filter_row(row, y ? row - stride : NULL, stride, (size_t)img->channels, img->channels == 3,
                   raw + y * (stride + 1));
    }
    scratch.size = 0;
    zlib_compress(&scratch, raw, (stride + 1) * img->height);
    put_chunk(out, TAG('I', 'D', 'A', 'T'), scratch.data, scratch.size);
    put_chunk(out, TAG('I', 'E', 'N', 'D'), NULL, 0);
    bool failed = scratch.failed || out->failed;
    free(scratch.data);
    free(raw);
    return failed ? PNG_NO_MEMORY : PNG_OK;
}

static PngStatus read_pixels(PngImage *img, const Bytes *idat) {
    size_t stride = (size_t)img->width * (size_t)img->channels;
    uint8_t *raw = malloc((stride + 1) * img->height);
    img->px = malloc(stride * img->height);
    PngStatus status = raw && img->px ? PNG_OK : PNG_NO_MEMORY;
    if (status == PNG_OK)
        status = zlib_expand(idat->data, idat->size, raw, (stride + 1) * img->height);
    for (uint32_t y = 0; status == PNG_OK && y < img->height; y++) {
        const uint8_t *in = raw + y * (stride + 1);
        uint8_t *row = img->px + y * stride;
        if (in[0] > 4)
            status = PNG_BAD_FILTER;
        for (size_t i = 0; i < stride; i++)
            row[i] = (uint8_t)(in[i + 1] + predict(in[0], row, y ? row - stride : NULL, i,
                                                   (size_t)img->channels));
    }
    free(raw);
    return status;
}

static PngStatus read_header(PngImage *img, const uint8_t *data, size_t n) {
    if (n != 13)
        return PNG_BAD_CHUNK;
    img->width = load32(data);
    img->height = load32(data + 4);
    if (data[8] != 8 || (data[9] != 2 && data[9] != 3) || data[10] || data[11] || data[12])
        return PNG_UNSUPPORTED;
    img->channels = data[9] == 2 ? 3 : 1;
    return img->width - 1 < 4096 && img->height - 1 < 4096 ? PNG_OK : PNG_UNSUPPORTED;
}

// On success, the caller frees img->px.
PngStatus png_read(PngImage *img, const uint8_t *p, size_t size) {
    const uint8_t *end = p + size;
    Bytes idat = {NULL, 0, 0, false};
    PngStatus status = PNG_OK;
    bool done = false;
    memset(img, 0, sizeof *img);
    if (size < 8 || memcmp(p, signature, 8) != 0)
        return PNG_BAD_SIGNATURE;
    for (p += 8; status == PNG_OK && !done;) {
        if (end - p < 12 || load32(p) > (size_t)(end - p) - 12) {
            status = PNG_BAD_CHUNK;
            break;
        }
        size_t n = load32(p);
        const uint8_t *data = p + 8;
        if (crc32_of(p + 4, n + 4) != load32(data + n)) {
            status = PNG_BAD_CRC;
            break;
        }
        switch (load32(p + 4)) {
        case TAG('I', 'H', 'D', 'R'):
            status = read_header(img, data, n);
            break;
        case TAG('P', 'L', 'T', 'E'):
            if (n > 768 || n % 3)
                status = PNG_BAD_CHUNK;
            else
                memcpy(img->palette, data, n);
            img->palette_size = (int)(n / 3);
            break;
        case TAG('I', 'D', 'A', 'T'):
            bytes_put(&idat, data, n);
            break;
        case TAG('I', 'E', 'N', 'D'):
            done = true;
            break;
        default:
            if (!(p[4] & 0x20)) // an unknown critical chunk
                status = PNG_UNSUPPORTED;
        }
        p = data + n + 4;
    }
    if (status == PNG_OK)
        status = img->channels ? read_pixels(img, &idat) : PNG_BAD_CHUNK;
    if (status != PNG_OK) {
        free(img->px);
        img->px = NULL;
    }
    free(idat.data);
    return status;
}

// ---- median cut -------------------------------------------------------------------------------

typedef struct {
    uint32_t *first; // colours as 0xrrggbb
    size_t count;
    int shift; // of the widest channel
    int width;
} ColourBox;

static int sort_shift;

static int by_channel(const void *pa, const void *pb) {
    uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    uint32_t ka = a >> sort_shift & 255, kb = b >> sort_shift & 255;
    if (ka != kb)
        return ka < kb ? -1 : 1;
    return a < b ? -1 : a > b; // a total order, whatever algorithm qsort uses
}

static void measure_box(ColourBox *box) {
    box->width = -1;
    for (int shift = 0; shift <= 16; shift += 8) {
        int low = 255, high = 0;
        for (size_t i = 0; i < box->count; i++) {
            int v = (int)(box->first[i] >> shift & 255);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        if (high - low > box->width) {
            box->width = high - low;
            box->shift = shift;
        }
    }
}

PngStatus png_quantise(const PngImage *rgb, PngImage *out, int max_colours) {
    size_t n = (size_t)rgb->width * rgb->height;
    uint32_t *colours = malloc(n * sizeof *colours);
    ColourBox boxes[256];
    int count = 1;
    memset(out, 0, sizeof *out);
    out->px = malloc(n);
    if (!colours || !out->px) {
        free(colours);
        free(out->px);
        return PNG_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++)
        colours[i] = TAG(0, rgb->px[i * 3], rgb->px[i * 3 + 1], rgb->px[i * 3 + 2]);
    boxes[0] = (ColourBox){colours, n, 0, 0};
    measure_box(&boxes[0]);
    while (count < max_colours) {
        int widest = 0;
        for (int i = 1; i < count; i++)
            if (boxes[i].width > boxes[widest].width)
                widest = i;
        ColourBox *box = &boxes[widest];
        if (box->width == 0)
            break;
        sort_shift = box->shift;
        qsort(box->first, box->count, sizeof *box->first, by_channel);
        size_t half = box->count / 2;
        boxes[count] = (ColourBox){box->first + half, box->count - half, 0, 0};
        box->count = half;
        measure_box(box);
        measure_box(&boxes[count++]);
    }
    for (int b = 0; b < count; b++) {
        for (int c = 0; c < 3; c++) {
            size_t sum = boxes[b].count / 2;
            for (size_t i = 0; i < boxes[b].count; i++)
                sum += boxes[b].first[i] >> (16 - 8 * c) & 255;
            out->palette[b][c] = (uint8_t)(sum / boxes[b].count);
        }
    }
    for (size_t i = 0; i < n; i++) {
        int best = INT32_MAX;
        for (int b = 0; b < count; b++) {
            int distance = 0;
            for (int c = 0; c < 3; c++) {
                int delta = rgb->px[i * 3 + (size_t)c] - out->palette[b][c];
                distance += delta * delta;
            }
            if (distance < best) {
                best = distance;
                out->px[i] = (uint8_t)b;
            }
        }
    }
    out->width = rgb->width;
    out->height = rgb->height;
    out->channels = 1;
    out->palette_size = count;
    free(colours);
    return PNG_OK;
}

// ---- demonstration ----------------------------------------------------------------------------

static int round_trip(const PngImage *img, Bytes *file) {
    PngImage back;
    if (png_write(img, file) != PNG_OK || png_read(&back, file->data, file->size) != PNG_OK)
        return 0;
    int same =
        back.width == img->width && back.height == img->height && back.channels == img->channels &&
        memcmp(back.palette, img->palette, sizeof back.palette) == 0 &&
        memcmp(back.px, img->px, (size_t)(img->width * img->height) * (size_t)img->channels) == 0;
    free(back.px);
    return same;
}

int main(void) {
    PngImage rgb = {.width = 40, .height = 36, .channels = 3}, indexed, ignored;
    Bytes colour_file = {NULL, 0, 0, false}, palette_file = {NULL, 0, 0, false};
    if (!(rgb.px = malloc(40 * 36 * 3)))
        return 1;
    for (uint32_t i = 0; i < 40 * 36; i++) {
        uint32_t x = i % 40, y = i / 40, tile = (x / 10 + y / 9) & 1;
        rgb.px[i * 3] = (uint8_t)(x * 6);
        rgb.px[i * 3 + 1] = (uint8_t)(tile ? y * 5 : 200);
        rgb.px[i * 3 + 2] = (uint8_t)((x * y) >> 3 | tile << 7);
    }
    if (png_quantise(&rgb, &indexed, 24) != PNG_OK)
        return 2;
    int ok = round_trip(&rgb, &colour_file) && round_trip(&indexed, &palette_file);

    // Every damaged byte has to be noticed.
    uint32_t checksum = 0;
    int detected = 0;
    for (size_t i = 0; ok && i < palette_file.size; i += 29) {
        palette_file.data[i] ^= 0x10;
        PngStatus status = png_read(&ignored, palette_file.data, palette_file.size);
        palette_file.data[i] ^= 0x10;
        checksum = checksum * 9u + (uint32_t)status;
        detected += status != PNG_OK;
        free(ignored.px);
    }
    int probes = (int)((palette_file.size + 28) / 29);
    checksum ^= crc32_of(colour_file.data, colour_file.size);
    checksum ^= adler32_of(palette_file.data, palette_file.size);
    printf("truecolour %zu bytes, %d colours %zu bytes\n", colour_file.size, indexed.palette_size,
           palette_file.size);
    printf("damage detected %d of %d times\n", detected, probes);
    printf("checksum %08x\n", checksum);
    free(rgb.px);
    free(indexed.px);
    free(colour_file.data);
    free(palette_file.data);
    return ok && detected == probes ? 0 : 3;
}
