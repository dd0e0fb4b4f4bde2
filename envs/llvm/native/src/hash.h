/* The hash and what the parts of the walk share. */
#ifndef DOJO_HASH_H
#define DOJO_HASH_H

#include <string.h>

#include "internal.h"

typedef struct hash128 {
    uint64_t a, b;
} hash128;

/* Facts about a value that the features need, kept beside its hash. */
enum { IS_CONSTANT = 1, IS_INT32 = 2, IS_INT64 = 4, IS_ZERO = 8, IS_ONE = 16 };

typedef struct walk {
    const llvm_c *llvm;
    LLVMValueRef function; /* that is hashed on its own, or NULL when the module is */
    unsigned depth;        /* of initializers within initializers */
    LLVMContextRef context;
    walk_memory *memory;
    dojo_state *state;
    hash128 hash;
    unsigned first_custom_metadata;
    uint64_t next_metadata; /* ordinal of the next metadata node met */
} walk;

static inline uint64_t multiply_fold(uint64_t x, uint64_t y) {
    __uint128_t product = (__uint128_t)x * y;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Two independent multiply-and-fold lanes; the odd constants are the fractional digits of sqrt(2),
 * sqrt(3), sqrt(5), sqrt(7). */
static inline void mix(hash128 *hash, uint64_t word) {
    hash->a = multiply_fold(hash->a ^ word ^ 0x6a09e667f3bcc909u, 0xbb67ae8584caa73bu);
    hash->b = multiply_fold(hash->b + word + 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u);
}

static inline void mix_hash(hash128 *hash, hash128 other) {
    mix(hash, other.a);
    mix(hash, other.b);
}

static inline void mix_bytes(hash128 *hash, const char *bytes, size_t size) {
    mix(hash, size);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
        mix(hash, word);
    }
}

static inline void mix_text(hash128 *hash, const char *text) {
    mix_bytes(hash, text ? text : "", text ? strlen(text) : 0);
}

static inline hash128 entry_hash(const pointer_entry *entry) {
    return (hash128){entry->value[0], entry->value[1]};
}

static inline hash128 remember(pointer_map *map, const void *key, hash128 hash, uint32_t flags) {
    pointer_map_put(map, key, hash.a, hash.b, flags);
    return hash;
}

/* Whether no other module can refer to a global. */
static inline bool is_local(const llvm_c *llvm, LLVMValueRef global) {
    int linkage = llvm->GetLinkage(global);
    return linkage == LINKAGE_INTERNAL || linkage == LINKAGE_PRIVATE;
}

/* What a function is apart from its place among others: conventions, attributes and body (walk.c).
 * Adds to the counts of w->state. */
void walk_function(walk *w, LLVMValueRef function);

/* Types, attributes, constants and metadata (values.c). */
hash128 type_hash(walk *w, LLVMTypeRef type);
void mix_attributes(walk *w, hash128 *hash, LLVMValueRef owner, unsigned index,
                    unsigned (*count_at)(LLVMValueRef, unsigned),
                    void (*get_at)(LLVMValueRef, unsigned, LLVMAttributeRef *));
/* Locals, and a module's globals, are numbered before any operand is read, so what is not in a map
 * yet is a constant, metadata, or a global that a function on its own refers to. */
const pointer_entry *value_entry(walk *w, LLVMValueRef value);
void mix_value(walk *w, hash128 *hash, LLVMValueRef value);
void mix_metadata_entries(walk *w, LLVMValueMetadataEntry *entries, size_t count);

#endif
