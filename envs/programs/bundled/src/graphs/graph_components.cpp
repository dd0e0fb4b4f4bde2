// Structure of a module graph: strongly connected components, a topological order of the
// condensation, and minimum spanning forests by Kruskal and by Prim that must weigh the same.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace {

template <typename T> class Vec {
  public:
    Vec() = default;
    explicit Vec(size_t n, T fill = T()) {
        reserve(n);
        while (len_ < n)
            data_[len_++] = fill;
    }
    Vec(const Vec &) = delete;
    Vec &operator=(const Vec &) = delete;
    ~Vec() { delete[] data_; }

    void reserve(size_t want) {
        if (want <= cap_)
            return;
        T *grown = new T[want];
        for (size_t i = 0; i < len_; i++)
            grown[i] = data_[i];
        delete[] data_;
        data_ = grown;
        cap_ = want;
    }
    void push(const T &v) {
        if (len_ == cap_) {
            T copy = v;
            reserve(cap_ ? cap_ * 2 : 8);
            data_[len_++] = copy;
        } else {
            data_[len_++] = v;
        }
    }
    T pop() { return data_[--len_]; }
    T &back() { return data_[len_ - 1]; }
    T &operator[](size_t i) { return data_[i]; }
    const T &operator[](size_t i) const { return data_[i]; }
    size_t size() const { return len_; }
    bool empty() const { return len_ == 0; }
    T *begin() { return data_; }
    T *end() { return data_ + len_; }
    const T *begin() const { return data_; }
    const T *end() const { return data_ + len_; }

  private:
    T *data_ = nullptr;
    size_t len_ = 0, cap_ = 0;
};

// A binary min-heap; items compare with <.
template <typename T> class Heap {
  public:
    void push(const T &item) {
        items_.push(item);
        size_t i = items_.size() - 1;
        while (i > 0 && items_[i] < items_[(i - 1) / 2]) {
            swap(i, (i - 1) / 2);
            i = (i - 1) / 2;
        }
    }
    T pop() {
        T top = items_[0];
        T last = items_.pop();
        if (!items_.empty()) {
            items_[0] = last;
            sink(0);
        }
        return top;
    }
    bool empty() const { return items_.empty(); }

  private:
    void swap(size_t a, size_t b) {
        T t = items_[a];
        items_[a] = items_[b];
        items_[b] = t;
    }
    void sink(size_t i) {
        for (;;) {
            size_t child = 2 * i + 1;
            if (child >= items_.size())
                return;
            if (child + 1 < items_.size() && items_[child + 1] < items_[child])
                child++;
            if (!(items_[child] < items_[i]))
                return;
            swap(i, child);
            i = child;
        }
    }
    Vec<T> items_;
};

class DisjointSet {
  public:
    explicit DisjointSet(int n) : parent_(n, -1) {}
    int find(int v) {
        while (parent_[v] >= 0) {
            if (parent_[parent_[v]] >= 0)
                parent_[v] = parent_[parent_[v]]; // path halving
            v = parent_[v];
        }
        return v;
    }
    bool unite(int a, int b) {
        a = find(a);
        b = find(b);
        if (a == b)
            return false;
        if (parent_[a] > parent_[b]) { // roots hold the negated size
            int t = a;
            a = b;
            b = t;
        }
        parent_[a] += parent_[b];
        parent_[b] = a;
        return true;
    }

  private:
    Vec<int> parent_;
};

struct Edge {
    int from, to;
    uint32_t weight;

    bool operator<(const Edge &o) const { return weight < o.weight; }
};

class Digraph {
  public:
    explicit Digraph(int n) : n_(n), head_(n, -1) {}

    void add(int from, int to, uint32_t weight) {
        next_.push(head_[from]);
        head_[from] = static_cast<int>(edges_.size());
        edges_.push(Edge{from, to, weight});
    }
    int size() const { return n_; }
    const Vec<Edge> &edges() const { return edges_; }

    template <typename Fn> void each_out(int v, Fn fn) const {
        for (int e = head_[v]; e >= 0; e = next_[e])
            fn(edges_[e]);
    }
    int first(int v) const { return head_[v]; }
    int next(int e) const { return next_[e]; }

  private:
    int n_;
    Vec<int> head_, next_;
    Vec<Edge> edges_;
};

// Tarjan's algorithm with an explicit stack.
class ComponentFinder {
  public:
    explicit ComponentFinder(const Digraph &g)
        : g_(g), index_(g.size(), -1), low_(g.size(), 0), cursor_(g.size(), -1),
          component_(g.size(), -1) {
        for (int v = 0; v < g.size(); v++)
            if (index_[v] < 0)
                explore(v);
    }
    int count() const { return count_; }
    int of(int v) const { return component_[v]; }

