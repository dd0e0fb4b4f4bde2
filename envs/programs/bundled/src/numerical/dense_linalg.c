// Dense linear algebra on row-major matrices: LU with partial pivoting, Cholesky and
// Householder QR, with solvers, determinant, inverse and least squares on top.
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    LA_OK = 0,
    LA_NO_MEMORY,
    LA_BAD_SHAPE,
    LA_SINGULAR,
    LA_NOT_POSITIVE,
} la_status;

typedef struct {
    size_t rows;
    size_t cols;
    double *data;
} matrix;

#define AT(m, i, j) ((m)->data[(size_t)(i) * (m)->cols + (size_t)(j)])

const char *la_strerror(la_status st) {
    switch (st) {
    case LA_OK:
        return "ok";
    case LA_NO_MEMORY:
        return "out of memory";
    case LA_BAD_SHAPE:
        return "shape mismatch";
    case LA_SINGULAR:
        return "matrix is singular";
    case LA_NOT_POSITIVE:
        return "matrix is not positive definite";
    }
    return "unknown";
}

la_status mat_init(matrix *m, size_t rows, size_t cols) {
    m->rows = rows;
    m->cols = cols;
    m->data = calloc(rows * cols, sizeof *m->data);
    return m->data ? LA_OK : LA_NO_MEMORY;
}

void mat_release(matrix *m) {
    free(m->data);
    memset(m, 0, sizeof *m);
}

la_status mat_clone(matrix *dst, const matrix *src) {
    la_status st = mat_init(dst, src->rows, src->cols);
    if (st == LA_OK)
        memcpy(dst->data, src->data, src->rows * src->cols * sizeof *src->data);
    return st;
}

la_status mat_multiply(matrix *out, const matrix *a, const matrix *b) {
    if (a->cols != b->rows || out->rows != a->rows || out->cols != b->cols)
        return LA_BAD_SHAPE;
    memset(out->data, 0, out->rows * out->cols * sizeof *out->data);
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t k = 0; k < a->cols; k++) {
            double aik = AT(a, i, k);
            if (aik == 0.0)
                continue;
            for (size_t j = 0; j < b->cols; j++)
                AT(out, i, j) += aik * AT(b, k, j);
        }
    }
    return LA_OK;
}

void mat_apply(const matrix *a, const double *x, double *y) {
    for (size_t i = 0; i < a->rows; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < a->cols; j++)
            sum += AT(a, i, j) * x[j];
        y[i] = sum;
    }
}

double mat_max_abs(const matrix *a) {
    double best = 0.0;
    for (size_t i = 0; i < a->rows * a->cols; i++)
        best = fmax(best, fabs(a->data[i]));
    return best;
}

// ---- LU ---------------------------------------------------------------------------------

static void swap_rows(matrix *a, size_t p, size_t q) {
    double *x = &AT(a, p, 0), *y = &AT(a, q, 0);
    for (size_t j = 0; j < a->cols; j++) {
        double t = x[j];
        x[j] = y[j];
        y[j] = t;
    }
}

static size_t find_pivot(const matrix *a, size_t col) {
    size_t best = col;
    for (size_t i = col + 1; i < a->rows; i++)
        if (fabs(AT(a, i, col)) > fabs(AT(a, best, col)))
            best = i;
    return best;
}

// Factors in place; perm[i] is the original index of row i, *sign the permutation's parity.
la_status lu_factor(matrix *a, size_t *perm, int *sign) {
    if (a->rows != a->cols)
        return LA_BAD_SHAPE;
    size_t n = a->rows;
    double tiny = 1e-13 * mat_max_abs(a);
    *sign = 1;
    for (size_t i = 0; i < n; i++)
        perm[i] = i;
    for (size_t k = 0; k < n; k++) {
        size_t p = find_pivot(a, k);
        if (fabs(AT(a, p, k)) <= tiny)
            return LA_SINGULAR;
        if (p != k) {
            size_t t = perm[p];
            perm[p] = perm[k];
            perm[k] = t;
            swap_rows(a, p, k);
            *sign = -*sign;
        }
        for (size_t i = k + 1; i < n; i++) {
            double f = AT(a, i, k) /= AT(a, k, k);
            for (size_t j = k + 1; j < n; j++)
                AT(a, i, j) -= f * AT(a, k, j);
        }
    }
    return LA_OK;
}

void lu_solve(const matrix *lu, const size_t *perm, const double *b, double *x) {
    size_t n = lu->rows;
    for (size_t i = 0; i < n; i++) {
        double s = b[perm[i]];
        for (size_t j = 0; j < i; j++)
            s -= AT(lu, i, j) * x[j];
        x[i] = s;
    }
    for (size_t i = n; i-- > 0;) {
        double s = x[i];
        for (size_t j = i + 1; j < n; j++)
            s -= AT(lu, i, j) * x[j];
        x[i] = s / AT(lu, i, i);
    }
}

double lu_determinant(const matrix *lu, int sign) {
    double det = sign;
    for (size_t i = 0; i < lu->rows; i++)
        det *= AT(lu, i, i);
    return det;
}

