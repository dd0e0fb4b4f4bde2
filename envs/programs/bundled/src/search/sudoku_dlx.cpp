// Exact cover by dancing links, applied to sudoku: every cell, row, column and box constraint
// is a column of the sparse matrix, every candidate digit a row with four nodes.
#include <stdint.h>
#include <stdio.h>

namespace {

struct Node {
    Node *left, *right, *up, *down, *column;
    int tag; // candidate number, or the size of a column header
};

class ExactCover {
  public:
    explicit ExactCover(int columns) : next_(nodes_ + columns + 1) {
        for (Node *h = nodes_; h < next_; h++)
            *h = Node{h - 1, h + 1, h, h, h, 0};
        nodes_[0].left = next_ - 1;
        next_[-1].right = nodes_;
    }
    ExactCover(const ExactCover &) = delete;
    ExactCover &operator=(const ExactCover &) = delete;

    void add_row(int tag, const int *columns, int n) {
        Node *first = next_;
        for (int i = 0; i < n; i++, next_++) {
            Node *head = &nodes_[columns[i] + 1];
            *next_ = Node{next_ - 1, next_ + 1, head->up, head, head, tag};
            head->up = head->up->down = next_;
            head->tag++;
        }
        first->left = next_ - 1;
        next_[-1].right = first;
    }

    // Stores the tags of the rows in the first cover found; returns how many, or -1.
    int solve(int *out, int depth = 0) {
        Node *best = nodes_->right;
        if (best == nodes_)
            return depth;
        for (Node *h = best; h != nodes_; h = h->right)
            if (h->tag < best->tag)
                best = h;
        int result = -1;
        steps_++;
        cover(best);
        for (Node *r = best->down; r != best && result < 0; r = r->down) {
            out[depth] = r->tag;
            for (Node *j = r->right; j != r; j = j->right)
                cover(j->column);
            result = solve(out, depth + 1);
            for (Node *j = r->left; j != r; j = j->left)
                uncover(j->column);
        }
        uncover(best);
        return result;
    }
    int steps() const { return steps_; }

  private:
    static void cover(Node *head) {
        head->left->right = head->right;
        head->right->left = head->left;
        for (Node *r = head->down; r != head; r = r->down)
            for (Node *j = r->right; j != r; j = j->right) {
                j->up->down = j->down;
                j->down->up = j->up;
                j->column->tag--;
            }
    }
    static void uncover(Node *head) {
        for (Node *r = head->up; r != head; r = r->up)
            for (Node *j = r->left; j != r; j = j->left) {
                j->up->down = j->down->up = j;
                j->column->tag++;
            }
        head->left->right = head->right->left = head;
    }

    Node nodes_[325 + 4 * 729];
    Node *next_;
    int steps_ = 0;
};

} // namespace

int main() {
    static const char *const puzzles[] = {
        "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
        "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
        "55..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
    };
    uint32_t hash = 0;
    for (const char *clues : puzzles) {
        ExactCover matrix(324);
        char grid[82] = "no solution";
        int tags[81];
        for (int tag = 0; tag < 729; tag++) {
            int cell = tag / 9, digit = tag % 9, r = cell / 9, c = cell % 9;
            int columns[] = {cell, 81 + r * 9 + digit, 162 + c * 9 + digit,
                             243 + (r / 3 * 3 + c / 3) * 9 + digit};
            if (clues[cell] == '.' || clues[cell] == '1' + digit)
                matrix.add_row(tag, columns, 4);
        }
        for (int n = matrix.solve(tags); n > 0; n--)
            grid[tags[n - 1] / 9] = char('1' + tags[n - 1] % 9);
        for (const char *p = grid; *p; p++)
            hash = hash * 31 + uint32_t(*p);
        printf("%.27s in %d steps\n", grid, matrix.steps());
    }
    printf("checksum %08x\n", hash);
    return 0;
}
