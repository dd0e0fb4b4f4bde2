// General purpose allocator over one region: boundary tags, segregated free lists, coalescing,
// in-place realloc and aligned blocks, with a consistency checker and a stress test.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANULE 16u
#define BINS 20
#define IN_USE ((size_t)1)

typedef struct block block;
struct block {
    size_t prev_size; // size of the block just below, 0 for the first
    size_t size;      // includes this header; the low bit says whether it is in use
    block *next_free; // these two overlay the payload
    block *prev_free;
};

#define HEADER offsetof(block, next_free)
#define MIN_BLOCK sizeof(block)

typedef struct {
    uint8_t *base;
    size_t size;
    block *bins[BINS];
    uint32_t bin_map; // bit i set when bins[i] is not empty
    size_t used, peak;
} heap;

static size_t block_size(const block *b) {
    return b->size & ~IN_USE;
}
static bool in_use(const block *b) {
    return b->size & IN_USE;
}
static void *payload(block *b) {
    return (uint8_t *)b + HEADER;
}
static block *block_of(void *p) {
    return (block *)(void *)((uint8_t *)p - HEADER);
}

static block *above(const heap *h, block *b) {
    uint8_t *next = (uint8_t *)b + block_size(b);
    return next < h->base + h->size ? (block *)(void *)next : NULL;
}

static block *below(block *b) {
    return b->prev_size ? (block *)(void *)((uint8_t *)b - b->prev_size) : NULL;
}

static void set_size(heap *h, block *b, size_t size, size_t flag) {
    b->size = size | flag;
    block *next = above(h, b);
    if (next)
        next->prev_size = size;
}

// Exact bins for the eight smallest sizes, then one per power of two.
static unsigned bin_index(size_t size) {
    if (size <= MIN_BLOCK + 7 * GRANULE)
        return (unsigned)((size - MIN_BLOCK) / GRANULE);
    unsigned bin = 8;
    for (size_t limit = 256; limit <= size && bin < BINS - 1; limit *= 2)
        bin++;
    return bin;
}

static void bin_insert(heap *h, block *b) {
    unsigned i = bin_index(block_size(b));
    b->prev_free = NULL;
    b->next_free = h->bins[i];
    if (b->next_free)
        b->next_free->prev_free = b;
    h->bins[i] = b;
    h->bin_map |= 1u << i;
}

static void bin_remove(heap *h, block *b) {
    unsigned i = bin_index(block_size(b));
    if (b->next_free)
        b->next_free->prev_free = b->prev_free;
    if (b->prev_free)
        b->prev_free->next_free = b->next_free;
    else
        h->bins[i] = b->next_free;
    if (!h->bins[i])
        h->bin_map &= ~(1u << i);
}

void heap_init(heap *h, void *region, size_t size) {
    memset(h, 0, sizeof *h);
    h->base = region;
    h->size = size & ~(size_t)(GRANULE - 1);
    block *all = (block *)region;
    all->prev_size = 0;
    set_size(h, all, h->size, 0);
    bin_insert(h, all);
}

static size_t rounded(size_t bytes) {
    size_t need = (bytes + HEADER + GRANULE - 1) & ~(size_t)(GRANULE - 1);
    return need < MIN_BLOCK ? MIN_BLOCK : need;
}

// Cuts an in-use block down to size bytes and gives the rest back.
static void release_tail(heap *h, block *b, size_t size) {
    size_t rest = block_size(b) - size;
    if (rest < MIN_BLOCK)
        return;
    set_size(h, b, size, IN_USE);
    block *tail = above(h, b);
    set_size(h, tail, rest, 0);
    block *next = above(h, tail);
    if (next && !in_use(next)) {
        bin_remove(h, next);
        set_size(h, tail, rest + block_size(next), 0);
    }
    bin_insert(h, tail);
}

static void account(heap *h, size_t before, size_t after) {
    h->used += after - before;
    if (h->used > h->peak)
        h->peak = h->used;
}

static block *find_fit(heap *h, size_t need) {
    uint32_t candidates = h->bin_map & ~0u << bin_index(need);
    for (unsigned i = 0; candidates >> i; i++) {
        if (!(candidates >> i & 1))
            continue;
        for (block *b = h->bins[i]; b; b = b->next_free)
            if (block_size(b) >= need)
                return b;
    }
    return NULL;
}

void *heap_alloc(heap *h, size_t bytes) {
    if (bytes == 0 || bytes > h->size)
        return NULL;
    size_t need = rounded(bytes);
    block *b = find_fit(h, need);
    if (!b)
        return NULL;
    bin_remove(h, b);
    b->size |= IN_USE;
    release_tail(h, b, need);
    account(h, 0, block_size(b));
    return payload(b);
}

void *heap_zalloc(heap *h, size_t count, size_t each) {
    if (each && count > SIZE_MAX / each)
        return NULL;
    void *p = heap_alloc(h, count * each);
    return p ? memset(p, 0, count * each) : NULL;
}

void heap_free(heap *h, void *p) {
    if (!p)
        return;
    block *b = block_of(p), *next = above(h, b), *prev = below(b);
    size_t size = block_size(b);
    account(h, size, 0);
    if (next && !in_use(next)) {
        bin_remove(h, next);
        size += block_size(next);
    }
    if (prev && !in_use(prev)) {
        bin_remove(h, prev);
        size += block_size(prev);
        b = prev;
    }
    set_size(h, b, size, 0);
    bin_insert(h, b);
}

