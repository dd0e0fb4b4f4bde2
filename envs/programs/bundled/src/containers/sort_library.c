/* Generic sorting library: introsort, stable merge sort, heap sort, LSD radix sort and MSD
 * string sort behind one descriptor table, driven by comparator callbacks with context. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*compare_fn)(const void *a, const void *b, void *ctx);

/* A view of the array being sorted; element size is a run-time property. */
typedef struct {
    char *base;
    size_t size;
    compare_fn compare;
    void *ctx;
} span;

#define AT(s, i) ((s)->base + (i) * (s)->size)

enum { SMALL_RUN = 12 };

static void swap_bytes(char *a, char *b, size_t size) {
    while (size >= sizeof(uint64_t)) {
        uint64_t x, y;
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        memcpy(a, &y, sizeof y);
        memcpy(b, &x, sizeof x);
        a += sizeof x;
        b += sizeof x;
        size -= sizeof x;
    }
    for (; size > 0; size--) {
        char t = *a;
        *a++ = *b;
        *b++ = t;
    }
}

static bool less(const span *s, size_t i, size_t j) {
    return s->compare(AT(s, i), AT(s, j), s->ctx) < 0;
}

static void exchange(const span *s, size_t i, size_t j) {
    if (i != j)
        swap_bytes(AT(s, i), AT(s, j), s->size);
}

static void insertion_sort(const span *s, size_t lo, size_t hi) {
    for (size_t i = lo + 1; i < hi; i++) {
        for (size_t j = i; j > lo && less(s, j, j - 1); j--)
            exchange(s, j, j - 1);
    }
}

static void sift_down(const span *s, size_t lo, size_t root, size_t n) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n)
            return;
        if (child + 1 < n && less(s, lo + child, lo + child + 1))
            child++;
        if (!less(s, lo + root, lo + child))
            return;
        exchange(s, lo + root, lo + child);
        root = child;
    }
}

static void heap_sort_range(const span *s, size_t lo, size_t hi) {
    size_t n = hi - lo;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(s, lo, i, n);
    while (n > 1) {
        n--;
        exchange(s, lo, lo + n);
        sift_down(s, lo, 0, n);
    }
}

bool heap_sort(void *base, size_t n, size_t size, compare_fn compare, void *ctx) {
    span s = {base, size, compare, ctx};
    heap_sort_range(&s, 0, n);
    return true;
}

/* Puts the median of three samples at lo. */
static void choose_pivot(const span *s, size_t lo, size_t hi) {
    size_t mid = lo + (hi - lo) / 2, last = hi - 1;
    if (less(s, mid, lo))
        exchange(s, mid, lo);
    if (less(s, last, lo))
        exchange(s, last, lo);
    if (less(s, last, mid))
        exchange(s, last, mid);
    exchange(s, lo, mid);
}

static size_t partition(const span *s, size_t lo, size_t hi) {
    size_t i = lo, j = hi;
    for (;;) {
        do
            i++;
        while (i < hi && less(s, i, lo));
        do
            j--;
        while (less(s, lo, j));
        if (i >= j)
            break;
        exchange(s, i, j);
    }
    exchange(s, lo, j);
    return j;
}

static void introsort_loop(const span *s, size_t lo, size_t hi, int depth) {
    while (hi - lo > SMALL_RUN) {
        if (depth-- == 0) {
            heap_sort_range(s, lo, hi);
            return;
        }
        choose_pivot(s, lo, hi);
        size_t p = partition(s, lo, hi);
        if (p - lo < hi - p) { /* recurse into the smaller part only */
            introsort_loop(s, lo, p, depth);
            lo = p + 1;
        } else {
            introsort_loop(s, p + 1, hi, depth);
            hi = p;
        }
    }
}

bool intro_sort(void *base, size_t n, size_t size, compare_fn compare, void *ctx) {
    span s = {base, size, compare, ctx};
    int depth = 0;
    for (size_t k = n; k > 1; k >>= 1)
        depth += 2;
    introsort_loop(&s, 0, n, depth);
    insertion_sort(&s, 0, n);
    return true;
}

static void merge_runs(const span *s, char *out, size_t lo, size_t mid, size_t hi) {
    size_t i = lo, j = mid;
    for (size_t k = lo; k < hi; k++) {
        bool take_right = i == mid || (j < hi && less(s, j, i));
        memcpy(out + k * s->size, AT(s, take_right ? j : i), s->size);
        if (take_right)
            j++;
        else
            i++;
    }
}

bool merge_sort(void *base, size_t n, size_t size, compare_fn compare, void *ctx) {
    char *scratch = malloc(n * size + 1);
    if (!scratch)
        return false;
    span s = {base, size, compare, ctx};
    for (size_t lo = 0; lo < n; lo += SMALL_RUN)
        insertion_sort(&s, lo, lo + SMALL_RUN < n ? lo + SMALL_RUN : n);

    char *other = scratch;
    for (size_t run = SMALL_RUN; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            size_t mid = lo + run < n ? lo + run : n;
            size_t hi = mid + run < n ? mid + run : n;
            merge_runs(&s, other, lo, mid, hi);
        }
        char *t = s.base;
        s.base = other;
        other = t;
    }
    if (s.base != (char *)base)
        memcpy(base, s.base, n * size);
    free(scratch);
    return true;
}

