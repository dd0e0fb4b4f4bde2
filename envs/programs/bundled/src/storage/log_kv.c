// Log-structured key-value store: checksummed records appended to a memory "device", an
// in-memory hash index, tombstones, compaction and recovery after a torn write.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { KV_OK, KV_NOT_FOUND, KV_FULL, KV_CORRUPT, KV_NO_MEMORY, KV_TOO_LONG } kv_status;

typedef struct {
    uint8_t *bytes;
    uint32_t size;
} device;

typedef struct {
    uint32_t hash;
    uint32_t offset; // of the record; 0 marks an empty slot, the log starts after the magic
} index_slot;

typedef struct {
    device *dev;
    uint32_t tail;
    uint32_t live; // bytes in records that are still reachable
    index_slot *index;
    uint32_t slots, used;
    unsigned compactions;
} kv_store;

// Record: crc32, flags, key length, value length (16 bit), key, value. All little endian.
enum { MAGIC_LEN = 8, HEADER_LEN = 8, FLAG_DEAD = 1, MAX_VALUE = 4096 };
static const uint8_t magic[MAGIC_LEN] = {'K', 'V', 'L', 'O', 'G', '0', '1', '\n'};

static uint32_t crc_table[256];

static void crc_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc32(const uint8_t *p, size_t n) {
    uint32_t c = ~0u;
    while (n--)
        c = c >> 8 ^ crc_table[(c ^ *p++) & 0xff];
    return ~c;
}

static void put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v) {
    put16(p, (uint16_t)v);
    put16(p + 2, (uint16_t)(v >> 16));
}