la_status lu_inverse(const matrix *lu, const size_t *perm, matrix *inv) {
    size_t n = lu->rows;
    double *work = calloc(2 * n, sizeof *work);
    if (!work)
        return LA_NO_MEMORY;
    double *unit = work, *col = work + n;
    for (size_t j = 0; j < n; j++) {
        unit[j] = 1.0;
        lu_solve(lu, perm, unit, col);
        unit[j] = 0.0;
        for (size_t i = 0; i < n; i++)
            AT(inv, i, j) = col[i];
    }
    free(work);
    return LA_OK;
}

// ---- Cholesky ---------------------------------------------------------------------------

// Replaces the lower triangle by L with A = L L^T; the strict upper triangle is cleared.
la_status cholesky_factor(matrix *a) {
    if (a->rows != a->cols)
        return LA_BAD_SHAPE;
    size_t n = a->rows;
    for (size_t j = 0; j < n; j++) {
        double d = AT(a, j, j);
        for (size_t k = 0; k < j; k++)
            d -= AT(a, j, k) * AT(a, j, k);
        if (d <= 0.0)
            return LA_NOT_POSITIVE;
        d = sqrt(d);
        AT(a, j, j) = d;
        for (size_t i = j + 1; i < n; i++) {
            double s = AT(a, i, j);
            for (size_t k = 0; k < j; k++)
                s -= AT(a, i, k) * AT(a, j, k);
            AT(a, i, j) = s / d;
            AT(a, j, i) = 0.0;
        }
    }
    return LA_OK;
}

void cholesky_solve(const matrix *l, double *b) {
    size_t n = l->rows;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            b[i] -= AT(l, i, j) * b[j];
        b[i] /= AT(l, i, i);
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++)
            b[i] -= AT(l, j, i) * b[j];
        b[i] /= AT(l, i, i);
    }
}

// ---- QR ---------------------------------------------------------------------------------

// Householder vectors are kept below the diagonal with an implicit leading one.
la_status qr_factor(matrix *a, double *tau) {
    if (a->rows < a->cols)
        return LA_BAD_SHAPE;
    for (size_t k = 0; k < a->cols; k++) {
        double norm2 = 0.0;
        for (size_t i = k; i < a->rows; i++)
            norm2 += AT(a, i, k) * AT(a, i, k);
        if (norm2 == 0.0)
            return LA_SINGULAR;
        double alpha = AT(a, k, k);
        double beta = alpha > 0.0 ? -sqrt(norm2) : sqrt(norm2);
        double scale = 1.0 / (alpha - beta);
        tau[k] = (beta - alpha) / beta;
        AT(a, k, k) = beta;
        for (size_t i = k + 1; i < a->rows; i++)
            AT(a, i, k) *= scale;
        for (size_t j = k + 1; j < a->cols; j++) {
            double dot = AT(a, k, j);
            for (size_t i = k + 1; i < a->rows; i++)
                dot += AT(a, i, k) * AT(a, i, j);
            dot *= tau[k];
            AT(a, k, j) -= dot;
            for (size_t i = k + 1; i < a->rows; i++)
                AT(a, i, j) -= dot * AT(a, i, k);
        }
    }
    return LA_OK;
}

static void qr_apply_transpose(const matrix *qr, const double *tau, double *b) {
    for (size_t k = 0; k < qr->cols; k++) {
        double dot = b[k];
        for (size_t i = k + 1; i < qr->rows; i++)
            dot += AT(qr, i, k) * b[i];
        dot *= tau[k];
        b[k] -= dot;
        for (size_t i = k + 1; i < qr->rows; i++)
            b[i] -= dot * AT(qr, i, k);
    }
}

// Least squares: overwrites b; the leading cols entries become the solution and the return
// value is the 2-norm of the residual.
double qr_solve(const matrix *qr, const double *tau, double *b) {
    qr_apply_transpose(qr, tau, b);
    for (size_t i = qr->cols; i-- > 0;) {
        for (size_t j = i + 1; j < qr->cols; j++)
            b[i] -= AT(qr, i, j) * b[j];
        b[i] /= AT(qr, i, i);
    }
    double rest = 0.0;
    for (size_t i = qr->cols; i < qr->rows; i++)
        rest += b[i] * b[i];
    return sqrt(rest);
}

// ---- driver -----------------------------------------------------------------------------

static uint32_t rng_state = 0x2545f491u;

static double uniform(void) {
    rng_state = rng_state * 1664525u + 1013904223u;
    return (double)(rng_state >> 8) / 8388608.0 - 1.0;
}

static void fill_random(matrix *m, double diagonal_boost) {
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->cols; j++)
            AT(m, i, j) = uniform() + (i == j ? diagonal_boost : 0.0);
}

static uint32_t digest = 2166136261u;

static void digest_value(double x) {
    int64_t q = (int64_t)floor(x * 1e6 + 0.5);
    for (int i = 0; i < 8; i++)
        digest = (digest ^ (uint8_t)((uint64_t)q >> (8 * i))) * 16777619u;
}

