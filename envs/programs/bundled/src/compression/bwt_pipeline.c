/* Burrows-Wheeler transform, move-to-front and zero-run coding of small blocks, arranged as a
 * reversible pipeline of stages. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MAX = 255, BUF_SIZE = 2 * BLOCK_MAX + 2 };

typedef struct stage {
    size_t (*forward)(const uint8_t *in, size_t n, uint8_t *out);
    size_t (*inverse)(const uint8_t *in, size_t n, uint8_t *out);
} stage;

/* qsort has no context argument, so the block being sorted (written out twice) lives here. */
static uint8_t doubled[2 * BLOCK_MAX];
static size_t block_len;

static int compare_rotations(const void *a, const void *b) {
    return memcmp(doubled + *(const uint8_t *)a, doubled + *(const uint8_t *)b, block_len);
}

/* Output: the row holding the original text, then the last column of the sorted rotations. */
static size_t bwt_forward(const uint8_t *in, size_t n, uint8_t *out) {
    uint8_t order[BLOCK_MAX];
    for (size_t i = 0; i < n; i++)
        order[i] = (uint8_t)i;
    memcpy(doubled, in, n);
    memcpy(doubled + n, in, n);
    block_len = n;
    qsort(order, n, 1, compare_rotations);
    for (size_t i = 0; i < n; i++) {
        if (order[i] == 0)
            out[0] = (uint8_t)i;
        out[1 + i] = doubled[order[i] + n - 1];
    }
    return n + 1;
}

static size_t bwt_inverse(const uint8_t *in, size_t n, uint8_t *out) {
    uint8_t next[BLOCK_MAX];
    uint8_t row = *in++;
    size_t rank = 0;
    n--;
    /* A stable counting sort of the last column tells where each row continues. */
    for (int c = 0; c < 256; c++) {
        for (size_t i = 0; i < n; i++) {
            if (in[i] == c)
                next[rank++] = (uint8_t)i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        row = next[row];
        out[i] = in[row];
    }
    return n;
}

static size_t mtf_apply(const uint8_t *in, size_t n, uint8_t *out, int decode) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)i;
    for (size_t i = 0; i < n; i++) {
        size_t rank = in[i];
        if (!decode)
            rank = (size_t)((uint8_t *)memchr(table, in[i], sizeof table) - table);
        uint8_t c = table[rank];
        out[i] = decode ? c : (uint8_t)rank;
        memmove(table + 1, table, rank);
        table[0] = c;
    }
    return n;
}

static size_t mtf_forward(const uint8_t *in, size_t n, uint8_t *out) {
    return mtf_apply(in, n, out, 0);
}

static size_t mtf_inverse(const uint8_t *in, size_t n, uint8_t *out) {
    return mtf_apply(in, n, out, 1);
}

/* A zero byte is followed by the number of further zeros. */
static size_t zrl_forward(const uint8_t *in, size_t n, uint8_t *out) {
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        out[o++] = in[i];
        if (in[i] == 0) {
            size_t first = i;
            while (i + 1 < n && in[i + 1] == 0)
                i++;
            out[o++] = (uint8_t)(i - first);
        }
    }
    return o;
}

static size_t zrl_inverse(const uint8_t *in, size_t n, uint8_t *out) {
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        out[o++] = in[i];
        if (in[i] == 0 && i + 1 < n) {
            size_t extra = in[++i];
            memset(out + o, 0, extra);
            o += extra;
        }
    }
    return o;
}

static const stage pipeline[] = {
    {bwt_forward, bwt_inverse}, {mtf_forward, mtf_inverse}, {zrl_forward, zrl_inverse}};
enum { STAGES = sizeof pipeline / sizeof pipeline[0] };

static const char verse[] =
    "she sells sea shells by the sea shore; the shells she sells are sea shells for sure. "
    "if she sells sea shells by the sea shore, then where are the sea shore shells she sold?";

int main(void) {
    static uint8_t buf[STAGES + 1][BUF_SIZE];
    uint8_t restored[BUF_SIZE];
    size_t n = sizeof verse - 1;
    uint32_t digest = 5381;

    memcpy(buf[0], verse, n);
    for (int s = 0; s < STAGES; s++)
        n = pipeline[s].forward(buf[s], n, buf[s + 1]);
    printf("%zu bytes -> %zu\n", sizeof verse - 1, n);
    for (size_t i = 0; i < n; i++)
        digest = digest * 33 + buf[STAGES][i];

    for (int s = STAGES - 1; s >= 0; s--) {
        n = pipeline[s].inverse(buf[s + 1], n, restored);
        if (memcmp(restored, buf[s], n) != 0)
            return 1;
    }
    printf("checksum %08x\n", (unsigned)digest);
    return n == sizeof verse - 1 ? 0 : 1;
}
