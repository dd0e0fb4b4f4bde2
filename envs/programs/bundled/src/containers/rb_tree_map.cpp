// Ordered map as a red-black tree template: bidirectional iterators, insertion, erasure with
// rebalancing, bounds, deep copy and a structural validator.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace rb {

enum class Color : uint8_t { Red, Black };

// Links are kept apart from the payload so that the balancing code is not instantiated for
// every key and value type.
struct Links {
    Links *parent = nullptr;
    Links *child[2] = {nullptr, nullptr};
    Color color = Color::Red;
};

enum Side { Left = 0, Right = 1 };

static Side opposite(Side s) {
    return s == Left ? Right : Left;
}
static Side side_of(const Links *n) {
    return n->parent->child[Left] == n ? Left : Right;
}
static bool is_red(const Links *n) {
    return n && n->color == Color::Red;
}

static Links *extreme(Links *n, Side s) {
    while (n && n->child[s])
        n = n->child[s];
    return n;
}

// In-order neighbour: Right gives the successor, Left the predecessor.
static Links *neighbour(Links *n, Side s) {
    if (n->child[s])
        return extreme(n->child[s], opposite(s));
    while (n->parent && side_of(n) == s)
        n = n->parent;
    return n->parent;
}

class Balancer {
  public:
    explicit Balancer(Links *&root) : root_(root) {}

    void after_insert(Links *n) {
        while (is_red(n->parent)) {
            Links *parent = n->parent;
            Links *grand = parent->parent;
            Side s = side_of(parent);
            Links *uncle = grand->child[opposite(s)];
            if (is_red(uncle)) {
                parent->color = uncle->color = Color::Black;
                grand->color = Color::Red;
                n = grand;
                continue;
            }
            if (side_of(n) != s) {
                rotate(parent, s);
                parent = n;
            }
            parent->color = Color::Black;
            grand->color = Color::Red;
            rotate(grand, opposite(s));
            break;
        }
        root_->color = Color::Black;
    }

    void unlink(Links *n) {
        if (n->child[Left] && n->child[Right])
            swap_with_successor(n);
        Links *only = n->child[n->child[Left] ? Left : Right];
        Links *parent = n->parent;
        Side s = parent ? side_of(n) : Left;
        replace(n, only);
        if (n->color == Color::Red)
            return;
        if (is_red(only))
            only->color = Color::Black;
        else
            repair_short_side(parent, s);
    }

  private:
    void replace(Links *old, Links *with) {
        if (!old->parent)
            root_ = with;
        else
            old->parent->child[side_of(old)] = with;
        if (with)
            with->parent = old->parent;
    }

    // Rotates n towards side s; its child on the other side takes its place.
    void rotate(Links *n, Side s) {
        Side o = opposite(s);
        Links *up = n->child[o];
        n->child[o] = up->child[s];
        if (up->child[s])
            up->child[s]->parent = n;
        replace(n, up);
        up->child[s] = n;
        n->parent = up;
    }

    void swap_with_successor(Links *n) {
        Links *next = extreme(n->child[Right], Left);
        Links *next_parent = next->parent;
        Links *next_right = next->child[Right];
        Color color = next->color;

        replace(n, next);
        next->color = n->color;
        next->child[Left] = n->child[Left];
        next->child[Left]->parent = next;
        if (next_parent == n) {
            next->child[Right] = n;
            n->parent = next;
        } else {
            next->child[Right] = n->child[Right];
            next->child[Right]->parent = next;
            next_parent->child[Left] = n;
            n->parent = next_parent;
        }
        n->color = color;
        n->child[Left] = nullptr;
        n->child[Right] = next_right;
        if (next_right)
            next_right->parent = n;
    }