static uint16_t get16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}
static uint32_t get32(const uint8_t *p) {
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint32_t hash_key(const char *key, size_t len) {
    uint32_t h = 2166136261u;
    while (len--)
        h = (h ^ (uint8_t)*key++) * 16777619u;
    return h;
}

typedef struct {
    uint8_t flags, key_len;
    uint16_t value_len;
    const char *key;
    const uint8_t *value;
    uint32_t total;
} record;

static void decode_record(const uint8_t *p, record *r) {
    r->flags = p[4];
    r->key_len = p[5];
    r->value_len = get16(p + 6);
    r->key = (const char *)p + HEADER_LEN;
    r->value = p + HEADER_LEN + r->key_len;
    r->total = HEADER_LEN + (uint32_t)r->key_len + r->value_len;
}

// Also verifies bounds and checksum, for bytes that may be garbage.
static bool read_record(const device *d, uint32_t at, uint32_t limit, record *r) {
    if (limit - at < HEADER_LEN)
        return false;
    decode_record(d->bytes + at, r);
    return r->total <= limit - at && get32(d->bytes + at) == crc32(d->bytes + at + 4, r->total - 4);
}

// ---- index ------------------------------------------------------------------------------

// The slot that holds the key, or the empty one where it would go.
static index_slot *probe(const kv_store *kv, const char *key, size_t len, uint32_t hash) {
    for (uint32_t i = hash;; i++) {
        index_slot *s = &kv->index[i & (kv->slots - 1)];
        if (s->offset == 0)
            return s;
        if (s->hash == hash) {
            record r;
            decode_record(kv->dev->bytes + s->offset, &r);
            if (r.key_len == len && memcmp(r.key, key, len) == 0)
                return s;
        }
    }
}

static bool index_grow(kv_store *kv) {
    index_slot *old = kv->index;
    uint32_t old_slots = kv->slots, slots = old_slots ? old_slots * 2 : 16;
    index_slot *fresh = calloc(slots, sizeof *fresh);
    if (!fresh)
        return false;
    for (uint32_t i = 0; i < old_slots; i++) {
        uint32_t at = old[i].hash;
        if (old[i].offset == 0)
            continue;
        while (fresh[at & (slots - 1)].offset != 0)
            at++;
        fresh[at & (slots - 1)] = old[i];
    }
    free(old);
    kv->index = fresh;
    kv->slots = slots;
    return true;
}

// Makes the record at offset the current one for its key; dead records stay indexed so that a
// probe chain is never cut, until compaction drops them.
static kv_status index_record(kv_store *kv, uint32_t offset, const record *r) {
    if (4 * (kv->used + 1) > 3 * kv->slots && !index_grow(kv))
        return KV_NO_MEMORY;
    uint32_t hash = hash_key(r->key, r->key_len);
    index_slot *s = probe(kv, r->key, r->key_len, hash);
    if (s->offset == 0) {
        kv->used++;
    } else {
        record old;
        decode_record(kv->dev->bytes + s->offset, &old);
        if (!(old.flags & FLAG_DEAD))
            kv->live -= old.total;
    }
    if (!(r->flags & FLAG_DEAD))
        kv->live += r->total;
    s->hash = hash;
    s->offset = offset;
    return KV_OK;
}

static void index_reset(kv_store *kv) {
    if (kv->index)
        memset(kv->index, 0, kv->slots * sizeof *kv->index);
    kv->used = 0;
    kv->live = 0;
}

// ---- store ------------------------------------------------------------------------------

// Replays the log and cuts it at the first record that does not verify.
static kv_status replay(kv_store *kv) {
    record r;
    index_reset(kv);
    kv->tail = MAGIC_LEN;
    while (read_record(kv->dev, kv->tail, kv->dev->size, &r) && r.key_len > 0) {
        kv_status st = index_record(kv, kv->tail, &r);
        if (st != KV_OK)
            return st;
        kv->tail += r.total;
    }
    return KV_OK;
}

kv_status kv_open(kv_store *kv, device *dev) {
    static const uint8_t blank[MAGIC_LEN] = {0};
    memset(kv, 0, sizeof *kv);
    kv->dev = dev;
    if (memcmp(dev->bytes, blank, MAGIC_LEN) == 0)
        memcpy(dev->bytes, magic, MAGIC_LEN);
    else if (memcmp(dev->bytes, magic, MAGIC_LEN) != 0)
        return KV_CORRUPT;
    return replay(kv);
}

void kv_close(kv_store *kv) {
    free(kv->index);
    memset(kv, 0, sizeof *kv);
}

// Slides live records towards the front, in log order, and replays the result.
kv_status kv_compact(kv_store *kv) {
    uint8_t *bytes = kv->dev->bytes;
    uint32_t to = MAGIC_LEN, next;
    for (uint32_t from = MAGIC_LEN; from < kv->tail; from = next) {
        record r;
        decode_record(bytes + from, &r);
        next = from + r.total;
        // Records before from have moved, so compare offsets instead of probing by key.
        uint32_t hash = hash_key(r.key, r.key_len);
        index_slot *s = NULL;
        for (uint32_t i = hash; kv->index[i & (kv->slots - 1)].offset != 0; i++)
            if (kv->index[i & (kv->slots - 1)].offset == from)
                s = &kv->index[i & (kv->slots - 1)];
        if (s && !(r.flags & FLAG_DEAD)) {
            memmove(bytes + to, bytes + from, r.total);
            to += r.total;
        }
    }
    memset(bytes + to, 0, kv->tail - to);
    kv->compactions++;
    return replay(kv);
}

static kv_status append(kv_store *kv, uint8_t flags, const char *key, const void *value,
                        size_t value_len) {
    size_t key_len = strlen(key);
    if (key_len == 0 || key_len > UINT8_MAX || value_len > MAX_VALUE)
        return KV_TOO_LONG;
    uint32_t total = HEADER_LEN + (uint32_t)(key_len + value_len);
    if (total > kv->dev->size - kv->tail) {
        if (kv->live + total + MAGIC_LEN > kv->dev->size)
            return KV_FULL;
        kv_status st = kv_compact(kv);
        if (st != KV_OK)
            return st;
    }
    uint8_t *p = kv->dev->bytes + kv->tail;
    p[4] = flags;
    p[5] = (uint8_t)key_len;
    put16(p + 6, (uint16_t)value_len);
    memcpy(p + HEADER_LEN, key, key_len);
    if (value_len)
        memcpy(p + HEADER_LEN + key_len, value, value_len);
    put32(p, crc32(p + 4, total - 4));
    record r;
    decode_record(p, &r);
    kv_status st = index_record(kv, kv->tail, &r);
    if (st == KV_OK)
        kv->tail += total;
    return st;
}

kv_status kv_put(kv_store *kv, const char *key, const void *value, size_t len) {
    return append(kv, 0, key, value, len);
}

// The value stays valid until the next write.
kv_status kv_get(const kv_store *kv, const char *key, const uint8_t **value, size_t *len) {
    size_t key_len = strlen(key);
    if (kv->slots == 0)
        return KV_NOT_FOUND;
    const index_slot *s = probe(kv, key, key_len, hash_key(key, key_len));
    record r;
    if (s->offset == 0)
        return KV_NOT_FOUND;
    decode_record(kv->dev->bytes + s->offset, &r);
    if (r.flags & FLAG_DEAD)
        return KV_NOT_FOUND;
    *value = r.value;
    *len = r.value_len;
    return KV_OK;
}

kv_status kv_delete(kv_store *kv, const char *key) {
    const uint8_t *value;
    size_t len;
    kv_status st = kv_get(kv, key, &value, &len);
    return st == KV_OK ? append(kv, FLAG_DEAD, key, NULL, 0) : st;
}

// ---- driver -----------------------------------------------------------------------------

enum { KEYS = 60, OPS = 1500 };

typedef struct {
    bool present;
    uint8_t fill;
    uint16_t len;
} expectation;

static bool matches(const kv_store *kv, int k, const expectation *e) {
    const uint8_t *value;
    size_t len;
    char key[16];
    snprintf(key, sizeof key, "user:%03d", k);
    if (kv_get(kv, key, &value, &len) != KV_OK)
        return !e->present;
    if (!e->present || len != e->len)
        return false;
    while (len--)
        if (value[len] != (uint8_t)(e->fill ^ len))
            return false;
    return true;
}

static int count_wrong(const kv_store *kv, const expectation *model) {
    int wrong = 0;
    for (int k = 0; k < KEYS; k++)
        wrong += !matches(kv, k, &model[k]);
    return wrong;
}

int main(void) {
    static uint8_t bytes[8192];
    device dev = {bytes, sizeof bytes};
    expectation model[KEYS] = {{0}};
    kv_store kv;
    uint32_t seed = 4711;
    int wrong = 0, refused = 0;

    crc_init();
    if (kv_open(&kv, &dev) != KV_OK)
        return 2;
    for (int i = 0; i < OPS; i++) {
        seed = seed * 1664525u + 1013904223u;
        int k = (int)((seed >> 16) % KEYS);
        char key[16];
        uint8_t value[256];
        snprintf(key, sizeof key, "user:%03d", k);
        if (seed >> 29 < 2) {
            wrong += (kv_delete(&kv, key) == KV_OK) != model[k].present;
            model[k].present = false;
            continue;
        }
        expectation e = {true, (uint8_t)(seed >> 8), (uint16_t)(seed >> 10 & 0xff)};
        for (size_t j = 0; j < e.len; j++)
            value[j] = (uint8_t)(e.fill ^ j);
        kv_status st = kv_put(&kv, key, value, e.len);
        if (st == KV_OK)
            model[k] = e;
        else if (st == KV_FULL)
            refused++;
        else
            wrong++;
    }
    wrong += count_wrong(&kv, model);
    printf("compactions %u, refused %d, live %u of %u\n", kv.compactions, refused, kv.live,
           kv.tail);

    // Reopen from the bytes alone, then tear the last record and reopen again.
    kv_compact(&kv);
    kv_delete(&kv, "user:003");
    model[3].present = false;
    kv_put(&kv, "user:007", "torn", 4);
    uint32_t tail = kv.tail;
    kv_close(&kv);
    bytes[tail - 1] ^= 0x40;
    if (kv_open(&kv, &dev) != KV_OK)
        return 3;
    int torn = count_wrong(&kv, model);
    printf("recovered %u bytes, %d wrong, %d after tear\n", kv.tail, wrong, torn);
    printf("checksum %08x\n", crc32(bytes, kv.tail));
    kv_close(&kv);
    bytes[0] = '?';
    wrong += kv_open(&kv, &dev) != KV_CORRUPT;
    return wrong + torn != 0;
}