void *heap_realloc(heap *h, void *p, size_t bytes) {
    if (!p)
        return heap_alloc(h, bytes);
    if (bytes == 0) {
        heap_free(h, p);
        return NULL;
    }
    if (bytes > h->size)
        return NULL;
    block *b = block_of(p), *next = above(h, b);
    size_t need = rounded(bytes), old = block_size(b);
    if (need > old && next && !in_use(next) && old + block_size(next) >= need) {
        bin_remove(h, next);
        set_size(h, b, old + block_size(next), IN_USE);
    }
    if (need <= block_size(b)) {
        release_tail(h, b, need);
        account(h, old, block_size(b));
        return p;
    }
    void *fresh = heap_alloc(h, bytes);
    if (fresh) {
        memcpy(fresh, p, old - HEADER);
        heap_free(h, p);
    }
    return fresh;
}

// align is a power of two; the block may be freed like any other.
void *heap_alloc_aligned(heap *h, size_t align, size_t bytes) {
    if (align <= GRANULE)
        return heap_alloc(h, bytes);
    uint8_t *p = heap_alloc(h, bytes + align + MIN_BLOCK);
    if (!p)
        return NULL;
    block *b = block_of(p);
    size_t before = block_size(b), skip = (size_t)(p - h->base) & (align - 1);
    if (skip) {
        // Split off a leading block that is large enough to stand alone.
        skip = align - skip;
        while (skip < MIN_BLOCK)
            skip += align;
        set_size(h, b, skip, IN_USE);
        block *lead = b;
        b = above(h, lead);
        set_size(h, b, before - skip, IN_USE);
        b->prev_size = skip;
        heap_free(h, payload(lead));
        before -= skip;
    }
    release_tail(h, b, rounded(bytes));
    account(h, before, block_size(b));
    return payload(b);
}

typedef struct {
    size_t blocks, free_blocks, free_bytes, largest;
} heap_stats;

// Walks the region; false when tags, lists or the usage counter disagree.
bool heap_check(const heap *h, heap_stats *out) {
    size_t prev = 0, used = 0, listed = 0;
    bool prev_free = false;
    memset(out, 0, sizeof *out);
    for (block *b = (block *)(void *)h->base; b; b = above(h, b)) {
        size_t size = block_size(b);
        if (b->prev_size != prev || size < MIN_BLOCK || size % GRANULE)
            return false;
        out->blocks++;
        if (in_use(b)) {
            used += size;
        } else {
            if (prev_free)
                return false;
            out->free_blocks++;
            out->free_bytes += size;
            if (size > out->largest)
                out->largest = size;
        }
        prev_free = !in_use(b);
        prev = size;
    }
    for (unsigned i = 0; i < BINS; i++)
        for (const block *b = h->bins[i]; b; b = b->next_free, listed++)
            if (in_use(b) || bin_index(block_size(b)) != i)
                return false;
    return used == h->used && listed == out->free_blocks && used + out->free_bytes == h->size;
}

// ---- stress test ------------------------------------------------------------------------

enum { SLOTS = 96, ROUNDS = 3000, REGION = 64 * 1024 };

typedef struct {
    uint8_t *p;
    size_t size;
    uint8_t tag;
} slot;

static uint32_t next_random(uint32_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static bool slot_intact(const slot *s, size_t limit) {
    for (size_t i = 0; i < s->size && i < limit; i++)
        if (s->p[i] != (uint8_t)(s->tag + i))
            return false;
    return true;
}

static void slot_paint(slot *s, uint8_t tag) {
    s->tag = tag;
    for (size_t i = 0; i < s->size; i++)
        s->p[i] = (uint8_t)(tag + i);
}

static int stress(heap *h, uint32_t *hash, int *refused) {
    slot slots[SLOTS] = {{0}};
    uint32_t seed = 0xbadc0de;
    heap_stats st;
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t r = next_random(&seed);
        slot *s = &slots[r % SLOTS];
        size_t want = 1 + (r >> 8) % (r >> 28 == 0 ? 6000 : 700);
        void *p = NULL;
        if (!slot_intact(s, SIZE_MAX))
            return 1;
        if (!s->p) {
            switch (r >> 25 & 3) {
            case 0:
                p = heap_zalloc(h, 1, want);
                break;
            case 1:
                p = heap_alloc_aligned(h, 128, want);
                if (p && ((size_t)((uint8_t *)p - h->base) & 127))
                    return 2;
                break;
            default:
                p = heap_alloc(h, want);
            }
            s->size = p ? want : 0;
            *refused += !p;
        } else if (r >> 25 & 1) {
            heap_free(h, s->p);
            s->size = 0;
        } else {
            size_t keep = s->size < want ? s->size : want;
            p = heap_realloc(h, s->p, want);
            if (p) {
                s->p = p;
                s->size = want;
                if (!slot_intact(s, keep))
                    return 3;
            } else {
                ++*refused;
                continue;
            }
        }
        s->p = p;
        slot_paint(s, (uint8_t)r);
        if (round % 64 == 0) {
            if (!heap_check(h, &st))
                return 4;
            *hash = *hash * 33 + (uint32_t)(st.blocks + st.free_bytes + st.largest);
        }
    }
    for (int i = 0; i < SLOTS; i++)
        heap_free(h, slots[i].p);
    return 0;
}

int main(void) {
    heap h;
    heap_stats st;
    uint32_t hash = 5381;
    int refused = 0;
    void *region = malloc(REGION);
    if (!region)
        return 9;
    heap_init(&h, region, REGION);
    int bad = stress(&h, &hash, &refused);
    if (!heap_check(&h, &st) || st.blocks != 1 || st.largest != REGION || h.used != 0)
        bad += 16;
    printf("stress %s, %d refused, peak %zu of %d\n", bad ? "failed" : "passed", refused, h.peak,
           (int)REGION);
    free(region);
    printf("checksum %08x\n", hash + (uint32_t)h.peak);
    return bad;
}
