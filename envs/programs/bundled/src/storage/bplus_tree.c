// B+tree on fixed-size pages in a growable page file: little-endian node layout, splits,
// borrowing and merging on delete, a free page list, range cursors and a structure checker.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 128
#define NODE_HEADER 8
#define NO_PAGE 0u

typedef uint32_t page_id;

typedef struct {
    uint8_t *bytes;
    uint32_t pages, cap;
    page_id free_head;
    uint32_t free_count;
} pager;

typedef struct {
    pager file;
    page_id root;
    uint32_t entries;
    unsigned height;
} btree;

// Node header: kind, count, two reserved bytes, link. A leaf's link is its right sibling and
// its cells are (key, value); an inner node's link is the leftmost child and its cells are
// (separator, child) with every key of the child at or above the separator.
enum { KIND_FREE, KIND_LEAF, KIND_INNER };
enum { CELL = 8, CAPACITY = (PAGE_SIZE - NODE_HEADER) / CELL, MINIMUM = CAPACITY / 2 };

#define NODE(t, id) ((t)->file.bytes + (size_t)(id) * PAGE_SIZE)

static uint32_t load32(const uint8_t *p) {
    uint32_t v = 0;
    for (int i = 4; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void store32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static bool is_leaf(const uint8_t *n) {
    return n[0] == KIND_LEAF;
}
static int count_of(const uint8_t *n) {
    return n[1];
}
static page_id link_of(const uint8_t *n) {
    return load32(n + 4);
}
static void set_link(uint8_t *n, page_id id) {
    store32(n + 4, id);
}

static uint8_t *cell(uint8_t *n, int i) {
    return n + NODE_HEADER + i * CELL;
}
static uint32_t key_at(const uint8_t *n, int i) {
    return load32(n + NODE_HEADER + i * CELL);
}
static uint32_t value_at(const uint8_t *n, int i) {
    return load32(n + NODE_HEADER + i * CELL + 4);
}

static void set_cell(uint8_t *n, int i, uint32_t key, uint32_t value) {
    store32(cell(n, i), key);
    store32(cell(n, i) + 4, value);
}

static void insert_cell(uint8_t *n, int i, uint32_t key, uint32_t value) {
    memmove(cell(n, i + 1), cell(n, i), (size_t)(count_of(n) - i) * CELL);
    set_cell(n, i, key, value);
    n[1]++;
}

static void remove_cell(uint8_t *n, int i) {
    n[1]--;
    memmove(cell(n, i), cell(n, i + 1), (size_t)(count_of(n) - i) * CELL);
}

static void append_cells(uint8_t *to, uint8_t *from, int first, int n) {
    memcpy(cell(to, count_of(to)), cell(from, first), (size_t)n * CELL);
    to[1] = (uint8_t)(to[1] + n);
}

// Child i of an inner node, counting the leftmost as child 0.
static page_id child_at(const uint8_t *n, int i) {
    return i == 0 ? link_of(n) : value_at(n, i - 1);
}

// Number of cells with a key below (or, with upper set, at or below) the given one.
static int bound(const uint8_t *n, uint32_t key, bool upper) {
    int lo = 0, hi = count_of(n);
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        uint32_t k = key_at(n, mid);
        if (k < key || (upper && k == key))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

// ---- pages ------------------------------------------------------------------------------

static page_id page_alloc(pager *f, uint8_t kind) {
    page_id id = f->free_head;
    if (id != NO_PAGE) {
        f->free_head = link_of(f->bytes + (size_t)id * PAGE_SIZE);
        f->free_count--;
    } else {
        if (f->pages == f->cap) {
            uint32_t cap = f->cap ? f->cap * 2 : 8;
            uint8_t *grown = realloc(f->bytes, (size_t)cap * PAGE_SIZE);
            if (!grown)
                return NO_PAGE;
            f->bytes = grown;
            f->cap = cap;
        }
        id = f->pages++;
    }
    memset(f->bytes + (size_t)id * PAGE_SIZE, 0, PAGE_SIZE);
    f->bytes[(size_t)id * PAGE_SIZE] = kind;
    return id;
}

static void page_free(pager *f, page_id id) {
    uint8_t *p = f->bytes + (size_t)id * PAGE_SIZE;
    p[0] = KIND_FREE;
    set_link(p, f->free_head);
    f->free_head = id;
    f->free_count++;
}

bool btree_open(btree *t) {
    memset(t, 0, sizeof *t);
    // Page 0 is reserved so that 0 can mean "none".
    if (page_alloc(&t->file, KIND_FREE) != NO_PAGE || !t->file.bytes)
        return false;
    t->root = page_alloc(&t->file, KIND_LEAF);
    t->height = 1;
    return t->root != NO_PAGE;
}

void btree_close(btree *t) {
    free(t->file.bytes);
    memset(t, 0, sizeof *t);
}

static page_id find_leaf(const btree *t, uint32_t key) {
    page_id id = t->root;
    while (!is_leaf(NODE(t, id)))
        id = child_at(NODE(t, id), bound(NODE(t, id), key, true));
    return id;
}

bool btree_get(const btree *t, uint32_t key, uint32_t *value) {
    const uint8_t *n = NODE(t, find_leaf(t, key));
    int i = bound(n, key, false);
    if (i == count_of(n) || key_at(n, i) != key)
        return false;
    *value = value_at(n, i);
    return true;
}

// ---- insertion --------------------------------------------------------------------------

typedef enum { PUT_FAILED, PUT_REPLACED, PUT_ADDED } put_result;

typedef struct {
    page_id right; // NO_PAGE when the node did not split
    uint32_t separator;
} split;

// Moves the upper half of a full node to a new right sibling.
static bool split_node(btree *t, page_id id, split *sp) {
    page_id rid = page_alloc(&t->file, NODE(t, id)[0]);
    if (rid == NO_PAGE)
        return false;
    uint8_t *n = NODE(t, id), *r = NODE(t, rid);
    int keep = CAPACITY / 2;
    sp->right = rid;
    sp->separator = key_at(n, keep);
    if (is_leaf(n)) {
        append_cells(r, n, keep, CAPACITY - keep);
        set_link(r, link_of(n));
        set_link(n, rid);
    } else {
        // The middle key moves up; its child becomes the new node's leftmost.
        set_link(r, value_at(n, keep));
        append_cells(r, n, keep + 1, CAPACITY - keep - 1);
    }
    n[1] = (uint8_t)keep;
    return true;
}

static put_result put_cell(btree *t, page_id id, int i, uint32_t key, uint32_t value, split *sp) {
    sp->right = NO_PAGE;
    if (count_of(NODE(t, id)) == CAPACITY) {
        if (!split_node(t, id, sp))
            return PUT_FAILED;
        if (key >= sp->separator) {
            id = sp->right;
            i = bound(NODE(t, id), key, false);
        }
    }
    insert_cell(NODE(t, id), i, key, value);
    return PUT_ADDED;
}

static put_result put_rec(btree *t, page_id id, uint32_t key, uint32_t value, split *sp) {
    uint8_t *n = NODE(t, id);
    sp->right = NO_PAGE;
    if (is_leaf(n)) {
        int i = bound(n, key, false);
        if (i < count_of(n) && key_at(n, i) == key) {
            set_cell(n, i, key, value);
            return PUT_REPLACED;
        }
        return put_cell(t, id, i, key, value, sp);
    }
    int i = bound(n, key, true);
    split below;
    put_result res = put_rec(t, child_at(n, i), key, value, &below);
    if (res == PUT_FAILED || below.right == NO_PAGE)
        return res;
    return put_cell(t, id, i, below.separator, below.right, sp);
}

put_result btree_put(btree *t, uint32_t key, uint32_t value) {
    split sp;
    put_result res = put_rec(t, t->root, key, value, &sp);
    if (res != PUT_FAILED && sp.right != NO_PAGE) {
        page_id top = page_alloc(&t->file, KIND_INNER);
        if (top == NO_PAGE)
            return PUT_FAILED;
        set_link(NODE(t, top), t->root);
        insert_cell(NODE(t, top), 0, sp.separator, sp.right);
        t->root = top;
        t->height++;
    }
    t->entries += res == PUT_ADDED;
    return res;
}

// ---- deletion ---------------------------------------------------------------------------

static void borrow_left(uint8_t *parent, int i, uint8_t *left, uint8_t *n) {
    int last = count_of(left) - 1;
    uint32_t key = key_at(left, last), value = value_at(left, last);
    if (is_leaf(n)) {
        insert_cell(n, 0, key, value);
    } else {
        insert_cell(n, 0, key_at(parent, i - 1), link_of(n));
        set_link(n, value);
    }
    store32(cell(parent, i - 1), key);
    remove_cell(left, last);
}

static void borrow_right(uint8_t *parent, int i, uint8_t *n, uint8_t *right) {
    uint32_t key = key_at(right, 0), value = value_at(right, 0);
    if (is_leaf(n)) {
        insert_cell(n, count_of(n), key, value);
        remove_cell(right, 0);
        key = key_at(right, 0);
    } else {
        insert_cell(n, count_of(n), key_at(parent, i), link_of(right));
        set_link(right, value);
        remove_cell(right, 0);
    }
    store32(cell(parent, i), key);
}

// Folds child i + 1 into child i.
static void merge_children(btree *t, uint8_t *parent, int i) {
    page_id rid = child_at(parent, i + 1);
    uint8_t *n = NODE(t, child_at(parent, i)), *r = NODE(t, rid);
    if (is_leaf(n))
        set_link(n, link_of(r));
    else
        insert_cell(n, count_of(n), key_at(parent, i), link_of(r));
    append_cells(n, r, 0, count_of(r));
    remove_cell(parent, i);
    page_free(&t->file, rid);
}

static void rebalance(btree *t, uint8_t *parent, int i) {
    uint8_t *n = NODE(t, child_at(parent, i));
    if (count_of(n) >= MINIMUM)
        return;
    uint8_t *left = i > 0 ? NODE(t, child_at(parent, i - 1)) : NULL;
    uint8_t *right = i < count_of(parent) ? NODE(t, child_at(parent, i + 1)) : NULL;
    if (left && count_of(left) > MINIMUM)
        borrow_left(parent, i, left, n);
    else if (right && count_of(right) > MINIMUM)
        borrow_right(parent, i, n, right);
    else
        merge_children(t, parent, left ? i - 1 : i);
}

static bool delete_rec(btree *t, page_id id, uint32_t key) {
    uint8_t *n = NODE(t, id);
    if (is_leaf(n)) {
        int i = bound(n, key, false);
        if (i == count_of(n) || key_at(n, i) != key)
            return false;
        remove_cell(n, i);
        return true;
    }
    int i = bound(n, key, true);
    if (!delete_rec(t, child_at(n, i), key))
        return false;
    rebalance(t, n, i);
    return true;
}

bool btree_delete(btree *t, uint32_t key) {
    if (!delete_rec(t, t->root, key))
        return false;
    uint8_t *root = NODE(t, t->root);
    if (!is_leaf(root) && count_of(root) == 0) {
        page_id old = t->root;
        t->root = link_of(root);
        page_free(&t->file, old);
        t->height--;
    }
    t->entries--;
    return true;
}

// ---- cursors ----------------------------------------------------------------------------

typedef struct {
    const btree *tree;
    page_id leaf;
    int at;
} cursor;

cursor btree_seek(const btree *t, uint32_t key) {
    page_id leaf = find_leaf(t, key);
    return (cursor){t, leaf, bound(NODE(t, leaf), key, false)};
}

bool cursor_next(cursor *c, uint32_t *key, uint32_t *value) {
    while (c->leaf != NO_PAGE) {
        const uint8_t *n = NODE(c->tree, c->leaf);
        if (c->at < count_of(n)) {
            *key = key_at(n, c->at);
            *value = value_at(n, c->at++);
            return true;
        }
        c->leaf = link_of(n);
        c->at = 0;
    }
    return false;
}

// Returns the number of entries under id, or -1 when an invariant is broken.
static long check_rec(const btree *t, page_id id, uint64_t lo, uint64_t hi, unsigned depth) {
    const uint8_t *n = NODE(t, id);
    if (n[0] == KIND_FREE || count_of(n) > CAPACITY || is_leaf(n) != (depth == t->height))
        return -1;
    if (id != t->root && count_of(n) < MINIMUM)
        return -1;
    for (int i = 0; i < count_of(n); i++) {
        if (key_at(n, i) < lo || key_at(n, i) >= hi || (i && key_at(n, i) <= key_at(n, i - 1)))
            return -1;
    }
    if (is_leaf(n))
        return count_of(n);
    long total = 0;
    for (int i = 0; i <= count_of(n); i++) {
        uint64_t low = i ? key_at(n, i - 1) : lo, high = i < count_of(n) ? key_at(n, i) : hi;
        long sub = check_rec(t, child_at(n, i), low, high, depth + 1);
        if (sub < 0)
            return -1;
        total += sub;
    }
    return total;
}

bool btree_check(const btree *t) {
    return check_rec(t, t->root, 0, (uint64_t)UINT32_MAX + 1, 1) == (long)t->entries;
}

// ---- driver -----------------------------------------------------------------------------

enum { KEY_SPACE = 2048, OPERATIONS = 6000 };

static uint32_t range_digest(const btree *t, uint32_t lo, uint32_t hi, uint32_t *n) {
    uint32_t key, value, h = 0;
    cursor c = btree_seek(t, lo);
    for (*n = 0; cursor_next(&c, &key, &value) && key < hi; ++*n)
        h = (h ^ key) * 0x01000193u + value;
    return h;
}

int main(void) {
    static uint32_t model[KEY_SPACE]; // value + 1, 0 for absent
    btree t;
    uint32_t state = 0x1234567, present = 0, n, value;
    int bad = 0;

    if (!btree_open(&t))
        return 2;
    for (int op = 0; op < OPERATIONS; op++) {
        state = state * 747796405u + 2891336453u;
        uint32_t key = state >> 20 & (KEY_SPACE - 1), r = state >> 9 & 15;
        // Grow first, shrink later.
        if (r < (op < OPERATIONS / 2 ? 12u : 4u)) {
            put_result want = model[key] ? PUT_REPLACED : PUT_ADDED;
            bad += btree_put(&t, key * 3, (uint32_t)op) != want;
            present += want == PUT_ADDED;
            model[key] = (uint32_t)op + 1;
        } else {
            bad += btree_delete(&t, key * 3) != (model[key] != 0);
            present -= model[key] != 0;
            model[key] = 0;
        }
        if (op % 1000 == 999)
            bad += !btree_check(&t) || t.entries != present;
    }
    for (uint32_t k = 0; k < KEY_SPACE; k++)
        bad += btree_get(&t, k * 3, &value) ? model[k] != value + 1 : model[k] != 0;
    bad += btree_get(&t, 1, &value);
    uint32_t part = range_digest(&t, 1000, 2000, &n), in_range = n;
    uint32_t whole = range_digest(&t, 0, UINT32_MAX, &n);
    bad += n != present;
    printf("%u entries, %u in range, height %u, %u pages, %u free\n", n, in_range, t.height,
           t.file.pages, t.file.free_count);
    for (uint32_t k = 0; k < KEY_SPACE; k++)
        btree_delete(&t, k * 3);
    bad += t.entries != 0 || t.height != 1 || t.file.free_count + 2 != t.file.pages;
    btree_close(&t);
    printf("bad %d\nchecksum %08x\n", bad, part ^ whole);
    return bad != 0;
}