bool radix_sort_u32(void *base, size_t n, size_t size, size_t key_offset) {
    char *scratch = malloc(n * size + 1);
    if (!scratch)
        return false;
    char *from = base, *to = scratch;
    for (int shift = 0; shift < 32; shift += 8) {
        size_t start[257] = {0};
        for (size_t i = 0; i < n; i++) {
            uint32_t key;
            memcpy(&key, from + i * size + key_offset, sizeof key);
            start[(key >> shift & 0xff) + 1]++;
        }
        bool trivial = false; /* every key has the same digit */
        for (int d = 0; d < 256; d++) {
            trivial |= start[d + 1] == n;
            start[d + 1] += start[d];
        }
        if (trivial)
            continue;
        for (size_t i = 0; i < n; i++) {
            uint32_t key;
            memcpy(&key, from + i * size + key_offset, sizeof key);
            memcpy(to + start[key >> shift & 0xff]++ * size, from + i * size, size);
        }
        char *t = from;
        from = to;
        to = t;
    }
    if (from != (char *)base)
        memcpy(base, from, n * size);
    free(scratch);
    return true;
}

static int char_at(const char *s, size_t depth) {
    return (unsigned char)s[depth];
}

static void swap_strings(const char **v, size_t i, size_t j) {
    const char *t = v[i];
    v[i] = v[j];
    v[j] = t;
}

void string_sort(const char **v, size_t n, size_t depth) {
    while (n > 1) {
        int pivot = char_at(v[n / 2], depth);
        size_t lt = 0, i = 0, gt = n;
        while (i < gt) {
            int c = char_at(v[i], depth);
            if (c < pivot)
                swap_strings(v, lt++, i++);
            else if (c > pivot)
                swap_strings(v, i, --gt);
            else
                i++;
        }
        string_sort(v, lt, depth);
        string_sort(v + gt, n - gt, depth);
        if (pivot == 0)
            return;
        v += lt;
        n = gt - lt;
        depth++;
    }
}

typedef struct {
    uint32_t key;
    uint16_t tag;
    uint16_t origin; /* position before sorting, to observe stability */
} record;

typedef struct {
    unsigned long compares;
    bool descending;
} order;

static int compare_records(const void *a, const void *b, void *ctx) {
    const record *x = a, *y = b;
    order *o = ctx;
    o->compares++;
    int r = (x->key > y->key) - (x->key < y->key);
    return o->descending ? -r : r;
}

enum shape { SHUFFLED, ASCENDING, SAWTOOTH, FEW_KEYS, KILLER, SHAPES };

static void fill(record *r, size_t n, enum shape shape) {
    uint32_t x = 88172645u;
    for (size_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)i;
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        switch (shape) {
        case SHUFFLED:
            k = x;
            break;
        case SAWTOOTH:
            k = k % 37 * 1000 + k / 37;
            break;
        case FEW_KEYS:
            k = x % 5;
            break;
        case KILLER: /* organ pipe: rises, then falls */
            k = i < n / 2 ? k : (uint32_t)(n - i);
            break;
        default:
            break;
        }
        r[i] = (record){k, (uint16_t)(x >> 16), (uint16_t)i};
    }
}

static bool is_sorted(const record *r, size_t n, bool descending, bool stable) {
    for (size_t i = 1; i < n; i++) {
        const record *a = &r[i - 1], *b = &r[i];
        if (descending ? a->key < b->key : a->key > b->key)
            return false;
        if (stable && a->key == b->key && a->origin > b->origin)
            return false;
    }
    return true;
}

static uint32_t digest_records(uint32_t h, const record *r, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ r[i].key ^ (uint32_t)r[i].origin << 16) * 16777619u;
    return h;
}

static const struct {
    const char *name;
    bool (*sort)(void *, size_t, size_t, compare_fn, void *);
    bool stable;
} algorithms[] = {
    {"intro", intro_sort, false}, {"heap", heap_sort, false}, {"merge", merge_sort, true}};

int main(void) {
    enum { N = 300 };
    static record data[N];
    static const char *names[] = {"pine",  "oak",   "alder", "ash",   "elm", "oakum",
                                  "pin",   "birch", "",      "aspen", "al",  "alders",
                                  "holly", "hol",   "elm",   "yew"};
    const size_t name_count = sizeof names / sizeof names[0];
    uint32_t digest = 2166136261u;

    for (size_t a = 0; a < sizeof algorithms / sizeof algorithms[0]; a++) {
        order o = {0, false};
        for (int shape = 0; shape < SHAPES; shape++) {
            o.descending = shape & 1;
            fill(data, N, (enum shape)shape);
            if (!algorithms[a].sort(data, N, sizeof data[0], compare_records, &o) ||
                !is_sorted(data, N, o.descending, algorithms[a].stable)) {
                printf("%s sort failed on shape %d\n", algorithms[a].name, shape);
                return 1;
            }
            digest = digest_records(digest, data, N);
        }
        printf("%s: %lu compares\n", algorithms[a].name, o.compares);
    }

    for (int shape = 0; shape < SHAPES; shape++) {
        fill(data, N, (enum shape)shape);
        if (!radix_sort_u32(data, N, sizeof data[0], offsetof(record, key)) ||
            !is_sorted(data, N, false, true))
            return 1;
        digest = digest_records(digest, data, N);
    }

    string_sort(names, name_count, 0);
    for (size_t i = 1; i < name_count; i++) {
        if (strcmp(names[i - 1], names[i]) > 0)
            return 1;
        digest = digest * 33 + (unsigned char)names[i][0];
    }
    printf("strings: %s .. %s\n", names[1], names[name_count - 1]);
    printf("checksum %08x\n", (unsigned)digest);
    return 0;
}