    // The subtree on side s of parent lacks one black node.
    void repair_short_side(Links *parent, Side s) {
        while (parent) {
            Links *n = parent->child[s];
            if (is_red(n)) {
                n->color = Color::Black;
                return;
            }
            Side o = opposite(s);
            Links *sibling = parent->child[o];
            if (is_red(sibling)) {
                sibling->color = Color::Black;
                parent->color = Color::Red;
                rotate(parent, s);
                sibling = parent->child[o];
            }
            if (!is_red(sibling->child[Left]) && !is_red(sibling->child[Right])) {
                sibling->color = Color::Red;
                if (is_red(parent)) {
                    parent->color = Color::Black;
                    return;
                }
                if (parent->parent)
                    s = side_of(parent);
                parent = parent->parent;
                continue;
            }
            if (!is_red(sibling->child[o])) {
                sibling->child[s]->color = Color::Black;
                sibling->color = Color::Red;
                rotate(sibling, o);
                sibling = parent->child[o];
            }
            sibling->color = parent->color;
            parent->color = Color::Black;
            sibling->child[o]->color = Color::Black;
            rotate(parent, s);
            return;
        }
    }

    Links *&root_;
};

// Black height of a valid subtree, or -1 if a red-black rule is broken.
static int black_height(const Links *n) {
    if (!n)
        return 1;
    int left = black_height(n->child[Left]);
    int right = black_height(n->child[Right]);
    for (const Links *c : n->child) {
        if (c && (c->parent != n || (is_red(n) && is_red(c))))
            return -1;
    }
    if (left < 0 || left != right)
        return -1;
    return left + (n->color == Color::Black);
}

template <class K> struct Less {
    bool operator()(const K &a, const K &b) const { return a < b; }
};

template <class K, class V, class Compare = Less<K>> class Map {
    struct Node : Links {
        K key;
        V value;
        Node(const K &k, const V &v) : key(k), value(v) {}
    };

  public:
    class Iterator {
      public:
        Iterator(Links *n, const Map *map) : node_(n), map_(map) {}
        const K &key() const { return static_cast<Node *>(node_)->key; }
        V &value() const { return static_cast<Node *>(node_)->value; }
        Iterator &operator*() { return *this; }
        Iterator &operator++() {
            node_ = neighbour(node_, Right);
            return *this;
        }
        // Decrementing end() gives the last element.
        Iterator &operator--() {
            node_ = node_ ? neighbour(node_, Left) : extreme(map_->root_, Right);
            return *this;
        }
        bool operator==(const Iterator &o) const { return node_ == o.node_; }
        bool operator!=(const Iterator &o) const { return node_ != o.node_; }

      private:
        friend class Map;
        Links *node_;
        const Map *map_;
    };

    Map() = default;
    Map(const Map &o) : size_(o.size_) { root_ = clone(o.root_, nullptr); }
    Map(Map &&o) : root_(o.root_), size_(o.size_) {
        o.root_ = nullptr;
        o.size_ = 0;
    }
    Map &operator=(Map o) {
        swap(o);
        return *this;
    }
    ~Map() { destroy(root_); }

    void swap(Map &o) {
        Links *root = root_;
        size_t size = size_;
        root_ = o.root_;
        size_ = o.size_;
        o.root_ = root;
        o.size_ = size;
    }

    size_t size() const { return size_; }
    Iterator begin() const { return Iterator(extreme(root_, Left), this); }
    Iterator end() const { return Iterator(nullptr, this); }

    V &operator[](const K &key) {
        Links *parent = nullptr;
        Links **slot = &root_;
        while (*slot) {
            parent = *slot;
            const K &here = static_cast<Node *>(parent)->key;
            if (less_(key, here))
                slot = &parent->child[Left];
            else if (less_(here, key))
                slot = &parent->child[Right];
            else
                return static_cast<Node *>(parent)->value;
        }
        Node *n = new Node(key, V());
        n->parent = parent;
        *slot = n;
        size_++;
        Balancer(root_).after_insert(n);
        return n->value;
    }

    // First element whose key is not less than the given one.
    Iterator lower_bound(const K &key) const {
        Links *best = nullptr;
        for (Links *n = root_; n;) {
            if (less_(static_cast<Node *>(n)->key, key)) {
                n = n->child[Right];
            } else {
                best = n;
                n = n->child[Left];
            }
        }
        return Iterator(best, this);
    }

    Iterator find(const K &key) const {
        Iterator it = lower_bound(key);
        return it != end() && !less_(key, it.key()) ? it : end();
    }

    // Returns the element after the erased one.
    Iterator erase(Iterator it) {
        Node *n = static_cast<Node *>(it.node_);
        ++it;
        Balancer(root_).unlink(n);
        delete n;
        size_--;
        return it;
    }

    bool erase(const K &key) {
        Iterator it = find(key);
        if (it == end())
            return false;
        erase(it);
        return true;
    }

    bool valid() const {
        if (is_red(root_) || black_height(root_) < 0)
            return false;
        size_t n = 0;
        const K *previous = nullptr;
        for (Iterator it : *this) {
            if (previous && !less_(*previous, it.key()))
                return false;
            previous = &it.key();
            n++;
        }
        return n == size_;
    }

  private:
    static Links *clone(const Links *from, Links *parent) {
        if (!from)
            return nullptr;
        const Node *src = static_cast<const Node *>(from);
        Node *n = new Node(src->key, src->value);
        n->color = src->color;
        n->parent = parent;
        n->child[Left] = clone(src->child[Left], n);
        n->child[Right] = clone(src->child[Right], n);
        return n;
    }

    static void destroy(Links *n) {
        if (!n)
            return;
        destroy(n->child[Left]);
        destroy(n->child[Right]);
        delete static_cast<Node *>(n);
    }

    Links *root_ = nullptr;
    size_t size_ = 0;
    Compare less_;
};

} // namespace rb