static double residual(const matrix *a, const double *x, const double *b, double *scratch) {
    double worst = 0.0;
    mat_apply(a, x, scratch);
    for (size_t i = 0; i < a->rows; i++)
        worst = fmax(worst, fabs(scratch[i] - b[i]));
    return worst;
}

enum { N = 24, SAMPLES = 40, DEGREE = 5 };

static la_status run_lu(double *det_out, double *worst) {
    matrix a = {0}, lu = {0}, inv = {0}, prod = {0};
    size_t perm[N];
    double b[N], x[N], scratch[N];
    int sign;
    la_status st;

    if ((st = mat_init(&a, N, N)) || (st = mat_init(&inv, N, N)) || (st = mat_init(&prod, N, N)))
        goto done;
    fill_random(&a, 0.5);
    for (size_t i = 0; i < N; i++)
        b[i] = uniform();
    if ((st = mat_clone(&lu, &a)) || (st = lu_factor(&lu, perm, &sign)))
        goto done;
    lu_solve(&lu, perm, b, x);
    *worst = residual(&a, x, b, scratch);
    *det_out = lu_determinant(&lu, sign);
    if ((st = lu_inverse(&lu, perm, &inv)) || (st = mat_multiply(&prod, &a, &inv)))
        goto done;
    for (size_t i = 0; i < N; i++) {
        AT(&prod, i, i) -= 1.0;
        digest_value(x[i]);
    }
    *worst = fmax(*worst, mat_max_abs(&prod));
done:
    mat_release(&a);
    mat_release(&lu);
    mat_release(&inv);
    mat_release(&prod);
    return st;
}

static la_status run_cholesky(double *worst) {
    matrix g = {0}, a = {0}, l = {0};
    double b[N], x[N], scratch[N];
    la_status st;

    if ((st = mat_init(&g, N, N)) || (st = mat_init(&a, N, N)))
        goto done;
    fill_random(&g, 0.0);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            double s = i == j ? 1.0 : 0.0;
            for (size_t k = 0; k < N; k++)
                s += AT(&g, i, k) * AT(&g, j, k);
            AT(&a, i, j) = s;
        }
    if ((st = mat_clone(&l, &a)) || (st = cholesky_factor(&l)))
        goto done;
    for (size_t i = 0; i < N; i++)
        b[i] = x[i] = uniform();
    cholesky_solve(&l, x);
    *worst = residual(&a, x, b, scratch);
    for (size_t i = 0; i < N; i++)
        digest_value(x[i]);
    AT(&a, N / 2, N / 2) = -1.0;
    if (cholesky_factor(&a) != LA_NOT_POSITIVE)
        st = LA_BAD_SHAPE;
done:
    mat_release(&g);
    mat_release(&a);
    mat_release(&l);
    return st;
}

// Fits a polynomial to noisy samples of a known polynomial.
static la_status run_least_squares(double *coeff, double *misfit) {
    static const double truth[DEGREE + 1] = {1.0, -2.0, 0.5, 3.0, 0.0, -1.5};
    matrix v = {0};
    double y[SAMPLES], tau[DEGREE + 1];
    la_status st = mat_init(&v, SAMPLES, DEGREE + 1);
    if (st)
        return st;
    for (size_t i = 0; i < SAMPLES; i++) {
        double t = -1.0 + 2.0 * (double)i / (SAMPLES - 1), p = 1.0;
        y[i] = 0.01 * uniform();
        for (size_t j = 0; j <= DEGREE; j++, p *= t) {
            AT(&v, i, j) = p;
            y[i] += truth[j] * p;
        }
    }
    if ((st = qr_factor(&v, tau)) == LA_OK) {
        *misfit = qr_solve(&v, tau, y);
        for (size_t j = 0; j <= DEGREE; j++) {
            coeff[j] = y[j];
            digest_value(y[j]);
            if (fabs(y[j] - truth[j]) > 0.1)
                st = LA_SINGULAR;
        }
    }
    mat_release(&v);
    return st;
}

int main(void) {
    double det = 0.0, lu_err = 1.0, chol_err = 1.0, misfit = 1.0, coeff[DEGREE + 1];
    la_status st;
    if ((st = run_lu(&det, &lu_err)) || (st = run_cholesky(&chol_err)) ||
        (st = run_least_squares(coeff, &misfit))) {
        printf("failed: %s\n", la_strerror(st));
        return 1;
    }

    double twins[] = {1, 2, 3, 2, 4, 6, 1, 0, 1};
    matrix rank2 = {3, 3, twins};
    size_t perm[3];
    int sign;
    st = lu_factor(&rank2, perm, &sign);

    printf("lu det %.4f residual %s\n", det, lu_err < 1e-9 ? "small" : "large");
    printf("cholesky residual %s\n", chol_err < 1e-9 ? "small" : "large");
    printf("fit %.4f %.4f %.4f misfit %.5f\n", coeff[0], coeff[1], coeff[3], misfit);
    printf("rank deficient: %s\n", la_strerror(st));
    printf("checksum %08x\n", digest);
    return lu_err < 1e-9 && chol_err < 1e-9 && st == LA_SINGULAR ? 0 : 1;
}