  private:
    void enter(int v) {
        index_[v] = low_[v] = clock_++;
        cursor_[v] = g_.first(v);
        open_.push(v);
        calls_.push(v);
    }
    void leave(int v) {
        if (low_[v] != index_[v])
            return;
        int w;
        do {
            w = open_.pop();
            component_[w] = count_;
        } while (w != v);
        count_++;
    }
    void explore(int root) {
        enter(root);
        while (!calls_.empty()) {
            int v = calls_.back();
            if (cursor_[v] < 0) {
                calls_.pop();
                leave(v);
                if (!calls_.empty())
                    lower(calls_.back(), low_[v]);
                continue;
            }
            int w = g_.edges()[cursor_[v]].to;
            cursor_[v] = g_.next(cursor_[v]);
            if (index_[w] < 0)
                enter(w);
            else if (component_[w] < 0)
                lower(v, index_[w]);
        }
    }
    void lower(int v, int bound) {
        if (bound < low_[v])
            low_[v] = bound;
    }

    const Digraph &g_;
    Vec<int> index_, low_, cursor_, component_, open_, calls_;
    int clock_ = 0, count_ = 0;
};

// Kahn's algorithm; the order itself is the queue. False if there is a cycle.
bool topological_order(const Digraph &g, Vec<int> &order) {
    Vec<int> pending(g.size(), 0);
    for (const Edge &e : g.edges())
        pending[e.to]++;
    for (int v = 0; v < g.size(); v++)
        if (pending[v] == 0)
            order.push(v);
    for (size_t head = 0; head < order.size(); head++)
        g.each_out(order[head], [&](const Edge &e) {
            if (--pending[e.to] == 0)
                order.push(e.to);
        });
    return static_cast<int>(order.size()) == g.size();
}

uint64_t kruskal(const Digraph &g, int &trees) {
    DisjointSet sets(g.size());
    Heap<Edge> queue;
    uint64_t total = 0;
    trees = g.size();
    for (const Edge &e : g.edges())
        queue.push(e);
    while (!queue.empty() && trees > 1) {
        Edge e = queue.pop();
        if (sets.unite(e.from, e.to)) {
            total += e.weight;
            trees--;
        }
    }
    return total;
}

uint64_t prim(const Digraph &g) {
    Digraph both(g.size());
    Vec<int> in_tree(g.size(), 0);
    uint64_t total = 0;
    for (const Edge &e : g.edges()) {
        both.add(e.from, e.to, e.weight);
        both.add(e.to, e.from, e.weight);
    }
    for (int root = 0; root < g.size(); root++) {
        Heap<Edge> frontier;
        if (in_tree[root])
            continue;
        frontier.push(Edge{root, root, 0});
        while (!frontier.empty()) {
            Edge e = frontier.pop();
            if (in_tree[e.to])
                continue;
            in_tree[e.to] = 1;
            total += e.weight;
            both.each_out(e.to, [&](const Edge &out) {
                if (!in_tree[out.to])
                    frontier.push(out);
            });
        }
    }
    return total;
}

class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint32_t below(uint32_t bound) {
        state_ += 0x9e3779b97f4a7c15ull;
        uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return static_cast<uint32_t>((z ^ (z >> 31)) % bound);
    }

  private:
    uint64_t state_;
};

} // namespace

int main() {
    const int modules = 160;
    Random random(77);
    Digraph g(modules);
    for (int v = 1; v < modules; v++) {
        int fan = 1 + static_cast<int>(random.below(2));
        for (int k = 0; k < fan; k++) {
            int w = static_cast<int>(random.below(v));
            g.add(v, w, 1 + random.below(1000));
        }
        if (random.below(16) == 0) { // a back reference closes a cycle
            int w = static_cast<int>(random.below(v));
            g.add(w, v, 1 + random.below(1000));
        }
    }

    ComponentFinder scc(g);
    Digraph condensed(scc.count());
    for (const Edge &e : g.edges())
        if (scc.of(e.from) != scc.of(e.to))
            condensed.add(scc.of(e.from), scc.of(e.to), e.weight);

    Vec<int> order;
    Vec<int> cyclic;
    bool acyclic = topological_order(condensed, order);
    bool had_cycle = !topological_order(g, cyclic);
    int trees = 0;
    uint64_t weight = kruskal(g, trees);
    if (!acyclic || !had_cycle || weight != prim(g)) {
        fprintf(stderr, "graph algorithms disagree\n");
        return EXIT_FAILURE;
    }

    uint32_t hash = 5381;
    for (int component : order)
        hash = hash * 33 + static_cast<uint32_t>(component);
    for (int v = 0; v < g.size(); v++)
        hash = hash * 33 + static_cast<uint32_t>(scc.of(v));
    printf("%d modules, %u imports, %d components\n", g.size(),
           static_cast<unsigned>(g.edges().size()), scc.count());
    printf("spanning forest: %d tree(s), weight %llu\n", trees,
           static_cast<unsigned long long>(weight));
    printf("checksum %08x\n", static_cast<unsigned>(hash ^ static_cast<uint32_t>(weight)));
    return EXIT_SUCCESS;
}