namespace {

struct Word {
    char text[12] = {};
    Word(const char *s, size_t n) { memcpy(text, s, n < 11 ? n : 11); }
};

struct ReverseOrder {
    bool operator()(const Word &a, const Word &b) const { return strcmp(a.text, b.text) > 0; }
};

uint32_t g_seed = 2463534242u;

uint32_t next_random() {
    g_seed ^= g_seed << 13;
    g_seed ^= g_seed >> 17;
    g_seed ^= g_seed << 5;
    return g_seed;
}

// Random insertions and removals, compared against a plain bitmap of present keys.
bool stress(uint32_t &digest) {
    constexpr int kKeys = 200;
    rb::Map<int, uint32_t> map;
    bool present[kKeys] = {};
    size_t live = 0;
    for (int step = 0; step < 1500; step++) {
        int key = int(next_random() % kKeys);
        if (next_random() % 5 < 3) {
            live += !present[key];
            present[key] = true;
            map[key] += uint32_t(step);
        } else {
            if (map.erase(key) != present[key])
                return false;
            live -= present[key];
            present[key] = false;
        }
        if (map.size() != live || (step % 50 == 0 && !map.valid()))
            return false;
    }

    rb::Map<int, uint32_t> copy(map);
    for (auto it = copy.lower_bound(50); it != copy.end() && it.key() < 150;)
        it = it.key() % 3 == 0 ? copy.erase(it) : ++it;
    if (!copy.valid() || !map.valid() || map.size() != live)
        return false;
    printf("stress: %zu live, %zu after range erase\n", map.size(), copy.size());
    for (auto it = copy.end(); it != copy.begin();) {
        --it;
        digest = digest * 16777619u ^ (uint32_t(it.key()) << 20 ^ it.value());
    }
    map = static_cast<rb::Map<int, uint32_t> &&>(copy);
    return copy.size() == 0 && map.valid();
}

} // namespace

int main() {
    static const char text[] = "the cat and the dog and the bird that the cat and the dog saw";
    uint32_t digest = 2166136261u;

    rb::Map<Word, int, ReverseOrder> counts;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " ");
        counts[Word(p, n)]++;
        p += n + (p[n] == ' ');
    }
    if (!counts.valid())
        return 1;
    printf("%zu words, last in order: %s\n", counts.size(), counts.begin().key().text);
    for (auto it : counts) {
        for (const char *c = it.key().text; *c; c++)
            digest = (digest ^ uint8_t(*c)) * 16777619u;
        digest += uint32_t(it.value());
    }

    if (!stress(digest)) {
        puts("stress test failed");
        return 1;
    }
    printf("checksum %08x\n", unsigned(digest));
    return 0;
}
