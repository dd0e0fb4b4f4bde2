// Bit-parallel cellular automata on a 64-bit wide torus: Life-like rules and the
// HPP lattice gas, whose particle count and momentum must not change.
#include <stdint.h>
#include <stdio.h>

namespace {

const int HEIGHT = 48;

inline uint64_t east(uint64_t x) {
    return x << 1 | x >> 63;
}
inline uint64_t west(uint64_t x) {
    return x >> 1 | x << 63;
}

int population(uint64_t x) {
    int n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

class Automaton {
  public:
    virtual ~Automaton() = default;
    virtual const char *name() const = 0;
    virtual void step() = 0;
    virtual uint64_t row(int y) const = 0;

    int count() const {
        int n = 0;
        for (int y = 0; y < HEIGHT; y++)
            n += population(row(y));
        return n;
    }
};

uint64_t noise(uint64_t &s) {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
}

// Sums the eight neighbours of 64 cells at once in bit-sliced counters.
class Life : public Automaton {
  public:
    Life(const char *name, uint16_t born, uint16_t survive)
        : name_(name), born_(born), survive_(survive) {
        uint64_t seed = 42;
        for (uint64_t &cells : rows_) {
            cells = noise(seed);
            cells &= noise(seed);
        }
    }
    const char *name() const override { return name_; }
    uint64_t row(int y) const override { return rows_[y]; }
    void step() override {
        uint64_t next[HEIGHT];
        for (int y = 0; y < HEIGHT; y++) {
            uint64_t bit[4] = {0, 0, 0, 0};
            for (int dy = -1; dy <= 1; dy++) {
                uint64_t r = rows_[(y + dy + HEIGHT) % HEIGHT];
                add(bit, east(r));
                add(bit, west(r));
                if (dy != 0)
                    add(bit, r);
            }
            next[y] = 0;
            for (int n = 0; n <= 8; n++) {
                uint64_t rule =
                    (born_ >> n & 1 ? ~rows_[y] : 0) | (survive_ >> n & 1 ? rows_[y] : 0);
                for (int i = 0; i < 4; i++)
                    rule &= n >> i & 1 ? bit[i] : ~bit[i];
                next[y] |= rule;
            }
        }
        for (int y = 0; y < HEIGHT; y++)
            rows_[y] = next[y];
    }

  private:
    static void add(uint64_t *bit, uint64_t carry) {
        for (int i = 0; i < 4; i++) {
            uint64_t sum = bit[i] ^ carry;
            carry &= bit[i];
            bit[i] = sum;
        }
    }
    const char *name_;
    uint16_t born_, survive_;
    uint64_t rows_[HEIGHT];
};

// One channel per direction; head-on pairs leave at right angles.
class LatticeGas : public Automaton {
  public:
    LatticeGas() {
        uint64_t seed = 7;
        for (int y = 0; y < HEIGHT; y++)
            for (auto &channel : cell_)
                channel[y] = y < HEIGHT / 2 ? noise(seed) : 0;
    }
    const char *name() const override { return "gas"; }
    uint64_t row(int y) const override {
        return cell_[N][y] ^ cell_[E][y] ^ cell_[S][y] ^ cell_[W][y];
    }
    void step() override {
        uint64_t next[4][HEIGHT];
        for (int y = 0; y < HEIGHT; y++) {
            uint64_t n = cell_[N][y], e = cell_[E][y], s = cell_[S][y], w = cell_[W][y];
            uint64_t flip = (n & s & ~e & ~w) | (e & w & ~n & ~s);
            next[N][(y + HEIGHT - 1) % HEIGHT] = n ^ flip;
            next[S][(y + 1) % HEIGHT] = s ^ flip;
            next[E][y] = east(e ^ flip);
            next[W][y] = west(w ^ flip);
        }
        for (int d = 0; d < 4; d++)
            for (int y = 0; y < HEIGHT; y++)
                cell_[d][y] = next[d][y];
    }
    // Particles plus momentum, packed so that one comparison covers all three.
    long invariant() const {
        long total[4] = {0, 0, 0, 0};
        for (int d = 0; d < 4; d++)
            for (uint64_t r : cell_[d])
                total[d] += population(r);
        return (total[N] + total[E] + total[S] + total[W]) * 1000000 +
               (total[E] - total[W]) * 1000 + total[S] - total[N];
    }

  private:
    enum { N, E, S, W };
    uint64_t cell_[4][HEIGHT];
};

} // namespace

int main() {
    Life life("life", 1 << 3, 1 << 2 | 1 << 3);
    Life high("highlife", 1 << 3 | 1 << 6, 1 << 2 | 1 << 3);
    LatticeGas gas;
    Automaton *all[] = {&life, &high, &gas};
    long before = gas.invariant();
    uint64_t check = 0;
    for (Automaton *a : all) {
        int start = a->count();
        for (int t = 0; t < 60; t++)
            a->step();
        for (int y = 0; y < HEIGHT; y++)
            check = (check << 7 | check >> 57) ^ a->row(y);
        printf("%s: %d -> %d\n", a->name(), start, a->count());
    }
    printf("checksum %016llx\n", (unsigned long long)check);
    return before == gas.invariant() ? 0 : 1;
}
