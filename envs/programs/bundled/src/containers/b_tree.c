/* In-memory B-tree of (key, value) pairs with preemptive node splitting, point lookup and
 * ordered range scans through a visitor callback. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_DEGREE = 4, MAX_KEYS = 2 * MIN_DEGREE - 1 };

typedef struct node {
    int count;
    bool leaf;
    uint32_t key[MAX_KEYS];
    int32_t value[MAX_KEYS];
    struct node *child[MAX_KEYS + 1];
} node;

typedef struct btree {
    node *root;
    size_t size;
    int height;
} btree;

typedef bool (*btree_visit)(void *ctx, uint32_t key, int32_t value);

static node *node_new(bool leaf) {
    node *n = calloc(1, sizeof *n);
    if (n)
        n->leaf = leaf;
    return n;
}

static void node_free(node *n) {
    for (int i = 0; !n->leaf && i <= n->count; i++)
        node_free(n->child[i]);
    free(n);
}

/* Index of the first key that is not below the wanted one. */
static int lower_bound(const node *n, uint32_t key) {
    int lo = 0, hi = n->count;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (n->key[mid] < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Shifts the tail of a node right by one entry to open a slot at index i. */
static void open_slot(node *n, int i) {
    size_t tail = (size_t)(n->count - i);
    memmove(n->key + i + 1, n->key + i, tail * sizeof n->key[0]);
    memmove(n->value + i + 1, n->value + i, tail * sizeof n->value[0]);
    memmove(n->child + i + 2, n->child + i + 1, tail * sizeof n->child[0]);
    n->count++;
}

static bool split_child(node *parent, int i) {
    node *full = parent->child[i];
    node *right = node_new(full->leaf);
    if (!right)
        return false;
    right->count = MIN_DEGREE - 1;
    memcpy(right->key, full->key + MIN_DEGREE, sizeof full->key[0] * (MIN_DEGREE - 1));
    memcpy(right->value, full->value + MIN_DEGREE, sizeof full->value[0] * (MIN_DEGREE - 1));
    memcpy(right->child, full->child + MIN_DEGREE, sizeof full->child[0] * MIN_DEGREE);
    full->count = MIN_DEGREE - 1;

    open_slot(parent, i);
    parent->key[i] = full->key[MIN_DEGREE - 1];
    parent->value[i] = full->value[MIN_DEGREE - 1];
    parent->child[i + 1] = right;
    return true;
}

int32_t *btree_find(const btree *t, uint32_t key) {
    for (node *n = t->root; n;) {
        int i = lower_bound(n, key);
        if (i < n->count && n->key[i] == key)
            return &n->value[i];
        n = n->leaf ? NULL : n->child[i];
    }
    return NULL;
}

/* Inserts or overwrites; returns false only when memory runs out. */
bool btree_put(btree *t, uint32_t key, int32_t value) {
    int32_t *existing = btree_find(t, key);
    if (existing) {
        *existing = value;
        return true;
    }
    if (!t->root || t->root->count == MAX_KEYS) {
        node *top = node_new(t->root == NULL);
        if (!top)
            return false;
        top->child[0] = t->root;
        if (t->root && !split_child(top, 0)) {
            free(top);
            return false;
        }
        t->root = top;
        t->height++;
    }
    node *n = t->root;
    while (!n->leaf) {
        int i = lower_bound(n, key);
        if (n->child[i]->count == MAX_KEYS) {
            if (!split_child(n, i))
                return false;
            i += n->key[i] < key;
        }
        n = n->child[i];
    }
    int at = lower_bound(n, key);
    open_slot(n, at);
    n->key[at] = key;
    n->value[at] = value;
    t->size++;
    return true;
}

static bool scan_node(const node *n, uint32_t from, uint32_t to, btree_visit visit, void *ctx) {
    for (int i = lower_bound(n, from);; i++) {
        if (!n->leaf && !scan_node(n->child[i], from, to, visit, ctx))
            return false;
        if (i == n->count || n->key[i] >= to)
            return true;
        if (!visit(ctx, n->key[i], n->value[i]))
            return false;
    }
}

/* Visits keys in [from, to) in order until the visitor returns false. */
bool btree_scan(const btree *t, uint32_t from, uint32_t to, btree_visit visit, void *ctx) {
    return !t->root || scan_node(t->root, from, to, visit, ctx);
}

struct tally {
    size_t seen, limit;
    uint32_t last, digest;
    bool ordered;
};

static bool tally_entry(void *ctx, uint32_t key, int32_t value) {
    struct tally *t = ctx;
    t->ordered = t->ordered && (t->seen == 0 || key > t->last);
    t->last = key;
    t->digest = (t->digest ^ key) * 2654435761u + (uint32_t)value;
    return ++t->seen < t->limit;
}

int main(void) {
    btree tree = {NULL, 0, 0};
    uint32_t x = 1;
    for (int i = 0; i < 900; i++) {
        x = x * 69069u + 1u;
        if (!btree_put(&tree, x >> 22, i - 450))
            return 1;
    }
    struct tally all = {.limit = SIZE_MAX, .ordered = true};
    struct tally some = {.limit = 25, .ordered = true, .digest = 7};
    btree_scan(&tree, 0, UINT32_MAX, tally_entry, &all);
    btree_scan(&tree, 300, 700, tally_entry, &some);

    size_t found = 0;
    for (uint32_t k = 0; k < 1024; k++)
        found += btree_find(&tree, k) != NULL;
    bool ok = all.ordered && all.seen == tree.size && found == tree.size && some.seen == 25;
    printf("%zu keys, height %d\n", tree.size, tree.height);
    printf("range starts after 300 and stops at %u\n", (unsigned)some.last);
    printf("checksum %08x\n", (unsigned)(all.digest ^ some.digest));
    node_free(tree.root);
    return ok ? 0 : 1;
}
