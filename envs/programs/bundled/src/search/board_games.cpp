// Alpha-beta game playing as a template over bitboard games: connect four and reversi, with a
// transposition table and a tournament between interchangeable players.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

namespace games {

int popcount(uint64_t x) {
    int n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

// A game keeps own_ and other_ stones from the view of the side to move. Moves are bit sets of
// squares so that a generator can be a single word.
class ConnectFour {
  public:
    static const char *name() { return "connect four"; }
    static const int WIN = 1000;

    // Seven columns of seven bits, the top one always empty.
    uint64_t moves() const {
        uint64_t full = own_ | other_;
        return (full + BOTTOM) & (BOTTOM * 63);
    }
    void play(uint64_t move) {
        uint64_t mover = own_ | move;
        own_ = other_;
        other_ = mover;
    }
    bool over() const { return four(other_) || moves() == 0; }
    int score() const { return four(other_) ? -WIN : 0; }
    int estimate() const { return potential(own_, other_) - potential(other_, own_); }
    uint64_t key() const { return own_ * 0x9e3779b97f4a7c15u ^ other_ * 0xc2b2ae3d27d4eb4fu; }

  private:
    static const uint64_t BOTTOM = 0x40810204081;
    static bool four(uint64_t b) {
        static const int shift[] = {1, 6, 7, 8};
        for (int s : shift) {
            uint64_t pairs = b & b >> s;
            if (pairs & pairs >> 2 * s)
                return true;
        }
        return false;
    }
    static int potential(uint64_t mine, uint64_t theirs) {
        uint64_t room = (BOTTOM * 63) & ~theirs;
        int lines = 0;
        for (int s = 6; s <= 8; s++) {
            uint64_t open = room & room >> s;
            lines += popcount(open & open >> 2 * s & (mine | mine >> 3 * s));
        }
        return lines;
    }
    uint64_t own_ = 0, other_ = 0;
};

class Reversi {
  public:
    static const char *name() { return "reversi"; }
    static const int WIN = 1000;

    uint64_t moves() const { return reachable(own_, other_); }
    // An empty move passes.
    void play(uint64_t move) {
        uint64_t flipped = 0;
        for (int d = 0; move && d < 8; d++) {
            uint64_t run = 0, at = step(move, d);
            while (at & other_) {
                run |= at;
                at = step(at, d);
            }
            if (at & own_)
                flipped |= run;
        }
        uint64_t mover = own_ | move | flipped;
        own_ = other_ & ~flipped;
        other_ = mover;
    }
    bool over() const { return moves() == 0 && reachable(other_, own_) == 0; }
    int score() const {
        int diff = popcount(own_) - popcount(other_);
        return diff > 0 ? WIN + diff : diff < 0 ? diff - WIN : 0;
    }
    int estimate() const {
        const uint64_t corners = 0x8100000000000081u, danger = 0x0042000000004200u;
        return 8 * (popcount(own_ & corners) - popcount(other_ & corners)) -
               3 * (popcount(own_ & danger) - popcount(other_ & danger)) + popcount(moves()) -
               popcount(reachable(other_, own_));
    }
    uint64_t key() const { return own_ * 0xff51afd7ed558ccdu ^ other_ * 0xc4ceb9fe1a85ec53u; }

  private:
    // Directions come in opposite pairs; the mask drops what wrapped around an edge.
    static uint64_t step(uint64_t b, int direction) {
        static const uint64_t not_a = 0xfefefefefefefefeu, not_h = 0x7f7f7f7f7f7f7f7fu;
        static const struct {
            int shift;
            uint64_t forward, backward;
        } pairs[] = {{8, ~uint64_t(0), ~uint64_t(0)},
                     {1, not_a, not_h},
                     {9, not_a, not_h},
                     {7, not_h, not_a}};
        const auto &p = pairs[direction / 2];
        return direction % 2 ? b >> p.shift & p.backward : b << p.shift & p.forward;
    }
    static uint64_t reachable(uint64_t own, uint64_t other) {
        uint64_t empty = ~(own | other), found = 0;
        for (int d = 0; d < 8; d++) {
            uint64_t run = step(own, d) & other;
            for (int i = 0; i < 5; i++)
                run |= step(run, d) & other;
            found |= step(run, d) & empty;
        }
        return found;
    }
    uint64_t own_ = 0x0000000810000000u, other_ = 0x0000001008000000u;
};

template <typename Game> class Player {
  public:
    virtual ~Player() = default;
    virtual uint64_t choose(const Game &g) = 0;
    virtual const char *name() const = 0;
};

template <typename Game> class RandomPlayer : public Player<Game> {
  public:
    explicit RandomPlayer(uint32_t seed) : seed_(seed) {}
    const char *name() const override { return "random"; }
    uint64_t choose(const Game &g) override {
        uint64_t moves = g.moves();
        if (moves == 0)
            return 0;
        seed_ = seed_ * 1664525u + 1013904223u;
        for (int skip = int((seed_ >> 16) % uint32_t(popcount(moves))); skip > 0; skip--)
            moves &= moves - 1;
        return moves & (0 - moves);
    }

  private:
    uint32_t seed_;
};

template <typename Game> class AlphaBeta : public Player<Game> {
  public:
    AlphaBeta(const char *name, int depth)
        : name_(name), depth_(depth), table_(new Entry[SIZE]()) {}
    AlphaBeta(const AlphaBeta &) = delete;
    AlphaBeta &operator=(const AlphaBeta &) = delete;
    ~AlphaBeta() override { delete[] table_; }

    const char *name() const override { return name_; }
    unsigned nodes() const { return nodes_; }
    uint64_t choose(const Game &g) override {
        best_ = 0;
        for (int d = 1; d <= depth_; d++)
            search(g, d, -INFINITE, INFINITE, true);
        return best_;
    }

  private:
    enum Bound : uint8_t { None, Exact, Lower, Upper };
    struct Entry {
        uint64_t key;
        uint64_t move;
        int16_t value;
        uint8_t depth;
        Bound bound;
    };
    static const size_t SIZE = 1 << 10;
    static const int INFINITE = 30000;

    static bool cuts(const Entry &e, int alpha, int beta) {
        return e.bound == Lower ? e.value >= beta : e.value <= alpha;
    }

    int search(const Game &g, int depth, int alpha, int beta, bool root) {
        nodes_++;
        if (g.over())
            return g.score();
        if (depth == 0)
            return g.estimate();
        Entry &e = table_[g.key() >> 54];
        bool known = e.bound != None && e.key == g.key();
        if (known && !root && e.depth >= depth && (e.bound == Exact || cuts(e, alpha, beta)))
            return e.value;
        uint64_t left = g.moves(), hint = known ? e.move & left : 0, best_move = 0;
        int best = -INFINITE, floor = alpha;
        do {
            // The stored move first, then from the low end; zero once for a pass.
            uint64_t move = hint ? hint : left & (0 - left);
            hint = 0;
            left &= ~move;
            Game next = g;
            next.play(move);
            int value = -search(next, depth - 1, -beta, -floor, false);
            if (value > best) {
                best = value;
                best_move = move;
            }
            if (best > floor)
                floor = best;
        } while (left && floor < beta);
        e.key = g.key();
        e.move = best_move;
        e.value = int16_t(best);
        e.depth = uint8_t(depth);
        e.bound = best >= beta ? Lower : best > alpha ? Exact : Upper;
        if (root)
            best_ = best_move;
        return best;
    }

    const char *name_;
    int depth_;
    Entry *table_;
    uint64_t best_ = 0;
    unsigned nodes_ = 0;
};

// Returns the result for the first player, in {-1, 0, 1}.
template <typename Game> int match(Player<Game> &first, Player<Game> &second, uint64_t *hash) {
    Game g;
    Player<Game> *turn[] = {&first, &second};
    int ply = 0;
    for (; !g.over(); ply++) {
        g.play(turn[ply % 2]->choose(g));
        *hash = *hash * 31 + g.key();
    }
    int score = ply % 2 ? -g.score() : g.score();
    return score > 0 ? 1 : score < 0 ? -1 : 0;
}

template <typename Game> int tournament(int shallow_depth, int deep_depth, uint64_t *hash) {
    static const char *const verdict[] = {"loss", "draw", "win"};
    AlphaBeta<Game> deep("deep", deep_depth), shallow("shallow", shallow_depth);
    RandomPlayer<Game> random(12345);
    Player<Game> *opponents[] = {&random, &shallow};
    int points = 0;
    for (Player<Game> *o : opponents) {
        int home = match<Game>(deep, *o, hash), away = -match<Game>(*o, deep, hash);
        points += home + away;
        printf("%s against %s: %s at home, %s away\n", Game::name(), o->name(), verdict[home + 1],
               verdict[away + 1]);
    }
    *hash = *hash * 31 + deep.nodes();
    return points;
}

} // namespace games

int main() {
    uint64_t hash = 0;
    int points = games::tournament<games::ConnectFour>(2, 4, &hash);
    points += games::tournament<games::Reversi>(1, 3, &hash);
    printf("points %d\nchecksum %016llx\n", points, (unsigned long long)hash);
    return points >= 4 ? 0 : 1;
}
