// Sparse linear systems: row by row CSR assembly and conjugate gradients with the
// preconditioner as a template policy, on a 2D diffusion problem.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

namespace sparse {

template <typename T> class Array {
  public:
    explicit Array(size_t n) : data_(new T[n]()), size_(n) {}
    Array(const Array &) = delete;
    Array &operator=(const Array &) = delete;
    ~Array() { delete[] data_; }

    T &operator[](size_t i) { return data_[i]; }
    const T &operator[](size_t i) const { return data_[i]; }
    size_t size() const { return size_; }

  private:
    T *data_;
    size_t size_;
};

using Vector = Array<double>;

struct Entry {
    size_t column;
    double value;
};

// Compressed sparse rows, filled row by row; begin(i) to begin(i + 1) are the entries of row i.
class CsrMatrix {
  public:
    CsrMatrix(size_t rows, size_t capacity) : start_(rows + 1), entry_(capacity), rows_(rows) {}

    void append(size_t row, size_t column, double value) {
        entry_[start_[row + 1]++] = Entry{column, value};
    }
    void finish_row(size_t row) {
        if (row + 1 < rows_)
            start_[row + 2] = start_[row + 1];
    }
    const Entry *begin(size_t row) const { return &entry_[0] + start_[row]; }
    const Entry *end(size_t row) const { return begin(row + 1); }
    size_t rows() const { return rows_; }
    size_t nonzeros() const { return start_[rows_]; }

    double multiply_row(size_t row, const Vector &x) const {
        double sum = 0;
        for (const Entry *e = begin(row); e != end(row); e++)
            sum += e->value * x[e->column];
        return sum;
    }

  private:
    Array<size_t> start_;
    Array<Entry> entry_;
    size_t rows_;
};

struct Identity {
    static const char *name() { return "plain"; }
    explicit Identity(const CsrMatrix &) {}
    void apply(const Vector &r, Vector &z) const {
        for (size_t i = 0; i < r.size(); i++)
            z[i] = r[i];
    }
};

// Symmetric Gauss-Seidel: one forward and one backward sweep from zero.
class GaussSeidel {
  public:
    static const char *name() { return "gauss-seidel"; }
    explicit GaussSeidel(const CsrMatrix &a) : a_(a) {}
    void apply(const Vector &r, Vector &z) const {
        for (size_t i = 0; i < r.size(); i++)
            z[i] = 0;
        for (size_t i = 0; i < r.size(); i++)
            relax(i, r, z);
        for (size_t i = r.size(); i-- > 0;)
            relax(i, r, z);
    }

  private:
    void relax(size_t i, const Vector &r, Vector &z) const {
        double sum = r[i], diagonal = 1;
        for (const Entry *e = a_.begin(i); e != a_.end(i); e++) {
            if (e->column == i)
                diagonal = e->value;
            else
                sum -= e->value * z[e->column];
        }
        z[i] = sum / diagonal;
    }

    const CsrMatrix &a_;
};

double dot(const Vector &a, const Vector &b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++)
        sum += a[i] * b[i];
    return sum;
}

// y = a x + b y
void axpby(double a, const Vector &x, double b, Vector &y) {
    for (size_t i = 0; i < y.size(); i++)
        y[i] = a * x[i] + b * y[i];
}

// Solves A x = b from the guess in x; returns the iterations or -1 without convergence.
template <typename Preconditioner>
int conjugate_gradient(const CsrMatrix &a, const Vector &b, Vector &x, double tol) {
    size_t n = a.rows();
    Preconditioner m(a);
    Vector r(n), z(n), p(n), ap(n);
    for (size_t i = 0; i < n; i++)
        r[i] = b[i] - a.multiply_row(i, x);
    m.apply(r, z);
    axpby(1.0, z, 0.0, p);
    double rz = dot(r, z), limit = tol * tol * dot(b, b);
    for (int it = 0; it < 500; it++) {
        if (dot(r, r) <= limit)
            return it;
        for (size_t i = 0; i < n; i++)
            ap[i] = a.multiply_row(i, p);
        double alpha = rz / dot(p, ap);
        axpby(alpha, p, 1.0, x);
        axpby(-alpha, ap, 1.0, r);
        m.apply(r, z);
        double next = dot(r, z);
        axpby(1.0, z, next / rz, p);
        rz = next;
    }
    return -1;
}

} // namespace sparse

using namespace sparse;

namespace {

const size_t SIDE = 20;

double conductivity(size_t r, size_t c) {
    return r >= 6 && r < 14 && c >= 6 && c < 14 ? 10.0 : 1.0;
}

// Five point stencil with a more conductive block in the middle and cold walls.
void assemble(CsrMatrix &a) {
    static const int step[4][2] = {{-1, 0}, {0, -1}, {0, 1}, {1, 0}};
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        size_t r = i / SIDE, c = i % SIDE;
        double here = conductivity(r, c), total = 0;
        for (const int *s : step) {
            size_t nr = r + size_t(s[0]), nc = c + size_t(s[1]);
            bool inside = nr < SIDE && nc < SIDE;
            double there = inside ? conductivity(nr, nc) : here;
            double flow = 2 * here * there / (here + there);
            total += flow;
            if (inside)
                a.append(i, nr * SIDE + nc, -flow);
        }
        a.append(i, i, total);
        a.finish_row(i);
    }
}

template <typename Preconditioner> uint32_t heat_map(const CsrMatrix &a, const Vector &b) {
    Vector x(a.rows());
    int iterations = conjugate_gradient<Preconditioner>(a, b, x, 1e-11);
    double hottest = 0;
    uint32_t hash = uint32_t(a.nonzeros());
    for (size_t i = 0; i < x.size(); i++) {
        hottest = x[i] > hottest ? x[i] : hottest;
        hash = hash * 16777619u ^ uint32_t(floor(x[i] * 1e5 + 0.5));
    }
    printf("%s: %d iterations, hottest %.3f\n", Preconditioner::name(), iterations, hottest);
    return hash;
}

} // namespace

int main() {
    CsrMatrix a(SIDE * SIDE, 5 * SIDE * SIDE);
    Vector b(a.rows());
    assemble(a);
    for (size_t i = 0; i < b.size(); i++)
        b[i] = i == SIDE * 3 + 4 ? 5.0 : 0.1;
    uint32_t plain = heat_map<Identity>(a, b);
    uint32_t preconditioned = heat_map<GaussSeidel>(a, b);
    printf("checksum %08x\n", plain);
    return plain == preconditioned ? 0 : 1;
}
