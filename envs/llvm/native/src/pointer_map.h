/* A hash map from pointers to what a walk knows of them: open addressing, cleared in constant time
 * by a generation count. */
#ifndef DOJO_POINTER_MAP_H
#define DOJO_POINTER_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct pointer_entry {
    const void *key;
    uint64_t value[2];
    uint32_t flags;
    uint32_t generation;
} pointer_entry;

typedef struct pointer_map {
    pointer_entry *entries;
    size_t capacity; /* a power of two */
    size_t size;
    uint32_t generation;
} pointer_map;

static inline size_t pointer_slot(const pointer_map *map, const void *key) {
    uint64_t bits = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
    return (size_t)(bits >> 20) & (map->capacity - 1);
}

static inline void pointer_map_clear(pointer_map *map) {
    map->size = 0;
    if (++map->generation == 0) { /* wrapped: old stamps would look new */
        memset(map->entries, 0, map->capacity * sizeof(pointer_entry));
        map->generation = 1;
    }
}

static inline void pointer_map_free(pointer_map *map) {
    free(map->entries);
    memset(map, 0, sizeof *map);
}

static inline pointer_entry *pointer_map_find(const pointer_map *map, const void *key) {
    if (map->capacity == 0)
        return NULL;
    for (size_t slot = pointer_slot(map, key);; slot = (slot + 1) & (map->capacity - 1)) {
        pointer_entry *entry = &map->entries[slot];
        if (entry->generation != map->generation)
            return NULL;
        if (entry->key == key)
            return entry;
    }
}

static inline pointer_entry *pointer_map_put(pointer_map *map, const void *key, uint64_t first,
                                             uint64_t second, uint32_t flags);

static inline void pointer_map_grow(pointer_map *map) {
    pointer_map larger = {.capacity = map->capacity ? map->capacity * 2 : 256, .generation = 1};
    larger.entries = calloc(larger.capacity, sizeof(pointer_entry));
    if (larger.entries == NULL)
        abort();
    for (size_t i = 0; i < map->capacity; i++) {
        const pointer_entry *old = &map->entries[i];
        if (old->generation == map->generation)
            pointer_map_put(&larger, old->key, old->value[0], old->value[1], old->flags);
    }
    free(map->entries);
    *map = larger;
}

/* Insert or overwrite. The entry returned is valid until the next insertion. */
static inline pointer_entry *pointer_map_put(pointer_map *map, const void *key, uint64_t first,
                                             uint64_t second, uint32_t flags) {
    if (map->size * 2 >= map->capacity)
        pointer_map_grow(map);
    for (size_t slot = pointer_slot(map, key);; slot = (slot + 1) & (map->capacity - 1)) {
        pointer_entry *entry = &map->entries[slot];
        if (entry->generation == map->generation && entry->key != key)
            continue;
        if (entry->generation != map->generation)
            map->size++;
        *entry = (pointer_entry){key, {first, second}, flags, map->generation};
        return entry;
    }
}

#endif
